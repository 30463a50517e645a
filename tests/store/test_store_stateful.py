"""The store on disk against the one in memory: the same changes in any order, opened at will."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mesh.core.changes import (
    BindOutbox,
    Change,
    MarkSent,
    MarkShown,
    MarkTold,
    PutInbox,
    PutOutbox,
    Refuse,
    ReserveSequences,
    SettleOutbox,
    SettleShown,
)
from mesh.core.snapshot import ShownLetter
from mesh.model import State, Verified, Why
from mesh.store.memory import MemoryStore
from mesh.store.memory_disk import MemoryDisk
from mesh.store.sqlite import SqliteStore
from tests.powerloss import dump
from tests.store.samples import BOB, LIFE, OWN, FakeClocks, entry, letter, message_id, outgoing

BODIES = st.sampled_from([b"", b"short", b"x" * 1024, b"y" * 1025, b"z" * 9000])


class Mailbox(RuleBasedStateMachine):
    """One mailbox, twice."""

    def __init__(self):
        super().__init__()
        self.place = tempfile.TemporaryDirectory(prefix="st")
        self.path = Path(self.place.name) / "mailbox.db"
        self.clocks = FakeClocks()
        self.disk = MemoryDisk(OWN, "alice", "default", LIFE)
        self.waiting: list[Change] = []
        self.row = self.sequence = 0
        self.queued: list[int] = []
        self.unread: list[ShownLetter] = []
        self.shown: list[ShownLetter] = []
        self.open()

    def open(self):
        settings = {"mesh": "default", "clocks": self.clocks}
        self.real = SqliteStore.open(self.path, key=OWN, name="alice", **settings)
        self.model = MemoryStore.open(self.disk, **settings)

    # What happens; `commit` writes what has gathered.

    @rule(count=st.sampled_from([1, 1, 3]), body=BODIES)
    def put_outbox(self, count, body):
        rows = range(self.row + 1, self.row + 1 + count)
        self.waiting.append(PutOutbox(tuple(entry(row) for row in rows), body))
        self.queued += rows
        self.row += count

    @rule()
    def put_outbox_for_nobody_yet(self):
        self.row += 1
        unbound = entry(self.row, recipient=None, sequence=0)
        bound = BindOutbox(self.row, outgoing(self.row))
        self.waiting += [PutOutbox((unbound,), b"waits"), bound]
        self.queued.append(self.row)

    @rule(up_to=st.integers(1, 5000))
    def reserve(self, up_to):
        self.waiting.append(ReserveSequences(BOB, up_to))

    @rule(body=BODIES, skipped=st.integers(0, 2))
    def put_inbox(self, body, skipped):
        first = self.sequence + 1
        self.sequence += 1 + skipped
        made = letter(self.sequence, body_bytes=len(body))
        self.waiting.append(PutInbox(made, body, Verified.PINNED, first if skipped else 0))
        self.unread.append(ShownLetter(BOB, LIFE, self.sequence, made.message_id, made.body_bytes))

    @rule()
    def refuse(self):
        self.sequence += 1
        self.waiting.append(Refuse(BOB, LIFE, self.sequence, self.sequence, Why.LOOP))

    @precondition(lambda self: self.queued)
    @rule(data=st.data(), state=st.sampled_from([State.DELIVERED, State.REFUSED, State.EXPIRED]))
    def settle(self, data, state):
        row = data.draw(st.sampled_from(self.queued))
        self.queued.remove(row)
        self.waiting += [MarkSent((row,)), SettleOutbox(row, state, Why.NONE)]

    @precondition(lambda self: self.row)
    @rule(data=st.data())
    def settle_shown(self, data):
        row = data.draw(st.integers(1, self.row))
        if row in self.queued:
            self.queued.remove(row)
        self.waiting.append(SettleShown(BOB, message_id(row)))

    @precondition(lambda self: self.unread)
    @rule(count=st.integers(1, 5))
    def show(self, count):
        seen = tuple(self.unread[:count])
        del self.unread[:count]
        self.shown += seen
        self.waiting.append(MarkShown(seen))

    @precondition(lambda self: self.shown)
    @rule()
    def tell(self):
        self.waiting.append(MarkTold(tuple(self.shown)))
        self.shown.clear()

    @rule()
    def commit(self):
        changes, self.waiting = self.waiting, []
        self.real.commit(changes)
        self.model.commit(changes)

    @rule(days=st.sampled_from([0, 1, 40]))
    def open_again(self, days):
        self.commit()
        self.real.close()
        self.model.close()
        self.clocks.pass_s(days * 86400.0)
        self.open()

    # What holds.

    @invariant()
    def both_hold_the_same(self):
        real, model = dump(self.real), dump(self.model)
        assert real == model
        assert self.real.counts() == self.model.counts()

    @invariant()
    def nothing_owed_or_unread_is_ever_forgotten(self):
        if not self.waiting:
            owed = [one.row for one in self.real.snapshot().outbox]
            assert owed == sorted(self.queued)
            assert self.real.counts().unread == len(self.unread)

    def teardown(self):
        self.real.close()
        self.place.cleanup()


TestMailbox = Mailbox.TestCase
TestMailbox.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
