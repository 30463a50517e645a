"""Values that the tests of the core are made of."""

from dataclasses import replace
from typing import Any

from mesh.core.events import Draft
from mesh.core.node import Node
from mesh.core.snapshot import MailboxSnapshot, OutboxEntry, ShownLetter
from mesh.model import (
    Card,
    CurveKey,
    HostId,
    Incarnation,
    Kind,
    Letter,
    MailboxKey,
    MessageId,
    NodeId,
    Profile,
)
from mesh.packet import Greeting, MailItem

ALICE = MailboxKey(b"A" * 32)
BOB = MailboxKey(b"B" * 32)
CAROL = MailboxKey(b"C" * 32)
DAVE = MailboxKey(b"D" * 32)
LIFE = Incarnation(b"life-one")
OTHER_LIFE = Incarnation(b"life-two")
HOST = HostId(b"host-of-node-one")
OTHER_HOST = HostId(b"host-of-node-two")
OWN_NODE = NodeId(b"n" * 16)
OTHER_NODE = NodeId(b"o" * 16)
THIRD_NODE = NodeId(b"p" * 16)


def half() -> float:
    """Chance that always falls in the middle."""
    return 0.5


def curve_of(node: NodeId) -> CurveKey:
    return CurveKey(bytes(node) * 2)


def greeting(node: NodeId = OTHER_NODE, **changes: Any) -> Greeting:
    endpoint = f"tcp://{chr(node[0])}:1"
    return replace(Greeting(1, node, OTHER_HOST, curve_of(node), (endpoint,)), **changes)


def new_node(node: NodeId = OWN_NODE, *, is_open: bool = False, is_strict: bool = False) -> Node:
    return Node(greeting(node, host=HOST), is_open=is_open, is_strict=is_strict, random=half)


def card(key: MailboxKey, name: str, **changes: Any) -> Card:
    return replace(Card(key, name, LIFE, 1, True, 0.0, 0, Profile()), **changes)


def snapshot(key: MailboxKey, name: str, **changes: Any) -> MailboxSnapshot:
    return replace(MailboxSnapshot(key, name, LIFE, claim=1, registered_ms=0), **changes)


def message_id(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


def draft(number: int = 1, **changes: Any) -> Draft:
    made = Draft(message_id(number), Kind.DIRECT, b"body", b"d" * 32, created_ms=0, ttl_s=1000.0)
    return replace(made, **changes)


def letter(sequence: int = 1, **changes: Any) -> Letter:
    """From Alice to Bob; its message id is its sequence."""
    made = Letter(
        message_id=message_id(sequence),
        kind=Kind.DIRECT,
        author=ALICE,
        author_name="alice",
        incarnation=LIFE,
        to="bob",
        recipient=BOB,
        sequence=sequence,
        ttl_s=1000.0,
        created_ms=0,
        reply_to=None,
        is_urgent=False,
        is_auto=False,
        chain=(),
        body_digest=b"d" * 32,
        body_bytes=4,
    )
    return replace(made, **changes)


def item(sequence: int = 1, previous: int = 0, *, age_s: float = 0.0, **changes: Any) -> MailItem:
    return MailItem(letter(sequence, **changes), previous, age_s, b"body")


def entry(row: int, sequence: int | None = None, **changes: Any) -> OutboxEntry:
    """One of Alice's rows; without a sequence it waits for a recipient called bob."""
    made = letter(sequence or 0, message_id=message_id(row))
    if sequence is None:
        made = replace(made, recipient=None)
    return replace(OutboxEntry(row, made, remaining_s=1000.0), **changes)


def shown(sequence: int, author: MailboxKey = ALICE, life: Incarnation = LIFE) -> ShownLetter:
    return ShownLetter(author, life, sequence, message_id(sequence), 4)
