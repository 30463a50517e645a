"""Files and commands shared by the tools, and how the client follows a file that moves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_bridge.mail import Call
from mcp_bridge.rates import Limits
from mcp_bridge.tools import Meter, accompany
from tests.bridge.bridges import Start

pytestmark = pytest.mark.anyio


async def test_share_file_and_command(start: Start, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    async with start("alice", share_roots=(tmp_path,)) as bridge:
        shared = await bridge.call(
            "share_file", to_id="alice", filepath=str(tmp_path / "notes.txt"), description="mine"
        )
        assert shared["message"] == "Shared notes.txt (6 bytes). Message sent"
        assert (shared["name"], shared["bytes"], len(shared["blake2b"])) == ("notes.txt", 6, 64)
        (message,) = (await bridge.call("check"))["messages"]
        assert message["data"]["content"] == "hello\n"
        assert Path(message["path"]).read_text() == "hello\n"
        ran = await bridge.call("share_command", to_id="alice", command="echo hi")
        assert (ran["returncode"], ran["truncated"]) == (0, False)
        (message,) = (await bridge.call("check"))["messages"]
        assert message["data"]["stdout"] == "hi\n"
        assert await bridge.code("share_command", to_id="alice", command="rm -rf x") == "refused"
        missing = await bridge.call("share_file", to_id="alice", filepath="/nowhere")
        assert missing["status"] == "error"


class Moving:
    """A shared file of which the recipient asks for a little more each time somebody looks."""

    bytes, name = 1000, "log.bin"

    def __init__(self, told: Callable[[int, int], None], *, stops_at: int) -> None:
        self._told = told
        self._stops_at = stops_at
        self._asked = 0

    async def wait(self, state: str, timeout_s: float) -> bool:
        self._asked = min(self._asked + 250, self._stops_at)
        self._told(self._asked, self.bytes)
        return self._asked == self.bytes


@pytest.mark.parametrize(
    ("stops_at", "expected"), [(1000, [250, 500, 750]), (500, [250, 500, 500, 500, 500, 500])]
)
async def test_the_client_is_told_how_far_a_file_has_come(
    start: Start, stops_at: int, expected: list[int]
) -> None:
    seen: list[tuple[float, float | None, str]] = []

    async def progress(done: float, total: float | None, what: str) -> None:
        seen.append((done, total, what))

    async with start("alice") as bridge:
        agent = await bridge.keeper.agent()
        call = Call(agent, None, progress, bridge.keeper, Limits())
        meter = Meter()
        await accompany(call, Moving(meter, stops_at=stops_at), meter)
    assert seen == [(done, 1000, "sending log.bin") for done in expected]
