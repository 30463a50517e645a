"""What every store promises, run on each of them."""

from dataclasses import replace

import pytest

from mesh import limits
from mesh.core.changes import (
    BindOutbox,
    MarkSent,
    MarkShown,
    MarkTold,
    PutInbox,
    PutName,
    PutOutbox,
    PutPeer,
    PutPin,
    Refuse,
    ReserveSequences,
    SettleOutbox,
    SettleShown,
)
from mesh.core.snapshot import (
    OutboxEntry,
    Pin,
    RefusedRange,
    RememberedPeer,
    ShownLetter,
    StreamIn,
    Unread,
)
from mesh.errors import ConfigError
from mesh.model import Alias, CurveKey, Kind, State, Verified, Why
from mesh.store.interface import Counts, InboxQuery, Store, StoredLetter, StoredReceipt
from tests.store.conftest import Reopen
from tests.store.samples import BOB, EVE, LIFE, OWN, FakeClocks, entry, letter, message_id, outgoing


def received(number: int, body: bytes = b"hello", **changes: object) -> PutInbox:
    made = letter(number, body_bytes=len(body), **changes)
    return PutInbox(made, body, Verified.PINNED)


def shown(number: int, size: int = 5) -> ShownLetter:
    return ShownLetter(BOB, LIFE, number, message_id(number), size)


def test_a_new_mailbox_is_empty_and_each_opening_claims_it(reopen: Reopen) -> None:
    first = reopen().snapshot()
    assert (first.name, first.key, first.claim, first.next_row) == ("alice", OWN, 1, 1)
    assert first.registered_ms == 1_700_000_000_000
    second = reopen().snapshot()
    assert second == replace(first, claim=2)
    assert reopen(take=False).snapshot().claim == 2


def test_a_letter_put_into_the_outbox_comes_back_whole(reopen: Reopen) -> None:
    store = reopen()
    put = OutboxEntry(1, outgoing(1), 3600.0, "abcdef", was_sent=True)
    store.commit([PutOutbox((put,), b"hello")])
    for is_again in (False, True):
        one = reopen() if is_again else store
        snapshot = one.snapshot()
        assert snapshot.outbox == (put,)
        assert (snapshot.next_row, snapshot.next_sequences) == (2, {BOB: 2})
        assert one.letters([1]) == [StoredLetter(1, put.letter, b"hello")]
        assert one.counts() == Counts(unread=0, history=0, queued=1)


def test_a_large_body_comes_back_whole(reopen: Reopen) -> None:
    body = bytes(range(256)) * 4096
    reopen().commit([PutOutbox((entry(1),), body), received(1, body)])
    store = reopen()
    assert store.letters([1])[0].body == body
    assert store.read(InboxQuery()).messages[0].body == body


def test_letters_come_in_the_order_asked_for_without_those_that_are_not_owed(store: Store) -> None:
    store.commit([PutOutbox((entry(row),), b"%d" % row) for row in range(1, 401)])
    store.commit([SettleOutbox(7, State.DELIVERED)])
    rows = [row for row in range(400, 0, -1) if row != 7]
    found = store.letters([*rows[:10], 7, 999, *rows[10:]])
    assert [one.row for one in found] == rows
    assert found[0].body == b"400"


def test_a_broadcast_shares_one_body_until_the_last_letter_is_settled(reopen: Reopen) -> None:
    entries = tuple(
        entry(row, recipient=key, kind=Kind.BROADCAST, sequence=1)
        for row, key in ((1, BOB), (2, EVE), (3, OWN))
    )
    store = reopen()
    store.commit([PutOutbox(entries, b"to all")])
    store.commit([SettleOutbox(2, State.DELIVERED), SettleOutbox(1, State.REFUSED, Why.LOOP)])
    store = reopen()
    assert [(one.row, one.body) for one in store.letters([1, 2, 3])] == [(3, b"to all")]
    store.commit([SettleOutbox(3, State.EXPIRED)])
    assert store.letters([1, 2, 3]) == []
    assert store.counts().queued == 0


def test_a_waiting_letter_is_bound_and_marked(reopen: Reopen) -> None:
    waiting = OutboxEntry(1, outgoing(1, recipient=None, sequence=0), 3600.0, "abcdef")
    bound = outgoing(1, recipient=EVE, sequence=9, to="bobby")
    store = reopen()
    store.commit([PutOutbox((waiting,), b"hello")])
    assert store.snapshot().outbox == (waiting,)
    assert store.snapshot().next_sequences == {}
    store.commit([BindOutbox(1, bound), MarkSent((1,))])
    snapshot = reopen().snapshot()
    assert snapshot.outbox == (OutboxEntry(1, bound, 3600.0, was_sent=True),)
    assert snapshot.next_sequences == {EVE: 10}
    assert reopen().receipts()[0].to == "bobby"


def test_reserved_sequences_are_never_given_out_again(reopen: Reopen) -> None:
    store = reopen()
    store.commit([ReserveSequences(BOB, 100), PutOutbox((entry(1),), b"")])
    assert store.snapshot().next_sequences == {BOB: 101}
    assert reopen().snapshot().next_sequences == {BOB: 101}


def test_a_settled_letter_is_left_alone(store: Store, clocks: FakeClocks) -> None:
    store.commit([PutOutbox((entry(1),), b"hello")])
    clocks.pass_s(1)
    store.commit([SettleOutbox(1, State.REFUSED, Why.TOO_LARGE), SettleOutbox(1, State.EXPIRED)])
    store.commit([SettleOutbox(1, State.DELIVERED), SettleShown(BOB, message_id(1))])
    assert store.receipts(message_id(1)) == [
        StoredReceipt(message_id(1), "bob", BOB, State.REFUSED, Why.TOO_LARGE, clocks.wall_ms())
    ]


def test_shown_follows_delivered_or_queued_and_names_one_recipient(store: Store) -> None:
    entries = tuple(
        entry(row, message_id=message_id(1), recipient=key, sequence=1)
        for row, key in ((1, BOB), (2, EVE), (3, OWN))
    )
    store.commit([PutOutbox(entries, b"to all")])
    store.commit([SettleOutbox(1, State.DELIVERED), SettleShown(BOB, message_id(1))])
    store.commit([SettleShown(EVE, message_id(1)), SettleShown(EVE, message_id(2))])
    states = [one.state for one in store.receipts(message_id(1), limit=1)]
    assert states == [State.SHOWN, State.SHOWN, State.QUEUED]
    assert store.counts().queued == 1
    assert len(store.letters([3])) == 1


def test_neighbours_end_together_and_strangers_between_them_stay(reopen: Reopen) -> None:
    store = reopen()
    bodies = [b"small", b"large" * 1000]
    store.commit([PutOutbox((entry(row),), bodies[row % 2]) for row in range(1, 10)])
    settled = [SettleOutbox(row, State.DELIVERED) for row in (1, 2, 3, 5, 7, 6)]
    refused = [SettleOutbox(4, State.REFUSED, Why.LOOP), SettleOutbox(9, State.REFUSED, Why.LOOP)]
    shown_ones = [SettleShown(BOB, message_id(row), row) for row in (1, 2, 6)]
    store.commit([*settled, *refused, *shown_ones, SettleShown(BOB, message_id(3))])
    states = {one.message_id: one.state for one in store.receipts()}
    assert "".join(states[message_id(row)].value[0] for row in range(1, 10)) == "sssrdsdqr"
    assert store.counts().queued == 1
    assert [one.row for one in store.letters(range(1, 10))] == [8]
    assert [one.row for one in reopen().snapshot().outbox] == [8]


def test_messages_are_marked_by_stream_and_sequence_in_whatever_order(reopen: Reopen) -> None:
    store = reopen()
    store.commit([received(number) for number in range(1, 8)])
    store.commit([replace(received(2), letter=letter(2, author=EVE, message_id=message_id(9)))])
    other = replace(shown(2), author=EVE, message_id=message_id(9))
    store.commit([MarkShown((shown(1), shown(2), shown(4), other)), MarkShown((shown(3),))])
    assert store.counts() == Counts(unread=3, history=5, queued=0)
    store.commit([MarkTold((shown(2), shown(3), shown(6)))])
    assert reopen().snapshot().untold == (shown(1), shown(4), other)


def test_receipts_come_newest_first_up_to_a_limit(store: Store) -> None:
    store.commit([PutOutbox((entry(row),), b"") for row in range(1, 6)])
    assert [one.message_id for one in store.receipts(limit=2)] == [message_id(5), message_id(4)]
    assert store.receipts(message_id(77)) == []


def test_a_received_letter_moves_its_stream_and_counts_as_unread(reopen: Reopen) -> None:
    store = reopen()
    store.commit([received(1), received(2, b"a longer one")])
    for is_again in (False, True):
        one = reopen() if is_again else store
        snapshot = one.snapshot()
        assert snapshot.streams_in == {(BOB, LIFE): StreamIn(2)}
        assert snapshot.unread == {BOB: Unread(2, 17)}
        first, second = one.read(InboxQuery()).messages
        assert (first.body, second.body) == (b"hello", b"a longer one")
        assert (first.letter, first.verified) == (letter(1), Verified.PINNED)
        assert not first.is_shown
        assert one.counts() == Counts(unread=2, history=0, queued=0)


def test_skipped_and_refused_sequences_are_remembered(reopen: Reopen) -> None:
    store = reopen()
    store.commit([replace(received(4), skipped_from=2)])
    store.commit([Refuse(BOB, LIFE, 5, 5, Why.EXPIRED), Refuse(EVE, LIFE, 1, 3, Why.SKIPPED)])
    assert reopen().snapshot().streams_in == {
        (BOB, LIFE): StreamIn(
            5, (RefusedRange(2, 3, Why.SKIPPED), RefusedRange(5, 5, Why.EXPIRED))
        ),
        (EVE, LIFE): StreamIn(3, (RefusedRange(1, 3, Why.SKIPPED),)),
    }


def test_the_oldest_refusals_are_forgotten_over_the_bound(reopen: Reopen) -> None:
    whys = (Why.EXPIRED, Why.LOOP)
    count = limits.refused_ranges_max + 2
    store = reopen()
    store.commit([Refuse(BOB, LIFE, one, one, whys[one % 2]) for one in range(1, count + 1)])
    stream = reopen().snapshot().streams_in[BOB, LIFE]
    assert (stream.watermark, stream.known_from) == (count, 3)
    assert len(stream.refused) == limits.refused_ranges_max


def test_shown_mail_stays_readable_until_its_author_was_told(reopen: Reopen) -> None:
    store = reopen()
    store.commit([received(1), received(2)])
    first, second = (one.row for one in store.read(InboxQuery()).messages)
    assert store.shown_letters([first, second, 99]) == [shown(1), shown(2)]
    store.commit([MarkShown((shown(1),))])
    store.commit([MarkShown((shown(1),))])
    assert store.shown_letters([first, second]) == [shown(2)]
    store = reopen()
    assert store.snapshot().untold == (shown(1),)
    assert store.snapshot().unread == {BOB: Unread(1, 5)}
    assert store.counts() == Counts(unread=1, history=1, queued=0)
    history = store.read(InboxQuery(unread_only=False)).messages
    assert [one.is_shown for one in history] == [True, False]
    store.commit([MarkTold((shown(1), shown(2), replace(shown(2), author=EVE)))])
    assert reopen().snapshot().untold == ()


def test_queries_filter_and_count_what_is_left(store: Store) -> None:
    texts = [b"Red apples", b"red pears", b"green APPLES", b"blue"]
    store.commit(
        [
            received(number, text, author_name="Eve" if number == 3 else "Bob")
            for number, text in enumerate(texts, start=1)
        ]
    )

    def bodies(**query: object) -> tuple[list[bytes], int]:
        page = store.read(InboxQuery(**query))  # type: ignore[arg-type]
        return ([one.body for one in page.messages], page.remaining)

    assert bodies() == (texts, 0)
    assert bodies(limit=1) == (texts[:1], 3)
    assert bodies(limit=0) == ([], 4)
    assert bodies(author_name="eve") == ([texts[2]], 0)
    assert bodies(since_ms=1_700_000_000_002) == (texts[2:], 0)
    assert bodies(words=("APPLES",)) == ([texts[0], texts[2]], 0)
    assert bodies(words=("apples", "re")) == ([texts[0], texts[2]], 0)
    assert bodies(words=("apples", "red")) == ([texts[0]], 0)
    assert bodies(words=("e",), limit=2) == (texts[:2], 2)
    assert bodies(body_bytes_max=1) == (texts[:1], 3)
    assert bodies(body_bytes_max=19) == (texts[:2], 2)
    assert bodies(words=("purple",)) == ([], 0)


def test_pins_aliases_and_peers_are_remembered(reopen: Reopen, clocks: FakeClocks) -> None:
    store = reopen()
    curve = CurveKey(b"c" * 32)
    store.commit(
        [
            PutPin(Pin("Bob", EVE)),
            PutPin(Pin("bob", BOB, is_trusted=True)),
            PutName("Carol", Alias("alice", 0.0, 7200.0)),
            PutPeer(RememberedPeer(("tcp://a:1",), None, 5.0)),
            PutPeer(RememberedPeer(("tcp://a:1", "tcp://b:1"), curve, 9.0)),
            PutPeer(RememberedPeer(("tcp://c:1",), curve, 0.0)),
        ]
    )
    clocks.pass_s(100)
    snapshot = reopen().snapshot()
    assert snapshot.pins == {"bob": Pin("bob", BOB, is_trusted=True)}
    assert snapshot.name == "Carol"
    assert snapshot.aliases == (Alias("alice", 100.0, 7100.0),)
    assert snapshot.renamed_s == 100.0
    assert snapshot.remembered == (
        RememberedPeer(("tcp://c:1",), curve, 100.0),
        RememberedPeer(("tcp://a:1",), None, 105.0),
    )


def test_a_name_taken_back_is_no_alias_any_more(store: Store, clocks: FakeClocks) -> None:
    store.commit([PutName("carol", Alias("alice", 0.0, 7200.0))])
    clocks.pass_s(3600)
    store.commit([PutName("Alice", Alias("carol", 0.0, 7200.0))])
    assert [one.name for one in store.snapshot().aliases] == ["carol"]


def test_deadlines_count_time_that_passed_not_the_wall_clock(
    reopen: Reopen, clocks: FakeClocks
) -> None:
    store = reopen()
    store.commit([PutOutbox((entry(1),), b"")])
    clocks.pass_s(10)
    clocks.wall += 10 * 365 * 86_400_000
    assert store.snapshot().outbox[0].remaining_s == pytest.approx(3590)
    store = reopen()
    clocks.wall -= 20 * 365 * 86_400_000
    clocks.boot += 5
    assert reopen().snapshot().outbox[0].remaining_s == pytest.approx(3585)


def test_across_a_boot_time_neither_runs_back_nor_leaps(reopen: Reopen, clocks: FakeClocks) -> None:
    long = replace(entry(1), remaining_s=7 * 86400.0)
    store = reopen()
    store.commit([PutOutbox((long,), b"")])
    for boot, leap_s, left_s in (
        ("boot-2", -86400.0, 7 * 86400.0),
        ("boot-3", 3600.0, 7 * 86400.0 - 3600),
        ("boot-4", 365 * 86400.0, 5 * 86400.0 - 3600),
    ):
        store.close()
        clocks.boot_id, clocks.boot = boot, 1.0
        clocks.wall += round(leap_s * 1000)
        store = reopen()
        assert store.snapshot().outbox[0].remaining_s == pytest.approx(left_s)


def test_old_history_is_removed_but_nothing_open(reopen: Reopen, clocks: FakeClocks) -> None:
    store = reopen()
    store.commit(
        [PutOutbox((replace(entry(row), remaining_s=1e9),), b"x" * 5000) for row in (1, 2)]
    )
    store.commit([received(1, b"y" * 5000), received(2), SettleOutbox(2, State.DELIVERED)])
    store.commit([MarkShown((shown(1),))])
    clocks.pass_s(100)
    store = reopen(history_s=99.0)
    assert [one.row for one in store.snapshot().outbox] == [1]
    assert store.snapshot().next_row == 3
    assert [one.letter.sequence for one in store.read(InboxQuery(unread_only=False)).messages] == [
        2
    ]
    assert store.counts() == Counts(unread=1, history=0, queued=1)
    store = reopen(history_s=99.0)
    assert store.snapshot().next_row == 3
    assert store.snapshot().streams_in == {(BOB, LIFE): StreamIn(2)}


def test_an_empty_commit_does_nothing_and_closing_twice_is_fine(store: Store) -> None:
    store.commit([])
    store.close()
    store.close()


def test_a_mailbox_of_another_mesh_is_refused(reopen: Reopen) -> None:
    reopen()
    with pytest.raises(ConfigError, match="mesh"):
        reopen(mesh="other")
