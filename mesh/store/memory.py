"""A mailbox in memory: the same promises as on disk, for simulations and tests.

`MemoryDisk` outlives its `MemoryStore`, as a disk outlives a process: dropping the store at any
moment and opening the disk again is a crash, and only what was committed is there then.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from mesh import limits
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
    RefusedRange,
    ShownLetter,
    Unread,
)
from mesh.errors import ConfigError, DiskFullError, StoreError
from mesh.model import Alias, MailboxKey, MessageId, State, Why, fold
from mesh.store import streams
from mesh.store.clocks import Clocks, ElapsedClock
from mesh.store.interface import (
    Counts,
    InboxMessage,
    InboxPage,
    InboxQuery,
    StoredLetter,
    StoredReceipt,
)
from mesh.store.memory_disk import Fault, InboxRow, MemoryDisk, OutboxRow


class MemoryStore:
    """One mailbox on a `MemoryDisk`; see `interface.Store`."""

    def __init__(
        self, disk: MemoryDisk, clock: ElapsedClock, text_of: Callable[[bytes], str]
    ) -> None:
        self.disk = disk
        self._clock = clock
        self._text_of = text_of
        self._is_failed = False
        self._is_closed = False

    @classmethod
    def open(
        cls,
        disk: MemoryDisk,
        *,
        mesh: str,
        clocks: Clocks,
        take: bool = True,
        text_of: Callable[[bytes], str] = lambda body: body.decode("utf-8", "replace"),
        history_s: float = limits.history_s_default,
    ) -> "MemoryStore":
        """Open the mailbox and, with `take`, claim it.

        Raises:
            ConfigError: it belongs to another mesh.
        """
        if disk.mesh != mesh:
            raise ConfigError(f"The mailbox {disk.name} belongs to the mesh {disk.mesh}.")
        store = cls(disk, ElapsedClock(clocks, disk.last), text_of)
        disk.registered_ms = disk.registered_ms or clocks.wall_ms()
        disk.claim += 1 if take else 0
        store._forget(history_s)
        disk.last = store._clock.instant()
        return store

    @property
    def is_failed(self) -> bool:
        """Whether a commit failed: open the disk again."""
        return self._is_failed

    def snapshot(self) -> MailboxSnapshot:
        """Read everything the core needs."""
        disk, now_s = self.disk, self._clock.now_s()
        owed = (
            OutboxEntry(row, one.letter, one.deadline_s - now_s, one.to_prefix, one.was_sent)
            for row, one in sorted(disk.outbox.items())
            if one.state is State.QUEUED
        )
        aliases = sorted(disk.aliases.values(), key=lambda alias: alias.since_s)
        peers = sorted(disk.peers.values(), key=lambda peer: -peer.age_s)
        return MailboxSnapshot(
            key=disk.key,
            name=disk.name,
            incarnation=disk.incarnation,
            claim=disk.claim,
            registered_ms=disk.registered_ms,
            next_row=disk.next_row,
            outbox=tuple(owed),
            next_sequences=dict(disk.next_sequences),
            streams_in=dict(disk.streams_in),
            pins=dict(disk.pins),
            aliases=tuple(
                replace(one, since_s=now_s - one.since_s, until_s=one.until_s - now_s)
                for one in aliases
            ),
            unread=self._unread(),
            untold=tuple(
                _shown_letter(one)
                for _, one in sorted(disk.inbox.items())
                if one.is_shown and not one.is_told
            ),
            renamed_s=None if disk.renamed_s is None else now_s - disk.renamed_s,
            remembered=tuple(replace(one, age_s=now_s - one.age_s) for one in peers),
        )

    def commit(self, changes: Sequence[Change]) -> None:
        """Make all changes durable, or none of them.

        Raises:
            DiskFullError: nothing was written.
            StoreError: it is unknown whether it was written; open the disk again.
        """
        assert not self._is_failed, "a failed store must be opened again"
        if not changes:
            return
        fault, self.disk.fault = self.disk.fault, None
        self._is_failed = fault is not None
        if fault is Fault.FULL:
            raise DiskFullError("The disk is full.")
        if fault is not Fault.LOST:
            for change in changes:
                self._apply(change)
            self.disk.last = self._clock.instant()
        if fault is not None:
            raise StoreError("The disk failed.")

    def letters(self, rows: Sequence[int]) -> list[StoredLetter]:
        """Return queued letters with their bodies, in the order asked for, as far as there."""
        found = ((row, self.disk.outbox.get(row)) for row in rows)
        return [
            StoredLetter(row, one.letter, one.body)
            for row, one in found
            if one is not None and one.state is State.QUEUED
        ]

    def read(self, query: InboxQuery) -> InboxPage:
        """Return messages of the inbox, oldest first; reading changes nothing."""
        words = tuple(word.casefold() for word in query.words)
        messages: list[InboxMessage] = []
        body_bytes = remaining = 0
        is_full = query.limit <= 0
        for row, one in sorted(self.disk.inbox.items()):
            if row <= query.after_row or not self._matches(one, query, words):
                continue
            if messages and body_bytes + len(one.body) > query.body_bytes_max:
                is_full = True
            if is_full:
                remaining += 1
                continue
            messages.append(
                InboxMessage(row, one.letter, one.body, one.received_ms, one.is_shown, one.verified)
            )
            body_bytes += len(one.body)
            is_full = len(messages) >= query.limit
        return InboxPage(tuple(messages), remaining)

    def recent(self, after_row: int, *, limit: int) -> list[InboxMessage] | None:
        """Return the oldest unread messages after a row."""
        return list(self.read(InboxQuery(after_row=after_row, limit=limit)).messages)

    def shown_letters(self, rows: Sequence[int]) -> list[ShownLetter]:
        """Return those of these inbox rows that are still unread, as the core wants them."""
        found = (self.disk.inbox.get(row) for row in rows)
        return [_shown_letter(one) for one in found if one is not None and not one.is_shown]

    def receipts(
        self, message_id: MessageId | None = None, *, limit: int = 100
    ) -> list[StoredReceipt]:
        """Return all receipts of one message, or the newest ones, newest first."""
        if message_id is None:
            rows = sorted(self.disk.outbox, reverse=True)[:limit]
        else:
            rows = sorted(self.disk.rows_by_id.get(message_id, ()))
        return [
            StoredReceipt(
                *(one.letter.message_id, one.letter.to, one.letter.recipient),
                *(one.state, one.why, one.changed_ms),
            )
            for one in (self.disk.outbox[row] for row in rows)
        ]

    def counts(self) -> Counts:
        """Count messages."""
        shown = sum(one.is_shown for one in self.disk.inbox.values())
        queued = sum(one.state is State.QUEUED for one in self.disk.outbox.values())
        return Counts(unread=len(self.disk.inbox) - shown, history=shown, queued=queued)

    def close(self) -> None:
        """Stop; idempotent. What was committed stays on the disk."""
        if not self._is_failed and not self._is_closed:
            self.disk.last = self._clock.instant()
        self._is_closed = True

    def _apply(self, change: Change) -> None:
        match change:
            case PutOutbox() | ReserveSequences() | BindOutbox() | MarkSent():
                self._apply_outbox(change)
            case SettleOutbox() | SettleShown():
                self._settle(change)
            case PutInbox() | Refuse() | MarkShown() | MarkTold():
                self._apply_inbox(change)
            case _:
                self._apply_other(change)

    def _apply_outbox(self, change: PutOutbox | ReserveSequences | BindOutbox | MarkSent) -> None:
        disk = self.disk
        match change:
            case PutOutbox():
                for entry in change.entries:
                    self._put_outbox(entry, change.body)
            case ReserveSequences():
                self._reserve(change.recipient, change.up_to)
            case BindOutbox():
                owed = disk.outbox.get(change.row)
                if owed is not None and owed.state is State.QUEUED:
                    owed.letter, owed.to_prefix = change.letter, ""
                self._reserve(change.letter.recipient, change.letter.sequence)
            case MarkSent():
                for row in change.rows:
                    if row in disk.outbox:
                        disk.outbox[row].was_sent = True
            case _:
                assert_never(change)

    def _put_outbox(self, entry: OutboxEntry, body: bytes) -> None:
        disk, now_s = self.disk, self._clock.now_s()
        assert entry.row not in disk.outbox, "rows never repeat"
        disk.outbox[entry.row] = OutboxRow(
            *(entry.letter, body, now_s + entry.remaining_s, entry.to_prefix, entry.was_sent),
            *(now_s, self._clock.wall_ms()),
        )
        disk.next_row = max(disk.next_row, entry.row + 1)
        disk.rows_by_id.setdefault(entry.letter.message_id, []).append(entry.row)
        self._reserve(entry.letter.recipient, entry.letter.sequence)

    def _reserve(self, recipient: MailboxKey | None, sequence: int) -> None:
        if recipient is not None:
            known = self.disk.next_sequences.get(recipient, 1)
            self.disk.next_sequences[recipient] = max(known, sequence + 1)

    def _settle(self, change: SettleOutbox | SettleShown) -> None:
        if isinstance(change, SettleOutbox):
            owed = self.disk.outbox.get(change.row)
            if owed is not None and owed.state is State.QUEUED:
                self._end(owed, change.state, change.why)
            return
        for row in self.disk.rows_by_id.get(change.message_id, ()):
            owed = self.disk.outbox[row]
            is_open = owed.state in (State.QUEUED, State.DELIVERED)
            if is_open and owed.letter.recipient == change.recipient:
                self._end(owed, State.SHOWN, Why.NONE)

    def _end(self, owed: OutboxRow, state: State, why: Why) -> None:
        owed.state, owed.why, owed.body = state, why, b""
        owed.changed_s, owed.changed_ms = self._clock.now_s(), self._clock.wall_ms()

    def _apply_inbox(self, change: PutInbox | Refuse | MarkShown | MarkTold) -> None:
        disk = self.disk
        match change:
            case PutInbox():
                self._put_inbox(change)
            case Refuse():
                key = (change.author, change.incarnation)
                refused = RefusedRange(change.first, change.last, change.why)
                stream = disk.streams_in.get(key, streams.EMPTY)
                disk.streams_in[key] = streams.with_refused(stream, refused)
            case MarkShown():
                for letter in change.letters:
                    stream_key = (letter.author, letter.incarnation, letter.sequence)
                    one = disk.inbox.get(disk.inbox_by_stream.get(stream_key, 0))
                    if one is not None and not one.is_shown:
                        one.is_shown, one.changed_s = True, self._clock.now_s()
            case MarkTold():
                for letter in change.letters:
                    stream_key = (letter.author, letter.incarnation, letter.sequence)
                    one = disk.inbox.get(disk.inbox_by_stream.get(stream_key, 0))
                    if one is not None:
                        one.is_told = one.is_told or one.is_shown
            case _:
                assert_never(change)

    def _put_inbox(self, change: PutInbox) -> None:
        disk, letter = self.disk, change.letter
        key = (letter.author, letter.incarnation)
        stream = disk.streams_in.get(key, streams.EMPTY)
        disk.streams_in[key] = streams.with_received(stream, letter.sequence, change.skipped_from)
        disk.inbox[disk.next_inbox_row] = InboxRow(
            *(letter, change.body, change.verified, self._clock.wall_ms(), self._clock.now_s())
        )
        disk.inbox_by_stream[(*key, letter.sequence)] = disk.next_inbox_row
        disk.next_inbox_row += 1

    def _apply_other(self, change: PutPin | PutName | PutPeer) -> None:
        disk, now_s = self.disk, self._clock.now_s()
        match change:
            case PutPin(pin):
                disk.pins[fold(pin.name)] = pin
            case PutName(name, alias):
                disk.aliases[fold(alias.name)] = Alias(
                    alias.name, now_s - alias.since_s, now_s + alias.until_s
                )
                disk.aliases.pop(fold(name), None)
                disk.name, disk.renamed_s = name, now_s
            case PutPeer(peer):
                if peer.curve is not None:
                    same = [key for key, old in disk.peers.items() if old.curve == peer.curve]
                    for key in same:
                        del disk.peers[key]
                disk.peers[peer.endpoints] = replace(peer, age_s=now_s - peer.age_s)
            case _:
                assert_never(change)

    def _matches(self, one: InboxRow, query: InboxQuery, words: Sequence[str]) -> bool:
        letter = one.letter
        if query.unread_only and one.is_shown:
            return False
        if query.author_name and fold(letter.author_name) != query.author_name:
            return False
        if query.message_id is not None and letter.message_id != query.message_id:
            return False
        if query.since_ms is not None and letter.created_ms <= query.since_ms:
            return False
        if not words:
            return True
        text = self._text_of(one.body).casefold()
        return all(word in text for word in words)

    def _unread(self) -> dict[MailboxKey, Unread]:
        found: dict[MailboxKey, Unread] = {}
        for one in self.disk.inbox.values():
            if not one.is_shown:
                old = found.get(one.letter.author, Unread(0, 0))
                size = old.body_bytes + one.letter.body_bytes
                found[one.letter.author] = Unread(old.letters + 1, size)
        return found

    def _forget(self, history_s: float) -> None:
        """Remove what is older than the history kept; nothing that is still open."""
        disk, now_s = self.disk, self._clock.now_s()
        for row, owed in list(disk.outbox.items()):
            if owed.state is not State.QUEUED and owed.changed_s < now_s - history_s:
                del disk.outbox[row]
                disk.rows_by_id[owed.letter.message_id].remove(row)
        for row, one in list(disk.inbox.items()):
            if one.is_shown and one.changed_s < now_s - history_s:
                del disk.inbox[row]
        for name, alias in list(disk.aliases.items()):
            if alias.until_s < now_s - limits.alias_tombstone_s:
                del disk.aliases[name]
        for endpoints, peer in list(disk.peers.items()):
            if peer.age_s < now_s - limits.remembered_s_max:
                del disk.peers[endpoints]


def _shown_letter(one: InboxRow) -> ShownLetter:
    letter = one.letter
    return ShownLetter(
        *(letter.author, letter.incarnation, letter.sequence, letter.message_id, letter.body_bytes)
    )
