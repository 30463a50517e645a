"""What lies behind the decoders: the core under packets of any content, and the command line.

Everything here is well-formed and honestly signed, as only members can send it; what it says is
not.
"""

import random
from contextlib import suppress

from mesh.cli.main import _parse
from mesh.core.events import (
    Event,
    LinkLost,
    LocalNodes,
    Loss,
    MailboxTaken,
    PacketReceived,
    Resumed,
    Sighted,
    Source,
    Submit,
    Timeout,
    Token,
)
from mesh.core.node import Node
from mesh.model import (
    Address,
    Alias,
    CurveKey,
    FileRef,
    Incarnation,
    LinkId,
    MailboxKey,
    NodeId,
    Profile,
    Why,
)
from mesh.packet import (
    Ack,
    AckItem,
    Announce,
    Chunk,
    Decline,
    Gap,
    Have,
    Hello,
    Hint,
    Leave,
    Mail,
    MailItem,
    Noted,
    Offer,
    Packet,
    Peers,
    Ping,
    Pong,
    Spooling,
    Verdict,
    Want,
    Welcome,
)
from tests.core import samples

KEYS = [samples.ALICE, samples.BOB, samples.CAROL, MailboxKey(bytes(32))]
NODES = [samples.OWN_NODE, samples.OTHER_NODE, samples.THIRD_NODE, NodeId(bytes(16))]
LIVES = [samples.LIFE, Incarnation(bytes(8))]
NAMES = ("alice", "bob", "Bob", "carol", "x" * 32, "_")
NUMBERS = (0, 1, 2, 3, 4095, 4096, 4097, 2**31, 2**62, 2**63 - 1)
TIMES = (0.0, 0.001, 1.0, 999.0, 1000.0, 7200.0, 1e9, 2.0**53 / 1000)
DIGESTS = [bytes([n]) * 32 for n in range(2)]
PAUSES = (0.0, 0.0, 0.0, 0.01, 0.3, 5.0, 30.0, 3600.0, 1e7)


def _card(chance: random.Random):
    aliases = tuple(
        Alias(chance.choice(NAMES), chance.choice(TIMES), chance.choice((-1.0, 1.0)) * 7000)
        for _ in range(chance.randrange(3))
    )
    return samples.card(
        chance.choice(KEYS),
        chance.choice(NAMES),
        incarnation=chance.choice(LIVES),
        claim=chance.choice(NUMBERS),
        is_live=chance.random() < 0.7,
        claimed_s=chance.choice(TIMES),
        aliases=aliases,
    )


def _mail(chance: random.Random, author: MailboxKey) -> Mail:
    items = []
    for _ in range(chance.randrange(1, 5)):
        sequence = max(1, chance.choice(NUMBERS))
        letter = samples.letter(
            sequence,
            message_id=samples.message_id(chance.randrange(5)),
            author=author,
            author_name=chance.choice(NAMES),
            incarnation=chance.choice(LIVES),
            recipient=chance.choice(KEYS),
            ttl_s=chance.choice(TIMES),
            chain=tuple(bytes([n]) for n in range(chance.choice((0, 1, 16, 17)))),
        )
        previous = min(chance.choice(NUMBERS), sequence - 1)
        items.append(MailItem(letter, previous, chance.choice(TIMES), b"body"))
    return Mail(author, tuple(items))


def _file_packet(chance: random.Random, one: MailboxKey, two: MailboxKey) -> Packet:
    digest, number = chance.choice(DIGESTS), chance.choice(NUMBERS)
    match chance.randrange(6):
        case 5:
            return Spooling(one, two, b"", number)
        case 0:
            return Offer(one, two, FileRef(digest, number, "file"), b"")
        case 1:
            return Want(one, two, digest, number, chance.choice(NUMBERS))
        case 2:
            return Chunk(one, two, digest, number, bytes(chance.choice((0, 1, 1000))))
        case 3:
            return Have(one, two, digest)
        case _:
            return Decline(one, two, digest, chance.choice(list(Why)))


def packet(chance: random.Random) -> Packet:
    """Return any packet, with values that mean something now and then."""
    one, two = chance.choice(KEYS), chance.choice(KEYS)
    ids = tuple(samples.message_id(n) for n in range(chance.randrange(3)))
    match chance.randrange(14):
        case 0:
            expected = chance.choice((None, *NODES))
            own = samples.greeting(chance.choice(NODES[1:]), expected=expected)
            return chance.choice((Hello, Welcome))(own)
        case 1 | 2:
            return Announce(tuple(_card(chance) for _ in range(chance.randrange(4))))
        case 3 | 4 | 5:
            return _mail(chance, one)
        case 6:
            items = tuple(
                AckItem(
                    max(1, chance.choice(NUMBERS)),
                    samples.message_id(chance.randrange(5)),
                    chance.choice(list(Verdict)),
                    chance.choice(list(Why)),
                )
                for _ in range(chance.randrange(1, 4))
            )
            return Ack(one, two, chance.choice(LIVES), items)
        case 7:
            return Gap(one, two, chance.choice(LIVES), chance.choice(NUMBERS))
        case 8:
            return Noted(one, two, ids)
        case 9:
            hint = Hint(CurveKey(chance.randbytes(32)), ("tcp://10.0.0.1:1",), chance.choice(TIMES))
            return Peers((hint,) * chance.randrange(3))
        case 10:
            return chance.choice((Ping, Pong))(chance.choice(NUMBERS))
        case 11:
            return Leave()
        case _:
            return _file_packet(chance, one, two)


def _event(chance: random.Random, node: Node, now: float) -> Event:
    link = LinkId(chance.choice((-1, -2, -3, 1, 2)))
    match chance.randrange(12):
        case 0:
            return LinkLost(link, chance.choice(list(Loss)))
        case 1:
            curve = samples.curve_of(chance.choice(NODES))
            return Sighted(Source.MDNS, curve, ("tcp://o:1",), chance.choice((None, *NODES)))
        case 2:
            return chance.choice((Resumed(), LocalNodes(tuple(NODES[:2]))))
        case 3:
            to = Address(chance.choice(NAMES), "")
            return Submit(Token(1), samples.BOB, to, (samples.draft(chance.randrange(9)),))
        case 4 if (node.next_deadline() or now + 1) <= now:
            return Timeout()
        case _:
            return PacketReceived(link, packet(chance))


def conversation(chance: random.Random) -> None:
    """A node that holds a mailbox, and hears any packets over a few links, at any times."""
    node = Node(
        samples.greeting(samples.OWN_NODE, host=samples.HOST),
        is_open=chance.random() < 0.2,
        is_strict=chance.random() < 0.2,
        random=chance.random,
    )
    node.step(MailboxTaken(samples.snapshot(samples.BOB, "bob"), True, Profile()), 0.0)
    now = 0.0
    for link in (-1, -2):
        node.step(PacketReceived(LinkId(link), Hello(samples.greeting(NODES[-link]))), now)
        node.step(PacketReceived(LinkId(link), Announce((_card(chance), _card(chance)))), now)
    for _ in range(25):
        now += chance.choice(PAUSES)
        node.step(_event(chance, node, now), now)


WORDS = (
    *("send", "check", "list", "status", "rename", "trust", "ask", "broadcast", "run", "sim"),
    *("share-file", "share-command", "secret", "new", "install", "doctor", "demo", "claude"),
    *("--as", "--json", "--wait", "--ttl-s", "--since", "--limit", "--data", "--open", "--"),
    *(
        "bob",
        "alice#0123ab",
        "",
        "-",
        "\ud800",
        "\0",
        "x" * 5000,
        "1e999",
        "nan",
        "-1",
        "{",
        "[" * 99,
    ),
    *(
        "--nodes",
        "--seed",
        "--seeds",
        "99999999999999999999",
        "2026-01-31T09:30:00+00:00",
        "--peek",
    ),
)


def command_line(chance: random.Random) -> None:
    """Words in any order: options, or one sentence about what is wrong with them."""
    words = [chance.choice(WORDS) for _ in range(chance.randrange(7))]
    with suppress(SystemExit):
        _parse(words)
