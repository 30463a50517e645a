"""Streams of letters owed: sequences, windows, going back, binding, expiring."""

from dataclasses import replace

import pytest

from mesh import limits
from mesh.core.changes import BindOutbox, MarkSent, ReserveSequences
from mesh.core.effects import Transmission
from mesh.core.outbox import Outbox, Owed, Pumped
from mesh.core.snapshot import OutboxEntry
from mesh.model import LinkId
from tests.core.samples import ALICE, BOB, CAROL, entry, letter

LINK = LinkId(1)
NOTHING = Pumped((), (), ())


def outbox(*entries: OutboxEntry, reserved: int | None = 100, first: int = 1) -> Outbox:
    following = [] if reserved is None else [(BOB, reserved)]
    return Outbox(ALICE, entries, following, next_row=50, first_sequence=first, now=0.0)


def sent(*entries: OutboxEntry) -> tuple[OutboxEntry, ...]:
    return tuple(replace(e, was_sent=True) for e in entries)


def connected(box: Outbox, link: LinkId = LINK):
    stream = box.stream(BOB)
    stream.connect(link)
    return stream


def letters(pumped: Pumped) -> list[tuple[int, int]]:
    """Return (row, previous) of all that leaves."""
    both = (*pumped.at_once, *pumped.after)
    return [(row, previous) for t in both for row, previous, _ in t.letters]


def test_an_entry_comes_back_as_it_was_read_with_less_time_to_live():
    """PROTOCOL.md OUT-9."""
    (owed,) = outbox(entry(1, 1))
    assert owed.entry(0.0) == entry(1, 1)
    assert owed.entry(10.0).remaining_s == 990.0
    assert owed.age_s(10.0) == 10.0
    assert owed.age_s(-5.0) == 0.0


def test_a_new_stream_reserves_its_sequences_before_the_first_leaves():
    """PROTOCOL.md OUT-1."""
    box = outbox(reserved=None)
    up_to = 1 + limits.sequence_reserve
    assert box.take_sequence(BOB) == (1, ReserveSequences(BOB, up_to), True)
    assert box.take_sequence(BOB) == (2, None, False)


def test_a_reservation_is_renewed_long_before_it_is_used_up():
    """PROTOCOL.md OUT-1."""
    box = outbox(reserved=None)
    box.take_sequence(BOB)
    taken = [box.take_sequence(BOB) for _ in range(limits.sequence_reserve // 2 + 1)]
    assert all(reserve is None for _, reserve, _ in taken[:-1])
    sequence, reserve, must_wait = taken[-1]
    assert reserve == ReserveSequences(BOB, sequence + limits.sequence_reserve)
    assert not must_wait


def test_after_a_restart_no_sequence_is_used_twice():
    """PROTOCOL.md OUT-1: what had been reserved is skipped."""
    sequence, reserve, must_wait = outbox(entry(1, 3), reserved=4097).take_sequence(BOB)
    assert (sequence, must_wait) == (4097, True)
    assert reserve == ReserveSequences(BOB, 4097 + limits.sequence_reserve)
    assert outbox(reserved=None, first=900).take_sequence(CAROL)[0] == 900


def test_rows_are_never_used_twice():
    box = outbox()
    assert [box.take_row(), box.take_row()] == [50, 51]


def test_letters_read_back_are_ordered_by_sequence():
    """PROTOCOL.md OUT-2."""
    box = outbox(*sent(entry(9, 1), entry(2, 3), entry(5, 2)))
    connected(box)
    assert letters(box.pump(box.stream(BOB), 0.0)) == [(9, 0), (5, 1), (2, 2)]


def test_each_letter_names_the_unsettled_one_before_it():
    """PROTOCOL.md OUT-3."""
    box = outbox(*sent(entry(1, 1), entry(2, 5), entry(3, 6)))
    stream = connected(box)
    expected = Transmission(LINK, ALICE, ((1, 0, 2.0), (2, 1, 2.0), (3, 5, 2.0)))
    assert box.pump(stream, 2.0) == Pumped((expected,), (), ())
    assert box.pump(stream, 2.0) == NOTHING
    box.settle(BOB, 1)
    box.put(Owed(4, letter(7), 1000.0, was_sent=True))
    assert letters(box.pump(stream, 3.0)) == [(4, 6)]
    assert box.settle(BOB, 6) is not None
    assert box.settle(BOB, 6) is None
    assert box.settle(CAROL, 1) is None
    box.put(Owed(5, letter(8), 1000.0, was_sent=True))
    assert letters(box.pump(stream, 3.0)) == [(5, 7)]


def test_when_all_before_it_is_settled_a_letter_names_nothing():
    """PROTOCOL.md OUT-3."""
    box = outbox(*sent(entry(1, 1)))
    stream = connected(box)
    box.pump(stream, 0.0)
    box.settle(BOB, 1)
    box.put(Owed(2, letter(2), 1000.0, was_sent=True))
    assert letters(box.pump(stream, 0.0)) == [(2, 0)]


def test_what_was_settled_before_it_left_is_left_out():
    """PROTOCOL.md OUT-3."""
    box = outbox(*sent(entry(1, 1), entry(2, 2), entry(3, 3)))
    box.settle(BOB, 2)
    assert letters(box.pump(connected(box), 0.0)) == [(1, 0), (3, 1)]
    box.put(Owed(4, letter(4), 1000.0, was_sent=True))
    box.settle(BOB, 4)
    assert box.pump(box.stream(BOB), 0.0) == NOTHING


def test_another_link_means_to_begin_again_with_the_oldest():
    """PROTOCOL.md OUT-4."""
    box = outbox(*sent(entry(1, 1), entry(2, 2)))
    stream = connected(box)
    box.pump(stream, 0.0)
    stream.paused_until = 99.0
    stream.ack_timeout_s = 20.0
    assert not stream.connect(LINK)
    assert stream.connect(LinkId(2))
    assert (stream.paused_until, stream.ack_timeout_s) == (0.0, limits.ack_timeout_s)
    assert letters(box.pump(stream, 0.0)) == [(1, 0), (2, 1)]
    assert stream.connect(None)
    assert box.pump(stream, 0.0) == NOTHING


def test_a_paused_stream_sends_nothing():
    """PROTOCOL.md OUT-7."""
    box = outbox(*sent(entry(1, 1)))
    stream = connected(box)
    stream.paused_until = 5.0
    assert box.pump(stream, 4.9) == NOTHING
    assert letters(box.pump(stream, 5.0)) == [(1, 0)]


def test_the_window_bounds_letters_on_their_way():
    """PROTOCOL.md OUT-2."""
    number = limits.window_letters_max + 1
    box = outbox(*sent(*(entry(n, n) for n in range(1, number + 1))), reserved=number + 1)
    stream = connected(box)
    assert len(letters(box.pump(stream, 0.0))) == limits.window_letters_max
    assert box.pump(stream, 0.0) == NOTHING
    box.settle(BOB, 1)
    assert letters(box.pump(stream, 0.0)) == [(number, number - 1)]


def test_the_window_bounds_bytes_but_lets_one_large_letter_pass():
    """PROTOCOL.md OUT-2."""
    large = [
        OutboxEntry(n, letter(n, body_bytes=limits.window_bytes_max + 1), 1000.0, was_sent=True)
        for n in (1, 2)
    ]
    box = outbox(*large)
    stream = connected(box)
    assert letters(box.pump(stream, 0.0)) == [(1, 0)]
    assert box.pump(stream, 0.0) == NOTHING
    box.settle(BOB, 1)
    assert stream.inflight_bytes == 0
    assert letters(box.pump(stream, 0.0)) == [(2, 0)]


def test_what_never_left_is_marked_before_it_leaves():
    """PROTOCOL.md OUT-8."""
    box = outbox(entry(1, 1), *sent(entry(2, 2)))
    stream = connected(box)
    sending = Transmission(LINK, ALICE, ((1, 0, 0.0), (2, 1, 0.0)))
    assert box.pump(stream, 0.0) == Pumped((), (sending,), (MarkSent((1,)),))
    stream.go_back()
    assert box.pump(stream, 0.0) == Pumped((sending,), (), ())


def test_what_needs_a_reservation_waits_for_it():
    """PROTOCOL.md OUT-8."""
    box = outbox(*sent(entry(1, 1)))
    sending = Transmission(LINK, ALICE, ((1, 0, 0.0),))
    pumped = box.pump(connected(box), 0.0, durable_first=True)
    assert pumped == Pumped((), (sending,), ())


def test_a_waiting_letter_is_bound_once_its_name_is_known():
    """PROTOCOL.md NAME-6."""
    box = outbox(entry(1), entry(2))
    assert [o.row for o in box] == [1, 2]
    first, second = box.waiting["bob"].values()
    bound = replace(first.letter, recipient=BOB, sequence=100, to="Bob")
    reserve = ReserveSequences(BOB, 100 + limits.sequence_reserve)
    assert box.bind(first, BOB, "Bob") == (reserve, BindOutbox(1, bound))
    assert list(box.waiting["bob"]) == [2]
    (change,) = box.bind(second, BOB, "Bob")
    assert (change.row, change.letter.sequence) == (2, 101)
    assert box.waiting == {}
    assert (box.letters, box.body_bytes) == (2, 8)


def test_a_letter_that_never_left_can_be_given_to_another_recipient():
    """PROTOCOL.md NAME-8."""
    box = outbox(entry(1, 1), *sent(entry(2, 2)))
    owed = box.stream(BOB).owed[1]
    _, bind = box.rebind(owed, CAROL, "bob")
    assert bind == BindOutbox(1, replace(letter(1), recipient=CAROL, to="bob"))
    assert letters(box.pump(connected(box), 0.0)) == [(2, 0)]
    assert list(box.stream(CAROL).owed) == [1]
    with pytest.raises(AssertionError):
        box.rebind(box.stream(BOB).owed[2], CAROL, "bob")


def test_expired_letters_are_taken_out_bound_or_not():
    """PROTOCOL.md OUT-9."""
    box = outbox(
        replace(entry(1, 1), remaining_s=5.0),
        replace(entry(2, 2), remaining_s=9.0),
        replace(entry(3), remaining_s=5.0),
        replace(entry(4), remaining_s=6.0),
    )
    assert box.next_expiry() == 5.0
    assert [o.row for o in box.expired(5.0)] == [1, 3]
    assert [o.row for o in box.expired(6.0)] == [4]
    assert box.waiting == {}
    assert (box.letters, box.body_bytes) == (1, 4)
    assert letters(box.pump(connected(box), 0.0)) == [(2, 0)]
    box.expired(9.0)
    assert box.next_expiry() is None


def test_the_outbox_is_bounded():
    """PROTOCOL.md OUT-11."""
    box = outbox(entry(1, 1))
    assert box.has_room(letters=limits.outbox_letters_max - 1, body_bytes=0)
    assert not box.has_room(letters=limits.outbox_letters_max, body_bytes=0)
    assert box.has_room(letters=1, body_bytes=limits.outbox_bytes_max - 4)
    assert not box.has_room(letters=1, body_bytes=limits.outbox_bytes_max - 3)
