"""One mailbox on a simulated disk: what is committed, and what a fault does to a commit.

A transaction is applied whole or not at all. `log` exists only under a mutant that forgets to
sync: then a power loss takes the last transactions away again, and the disk is built anew.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, assert_never

from mesh.core.changes import (
    BindOutbox,
    Change,
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
    MailboxSnapshot,
    OutboxEntry,
    Pin,
    RefusedRange,
    RememberedPeer,
    ShownLetter,
    StreamIn,
    StreamKey,
    Unread,
)
from mesh.model import Alias, Incarnation, Letter, MailboxKey, MessageId, State, Why, fold
from mesh.sim.shelf import Shelf
from mesh.store import streams
from mesh.store.clocks import Clocks, ElapsedClock, Instant


class DiskFault(Enum):
    """How the next commits of a mailbox fail."""

    FULL = "disk full"
    LOST = "write error"
    UNCERTAIN = "error although written"


STICKY: Final = frozenset({DiskFault.FULL})
"""Faults that last until they are mended; the others strike once."""


@dataclass(slots=True)
class OutboxRow:
    """A letter owed or settled; `deadline_s` is on the elapsed clock."""

    letter: Letter
    body: bytes
    deadline_s: float
    to_prefix: str
    was_sent: bool
    state: State = State.QUEUED
    why: Why = Why.NONE


@dataclass(slots=True)
class InboxRow:
    """A letter received."""

    letter: Letter
    body: bytes
    is_shown: bool = False
    is_told: bool = False


@dataclass(slots=True)
class Contents:
    """Everything a committed transaction may have changed."""

    name: str
    next_row: int = 1
    renamed_s: float | None = None
    outbox: dict[int, OutboxRow] = field(default_factory=dict)
    inbox: dict[MessageId, InboxRow] = field(default_factory=dict)
    streams_in: dict[StreamKey, StreamIn] = field(default_factory=dict)
    next_sequences: dict[MailboxKey, int] = field(default_factory=dict)
    pins: dict[str, Pin] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    peers: dict[tuple[str, ...], RememberedPeer] = field(default_factory=dict)


class Disk:
    """The database of one mailbox; it outlives every process that opens it."""

    def __init__(self, key: MailboxKey, name: str, incarnation: Incarnation) -> None:
        self.key = key
        self.incarnation = incarnation
        self.claim = 0
        self.contents = Contents(name)
        self.fault: DiskFault | None = None
        self.shelf = Shelf()
        self.log: list[tuple[float, Sequence[Change]]] | None = None
        self.received_before: set[MessageId] = set()
        self._first_name = name
        self._last: Instant | None = None
        self._clock: ElapsedClock | None = None

    @property
    def name(self) -> str:
        """What the mailbox is called, as committed."""
        return self.contents.name

    def open(self, clocks: Clocks, *, take: bool) -> None:
        """Begin to use the disk; `take` claims it anew."""
        self._clock = ElapsedClock(clocks, self._last)
        self.claim += 1 if take else 0
        self._last = self._clock.instant()

    def now_s(self) -> float:
        """Return the elapsed clock of the open mailbox."""
        assert self._clock is not None
        return self._clock.now_s()

    def take_fault(self) -> DiskFault | None:
        """Return how the commit that is about to run fails, if it does."""
        fault = self.fault
        if fault not in STICKY:
            self.fault = None
        return fault

    def apply(self, changes: Sequence[Change]) -> None:
        """Commit one transaction."""
        assert self._clock is not None
        now_s = self._clock.now_s()
        for change in changes:
            self._apply(change, now_s)
        if self.log is not None:
            self.log.append((now_s, changes))
        self._last = self._clock.instant()

    def lose(self, transactions: int) -> None:
        """Forget the last transactions: they were never synced."""
        assert self.log is not None
        kept = self.log[: len(self.log) - transactions]
        self.contents = Contents(self._first_name)
        self.log = kept
        for now_s, changes in kept:
            for change in changes:
                self._apply(change, now_s)

    def wipe(self, incarnation: Incarnation) -> None:
        """Lose the database but not the key: the mailbox begins another incarnation."""
        self.received_before.update(self.contents.inbox)
        self.incarnation = incarnation
        self._first_name = self.contents.name
        self.contents = Contents(self.contents.name)
        self._last = None
        if self.log is not None:
            self.log = []

    def letters(self, rows: Sequence[int]) -> dict[int, tuple[Letter, bytes]]:
        """Return queued letters with their bodies; missing ones are left out."""
        found = ((row, self.contents.outbox.get(row)) for row in rows)
        return {
            row: (owed.letter, owed.body)
            for row, owed in found
            if owed is not None and owed.state is State.QUEUED
        }

    def rows_of(self, message_id: MessageId) -> int:
        """Count the recipients for which a message is recorded."""
        rows = self.contents.outbox.values()
        return sum(1 for row in rows if row.letter.message_id == message_id)

    def unread(self) -> list[ShownLetter]:
        """Return the letters that were not shown yet, oldest first."""
        return [_shown(row) for row in self.contents.inbox.values() if not row.is_shown]

    def snapshot(self) -> MailboxSnapshot:
        """Read everything the core needs."""
        it, now_s = self.contents, self.now_s()
        unread: Counter[MailboxKey] = Counter()
        unread_bytes: Counter[MailboxKey] = Counter()
        for row in it.inbox.values():
            if not row.is_shown:
                unread[row.letter.author] += 1
                unread_bytes[row.letter.author] += row.letter.body_bytes
        return MailboxSnapshot(
            key=self.key,
            name=it.name,
            incarnation=self.incarnation,
            claim=self.claim,
            registered_ms=0,
            next_row=it.next_row,
            outbox=tuple(
                OutboxEntry(number, row.letter, row.deadline_s - now_s, row.to_prefix, row.was_sent)
                for number, row in it.outbox.items()
                if row.state is State.QUEUED
            ),
            next_sequences=dict(it.next_sequences),
            streams_in=dict(it.streams_in),
            pins=dict(it.pins),
            aliases=tuple(
                Alias(a.name, now_s - a.since_s, a.until_s - now_s) for a in it.aliases.values()
            ),
            unread={author: Unread(n, unread_bytes[author]) for author, n in unread.items()},
            untold=tuple(_shown(r) for r in it.inbox.values() if r.is_shown and not r.is_told),
            renamed_s=None if it.renamed_s is None else now_s - it.renamed_s,
            remembered=tuple(it.peers.values()),
        )

    def _apply(self, change: Change, now_s: float) -> None:
        match change:
            case PutOutbox() | ReserveSequences() | BindOutbox() | MarkSent():
                self._apply_sending(change, now_s)
            case SettleOutbox() | SettleShown():
                self._settle(change)
            case PutInbox() | Refuse() | MarkShown() | MarkTold():
                self._apply_received(change)
            case PutPin() | PutName() | PutPeer():
                self._apply_names(change, now_s)
            case _:
                assert_never(change)

    def _apply_sending(
        self, change: PutOutbox | ReserveSequences | BindOutbox | MarkSent, now_s: float
    ) -> None:
        it = self.contents
        match change:
            case PutOutbox(entries, body):
                for entry in entries:
                    assert entry.row not in it.outbox, "a row was used twice"
                    it.outbox[entry.row] = OutboxRow(
                        entry.letter,
                        body,
                        now_s + entry.remaining_s,
                        entry.to_prefix,
                        entry.was_sent,
                    )
                    it.next_row = max(it.next_row, entry.row + 1)
                    self._reserve(entry.letter.recipient, entry.letter.sequence)
            case ReserveSequences(recipient, up_to):
                self._reserve(recipient, up_to)
            case BindOutbox(row, letter):
                self._reserve(letter.recipient, letter.sequence)
                if row in it.outbox and it.outbox[row].state is State.QUEUED:
                    it.outbox[row].letter, it.outbox[row].to_prefix = letter, ""
            case MarkSent(rows):
                for row in rows:
                    if row in it.outbox:
                        it.outbox[row].was_sent = True
            case _:
                assert_never(change)

    def _reserve(self, recipient: MailboxKey | None, sequence: int) -> None:
        if recipient is not None:
            known = self.contents.next_sequences.get(recipient, 1)
            self.contents.next_sequences[recipient] = max(known, sequence + 1)

    def _settle(self, change: SettleOutbox | SettleShown) -> None:
        outbox = self.contents.outbox
        if isinstance(change, SettleOutbox):
            row = outbox.get(change.row)
            if row is not None and row.state is State.QUEUED:
                row.state, row.why, row.body = change.state, change.why, b""
            return
        for row in outbox.values():
            letter = row.letter
            is_meant = (letter.message_id, letter.recipient) == (
                change.message_id,
                change.recipient,
            )
            if is_meant and row.state in {State.QUEUED, State.DELIVERED}:
                row.state, row.why, row.body = State.SHOWN, Why.NONE, b""

    def _apply_received(self, change: PutInbox | Refuse | MarkShown | MarkTold) -> None:
        it = self.contents
        match change:
            case PutInbox(letter, body, _, skipped_from):
                it.inbox[letter.message_id] = InboxRow(letter, body)
                key = (letter.author, letter.incarnation)
                stream = it.streams_in.get(key, streams.EMPTY)
                it.streams_in[key] = streams.with_received(stream, letter.sequence, skipped_from)
            case Refuse(author, incarnation, first, last, why):
                stream = it.streams_in.get((author, incarnation), streams.EMPTY)
                refused = RefusedRange(first, last, why)
                it.streams_in[author, incarnation] = streams.with_refused(stream, refused)
            case MarkShown(letters):
                for shown in letters:
                    it.inbox[shown.message_id].is_shown = True
            case MarkTold(letters):
                for told in letters:
                    if told.message_id in it.inbox:
                        it.inbox[told.message_id].is_told = True
            case _:
                assert_never(change)

    def _apply_names(self, change: PutPin | PutName | PutPeer, now_s: float) -> None:
        it = self.contents
        match change:
            case PutPin(pin):
                it.pins[fold(pin.name)] = pin
            case PutName(name, alias):
                kept = replace(alias, since_s=now_s - alias.since_s, until_s=now_s + alias.until_s)
                it.aliases[fold(alias.name)] = kept
                it.aliases.pop(fold(name), None)
                it.name = name
                it.renamed_s = now_s
            case PutPeer(peer):
                it.peers[peer.endpoints] = peer
            case _:
                assert_never(change)


def _shown(row: InboxRow) -> ShownLetter:
    letter = row.letter
    return ShownLetter(
        author=letter.author,
        incarnation=letter.incarnation,
        sequence=letter.sequence,
        message_id=letter.message_id,
        body_bytes=letter.body_bytes,
    )
