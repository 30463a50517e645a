"""Names across hosts: twins, restarts, renames that chain, cross and meet live names."""

import asyncio

import pytest

from tests.processes.hosts import Mesh, Session, WorkerError, contents, free_port


async def two_hosts(mesh: Mesh) -> tuple[Session, Session]:
    """Two agents on two hosts that know each other."""
    door = free_port()
    mesh.settings["peers"] = [f"127.0.0.1:{door}"]
    alice = await mesh.join("alice", "h1", port=door, peers=[])
    bob = await mesh.join("bob", "h2")
    await alice.sees(bob="live")
    await bob.sees(alice="live")
    return alice, bob


async def collected(session: Session, count: int = 1) -> list[str]:
    return contents(await session.call("collect", count=count, timeout_s=10))


async def without_notices(session: Session, count: int) -> list[str]:
    """Collect mail, leaving out what tells of renames."""
    found: list[str] = []
    while len(found) < count:
        messages = await session.call("collect", count=1, timeout_s=10)
        assert messages, found
        found += [m["content"] for m in messages if m["kind"] != "renamed"]
    return found


async def test_restarted_session_of_another_host_is_the_same_agent(mesh: Mesh):
    alice, bob = await two_hosts(mesh)
    await alice.call("send", to="bob", content="one")
    assert await collected(bob) == ["one"]
    for _ in range(3):
        await bob.kill()
        bob = await mesh.join("bob", "h2")
        await alice.sees(10, bob="live")
        await alice.call("send", to="bob", content="again")
        assert await collected(bob) == ["again"]
    twins = [entry for entry in await alice.call("roster") if entry["id"] == "bob"]
    assert [(entry["fingerprint"], entry["verified"]) for entry in twins] == [
        (bob.facts["fingerprint"], "pinned")
    ]


async def test_agents_of_one_name_that_start_at_once_on_two_hosts_are_both_reached(mesh: Mesh):
    alice, _ = await two_hosts(mesh)
    twins = await asyncio.gather(mesh.join("twin", "h1"), mesh.join("twin", "h2"))
    prints = [twin.facts["fingerprint"] for twin in twins]
    async with asyncio.timeout(10):
        while {e["fingerprint"] for e in await alice.call("roster") if e["id"] == "twin"} != {
            *prints
        }:
            await asyncio.sleep(0.02)
    for twin, print_ in zip(twins, prints, strict=True):
        await alice.call("send", to=f"twin#{print_[:6]}", content=print_)
        assert await collected(twin) == [print_]
    await alice.call("send", to="twin", content="whoever is first")
    checks = [twin.begin("check", wait_s=2) for twin in twins]
    found = [contents(messages) for messages in await asyncio.gather(*checks)]
    assert sorted(found) == [[], ["whoever is first"]]


async def test_mail_follows_renames_from_host_to_host_along_a_chain(mesh: Mesh):
    alice, bob = await two_hosts(mesh)
    await alice.call("send", to="bob", content="bob")
    assert await collected(bob) == ["bob"]
    await bob.call("rename", new="bea")
    await alice.sees(10, bea="live")
    sent = await alice.call("send", to="bob", content="to the old name")
    assert sent["recipients"][0]["to"] == "bea"
    assert await without_notices(bob, 1) == ["to the old name"]
    with pytest.raises(WorkerError) as caught:
        await bob.call("rename", new="beatrice")
    assert caught.value.code == "rate_limited"
    await bob.kill()
    await alice.call("send", to="bob", content="while you were out")
    bea = await mesh.join("bea", "h2")
    assert await without_notices(bea, 1) == ["while you were out"]


@pytest.mark.long
async def test_former_name_is_kept_from_others_of_that_host_while_it_forwards(mesh: Mesh):
    alice, bob = await two_hosts(mesh)
    await bob.call("rename", new="bea")
    await alice.sees(10, bea="live")
    thief = await mesh.open("h2")
    with pytest.raises(WorkerError) as caught:
        await thief.call("register", name="bob")
    assert caught.value.code == "name_in_use"


@pytest.mark.long
async def test_two_agents_that_swap_their_names_each_get_what_was_meant_for_them(mesh: Mesh):
    """A cycle of aliases: alice becomes carol while carol becomes alice, on another host."""
    alice, bob = await two_hosts(mesh)
    carol = await mesh.join("carol", "h3")
    await bob.sees(10, alice="live", carol="live")
    for name in ("alice", "carol"):
        await bob.call("send", to=name, content=f"you are {name}")
    assert (await collected(alice), await collected(carol)) == (
        ["you are alice"],
        ["you are carol"],
    )
    await alice.call("rename", new="dora")
    await bob.sees(10, dora="live")
    await carol.call("rename", new="eve")
    await bob.sees(10, eve="live")
    await bob.call("send", to="alice", content="for the first alice")
    await bob.call("send", to="carol", content="for the first carol")
    assert await without_notices(alice, 1) == ["for the first alice"]
    assert await without_notices(carol, 1) == ["for the first carol"]


async def test_rename_onto_a_name_that_lives_on_another_host_is_refused(mesh: Mesh):
    alice, bob = await two_hosts(mesh)
    with pytest.raises(WorkerError) as caught:
        await alice.call("rename", new="Bob")
    assert caught.value.code == "name_in_use"
    await alice.call("send", to="bob", content="nothing has changed")
    assert await collected(bob) == ["nothing has changed"]
