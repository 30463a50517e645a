"""Nodes that hold one mailbox, for the tests of mail."""

from mesh.core.changes import (
    PutInbox,
    SettleOutbox,
)
from mesh.core.effects import (
    Receipt,
)
from mesh.core.events import MailboxTaken
from mesh.core.node import Node
from mesh.core.snapshot import MailboxSnapshot, Pin
from mesh.model import Card, LinkId, MailboxKey, Profile, State, Verified, Why
from mesh.packet import Ack, AckItem, Mail, MailItem, Verdict
from tests.core.samples import (
    ALICE,
    BOB,
    LIFE,
    card,
    entry,
    letter,
    message_id,
    new_node,
    snapshot,
)
from tests.core.steps import accept

LINK = LinkId(-1)


def node_of(
    made: MailboxSnapshot, *others: Card, is_open: bool = False, is_strict: bool = False
) -> Node:
    """A node that holds one mailbox and is linked to the holder of `others`."""
    node = new_node(is_open=is_open, is_strict=is_strict)
    node.step(MailboxTaken(made, True, Profile()), 0.0)
    if others:
        accept(node, LINK, None, *others)
    return node


def of_bob(**changes) -> Node:
    """The receiving side: Bob's node, linked to Alice's."""
    is_open = changes.pop("is_open", False)
    alice = changes.pop("alice", card(ALICE, "alice"))
    return node_of(snapshot(BOB, "bob", **changes), alice, is_open=is_open)


def of_alice(*rows: int, **changes) -> Node:
    """The sending side: Alice owes Bob these rows, which were all sent once."""
    made = {
        "outbox": tuple(entry(row, row, was_sent=True) for row in rows),
        "next_sequences": {BOB: 100},
        "pins": {"bob": Pin("bob", BOB)},
        **changes,
    }
    return node_of(snapshot(ALICE, "alice", **made), card(BOB, "bob"))


def mail(*items: MailItem, author: MailboxKey = ALICE) -> Mail:
    return Mail(author, items)


def ack(*items: AckItem, life: bytes = LIFE) -> Ack:
    return Ack(BOB, ALICE, life, items)


def verdict(sequence: int, what: Verdict = Verdict.DELIVERED, why: Why = Why.NONE) -> AckItem:
    return AckItem(sequence, message_id(sequence), what, why)


def put(sequence: int, verified: Verified = Verified.PINNED, **changes) -> PutInbox:
    return PutInbox(letter(sequence, **changes), b"body", verified)


PINNED = {"pins": {"alice": Pin("alice", ALICE)}}


def settled(row: int, state: State = State.DELIVERED, why: Why = Why.NONE) -> SettleOutbox:
    return SettleOutbox(row, state, why)


def receipt(row: int, state: State = State.DELIVERED, why: Why = Why.NONE) -> Receipt:
    return Receipt(ALICE, message_id(row), BOB, state, why)
