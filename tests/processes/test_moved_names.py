"""An agent's name that moves to another host, with its old host up, down, and coming back.

Another key holds the name there, so it is another agent. What was sent before stays with the one it
was meant for; new mail goes to the one that is there, marked; nothing goes to both, and no receipt
says more than is true. See DESIGN of names in PROTOCOL.md section 8.
"""

import asyncio
import signal
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.processes.hosts import Mesh, Session, contents, free_port

HOSTS = ("here", "old", "new")


@dataclass
class Story:
    """Sam writes to Bob, who lives on the old host first."""

    mesh: Mesh
    ports: dict[str, int]
    sam: Session = field(init=False)
    old: Session = field(init=False)

    async def join(self, name: str, host: str) -> Session:
        peers = [f"127.0.0.1:{port}" for other, port in self.ports.items() if other != host]
        return await self.mesh.join(name, host, port=self.ports[host], peers=peers)

    async def send(self, text: str) -> str:
        return str((await self.sam.call("send", to="bob", content=text))["id"])

    async def state(self, id_: str) -> tuple[str, str]:
        (recipient,) = await self.sam.call("receipt", id_=id_)
        return recipient["state"], recipient.get("why", "")

    async def await_state(self, id_: str, state: str) -> None:
        await self.sam.call("wait_receipt", id_=id_, state=state, timeout_s=15)

    async def bobs(self) -> dict[str, tuple[str, str]]:
        """Whom Sam knows as Bob: by fingerprint, how present and how verified."""
        roster = await self.sam.call("roster")
        return {e["fingerprint"]: (e["state"], e["verified"]) for e in roster if e["id"] == "bob"}

    async def await_bobs(
        self, expected: dict[str, tuple[str, str]], *, limit_s: float = 30
    ) -> None:
        async with asyncio.timeout(limit_s):
            while await self.bobs() != expected:
                await asyncio.sleep(0.02)


async def begin(mesh: Mesh, *, is_tended: bool) -> Story:
    """Let them know each other; with `is_tended` another session lives on the old host."""
    story = Story(mesh, {host: free_port() for host in HOSTS})
    story.sam = await story.join("sam", "here")
    if is_tended:
        await story.join("neighbour", "old")
        await story.sam.sees(10, neighbour="live")
    story.old = await story.join("bob", "old")
    await story.sam.sees(10, bob="live")
    await story.send("before")
    assert await read(story.old) == ["before"]
    return story


async def read(session: Session, count: int = 1) -> list[str]:
    return contents(await session.call("collect", count=count, timeout_s=15))


async def verified(session: Session) -> list[tuple[str, str]]:
    found: list[dict[str, Any]] = await session.call("collect", count=1, timeout_s=15)
    return [(message["content"], message["verified"]) for message in found]


def print_of(session: Session) -> str:
    return str(session.facts["fingerprint"])


async def move(story: Story, meanwhile: str) -> tuple[Session, str]:
    """End Bob on the old host, write to him, and let another Bob begin on the new host."""
    await story.old.kill()
    await story.await_bobs({print_of(story.old): ("away", "pinned")})
    waiting = await story.send(meanwhile)
    new = await story.join("bob", "new")
    old_and_new = {print_of(story.old): ("away", "pinned"), print_of(new): ("live", "changed")}
    await story.await_bobs(old_and_new)
    return new, waiting


@pytest.mark.long
async def test_old_host_is_down_and_comes_back(mesh: Mesh):
    """PROTOCOL.md NAME-4, NAME-8."""
    story = await begin(mesh, is_tended=False)
    new, waiting = await move(story, "meanwhile")
    sent = await story.sam.call("send", to="bob", content="after")
    assert [recipient["is_changed"] for recipient in sent["recipients"]] == [True]
    after = sent["id"]
    assert await verified(new) == [("after", "first_contact")]
    await story.await_state(after, "shown")
    assert await story.state(waiting) == ("queued", "pin_conflict")
    await new.call("send", to="sam", content="it is me")
    assert await verified(story.sam) == [("it is me", "changed")]
    old = await story.join("bob", "old")
    assert print_of(old) == print_of(story.old)
    assert await read(old) == ["meanwhile"]
    await story.await_state(waiting, "shown")
    await story.await_bobs({print_of(old): ("live", "pinned"), print_of(new): ("live", "changed")})
    await story.send("to the one I know")
    assert await read(old) == ["to the one I know"]
    assert await new.call("check", wait_s=0.5) == []


@pytest.mark.long
async def test_old_host_stays_up_and_takes_what_is_meant_for_its_agent(mesh: Mesh):
    """PROTOCOL.md TEND-3, NAME-4."""
    story = await begin(mesh, is_tended=True)
    await story.old.kill()
    await story.await_bobs({print_of(story.old): ("away", "pinned")})
    waiting = await story.send("meanwhile")
    await story.await_state(waiting, "delivered")
    new = await story.join("bob", "new")
    old_and_new = {print_of(story.old): ("away", "pinned"), print_of(new): ("live", "changed")}
    await story.await_bobs(old_and_new)
    await story.send("after")
    assert await read(new) == ["after"]
    assert await story.state(waiting) == ("delivered", "")
    old = await story.join("bob", "old")
    assert await read(old) == ["meanwhile"]
    await story.await_state(waiting, "shown")
    assert await new.call("check", wait_s=0.5) == []


@pytest.mark.long
async def test_trust_sends_what_waits_to_the_new_host_and_the_old_one_gets_nothing(mesh: Mesh):
    """PROTOCOL.md NAME-8."""
    story = await begin(mesh, is_tended=False)
    new, waiting = await move(story, "meanwhile")
    await story.sam.call("trust", name="bob", fingerprint=print_of(new))
    assert await read(new) == ["meanwhile"]
    await story.await_state(waiting, "shown")
    old = await story.join("bob", "old")
    await story.await_bobs({print_of(old): ("live", "changed"), print_of(new): ("live", "pinned")})
    await story.send("to the one I trust")
    assert await read(new) == ["to the one I trust"]
    assert await old.call("check", wait_s=0.5) == []


@pytest.mark.long
async def test_what_left_for_the_old_host_and_may_be_there_is_never_sent_to_the_new_one(mesh: Mesh):
    """PROTOCOL.md NAME-8: it left this host, so that trust in another key does not touch it."""
    story = await begin(mesh, is_tended=False)
    story.old.signal(signal.SIGSTOP)  # What is sent now may or may not be on its disk.
    doubtful = await story.send("in doubt")
    await story.await_bobs({print_of(story.old): ("suspect", "pinned")}, limit_s=60)
    await story.old.kill()
    new = await story.join("bob", "new")
    await story.await_bobs(
        {print_of(story.old): ("away", "pinned"), print_of(new): ("live", "changed")}, limit_s=60
    )
    await story.sam.call("trust", name="bob", fingerprint=print_of(new))
    await story.send("after")
    assert await read(new) == ["after"]
    assert (await story.state(doubtful))[0] == "queued"
    old = await story.join("bob", "old")
    assert await read(old) == ["in doubt"]
    await story.await_state(doubtful, "shown")
    assert await new.call("check", wait_s=0.5) == []
