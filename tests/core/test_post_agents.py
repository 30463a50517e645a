"""Mail when agents come and go, and when time passes."""

from dataclasses import replace

import pytest

from mesh import limits
from mesh.core.agenda import StreamDue
from mesh.core.changes import (
    BindOutbox,
    MarkSent,
    PutPin,
)
from mesh.core.effects import (
    Effects,
    Transmission,
)
from mesh.core.events import MailboxReleased, Timeout
from mesh.core.node import Node
from mesh.core.snapshot import Pin
from mesh.model import LinkId, MailboxKey, State, Why
from mesh.packet import Announce, Leave
from tests.core.mailing import (
    LINK,
    node_of,
    of_alice,
    receipt,
    settled,
)
from tests.core.samples import (
    ALICE,
    BOB,
    CAROL,
    THIRD_NODE,
    card,
    entry,
    greeting,
    message_id,
    snapshot,
)
from tests.core.steps import accept, give, lose, wait

# Agents come and go.


def test_an_agent_that_comes_gets_its_mail_from_the_oldest_on():
    """PROTOCOL.md OUT-4."""
    node = of_alice(1, 2)
    lose(node, LINK)
    effects = accept(node, -2, None, card(BOB, "bob"), now=3.0)
    sending = Transmission(LinkId(-2), ALICE, ((1, 0, 3.0), (2, 1, 3.0)))
    assert effects.transmissions == (sending,)


def test_waiting_letters_are_bound_in_order_when_their_name_appears():
    """PROTOCOL.md NAME-6, OUT-8."""
    made = snapshot(ALICE, "alice", outbox=(entry(2), entry(1)), next_sequences={BOB: 100})
    node = node_of(made)
    effects = accept(node, LINK, None, card(BOB, "Bob"))
    bound = [
        (change.row, change.letter.sequence, change.letter.to)
        for _, change in effects.changes
        if isinstance(change, BindOutbox)
    ]
    assert bound == [(1, 100, "Bob"), (2, 101, "Bob")]
    assert (ALICE, PutPin(Pin("Bob", BOB))) in effects.changes
    assert effects.changes[-1] == (ALICE, MarkSent((1, 2)))
    sending = Transmission(LINK, ALICE, ((1, 0, 0.0), (2, 100, 0.0)))
    assert effects.transmissions_after == (sending,)


def test_a_waiting_letter_for_another_fingerprint_waits_on():
    """PROTOCOL.md NAME-2, NAME-6."""
    made = snapshot(ALICE, "alice", outbox=(entry(1, to_prefix="abcdef"),))
    effects = accept(node_of(made), LINK, None, card(BOB, "bob"))
    assert effects == Effects(roster_changed=True)


def test_why_a_letter_is_queued():
    """PROTOCOL.md OUT-12."""
    node = of_alice(1)
    why = [node.why(ALICE, message_id(1), "bob", 0.0)]
    lose(node, LINK, now=1.0)
    why.append(node.why(ALICE, message_id(1), "bob", 1.0))
    wait(node, 1.0 + limits.suspect_redial_s)
    why.append(node.why(ALICE, message_id(1), "bob", 20.0))
    accept(node, -2, greeting(THIRD_NODE), card(CAROL, "bob"), now=20.0)
    why.append(node.why(ALICE, message_id(1), "bob", 20.0))
    assert why == [Why.NONE, Why.UNREACHABLE, Why.AWAY, Why.PIN_CONFLICT]
    waiting = node_of(snapshot(ALICE, "alice", outbox=(entry(1), entry(2, 1))))
    assert waiting.why(ALICE, message_id(1), "bob", 0.0) is Why.UNKNOWN_NAME
    assert waiting.why(ALICE, message_id(2), "bob", 0.0) is Why.AWAY
    assert waiting.why(ALICE, message_id(9), "bob", 0.0) is Why.NONE
    assert waiting.why(CAROL, message_id(1), "bob", 0.0) is Why.NONE


def test_the_end_of_agents_that_are_forgotten_at_once_is_no_trouble():
    """PROTOCOL.md PRES-6: a node may leave more of them behind than are kept."""
    node = of_alice(1)
    many = [card(MailboxKey(n.to_bytes(32, "big")), f"a{n}") for n in range(400)]
    give(node, LINK, Announce((card(BOB, "bob"), *many)), 1.0)
    give(node, LINK, Announce((card(BOB, "bob"),)), 2.0)
    assert len(list(node.roster)) == 2 + limits.agents_away_per_node_max


# Expiry.


def expiring(*seconds: float) -> Node:
    rows = (replace(entry(n, n), remaining_s=s) for n, s in enumerate(seconds, start=1))
    return node_of(snapshot(ALICE, "alice", outbox=tuple(rows), next_sequences={BOB: 100}))


def test_a_letter_expires_visibly_when_its_age_is_reached():
    """PROTOCOL.md OUT-9."""
    node = expiring(4.0, 100.0)
    expired = State.EXPIRED
    assert node.step(Timeout(), 3.9) == Effects()
    assert node.step(Timeout(), 4.0) == Effects(
        changes=((ALICE, settled(1, expired)),), receipts=(receipt(1, expired),)
    )
    assert node.step(Timeout(), 1000.0).receipts == (receipt(2, expired),)


def test_many_expiries_at_nearly_the_same_time_are_one_round():
    """PROTOCOL.md OUT-9."""
    node = expiring(4.0, 4.001, 4.002)
    node.step(Timeout(), 4.0)
    assert node.next_deadline() == 4.0 + limits.expiry_interval_s
    assert len(node.step(Timeout(), node.next_deadline()).receipts) == 2


@pytest.mark.parametrize("has_link", [True, False])
def test_deadlines_of_a_mailbox_that_was_given_up_mean_nothing(has_link):
    """PROTOCOL.md TEND-4."""
    node = expiring(4.0)
    if has_link:
        accept(node, LINK, None, card(BOB, "bob"))
    node.step(MailboxReleased(ALICE), 1.0)
    effects = node.step(Timeout(), 9.0)
    assert (effects.changes, effects.transmissions, effects.receipts) == ((), (), ())


def test_a_stream_whose_link_went_has_no_deadline():
    """PROTOCOL.md OUT-6."""
    node = of_alice(1)
    give(node, LINK, Leave(), 1.0)
    assert node.step(Timeout(), 6.0).transmissions == ()
    node._agenda.set(_stream(BOB), 6.0)
    node._agenda.set(_stream(CAROL), 6.0)
    assert node.step(Timeout(), 6.0) == Effects()


def _stream(recipient: MailboxKey) -> StreamDue:
    return StreamDue(ALICE, recipient)
