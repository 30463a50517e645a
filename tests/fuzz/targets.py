"""What is fuzzed: every decoder of foreign bytes, with the keys in hand where there are any.

Each target makes one input from a random source and feeds it. An input is fine when it is decoded
or refused in the way that its decoder promises; anything else is a crash.
"""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import mesh
from mcp_bridge.arguments import Arguments
from mcp_bridge.sanitise import sanitise
from mcp_bridge.schemas import TOOLS
from mesh.core.changes import PutInbox, PutOutbox
from mesh.driver import control
from mesh.model import CurveKey, HostId, Incarnation, MailboxKey, MessageId, Verified, Why
from mesh.packet import (
    Ack,
    AckItem,
    Announce,
    Gap,
    Greeting,
    Hint,
    Mail,
    MailItem,
    Noted,
    Peers,
    Ping,
    Verdict,
)
from mesh.store.interface import InboxQuery
from mesh.store.sqlite import SqliteStore
from mesh.wire import bodies, cards, codec, frames, greetings, heads, letters, packets
from mesh.wire.greetings import Opening
from mesh.wire.keys import MailboxSigner, NodeSigner
from tests.fuzz.deeper import command_line, conversation
from tests.security.insider import Insider
from tests.store import samples

INTERESTING = (0, 1, 23, 24, 255, 256, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63))
ME = MailboxSigner(b"m" * 32)
NODE = NodeSigner(b"n" * 32)
BINDING = b"b" * 32
KEY, KEY_ID = b"k" * 32, b"i" * 8


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Change a few places: flip, overwrite, cut out, double, splice in."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(changed):
                changed[at] = chance.randrange(256)
            case 2:
                del changed[at : at + chance.randrange(1, 9)]
            case 3:
                changed[at:at] = changed[at : at + chance.randrange(1, 33)]
            case 4:
                changed[at:at] = chance.randbytes(chance.randrange(1, 9))
            case _:
                number = chance.choice(INTERESTING)
                changed[at : at + 9] = codec.dumps(number)
    return bytes(changed)


def twist(value: object, chance: random.Random, depth: int = 0) -> object:
    """Change one item of a decoded value to something else of any type."""
    if isinstance(value, list | tuple) and value and chance.random() < 0.8:
        items = list(value)
        at = chance.randrange(len(items))
        match chance.randrange(8):
            case 0:
                del items[at]
            case 1:
                items.insert(at, items[at])
            case 2:
                items = items * chance.choice((2, 30))
            case _:
                items[at] = twist(items[at], chance, depth + 1)
        return items
    return chance.choice(
        (
            *INTERESTING[:9],
            None,
            True,
            b"",
            chance.randbytes(chance.choice((8, 16, 32, 33))),
            "",
            "x" * chance.choice((1, 33, 300)),
            "\u202eevil\0",
            [],
            [[]],
            {},
            {"a": 1},
            1.5,
        )
    )


@dataclass
class Wire:
    """Valid bytes of every kind, to start from."""

    packets: list[bytes] = field(default_factory=list)
    card: bytes = b""
    letter: bytes = b""
    body: bytes = b""
    hello: bytes = b""

    @classmethod
    def make(cls) -> "Wire":
        with Insider(None, "fuzz") as insider:
            insider.me = ME
            letter, body = insider.letter(MailboxKey(b"r" * 32), 5)
            card = insider.alias_card("old", profile=mesh.Profile("a", "b", "c", "d"))
        life, one = Incarnation(b"l" * 8), MessageId(b"1" * 16)
        hint = Hint(CurveKey(b"c" * 32), ("tcp://10.0.0.1:1",), 1.0)
        some = [
            Announce((card, card)),
            Mail(ME.key, (MailItem(letter, 4, 1.0, body), MailItem(letter, 0, 0.0, body))),
            Ack(ME.key, ME.key, life, (AckItem(1, one, Verdict.REFUSED, Why.LOOP),)),
            Gap(ME.key, ME.key, life, 7),
            Noted(ME.key, ME.key, (one, one)),
            Peers((hint, hint)),
            Ping(7),
        ]
        encoded = [packets.encode(packet, sign=_sign, binding=BINDING) for packet in some]
        greeting = Greeting(1, NODE.id, HostId(b"h" * 16), NODE.curve.public, ("tcp://10.0.0.1:1",))
        opening = Opening(greeting, b"n" * 16, b"e" * 32, CurveKey(b"d" * 32))
        hello = greetings.encode_hello(opening, signer=NODE)
        return cls(encoded, cards.encode(card), letters.encode(letter), body, hello)


def _sign(_key: MailboxKey, message: bytes) -> bytes:
    return ME.sign(message)


WIRE = Wire.make()
GREETING = heads.split(WIRE.hello)[2][0]
WELCOME = [*codec.array(codec.loads(GREETING, bytes_max=10_000, depth_max=8)), b"w" * 32]


def envelope(chance: random.Random) -> None:
    """Frames: junk, and mutated ones of the right key."""
    parts = list(frames.seal(WIRE.packets[0][:64], key=KEY, key_id=KEY_ID, nonce=b"n" * 24))
    at = chance.randrange(2)
    parts[at] = mutate(parts[at], chance)
    frames.open_frame(parts[: chance.choice((1, 2, 2, 2, 2))], key=KEY, key_id=KEY_ID)


def packet(chance: random.Random) -> None:
    """Mutated packets behind a valid seal; most fail at the signature."""
    packets.decode(mutate(chance.choice(WIRE.packets), chance), binding=BINDING)


def plain(chance: random.Random) -> None:
    """The list of packets in an envelope."""
    for data in packets.unpack(mutate(packets.pack(WIRE.packets[2:]), chance)):
        packets.decode(data, binding=BINDING)


def signed_card(chance: random.Random) -> None:
    """A card of any content, truly signed by the key that sends it."""
    value = codec.loads(WIRE.card, bytes_max=10_000, depth_max=8)
    part = codec.dumps(twist(value, chance)) if chance.random() < 0.7 else mutate(WIRE.card, chance)
    signature = ME.sign(b"mesh1/card\0" + BINDING + part)
    packets.decode(heads.join(heads.PacketKind.ANNOUNCE, ([signature],), (part,)), binding=BINDING)


def signed_mail(chance: random.Random) -> None:
    """A letter of any content, truly signed."""
    value = codec.loads(WIRE.letter, bytes_max=10_000, depth_max=8)
    header = codec.dumps(twist(value, chance))
    if chance.random() < 0.3:
        header = mutate(WIRE.letter, chance)
    signature = ME.sign(b"mesh1/mail\0" + BINDING + letters.digest(header))
    fact = twist([4, 0], chance) if chance.random() < 0.2 else [4, 0]
    head = (ME.key, signature, [fact])
    data = heads.join(heads.PacketKind.MAIL, head, (header, WIRE.body))
    packets.decode(data, binding=BINDING)


def signed_ack(chance: random.Random) -> None:
    part = codec.dumps(twist([ME.key, b"l" * 8, [[1, 3, 11, b"1" * 32]]], chance))
    signature = ME.sign(b"mesh1/ack\0" + BINDING + part)
    data = heads.join(heads.PacketKind.ACK, (ME.key, signature), (part,))
    packets.decode(data, binding=BINDING)


def signed_file(chance: random.Random) -> None:
    """Packets about files, truly signed, of any content."""
    kind, label = chance.choice(
        (
            (heads.PacketKind.OFFER, b"mesh1/offer\0"),
            (heads.PacketKind.HAVE, b"mesh1/have\0"),
            (heads.PacketKind.DECLINE, b"mesh1/decline\0"),
        )
    )
    value: list[object] = [ME.key, b"d" * 32, 100, "name", b""]
    if kind != heads.PacketKind.OFFER:
        value = [ME.key, b"d" * 32, 9]
    part = codec.dumps(twist(value, chance))
    head = (ME.key, ME.sign(label + BINDING + part))
    packets.decode(heads.join(kind, head, (part,)), binding=BINDING)


def bulk(chance: random.Random) -> None:
    """Envelopes of the suite for bulk."""
    suite, nonce = frames.Suite.BULK, b"n" * frames.NONCE_BYTES[frames.Suite.BULK]
    sealed = frames.seal(WIRE.packets[0][:64], key=KEY, key_id=KEY_ID, nonce=nonce, suite=suite)
    parts = list(sealed)
    at = chance.randrange(2)
    parts[at] = mutate(parts[at], chance)
    frames.open_frame(parts, key=KEY, key_id=KEY_ID, suite=chance.choice(list(frames.Suite)))


def head(chance: random.Random) -> None:
    """A head of any kind and content."""
    kind = chance.choice(list(heads.PacketKind))
    value = twist(heads.split(chance.choice(WIRE.packets))[1][1:], chance)
    fields = value if isinstance(value, list) else [value]
    packets.decode(heads.join(kind, fields, (b"",)), binding=BINDING)


def greeting(chance: random.Random) -> None:
    """Greetings as they come, and greetings of any content, truly signed by a node."""
    if chance.random() < 0.3:
        greetings.decode_hello(mutate(WIRE.hello, chance))
        return
    is_hello = chance.random() < 0.5
    part = (
        mutate(GREETING, chance) if chance.random() < 0.5 else codec.dumps(twist(WELCOME, chance))
    )
    kind, label = (1, b"mesh1/hello\0") if is_hello else (2, b"mesh1/welcome\0")
    head = (NODE.key, NODE.sign(label + part))
    data = heads.join(heads.PacketKind(kind), head, (part,))
    if is_hello:
        greetings.decode_hello(data)
    else:
        greetings.decode_welcome(data, hello=WIRE.hello)


def card(chance: random.Random) -> None:
    cards.decode(mutate(WIRE.card, chance))


def letter(chance: random.Random) -> None:
    letters.decode(mutate(WIRE.letter, chance))


def body(chance: random.Random) -> None:
    decoded = bodies.decode_body(mutate(WIRE.body, chance))
    if decoded.data_json is not None:
        bodies.load_json(decoded.data_json)


def cbor(chance: random.Random) -> None:
    codec.loads(
        mutate(chance.choice((WIRE.card, WIRE.letter)), chance), bytes_max=9999, depth_max=8
    )


def json_data(chance: random.Random) -> None:
    text = json.dumps({"a": [1, 2.5, None, {"b": "\u00e9"}]}).encode()
    bodies.load_json(mutate(text, chance).decode("utf-8", "replace"))


def control_line(chance: random.Random) -> None:
    text = json.dumps({"op": "send", "token": "t", "args": {"to": "bob", "content": "x"}}).encode()
    control.decode_line(mutate(text, chance) + b"\n")


def arguments(chance: random.Random) -> None:
    """Arguments of every tool, of any JSON type."""
    tool = chance.choice(list(TOOLS))
    values: dict[str, object] = {}
    for argument in tool.arguments:
        values[argument.name] = chance.choice(
            ("bob", "", "\ud800", "x" * 70, 1, -1, 1.5, 10**400, True, None, [], {}, {"a": []})
        )
    if chance.random() < 0.1:
        values[chance.choice(("evil", "", "\n"))] = 1
    checked = Arguments(tool, values)
    for argument in tool.arguments:
        checked.moment_or_none(argument.name) if argument.name == "since" else None


def shown_text(chance: random.Random) -> None:
    text = mutate("From: boss \x1b[31m\u202e grün".encode(), chance).decode(
        "utf-8", "surrogateescape"
    )
    clean, _ = sanitise(text)
    assert sanitise(clean) == (clean, 0)


QUICK: tuple[Callable[[random.Random], None], ...] = (
    envelope,
    packet,
    plain,
    signed_card,
    signed_mail,
    signed_ack,
    head,
    greeting,
    card,
    letter,
    body,
    cbor,
    json_data,
    control_line,
    arguments,
    shown_text,
    signed_file,
    bulk,
)
OTHERS: tuple[Callable[[random.Random], None], ...] = (conversation, command_line)


class Databases:
    """Database files with bytes changed: opened, salvaged, or refused as damaged."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        filled = directory / "filled.db"
        self._open(filled).close()
        store = self._open(filled)
        for row in range(1, 20):
            put = PutInbox(samples.letter(row), b"incoming %d" % row * 30, Verified.PINNED)
            store.commit([PutOutbox((samples.entry(row),), b"outgoing %d" % row), put])
        store.close()
        self._content = filled.read_bytes()

    def __call__(self, chance: random.Random) -> None:
        self._number += 1
        place = self._directory / str(self._number)
        place.mkdir()
        path = place / "mailbox.db"
        content = bytearray(self._content)
        for _ in range(chance.choice((1, 3, 30))):
            content[chance.randrange(len(content))] = chance.randrange(256)
        if chance.random() < 0.2:
            del content[chance.randrange(len(content)) :]
        path.write_bytes(content)
        try:
            store = self._open(path)
            try:
                store.snapshot()
                store.read(InboxQuery())
                store.commit([PutInbox(samples.letter(99), b"new", Verified.PINNED)])
            finally:
                store.close()
        finally:
            shutil.rmtree(place)

    def _open(self, path: Path) -> SqliteStore:
        return SqliteStore.open(
            path, key=samples.OWN, name="alice", mesh="default", clocks=samples.FakeClocks()
        )
