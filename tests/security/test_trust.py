"""T2: pins, strict mode and trust, between real processes and against a member gone bad."""

import asyncio

from tests.processes.hosts import Mesh, Session, contents, free_port
from tests.security.insider import Insider, target
from tests.security.measure import delivery_s
from tests.security.test_insider import dialled, key_of


async def entry_of(session: Session, fingerprint: str) -> dict[str, object]:
    (entry,) = [e for e in await session.call("roster") if e["fingerprint"] == fingerprint]
    return entry


async def print_of(session: Session, name: str) -> str:
    (found,) = {e["fingerprint"] for e in await session.call("roster") if e["id"] == name}
    return str(found)


async def why(session: Session, id_: str) -> str:
    (recipient,) = await session.call("receipt", id_=id_)
    assert recipient["state"] == "queued"
    return str(recipient["why"])


async def test_a_name_goes_from_first_contact_over_pinned_to_changed_and_back_by_trust(mesh: Mesh):
    door = free_port()
    peers = [f"127.0.0.1:{door}"]
    bob = await mesh.join("bob", "h1", port=door)
    alice = await mesh.join("alice", "h2", peers=peers)
    await alice.sees(bob="live")
    first = await print_of(bob, "alice")
    assert (await entry_of(bob, first))["verified"] == "first_contact"
    seen = []
    for content in ("one", "two"):
        await alice.call("send", to="bob", content=content)
        seen += await bob.call("collect", count=1, timeout_s=5)
    assert [m["verified"] for m in seen] == ["first_contact", "pinned"]
    await alice.close()
    await bob.sees(alice="away")
    other = await mesh.join("alice", "h3", peers=peers)
    await other.sees(bob="live")
    await other.call("send", to="bob", content="I am alice, too")
    (message,) = await bob.call("collect", count=1, timeout_s=5)
    assert message["verified"] == "changed"
    second = str(message["fingerprint"])
    assert second != first
    await bob.call("trust", name="alice", fingerprint=second)
    await other.call("send", to="bob", content="and now?")
    (message,) = await bob.call("collect", count=1, timeout_s=5)
    assert message["verified"] == "pinned"
    assert (await entry_of(bob, first))["verified"] == "changed"


async def test_strict_mode_exchanges_nothing_until_both_sides_trust(mesh: Mesh):
    door = free_port()
    bob = await mesh.join("bob", "h1", port=door, is_strict=True)
    alice = await mesh.join("alice", "h2", peers=[f"127.0.0.1:{door}"])
    await alice.sees(bob="live")
    await bob.sees(alice="live")
    sent = await alice.call("send", to="bob", content="may I?")
    reply = await bob.call("send", to="alice", content="who are you?")
    async with asyncio.timeout(5):
        while await why(alice, sent["id"]) != "pin_conflict":
            await asyncio.sleep(0.05)
    assert await why(bob, reply["id"]) == "pin_conflict"
    problems = await bob.call("wait_problem", timeout_s=5)
    known = await print_of(bob, "alice")
    assert any(f"mesh trust alice {known}" in problem for problem in problems)
    assert await bob.call("check") == await alice.call("check") == []
    await bob.call("trust", name="alice", fingerprint=known)
    assert contents(await bob.call("collect", count=1, timeout_s=15)) == ["may I?"]
    assert contents(await alice.call("collect", count=1, timeout_s=15)) == ["who are you?"]
    assert not any("not trusted" in p for p in (await bob.call("status"))["problems"])


async def test_a_strict_reader_takes_nothing_of_a_member_that_poses_as_somebody(
    mesh: Mesh, insider: Insider
):
    bob = await mesh.join("bob", "h1", is_strict=True)
    alice = await mesh.join("alice", "h1")
    await bob.sees(alice="live")
    await alice.sees(bob="live")
    await bob.call("trust", name="alice", fingerprint=await print_of(bob, "alice"))
    assert await delivery_s(alice, bob, "bob", "the true one") < 10
    cards = [insider.card("alice"), insider.alias_card("alice", key=insider.another())]
    line = await dialled(insider, target(mesh.home("h1"), bob.pid), cards=cards)
    to = key_of(line, "bob")
    for card in cards:
        letter = insider.letter(to, 1, "a lie", author=card.key, author_name=card.name)
        await line.send(insider.mail([letter]))
    await line.hear(0.5)
    assert await bob.call("check") == []
    # Nor does anything that bob writes to alice go to the one who calls itself so.
    assert await delivery_s(bob, alice, "alice", "for alice only") < 10
    assert [e["id"] for e in await bob.call("roster")].count("alice") == 2
