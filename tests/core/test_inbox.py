"""Incoming streams: what is taken, answered, refused and remembered."""

from mesh import limits
from mesh.core.changes import PutInbox, Refuse
from mesh.core.inbox import Inbox, Order, Taken
from mesh.core.snapshot import RefusedRange, StreamIn, StreamKey, Unread
from mesh.model import MailboxKey, Verified, Why
from mesh.packet import AckItem, MailItem, Verdict
from tests.core.samples import ALICE, BOB, CAROL, LIFE, OTHER_LIFE, item, letter, message_id, shown

STREAM: StreamKey = (ALICE, LIFE)


def inbox(
    streams: dict[StreamKey, StreamIn] | None = None,
    unread: dict[MailboxKey, Unread] | None = None,
) -> Inbox:
    return Inbox(streams or {}, unread or {})


def take(box: Inbox, one: MailItem) -> Taken:
    return box.take(one, Verified.PINNED)


def ack(sequence: int, verdict: Verdict, why: Why = Why.NONE) -> AckItem:
    return AckItem(sequence, message_id(sequence), verdict, why)


def put(sequence: int, skipped_from: int = 0) -> PutInbox:
    return PutInbox(letter(sequence), b"body", Verified.PINNED, skipped_from)


def test_the_next_letter_is_taken_and_moves_the_watermark():
    """PROTOCOL.md IN-2."""
    box = inbox()
    assert box.watermark(STREAM) == 0
    expected = Taken(Order.NEXT, ack(1, Verdict.DELIVERED), (put(1),), is_new=True)
    assert take(box, item(1)) == expected
    assert box.watermark(STREAM) == 1
    assert box.unread_letters == 1


def test_a_duplicate_is_answered_again_but_not_taken_again():
    """PROTOCOL.md IN-4."""
    box = inbox()
    take(box, item(1))
    assert take(box, item(1)) == Taken(Order.DECIDED, ack(1, Verdict.DELIVERED))
    assert box.unread_letters == 1


def test_a_letter_whose_previous_is_missing_is_a_gap():
    """PROTOCOL.md IN-5."""
    box = inbox()
    take(box, item(1))
    assert take(box, item(3, previous=2)) == Taken(Order.GAP)
    assert box.watermark(STREAM) == 1


def test_sequences_that_the_author_gave_up_are_remembered_as_skipped():
    """PROTOCOL.md IN-3."""
    box = inbox({STREAM: StreamIn(2)})
    taken = take(box, item(6, previous=2))
    assert taken == Taken(Order.NEXT, ack(6, Verdict.DELIVERED), (put(6, 3),), is_new=True)
    assert take(box, item(4)) == Taken(Order.DECIDED, ack(4, Verdict.REFUSED, Why.SKIPPED))
    assert take(box, item(2)) == Taken(Order.DECIDED, ack(2, Verdict.DELIVERED))


def test_an_expired_letter_is_refused_for_ever():
    """PROTOCOL.md IN-6."""
    box = inbox()
    answer = ack(1, Verdict.REFUSED, Why.EXPIRED)
    change = Refuse(ALICE, LIFE, 1, 1, Why.EXPIRED)
    assert take(box, item(1, age_s=1000.0)) == Taken(Order.NEXT, answer, (change,))
    assert take(box, item(1)) == Taken(Order.DECIDED, answer)
    assert box.unread_letters == 0


def test_a_refusal_behind_skipped_sequences_remembers_both():
    """PROTOCOL.md IN-3, IN-6."""
    box = inbox()
    taken = take(box, item(3, age_s=1000.0))
    assert taken.changes == (
        Refuse(ALICE, LIFE, 1, 2, Why.SKIPPED),
        Refuse(ALICE, LIFE, 3, 3, Why.EXPIRED),
    )
    assert take(box, item(2)).ack == ack(2, Verdict.REFUSED, Why.SKIPPED)
    assert take(box, item(3)).ack == ack(3, Verdict.REFUSED, Why.EXPIRED)


def test_too_long_a_chain_is_refused_as_a_loop():
    """PROTOCOL.md IN-6."""
    hops = tuple(bytes((n,)) for n in range(limits.chain_hops_max + 1))
    assert take(inbox(), item(1, chain=hops)).ack == ack(1, Verdict.REFUSED, Why.LOOP)
    assert take(inbox(), item(1, chain=hops[1:])).ack == ack(1, Verdict.DELIVERED)


def test_neighbouring_refusals_for_one_reason_share_a_range():
    """PROTOCOL.md IN-4: what is remembered is bounded, so it must not be wasted."""
    box = inbox()
    for sequence in range(1, limits.refused_ranges_max + 50):
        take(box, item(sequence, age_s=1000.0))
    assert take(box, item(1)).ack == ack(1, Verdict.REFUSED, Why.EXPIRED)


def test_the_oldest_range_is_forgotten_and_then_nothing_is_answered():
    """PROTOCOL.md IN-4: no answer rather than a wrong one."""
    ranges = [RefusedRange(2 * n, 2 * n, Why.LOOP) for n in range(1, limits.refused_ranges_max + 1)]
    last = ranges[-1].last
    box = inbox({STREAM: StreamIn(last, tuple(ranges))})
    assert take(box, item(2)).ack == ack(2, Verdict.REFUSED, Why.LOOP)
    take(box, item(last + 1, previous=last, age_s=1000.0))
    assert take(box, item(2)) == Taken(Order.FORGOTTEN)
    assert take(box, item(3)).ack == ack(3, Verdict.DELIVERED)


def test_each_incarnation_is_a_stream_of_its_own():
    """PROTOCOL.md IN-2."""
    box = inbox({STREAM: StreamIn(5)})
    assert take(box, item(1, incarnation=OTHER_LIFE)).is_new
    assert box.watermark(STREAM) == 5


def full(box: Inbox, one: MailItem) -> bool:
    taken = take(box, one)
    assert taken.changes == () or taken.is_new
    return taken.ack == ack(one.letter.sequence, Verdict.LATER, Why.RECIPIENT_FULL)


def test_a_full_inbox_says_later_and_remembers_nothing():
    """PROTOCOL.md IN-7: by letters and bytes, of the author and of all."""
    letters, total = limits.inbox_letters_per_author_max, limits.inbox_letters_max
    assert full(inbox(unread={ALICE: Unread(letters, 0)}), item(1))
    assert full(inbox(unread={ALICE: Unread(1, limits.inbox_bytes_per_author_max - 3)}), item(1))
    assert full(inbox(unread={BOB: Unread(total, 0)}), item(1))
    assert full(inbox(unread={BOB: Unread(1, limits.inbox_bytes_max - 3)}), item(1))
    assert not full(inbox(unread={BOB: Unread(1, limits.inbox_bytes_max - 4)}), item(1))


def test_a_full_inbox_takes_the_letter_once_there_is_room():
    """PROTOCOL.md IN-7."""
    box = inbox({STREAM: StreamIn(1)}, {ALICE: Unread(limits.inbox_letters_per_author_max, 400)})
    assert full(box, item(2, previous=1))
    box.shown((shown(1),))
    assert take(box, item(2, previous=1)).is_new


def test_streams_are_bounded_in_all_and_for_each_author():
    """PROTOCOL.md IN-7."""
    lives = {(ALICE, n.to_bytes(8, "big")): StreamIn(1) for n in range(limits.streams_in_max)}
    assert full(inbox(lives), item(1, author=BOB))
    few = dict(list(lives.items())[: limits.streams_in_per_author_max])
    assert full(inbox(few), item(1))
    assert not full(inbox(few), item(1, author=BOB))
    assert take(inbox(few), item(2, previous=1, incarnation=(0).to_bytes(8, "big"))).is_new


def test_a_new_stream_counts_towards_its_authors_bound():
    """PROTOCOL.md IN-7."""
    box = inbox()
    for n in range(limits.streams_in_per_author_max):
        assert take(box, item(1, incarnation=n.to_bytes(8, "big"))).is_new
    assert full(box, item(1, incarnation=b"one-more"))


def test_counts_never_fall_below_nothing():
    box = inbox(unread={CAROL: Unread(1, 10)})
    box.shown((shown(1, author=CAROL), shown(2, author=CAROL), shown(3)))
    assert box.unread_letters == 0
