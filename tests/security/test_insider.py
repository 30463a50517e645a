"""T2, T6, T8: what a member who holds the secret can do to the others, and what it cannot."""

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mesh import limits
from mesh.model import CurveKey, Incarnation, MailboxKey, MessageId, Profile, Why
from mesh.packet import (
    Ack,
    AckItem,
    Announce,
    Gap,
    Hint,
    Leave,
    Mail,
    Noted,
    Peers,
    Ping,
    Pong,
    Verdict,
)
from mesh.wire import heads
from mesh.wire.heads import PacketKind, join
from tests.processes.hosts import Mesh, contents, free_port
from tests.security.insider import Insider, target
from tests.security.measure import delivery_s, report
from tests.usage import MIB, resident_bytes


def key_of(line, name: str) -> MailboxKey:
    """The key of an agent that the other side has announced."""
    for packet in reversed(line.heard):
        if isinstance(packet, Announce):
            return next(card.key for card in packet.cards if card.name == name)
    raise LookupError(name)


async def dialled(insider: Insider, to, **kwargs):
    line = await insider.dial(to, **kwargs)
    await line.hear_of(Announce)
    return line


async def test_an_insider_that_keeps_the_rules_is_heard(mesh: Mesh, insider: Insider):
    bob = await mesh.join("bob")
    line = await dialled(insider, target(mesh.home("h1")))
    await bob.sees(mallory="live")
    await line.send(insider.mail([insider.letter(key_of(line, "bob"), 1, "hello")]))
    assert contents(await bob.call("collect", count=1, timeout_s=5)) == ["hello"]


async def test_mail_in_the_name_of_a_key_not_proven_is_dropped(mesh: Mesh, insider: Insider):
    bob = await mesh.join("bob", "h1")
    alice = await mesh.join("alice", "h1")
    await alice.sees(bob="live")
    line = await dialled(insider, target(mesh.home("h1"), bob.pid))
    to = key_of(line, "bob")
    alices = key_of(await dialled(insider, target(mesh.home("h1"), alice.pid)), "alice")
    # Signed by the wrong key: the envelope is dropped. By a key of one's own, never announced: too.
    letter, body = insider.letter(to, 1, "from alice, honest", author=alices, author_name="alice")
    await line.send(insider.mail([(letter, body)]))
    unproven = insider.another()
    await line.send(insider.mail([insider.letter(to, 1, "unproven", author=unproven)]))
    # One's own letter inside a packet of somebody else's.
    mixed = insider.mail([insider.letter(to, 1, "mixed")])
    await line.send(replace(mixed, author=alices))
    assert not [p for p in await line.hear(0.3) if isinstance(p, Ack)]
    assert contents(await bob.call("check")) == []
    # The name alone proves nothing either: it is shown as changed, as alice is pinned.
    await delivery_s(alice, bob, "bob", "the true one")
    await line.send(insider.mail([insider.letter(to, 1, "a liar", author_name="alice")]))
    (found,) = await bob.call("collect", count=1, timeout_s=5)
    assert (found["content"], found["verified"]) == ("a liar", "changed")
    # Nor does it help to announce that name.
    await line.send(Announce((insider.card("alice"),)))
    liar = insider.letter(to, 2, "a louder liar", author_name="alice")
    await line.send(insider.mail([liar], previous=1))
    (found,) = await bob.call("collect", count=1, timeout_s=5)
    assert (found["content"], found["verified"]) == ("a louder liar", "changed")


async def test_cards_of_other_keys_and_of_other_links_are_refused(mesh: Mesh, insider: Insider):
    bob = await mesh.join("bob", "h1")
    alice = await mesh.join("alice", "h1")
    to_alice = await dialled(insider, target(mesh.home("h1"), alice.pid))
    alices = next(
        c for p in to_alice.heard if isinstance(p, Announce) for c in p.cards if c.name == "alice"
    )
    to_bob = await dialled(insider, target(mesh.home("h1"), bob.pid))
    await bob.sees(mallory="live", alice="live")
    # A card of alice's key, signed with one's own.
    await to_bob.send(Announce((replace(alices, claim=limits.peers_max),)))
    # What alice signed for the link to the insider, copied to the link to bob, byte for byte.
    copied = [data for data in to_alice.raw if heads.split(data)[0] == PacketKind.ANNOUNCE]
    assert copied
    for data in copied:
        await to_bob.send_frames(to_bob.seal(data))
    await to_bob.send_frames(to_alice.seal(*copied))
    await asyncio.sleep(0.2)
    roster = await bob.call("roster")
    (entry,) = [e for e in roster if e["id"] == "alice"]
    assert entry["state"] == "live"
    assert await delivery_s(bob, alice, "alice", "still mine") < 2
    assert not [p for p in await to_bob.hear(0.2) if isinstance(p, Mail)]


async def test_acks_and_gaps_for_mail_to_others_change_nothing(mesh: Mesh, insider: Insider):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    carol = await mesh.join("carol", "h2", peers=[f"127.0.0.1:{door}"])
    await carol.sees(alice="live")
    carols = key_of(await dialled(insider, target(mesh.home("h2"))), "carol")
    assert await delivery_s(alice, carol, "carol", "first") < 2
    await carol.close()
    await alice.sees(carol="away")
    sent = await alice.call("send", to="carol", content="for carol only")
    line = await dialled(insider, target(mesh.home("h1")))
    alices = key_of(line, "alice")
    life = next(c.incarnation for p in line.heard if isinstance(p, Announce) for c in p.cards)
    message_id = MessageId(bytes.fromhex(sent["id"]))
    for sequence in range(1, 5):
        for verdict in Verdict:
            item = AckItem(sequence, message_id, verdict, Why.NONE)
            await line.send(Ack(carols, alices, life, (item,)))
            await line.send(Ack(insider.key, alices, life, (item,)))
    await line.send(Gap(carols, alices, life, 0))
    await line.hear(0.2)
    assert [r["state"] for r in await alice.call("receipt", id_=sent["id"])] == ["queued"]
    carol = await mesh.join("carol", "h2", peers=[f"127.0.0.1:{door}"])
    assert contents(await carol.call("collect", count=1, timeout_s=10)) == ["for carol only"]


async def test_a_note_in_an_authors_name_does_not_keep_shown_from_it(mesh: Mesh, insider: Insider):
    door = free_port()
    bob = await mesh.join("bob", "h1", port=door)
    carol = await mesh.join("carol", "h2", peers=[f"127.0.0.1:{door}"])
    await carol.sees(bob="live")
    carols = key_of(await dialled(insider, target(mesh.home("h2"))), "carol")
    sent = await carol.call("send", to="bob", content="read it later")
    await carol.call("wait", id_=sent["id"], state="delivered", timeout_s=5)
    await carol.close()
    await bob.sees(carol="away")
    assert contents(await bob.call("check")) == ["read it later"]
    line = await dialled(insider, target(mesh.home("h1")))
    message_id = MessageId(bytes.fromhex(sent["id"]))
    await line.send(Noted(carols, key_of(line, "bob"), (message_id,)))
    await line.hear(0.2)
    carol = await mesh.join("carol", "h2", peers=[f"127.0.0.1:{door}"])
    await carol.call("wait_receipt", id_=sent["id"], state="shown", timeout_s=5)


async def test_an_alias_never_draws_the_mail_of_somebody_else(mesh: Mesh, insider: Insider):
    door = free_port()
    alice = await mesh.join("alice", "h1", port=door)
    victim = await mesh.join("victim", "h2", peers=[f"127.0.0.1:{door}"])
    await alice.sees(victim="live")
    line = await dialled(insider, target(mesh.home("h1")), cards=[insider.alias_card("victim")])
    await alice.sees(mallory="live")
    # Not pinned yet, the holder live.
    assert await delivery_s(alice, victim, "victim", "first") < 2
    # Pinned, and the holder away.
    await victim.close()
    await alice.sees(15, victim="away")
    sent = await alice.call("send", to="victim", content="second")
    assert [r["to"] for r in await alice.call("receipt", id_=sent["id"])] == ["victim"]
    assert not [p for p in await line.hear(0.3) if isinstance(p, Mail)]
    victim = await mesh.join("victim", "h2", peers=[f"127.0.0.1:{door}"])
    assert contents(await victim.call("collect", count=1, timeout_s=10)) == ["second"]


async def test_a_live_name_is_not_taken_over_by_another_host(mesh: Mesh, insider: Insider):
    alice = await mesh.join("alice", "h1")
    bob = await mesh.join("bob", "h1")
    await delivery_s(alice, bob, "bob", "so we know each other")
    card = insider.card("bob", claim=2**63 - 1, claimed_s=1000 * 366 * 86400.0)
    line = await dialled(insider, target(mesh.home("h1"), alice.pid), cards=[card])
    await asyncio.sleep(0.2)
    assert [e["id"] for e in await alice.call("roster")].count("bob") == 2
    assert await delivery_s(alice, bob, "bob", "still bob's") < 2
    assert not [p for p in await line.hear(0.3) if isinstance(p, Mail)]


async def test_another_nodes_id_wins_neither_mail_nor_presence(mesh: Mesh, insider: Insider):
    """Node ids are no secrets: the insider greets with alice's, dialling and being dialled.

    PROTOCOL.md LINK-8.
    """
    bob = await mesh.join("bob", "h1")
    alice = await mesh.join("alice", "h2", peers=())
    to_alice = target(mesh.home("h2"))
    door_line = await dialled(insider, to_alice)
    endpoint = insider.listen()
    host, alices = door_line.greeting.host, door_line.peer_key
    bobs = target(mesh.home("h1"))
    # alice and bob meet through a hint, then the insider comes in between.
    await door_line.send(Peers((Hint(bobs.curve, (bobs.endpoint,), 0.0),)))
    await bob.sees(alice="live")
    for endpoints in ((), (endpoint,)):
        with pytest.raises(TimeoutError):
            await dialled(insider, bobs, endpoints=endpoints, host=host, posing_as=alices)
    # What is left is to be a node of alice's host, but of one's own id.
    line = await dialled(insider, bobs, cards=[], endpoints=(endpoint,), host=host)
    (entry,) = [e for e in await bob.call("roster") if e["id"] == "alice"]
    assert entry["state"] == "live"
    assert await delivery_s(bob, alice, "alice", "to alice herself") < 2
    await line.send(Leave())
    await asyncio.sleep(0.3)
    assert await delivery_s(bob, alice, "alice", "and after the goodbye") < 2
    await bob.sees(alice="live")
    # Dialled by bob, welcomed with alice's node key: bob hangs up.
    other = await dialled(insider, bobs)
    await other.send(Peers((Hint(insider.signer.curve.public, (endpoint,), 0.0),)))
    await insider.accept(cards=[insider.card("alice")], host=host, posing_as=alices)
    sent = await bob.call("send", to="alice", content="not for the one in between")
    await bob.call("wait", id_=sent["id"], state="delivered", timeout_s=5)
    assert insider.heard_nothing_but_hellos()
    assert [e["id"] for e in await bob.call("roster")].count("alice") == 1


async def test_a_hello_recorded_at_a_false_door_opens_nothing(mesh: Mesh, insider: Insider):
    """All doors have one key: alice's hello to the insider's may be shown at bob's."""
    door = free_port()
    bob = await mesh.join("bob", "h1", port=door)
    false = insider.listen(is_door=True).removeprefix("tcp://")
    alice = await mesh.join("alice", "h2", peers=[f"127.0.0.1:{door}", false])
    await bob.sees(alice="live")
    assert insider.listening is not None
    hello: list[bytes] = []
    async with asyncio.timeout(10):
        while len(hello) != 3:
            while not insider.listening.poll(0):
                await asyncio.sleep(0.01)
            hello = insider.listening.recv_multipart()
    line = insider.dealer(insider.mesh.door.public)
    line.connect(f"tcp://127.0.0.1:{door}")
    answers = 0
    for parts in (hello[1:], hello[1:], hello[1:]):
        line.send_multipart(parts)
        await asyncio.sleep(0.1)
    while line.poll(200):
        answers += len(line.recv_multipart()) == 2
    line.close(linger=0)
    # A welcome, of which only alice could make use, and then nothing more.
    assert answers <= 2
    assert await delivery_s(alice, bob, "bob", "it is me") < 2
    assert await delivery_s(bob, alice, "alice", "so it is") < 2
    assert [e["id"] for e in await bob.call("roster")].count("alice") == 1
    assert (await bob.call("status"))["peers"] == {"live": 1, "suspect": 0}


async def test_hints_lead_to_no_foreign_service(mesh: Mesh, insider: Insider):
    """Neither public addresses, nor paths, nor names are dialled because a member says so."""
    bob = await mesh.join("bob")
    trap = mesh.directory / "trap.sock"
    server = await asyncio.start_unix_server(lambda r, w: called.append(w), path=str(trap))
    called: list[object] = []
    local = await asyncio.start_server(lambda r, w: called.append(w), "127.0.0.1", 0)
    port = local.sockets[0].getsockname()[1]
    evil = (
        "tcp://8.8.8.8:53",
        f"ipc://{trap}",
        f"tcp://localhost:{port}",
        f"tcp://[::ffff:127.0.0.1]:{port}",
    )
    async with server, local:
        line = await dialled(insider, target(mesh.home("h1")), endpoints=evil)
        hints = [Hint(CurveKey(os.urandom(32)), (e,), 0.0) for e in evil]
        await line.send(Peers(tuple(hints)))
        await asyncio.sleep(1.5)
        dialling = (await asyncio.to_thread(_remote_addresses, bob.pid)) - {"127.0.0.1", "::1"}
    assert called == []
    assert dialling == set()


def _remote_addresses(pid: int) -> set[str]:
    """Remote addresses of all TCP sockets of a process, whatever their state."""
    inodes = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            inodes.add(str(file.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address = bytes.fromhex(fields[2].split(":")[0])
            if f"socket:[{fields[9]}]" in inodes and any(address):
                found.add(".".join(map(str, reversed(address[-4:]))))
    return found


async def test_absurd_values_are_taken_as_what_they_are(mesh: Mesh, insider: Insider):
    bob = await mesh.join("bob", "h1")
    alice = await mesh.join("alice", "h1")
    bobs = target(mesh.home("h1"), bob.pid)
    long = 1000 * 366 * 86400.0
    cards = [
        insider.card("Mallory", claim=2**63 - 1, claimed_s=long, registered_ms=2**47),
        insider.card("m2", key=insider.another(), profile=Profile("\x1b[2J" * 9, "x" * 200)),
        insider.card("m3", key=insider.another(), incarnation=Incarnation(bytes(8)), is_live=False),
    ]
    line = await dialled(insider, bobs, cards=cards)
    to = key_of(line, "bob")
    top = 2**63 - 1
    await line.send(insider.mail([insider.letter(to, top, "the last")]))
    assert contents(await bob.call("collect", count=1, timeout_s=5)) == ["the last"]
    await line.send(insider.mail([insider.letter(to, top - 1, "before it")], previous=top - 2))
    await line.send(Ping(2**63 - 1), Gap(insider.key, to, Incarnation(bytes(8)), top), Pong(0))
    raw = [join(PacketKind.GAP, ()), join(PacketKind.ANNOUNCE, ([b"x"],)), b"\x81\x41\xf6", b"\xff"]
    for data in raw:
        await line.send_frames(line.seal(data))
    await line.send_frames(line.seal(*[join(200 + n, ()) for n in range(50)]))  # type: ignore[arg-type]
    (entry,) = [e for e in await bob.call("roster") if e["id"] == "m2"]
    assert entry["state"] == "live"
    assert await delivery_s(alice, bob, "bob", "still here") < 2
    assert bob.process.returncode is None


async def test_floods_of_every_kind_are_bounded(
    mesh: Mesh, insider: Insider, record_property, capsys
):
    bob = await mesh.join("bob", "h1")
    alice = await mesh.join("alice", "h1")
    await delivery_s(alice, bob, "bob", "warm")
    bobs = target(mesh.home("h1"), bob.pid)
    line = await dialled(insider, bobs)
    to = key_of(line, "bob")
    before = resident_bytes(bob.pid)

    async def announce() -> None:
        for turn in range(60):
            keys = [insider.another() for _ in range(limits.cards_per_node_max)]
            names = [f"n{turn}-{n}" for n in range(len(keys))]
            cards = [insider.card(n, key=k) for k, n in zip(keys, names, strict=True)]
            await line.send(Announce(tuple(cards)))
            await asyncio.sleep(0)

    async def hints() -> None:
        for _ in range(100):
            some = [
                Hint(CurveKey(os.urandom(32)), ("tcp://127.0.0.1:9",), 0.0)
                for _ in range(limits.hints_per_packet_max)
            ]
            await line.send(Peers(tuple(some)))
            await asyncio.sleep(0)

    async def pings() -> None:
        for _ in range(200):
            await line.send(*[Ping(n) for n in range(limits.packets_per_envelope_max)])
            await asyncio.sleep(0)

    async def lives() -> None:
        """A new incarnation with each letter, and a new name of the author."""
        for n in range(300):
            life = Incarnation(n.to_bytes(8, "big"))
            letter = insider.letter(to, 1, "x", incarnation=life, author_name=f"m{n}")
            await line.send(Announce((insider.card(),)), insider.mail([letter]))

    took = []
    for attack in (announce, hints, pings, lives):
        await attack()
        took.append(await _arrives(alice, bob, attack.__name__))
    grown = resident_bytes(bob.pid) - before
    roster = len(await bob.call("roster"))
    report(record_property, capsys, grown_mib=grown / MIB, slowest_s=max(took), roster=roster)
    assert max(took) < 5
    assert grown < 64 * MIB
    assert roster <= limits.agents_away_per_node_max + limits.cards_per_node_max + 2


async def _arrives(sender, recipient, content: str) -> float:
    """Like `delivery_s`, but others may write as well."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await sender.call("send", to="bob", content=content)
    while loop.time() - begun < 20:
        if content in contents(await recipient.call("check", wait_s=0.5)):
            return loop.time() - begun
    raise TimeoutError(content)


async def test_streams_and_names_of_one_author_are_few(mesh: Mesh, insider: Insider):
    await mesh.join("bob")
    line = await dialled(insider, target(mesh.home("h1")))
    to = key_of(line, "bob")
    verdicts = []
    for n in range(limits.streams_in_per_author_max + 5):
        letter = insider.letter(to, 1, f"{n}", incarnation=Incarnation(n.to_bytes(8, "big")))
        await line.send(insider.mail([letter]))
        verdicts.append((await line.hear_of(Ack)).items[0].verdict)
    assert verdicts == [Verdict.DELIVERED] * limits.streams_in_per_author_max + [Verdict.LATER] * 5


async def test_frames_of_one_link_are_worth_nothing_on_another(mesh: Mesh, insider: Insider):
    """Replay: every frame of a finished link, on a new one and back to its sender."""
    bob = await mesh.join("bob")
    line = await dialled(insider, target(mesh.home("h1")))
    letters = [insider.letter(key_of(line, "bob"), n, f"{n}") for n in range(1, 4)]
    await line.send(insider.mail(letters))
    assert len(await bob.call("collect", count=3, timeout_s=5)) == 3
    again = await dialled(insider, target(mesh.home("h1")))
    recorded = tuple(line.sent)
    for turn in (line, again):
        for parts in recorded:
            await turn.send_frames(parts)
    # And honestly signed once more: acked as decided, not delivered again.
    await again.send(insider.mail(letters))
    ack = await again.hear_of(Ack)
    assert {item.verdict for item in ack.items} <= {Verdict.DELIVERED, Verdict.SHOWN}
    assert await bob.call("check") == []
    assert len(await bob.call("check", history=True)) == 3
