"""Outbox and inbox against a model of a dozen lines: whatever happens, in any order.

The model is a list of what was accepted. What is received must be its beginning, each once and in
order; what is settled must be received; and once all is calm, everything is.
"""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mesh.core.bounds import Bounds
from mesh.core.changes import PutInbox, ReserveSequences
from mesh.core.inbox import Inbox
from mesh.core.outbox import Outbox, Owed
from mesh.core.snapshot import OutboxEntry, StreamIn, StreamKey, Unread
from mesh.model import LinkId, MessageId, Verified, Why
from mesh.packet import AckItem, MailItem, Verdict
from mesh.store import streams
from tests.core.samples import ALICE, BOB, LIFE, letter, message_id, shown

BOUNDS = Bounds(window_letters=3, inbox_letters_per_author=4, outbox_letters=20)
STREAM: StreamKey = (ALICE, LIFE)


class Stream(RuleBasedStateMachine):
    """One author, one recipient, a link that breaks, and two disks that outlive everything."""

    def __init__(self):
        super().__init__()
        self.accepted: list[MessageId] = []
        self.received: list[MessageId] = []
        self.settled: set[MessageId] = set()
        self.rows: dict[int, OutboxEntry] = {}
        self.reserved = 0
        self.known = streams.EMPTY
        self.unread = 0
        self.link = 0
        self.channel: deque[MailItem] = deque()
        self.acks: deque[AckItem] = deque()
        self.now = 0.0
        self.start_author()
        self.start_recipient()

    # What happens.

    @rule()
    def accept(self):
        if not self.outbox.has_room(letters=1, body_bytes=1):
            return
        sequence, reserve, _ = self.outbox.take_sequence(BOB)
        assert sequence not in {entry.letter.sequence for entry in self.rows.values()}
        if isinstance(reserve, ReserveSequences):
            self.reserved = reserve.up_to
        row = self.outbox.take_row()
        owed = Owed(row, letter(sequence, message_id=message_id(len(self.accepted))), 1e9)
        self.outbox.put(owed)
        self.rows[row] = owed.entry(self.now)
        self.accepted.append(owed.letter.message_id)

    @rule()
    def transmit(self):
        pumped = self.outbox.pump(self.stream, self.now)
        for transmission in (*pumped.at_once, *pumped.after):
            for row, previous, age_s in transmission.letters:
                self.channel.append(MailItem(self.rows[row].letter, previous, age_s, b"x"))
        assert len(self.stream.inflight) <= BOUNDS.window_letters

    @precondition(lambda self: self.channel)
    @rule(count=st.integers(1, 4))
    def deliver(self, count):
        for _ in range(min(count, len(self.channel))):
            taken = self.inbox.take(self.channel.popleft(), Verified.PINNED)
            for change in taken.changes:
                assert isinstance(change, PutInbox)
                self.received.append(change.letter.message_id)
                self.unread += 1
                sequence, skipped_from = change.letter.sequence, change.skipped_from
                self.known = streams.with_received(self.known, sequence, skipped_from)
            if taken.ack is not None:
                self.acks.append(taken.ack)

    @precondition(lambda self: self.acks)
    @rule()
    def acknowledge(self):
        ack = self.acks.popleft()
        owed = self.stream.owed.get(ack.sequence)
        if owed is None or owed.letter.message_id != ack.message_id:
            return
        if ack.verdict is Verdict.LATER:
            self.stream.pause(self.now, Why.RECIPIENT_FULL)
            return
        assert ack.verdict is Verdict.DELIVERED
        self.outbox.settle(BOB, ack.sequence)
        del self.rows[owed.row]
        self.settled.add(ack.message_id)

    @rule()
    def break_link(self):
        self.channel.clear()
        self.acks.clear()
        self.link += 1
        self.stream.connect(LinkId(self.link))

    @rule()
    def lose_some(self):
        """Less than TCP promises: letters vanish from the middle."""
        if self.channel:
            del self.channel[len(self.channel) // 2]

    @rule()
    def time_out(self):
        self.now += 10.0
        self.stream.go_back()

    @rule()
    def start_author(self):
        following = [(BOB, self.reserved + 1)] if self.reserved else []
        self.outbox = Outbox(
            ALICE,
            list(self.rows.values()),
            following,
            next_row=len(self.accepted) + 1,
            first_sequence=1,
            now=self.now,
            bounds=BOUNDS,
        )
        self.stream = self.outbox.stream(BOB)
        self.break_link()

    @rule()
    def start_recipient(self):
        unread = {ALICE: Unread(self.unread, self.unread)} if self.unread else {}
        known = {STREAM: self.known} if self.known != StreamIn(watermark=0) else {}
        self.inbox = Inbox(known, unread, BOUNDS)
        self.break_link()

    @precondition(lambda self: self.unread)
    @rule()
    def read(self):
        self.inbox.shown(tuple(shown(n + 1) for n in range(self.unread)))
        self.unread = 0

    # What holds.

    @invariant()
    def received_is_the_beginning_of_accepted(self):
        assert self.received == self.accepted[: len(self.received)]

    @invariant()
    def settled_is_received(self):
        assert self.settled <= set(self.received)

    @invariant()
    def nothing_owed_is_forgotten(self):
        owed = {one.letter.message_id for one in self.outbox}
        assert owed == set(self.accepted) - self.settled

    @invariant()
    def nobody_has_more_unread_than_fits(self):
        assert self.inbox.unread_letters == self.unread <= BOUNDS.inbox_letters_per_author

    def teardown(self):
        self.break_link()
        for _ in range(len(self.accepted) + 2):
            if self.unread:
                self.read()
            self.time_out()
            self.transmit()
            while self.channel:
                self.deliver(4)
            while self.acks:
                self.acknowledge()
        assert self.received == self.accepted
        assert not list(self.outbox)


TestStream = Stream.TestCase
TestStream.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
