"""Who is there: what a session that did not run itself says of the others."""

import asyncio
import signal
import sys

import pytest

from tests.processes.hosts import Mesh, contents, free_port

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.mark.long
async def test_session_that_was_asleep_blames_nobody_and_has_its_links_again(mesh: Mesh):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
    await mesh.join("near", "h2", peers=[f"127.0.0.1:{door}"])
    await bob.sees(alice="live", near="live")
    watching = bob.begin("transitions", timeout_s=30)
    await asyncio.sleep(0.2)  # The first look is no change.
    bob.signal(signal.SIGSTOP)
    found = await alice.call("wait_roster", states={"bob": "away"}, timeout_s=70, limit_s=80)
    assert found["reached"]
    bob.signal(signal.SIGCONT)
    assert await alice.sees(15, bob="live")
    await alice.call("send", to="bob", content="good morning")
    assert contents(await bob.call("collect", count=1, timeout_s=10)) == ["good morning"]
    changes = await watching
    assert ["alice", "away"] not in changes
    assert ["near", "away"] not in changes


@pytest.mark.long
async def test_session_that_stood_still_for_seconds_is_blamed_by_nobody(mesh: Mesh):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
    await alice.sees(bob="live")
    await bob.sees(alice="live")
    watching = [session.begin("transitions", timeout_s=9) for session in (alice, bob)]
    bob.signal(signal.SIGSTOP)
    await alice.call("send", to="bob", content="wake up")
    await asyncio.sleep(6)  # Longer than a node takes for granted that it has run.
    bob.signal(signal.SIGCONT)
    assert contents(await bob.call("collect", count=1, timeout_s=10)) == ["wake up"]
    for changes in await asyncio.gather(*watching):
        assert not {"suspect", "away"} & {state for _, state in changes}
