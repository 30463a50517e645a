"""Sessions that wake each other by themselves are stopped, and people never are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from mcp_bridge import push as push_module
from mcp_bridge.turn import Turn, turn_s
from mesh import limits
from tests.bridge.bridges import Bridge, Start
from tests.bridge.inboxes import FakeInbox

pytestmark = pytest.mark.anyio
HOPS = limits.chain_hops_max


def test_what_a_push_caused_is_named_until_a_person_speaks() -> None:
    turn = Turn()
    assert turn.causes("a") == turn.causes(None) == ()
    turn.shown(["read"])
    assert turn.causes("read") == ()
    turn.woken(["a", "b"])
    assert turn.causes(None) == ("a", "b")
    assert turn.causes("a") == ("a",)
    turn.shown(["c"])
    assert turn.causes(None) == ("a", "b", "c")
    turn.woken()
    assert turn.causes(None) == ()
    turn.shown(["d"])
    assert (turn.causes(None), turn.causes("a"), turn.causes("x")) == (("d",), ("a",), ("d",))
    turn.begun_by_person()
    assert turn.causes("d") == turn.causes(None) == ()


def test_after_a_while_without_a_push_the_turn_is_a_persons() -> None:
    now = 0.0
    turn = Turn(lambda: now)
    turn.woken(["a"])
    now = turn_s - 1
    assert turn.causes(None) == ("a",)
    now = turn_s
    assert turn.causes(None) == ()
    assert turn.causes("a") == ("a",)


class Ring:
    """Sessions whose models do nothing but pass on what wakes them."""

    def __init__(self, bridges: list[Bridge], inboxes: list[FakeInbox]) -> None:
        self.bridges = bridges
        self.inboxes = inboxes
        self._woken = [0] * len(bridges)

    async def pass_on(self, hop: int, tool: str, *, is_reply: bool = False) -> dict[str, object]:
        """Let the session that hop reaches be woken, and send to the next; return the result."""
        number = (hop + 1) % len(self.bridges)
        self._woken[number] += 1
        text = await self.inboxes[number].text(self._woken[number])
        to = {} if tool == "broadcast" else {"to_id": f"s{(number + 1) % len(self.bridges)}"}
        reply = {"reply_to": text.partition(", id ")[2][:32]} if is_reply else {}
        return await self.bridges[number].call(tool, content=f"thanks {hop}", **to, **reply)


@pytest.fixture
async def ring(start: Start, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(push_module, "gather_s", 0.0)
    monkeypatch.setattr(push_module, "pace_s", 0.0)

    @asynccontextmanager
    async def made(size: int) -> AsyncIterator[Ring]:
        async with AsyncExitStack() as stack:
            inboxes = [FakeInbox(home.parent / f"i{number}") for number in range(size)]
            bridges = []
            for number, inbox in enumerate(inboxes):
                await stack.enter_async_context(inbox.serving())
                bridges.append(
                    await stack.enter_async_context(start(f"s{number}", line=inbox.line))
                )
            for bridge in bridges:
                while (await bridge.call("list_instances"))["message"] != (
                    f"{size} instances, {size} live"
                ):
                    await asyncio.sleep(0.01)
            yield Ring(bridges, inboxes)

    return made


@pytest.mark.parametrize(("size", "is_reply"), [(2, True), (2, False), (3, False), (3, True)])
async def test_a_ring_of_sessions_that_answer_pushes_stops(ring, size: int, is_reply: bool) -> None:
    async with ring(size) as made:
        sent = await made.bridges[0].call("send", to_id="s1", content="thanks")
        for hop in range(HOPS):
            sent = await made.pass_on(hop, "send", is_reply=is_reply)
            assert sent["status"] == "ok"
        refused = await made.pass_on(HOPS, "send", is_reply=is_reply)
        to = f"s{(HOPS + 2) % size}"
        assert (refused["code"], refused["why"], refused["message"]) == (
            "refused",
            "loop",
            f"{to} refused one more automatic message in a row: ask your user",
        )
        # A person may always go on.
        last = made.bridges[(HOPS + 1) % size]
        spoken = {"event": "UserPromptSubmit", "prompt": "Tell them all the same."}
        await last.client.call_tool("inbox_hook", spoken)
        assert (await last.call("send", to_id=to, content="anew"))["status"] == "ok"


async def test_what_wakes_a_model_is_no_word_of_a_person(ring) -> None:
    async with ring(2) as made:
        await made.bridges[0].call("send", to_id="s1", content="hello")
        pushed = await made.inboxes[1].text(1)
        for prompt in (pushed, "${prompt}", "", None):
            spoken = {"event": "UserPromptSubmit", "prompt": prompt}
            await made.bridges[1].client.call_tool("inbox_hook", spoken)
        assert len(made.bridges[1].keeper.news.turn.causes(None)) == 1


async def test_broadcasts_that_cause_broadcasts_stop(ring) -> None:
    async with ring(2) as made:
        await made.bridges[0].call("broadcast", content="hello")
        for hop in range(HOPS):
            sent = await _broadcast(made, hop)
            assert sent["recipients"][0]["state"] in ("delivered", "shown")
        sent = await _broadcast(made, HOPS)
        assert sent["recipients"][0]["state"] == "refused"
        assert sent["message"] == "Broadcast to 1 instances, 1 refused it"


async def _broadcast(made: Ring, hop: int) -> dict:
    """Pass a broadcast on, at whatever rate."""
    sent = await made.pass_on(hop, "broadcast")
    while sent.get("code") == "rate_limited":
        await asyncio.sleep(sent["retry_after_s"])
        sent = await made.bridges[(hop + 1) % 2].call("broadcast", content="again")
    return sent


async def test_a_conversation_of_people_has_no_end(ring) -> None:
    async with ring(2) as made:
        first, second = made.bridges
        for number in range(2 * HOPS):
            sent = await first.call("send", to_id="s1", content=f"{number}", wait_reply_s=0)
            assert sent["status"] == "ok"
            spoken = {"event": "UserPromptSubmit", "prompt": "Answer."}
            await second.client.call_tool("inbox_hook", spoken)
            answer = {"to_id": "s0", "content": "yes", "reply_to": sent["id"]}
            assert (await second.call("send", **answer))["status"] == "ok"
            await first.client.call_tool("inbox_hook", spoken)
