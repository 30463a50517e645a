"""Strict mode: nothing is exchanged but with keys that are pinned (PROTOCOL.md NAME-10)."""

from dataclasses import replace

import pytest

from mesh import limits
from mesh.core.changes import BindOutbox, PutPin
from mesh.core.effects import Notice, Severity
from mesh.core.events import Broadcast, Submit, Token, Trust
from mesh.core.node import Node
from mesh.core.snapshot import Pin
from mesh.model import Address, Alias, FileRef, MailboxKey, State, Verified, Why, fingerprint
from mesh.packet import Ack, Announce, Decline, Offer, Verdict
from tests.core.mailing import LINK, PINNED, ack, mail, node_of, put, verdict
from tests.core.samples import ALICE, BOB, CAROL, LIFE, card, draft, entry, item, snapshot
from tests.core.steps import accept, give

FILE = FileRef(b"f" * 32, 5000, "notes.txt")
LATER = verdict(1, Verdict.LATER, Why.PIN_CONFLICT)


def strict_bob(*others, **changes) -> Node:
    others = others or (card(ALICE, "alice"),)
    return node_of(snapshot(BOB, "bob", **changes), *others, is_strict=True)


def strict_alice(*others, **changes) -> Node:
    return node_of(snapshot(ALICE, "alice", **changes), *others, is_strict=True)


def acks(effects) -> list[object]:
    return [packet for _, _, packet in effects.acks]


def submit(node: Node, to: str, prefix: str = "", **changes):
    event = Submit(Token(1), ALICE, Address(to, prefix), (draft(**changes),))
    effects = node.step(event, 0.0)
    (answer,) = effects.answers
    (state,) = answer.recipients
    return effects, state


def test_mail_by_a_pinned_key_is_taken():
    """PROTOCOL.md NAME-10."""
    effects = give(strict_bob(**PINNED), LINK, mail(item(1)))
    assert acks(effects) == [Ack(BOB, ALICE, LIFE, (verdict(1),))]
    assert effects.changes == ((BOB, put(1)),)


@pytest.mark.parametrize("pins", [{}, {"alice": Pin("alice", CAROL)}], ids=["first", "changed"])
def test_mail_by_any_other_key_is_put_off_and_named_once(pins):
    """PROTOCOL.md NAME-10: neither the inbox nor the pins nor the watermark change."""
    node = strict_bob(pins=pins)
    effects = give(node, LINK, mail(item(1)))
    assert acks(effects) == [Ack(BOB, ALICE, LIFE, (LATER,))]
    assert (effects.changes, effects.arrivals) == ((), ())
    text = f"mail by alice#{fingerprint(ALICE)} to bob waits until it is trusted"
    assert effects.notices == (Notice(Severity.WARNING, text),)
    assert give(node, LINK, mail(item(1))).notices == ()
    assert node.strangers(BOB) == ((ALICE, "alice"),)
    assert node.strangers(ALICE) == ()


def test_trust_lets_the_waiting_mail_in():
    """PROTOCOL.md NAME-8, NAME-10."""
    node = strict_bob()
    give(node, LINK, mail(item(1)))
    effects = node.step(Trust(Token(1), BOB, Address("alice", fingerprint(ALICE))), 1.0)
    assert effects.changes == ((BOB, PutPin(Pin("alice", ALICE, is_trusted=True))),)
    assert node.strangers(BOB) == ()
    effects = give(node, LINK, mail(item(1)))
    assert effects.changes == ((BOB, put(1, Verified.PINNED)),)


def test_what_was_decided_before_is_answered_as_before():
    """PROTOCOL.md IN-4, NAME-10."""
    node = strict_bob(**PINNED)
    give(node, LINK, mail(item(1)))
    give(node, LINK, Announce((card(ALICE, "somebody"),)))
    effects = give(node, LINK, mail(item(1), item(2, 1)))
    assert acks(effects)[0].items[0] == verdict(1)
    assert acks(effects)[0].items[1].verdict is Verdict.LATER


def test_a_new_name_of_a_pinned_key_is_as_good_as_the_old():
    """PROTOCOL.md NAME-10."""
    renamed = card(ALICE, "alicia", aliases=(Alias("alice", 5.0, 100.0),))
    node = strict_bob(renamed, **PINNED)
    effects = give(node, LINK, mail(item(1, author_name="alicia")))
    assert (BOB, PutPin(Pin("alicia", ALICE))) in effects.changes
    # Who only claims to have had a pinned name has not its key.
    liar = card(CAROL, "carol", aliases=(Alias("alice", 5.0, 100.0),))
    node = strict_bob(liar, **PINNED)
    effects = give(node, LINK, mail(item(1, author=CAROL, author_name="carol"), author=CAROL))
    assert acks(effects)[0].items == (LATER,)


def test_strangers_are_remembered_within_bounds():
    """PROTOCOL.md NAME-10."""
    keys = [MailboxKey(n.to_bytes(32, "big")) for n in range(limits.problems_max + 5)]
    node = node_of(snapshot(BOB, "bob"), is_strict=True)
    for start in range(0, len(keys), limits.cards_per_node_max):
        some = keys[start : start + limits.cards_per_node_max]
        accept(node, -1 - start, None, *[card(key, "x") for key in some])
        for key in some:
            give(node, -1 - start, mail(item(1, author=key, author_name="x"), author=key))
    assert len(node.strangers(BOB)) == limits.problems_max


def test_a_file_of_a_stranger_is_not_fetched():
    """PROTOCOL.md FILE-9, NAME-10."""
    effects = give(strict_bob(), LINK, Offer(ALICE, BOB, FILE))
    assert effects.files == ()
    declined = Decline(BOB, ALICE, FILE.digest, Why.PIN_CONFLICT)
    assert effects.packets == ((LINK, declined),)
    assert give(strict_bob(**PINNED), LINK, Offer(ALICE, BOB, FILE)).files != ()


def test_mail_to_a_name_without_a_pin_waits_and_says_why():
    """PROTOCOL.md NAME-10, OUT-12."""
    node = strict_alice(card(BOB, "bob"))
    for prefix in ("", fingerprint(BOB)):
        effects, state = submit(node, "bob", prefix)
        assert (state.state, state.why, state.key) == (State.QUEUED, Why.PIN_CONFLICT, None)
        assert effects.transmissions == effects.transmissions_after == ()
        assert not any(isinstance(change, PutPin) for _, change in effects.changes)
    assert submit(node, "nobody")[1].why is Why.UNKNOWN_NAME


def test_mail_that_waited_leaves_once_its_recipient_is_trusted():
    """PROTOCOL.md NAME-8, NAME-10."""
    made = {"outbox": (entry(1),), "next_row": 2}
    node = strict_alice(card(BOB, "bob"), **made)
    effects = node.step(Trust(Token(1), ALICE, Address("bob", fingerprint(BOB))), 0.0)
    (bound,) = [change for _, change in effects.changes if isinstance(change, BindOutbox)]
    assert bound.letter.recipient == BOB
    assert [t.letters[0][0] for t in effects.transmissions_after] == [1]


def test_a_file_that_waited_is_offered_once_its_recipient_is_trusted():
    """PROTOCOL.md FILE-3, NAME-10."""
    node = strict_alice(card(BOB, "bob"))
    effects, state = submit(node, "bob", file=FILE)
    assert (effects.packets, state.why) == ((), Why.PIN_CONFLICT)
    effects = node.step(Trust(Token(2), ALICE, Address("bob", fingerprint(BOB))), 0.0)
    assert effects.packets == ((LINK, Offer(ALICE, BOB, FILE)),)


def test_a_newcomer_gets_no_mail_while_the_pinned_key_is_away():
    """PROTOCOL.md NAME-4, NAME-10: without strict mode it would."""
    pins = {"bob": Pin("bob", BOB)}
    node = strict_alice(card(CAROL, "bob"), pins=pins)
    _, state = submit(node, "bob")
    assert (state.key, state.why) == (BOB, Why.PIN_CONFLICT)
    loose = node_of(snapshot(ALICE, "alice", pins=pins), card(CAROL, "bob"))
    assert submit(loose, "bob")[1].key == CAROL


def test_a_former_name_leads_to_its_pinned_key_until_that_has_moved_on():
    """PROTOCOL.md NAME-3, NAME-10."""
    pins = {"bob": Pin("bob", BOB)}
    renamed = card(BOB, "robert", aliases=(Alias("bob", 5.0, 100.0),))
    _, state = submit(strict_alice(renamed, pins=pins), "bob")
    assert (state.key, state.to, state.forwarded_from) == (BOB, "robert", "bob")
    _, state = submit(strict_alice(replace(renamed, aliases=()), pins=pins), "bob")
    assert state.key is None
    stolen = card(CAROL, "carol", aliases=(Alias("bob", 5.0, 100.0),))
    _, state = submit(strict_alice(stolen, pins=pins), "bob")
    assert state.key == BOB


def test_a_broadcast_goes_to_pinned_keys_only():
    """PROTOCOL.md NAME-10, OUT-10."""
    node = strict_alice(card(BOB, "bob"), card(CAROL, "carol"), pins={"bob": Pin("bob", BOB)})
    effects = node.step(Broadcast(Token(1), ALICE, draft()), 0.0)
    (answer,) = effects.answers
    assert [state.key for state in answer.recipients] == [BOB]


def test_the_author_of_mail_that_waits_for_trust_is_told_so():
    """PROTOCOL.md OUT-12."""
    made = {
        "outbox": (entry(1, 1),),
        "next_sequences": {BOB: 100},
        "pins": {"bob": Pin("bob", BOB)},
    }
    node = node_of(snapshot(ALICE, "alice", **made), card(BOB, "bob"))
    give(node, LINK, ack(LATER))
    assert node.why(ALICE, entry(1).letter.message_id, "bob", 1.0) is Why.PIN_CONFLICT
    give(node, LINK, ack(verdict(1, Verdict.LATER, Why.RECIPIENT_FULL)))
    assert node.why(ALICE, entry(1).letter.message_id, "bob", 1.0) is Why.RECIPIENT_FULL
