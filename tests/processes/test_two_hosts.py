"""Two state directories on one machine: two hosts that meet over the network of the loopback."""

import asyncio
import signal

import pytest

from tests.processes.hosts import SECRET, Mesh, WorkerError, contents, free_port


async def test_hosts_find_each_other_by_mdns(mesh: Mesh):
    mesh.settings["mdns"] = True
    alice, bob = await asyncio.gather(mesh.join("alice", "h1"), mesh.join("bob", "h2"))
    assert await alice.sees(bob="live") < 3
    await alice.call("send", to="bob", content="found you")
    assert contents(await bob.call("collect", count=1, timeout_s=5)) == ["found you"]


async def test_static_peer_is_met_at_the_door_and_the_rest_by_exchange(mesh: Mesh):
    door = free_port()
    holder = await mesh.join("holder", "h1", port=door)
    other = await mesh.join("other", "h1", port=door)
    await holder.sees(other="live")
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
    await bob.sees(holder="live", other="live")
    await other.sees(bob="live")
    await bob.call("send", to="other", content="through the door")
    assert contents(await other.call("collect", count=1, timeout_s=5)) == ["through the door"]


async def test_door_is_taken_over_when_its_holder_is_killed(mesh: Mesh):
    door = free_port()
    holder = await mesh.join("holder", "h1", port=door)
    other = await mesh.join("other", "h1", port=door)
    await holder.sees(other="live")
    await holder.kill()
    await other.sees(holder="away")
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
    assert await bob.sees(10, other="live") < 7


async def test_hosts_that_have_met_find_each_other_again_without_any_discovery(mesh: Mesh):
    ports = free_port(), free_port()
    alice = await mesh.join("alice", "h1", port=ports[0])
    bob = await mesh.join("bob", "h2", port=ports[1], peers=[f"127.0.0.1:{ports[0]}"])
    await alice.sees(bob="live")
    for session in (alice, bob):
        await session.close()
    bob = await mesh.join("bob", "h2", port=ports[1])
    alice = await mesh.join("alice", "h1", port=ports[0])
    assert await alice.sees(bob="live") < 3
    await alice.kill()
    alice = await mesh.join("alice", "h1", port=ports[0])
    assert await bob.sees(alice="live") < 3
    await bob.call("send", to="alice", content="as before")
    assert contents(await alice.call("collect", count=1, timeout_s=5)) == ["as before"]


async def test_mail_for_a_killed_agent_of_another_host_waits_for_its_return(mesh: Mesh):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
    await alice.sees(bob="live")
    await bob.kill()
    sent = await alice.call("send", to="bob", content="while you were out")
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
    assert contents(await bob.call("collect", count=1, timeout_s=10)) == ["while you were out"]
    done = await alice.call("wait", id_=sent["id"], state="shown", timeout_s=5)
    assert done["reached"], done


@pytest.mark.long
async def test_killed_agent_of_another_host_is_away_in_time(mesh: Mesh):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
    await alice.sees(bob="live")
    await bob.kill()
    assert await alice.sees(60, bob="away") < 15


@pytest.mark.long
async def test_stopped_host_is_away_within_a_minute_and_catches_up_when_it_goes_on(mesh: Mesh):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"])
    await alice.sees(bob="live")
    bob.signal(signal.SIGSTOP)
    await alice.call("send", to="bob", content="sleep well")
    found = await alice.call("wait_roster", states={"bob": "away"}, timeout_s=70, limit_s=80)
    assert found["reached"]
    assert found["after_s"] < 60
    bob.signal(signal.SIGCONT)
    assert contents(await bob.call("collect", count=1, timeout_s=15)) == ["sleep well"]
    assert await bob.sees(10, alice="live") < 10


async def test_wrong_secret_is_named_by_both_and_neither_sees_the_other(mesh: Mesh):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"], secret=SECRET + "!")
    (problem,) = await bob.call("wait_problem", timeout_s=8)
    assert f"127.0.0.1:{door}" in problem
    (problem,) = await alice.call("wait_problem", timeout_s=8)
    assert "was refused" in problem  # A peer as near as this has often hung up before it is named.
    for session, own in ((alice, "alice"), (bob, "bob")):
        assert [entry["id"] for entry in await session.call("roster")] == [own]
    await bob.call("send", to="alice", content="let me in")
    assert contents(await alice.call("check", wait_s=1)) == []


async def test_meshes_of_different_names_never_meet(mesh: Mesh):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    bob = await mesh.join("bob", "h2", peers=[f"127.0.0.1:{door}"], mesh="test-elsewhere")
    await bob.call("wait_problem", timeout_s=8)
    for session, own in ((alice, "alice"), (bob, "bob")):
        assert [entry["id"] for entry in await session.call("roster")] == [own]


async def test_meshes_of_different_names_share_a_host_without_meeting(mesh: Mesh):
    await mesh.join("alice")
    bob = await mesh.join("bob", mesh="test-elsewhere")
    carol = await mesh.join("carol")
    await carol.sees(alice="live")
    assert [entry["id"] for entry in await bob.call("roster")] == ["bob"]
    with pytest.raises(WorkerError):
        await mesh.join("carol", mesh="test-elsewhere")


async def test_one_name_on_two_hosts_is_two_agents(mesh: Mesh):
    door = free_port()
    first = await mesh.join("twin", "h1", port=door)
    alice = await mesh.join("alice", "h1", port=door)
    await alice.sees(twin="live")
    await alice.call("send", to="twin", content="to the one I know")
    assert contents(await first.call("collect", count=1, timeout_s=5)) == ["to the one I know"]
    second = await mesh.join("twin", "h2", peers=[f"127.0.0.1:{door}"])
    await second.sees(alice="live")
    prints = [first.facts["fingerprint"], second.facts["fingerprint"]]
    twins = [entry for entry in await alice.call("roster") if entry["id"] == "twin"]
    assert {entry["fingerprint"]: entry["verified"] for entry in twins} == {
        prints[0]: "pinned",
        prints[1]: "changed",
    }
    await alice.call("send", to="twin", content="bare")
    await alice.call("send", to=f"twin#{prints[1][:6]}", content="exact")
    assert contents(await first.call("collect", count=1, timeout_s=5)) == ["bare"]
    assert contents(await second.call("collect", count=1, timeout_s=5)) == ["exact"]
    await second.call("send", to="alice", content="from the newcomer")
    (got,) = await alice.call("collect", count=1, timeout_s=5)
    assert (got["verified"], got["fingerprint"]) == ("changed", prints[1])
    await first.kill()
    # A tending node of the host holds the mailbox; its agent is away all the same.
    async with asyncio.timeout(5):
        while [e["state"] for e in await alice.call("roster") if e["fingerprint"] == prints[0]] != [
            "away"
        ]:
            pass
    await alice.call("send", to="twin", content="to whoever is there")
    assert contents(await second.call("collect", count=1, timeout_s=5)) == ["to whoever is there"]


async def test_home_once_used_with_a_secret_refuses_open_mode(mesh: Mesh):
    alice = await mesh.join("alice")
    await alice.close()
    with pytest.raises(WorkerError) as caught:
        await mesh.open(secret=None)
    assert caught.value.code == "config"
    assert await mesh.open(secret=None, is_open_allowed=True)


async def test_weak_secret_is_refused(mesh: Mesh):
    for secret in ("", "short", "changeme", "${IPC_SHARED_SECRET}"):
        with pytest.raises(WorkerError) as caught:
            await mesh.open(secret=secret)
        assert caught.value.code == "weak_secret"
    assert not mesh.home("h1").exists()
