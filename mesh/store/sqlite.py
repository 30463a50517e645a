"""A mailbox in an SQLite database: one connection, one thread, one transaction for each commit.

Opening checks the file and takes the mailbox: its claim grows by one. A damaged file is replaced by
one with every row that verifies (see `salvage`); `reports` then says so. After a commit that failed
the store is of no more use: whether it was written is only known after opening it again.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.core.changes import Change
from mesh.core.snapshot import MailboxSnapshot, ShownLetter
from mesh.errors import CorruptError, StoreError
from mesh.model import Incarnation, MailboxKey, MessageId, State
from mesh.store import connection, reads, retention, salvage
from mesh.store.book import Book
from mesh.store.clocks import Clocks, ElapsedClock, Instant
from mesh.store.interface import (
    Counts,
    InboxMessage,
    InboxPage,
    InboxQuery,
    StoredLetter,
    StoredReceipt,
)
from mesh.store.log_room import LogRoom
from mesh.store.meta import check_owner, put_meta, read_meta, write_first_meta
from mesh.store.reads import Damage, TextOf, plain_text
from mesh.store.rows import CODES, Value
from mesh.store.schema import check_schema, migrate
from mesh.store.writes import Batch

quick_check_bytes_max: Final = 64 * limits.MIB
"""Larger databases are walked at open only if they were not closed properly."""


clock_interval_s: Final = 1.0


class SqliteStore:
    """One mailbox on disk; see `interface.Store`. `reports` are sentences about damage found."""

    def __init__(
        self, path: Path, db: sqlite3.Connection, *, key: MailboxKey, text_of: TextOf
    ) -> None:
        self.path = path
        self.reports: list[str] = []
        self._db = db
        self._key = key
        self._text_of = text_of
        self._is_failed = False
        self._is_closed = False
        self._book = Book()
        self._meta: dict[str, Value] = {}
        self._clock: ElapsedClock
        self._clock_due_s = 0.0
        self._room = LogRoom(path)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        key: MailboxKey,
        name: str | None,
        mesh: str,
        clocks: Clocks,
        take: bool = True,
        text_of: TextOf = plain_text,
        history_s: float = limits.history_s_default,
    ) -> "SqliteStore":
        """Open the mailbox's database, made at first use; the caller holds the mailbox's lock.

        `name` is the display name as typed now; None keeps the stored one. A stored name that
        differs in more than case wins: `name` then has it (see `mailboxes`). Without `take` the
        claim stays, which is for opening again in the same process.

        Raises:
            ConfigError: the mailbox belongs to another mesh.
            SchemaError: written by a newer version.
            StoreError: the disk refused, or the key is not the mailbox's.
        """
        salvage.finish(path)
        reports: list[str] = []
        try:
            if salvage.is_suspect(path):
                raise CorruptError("damage had shown in use")
            store = cls._opened(path, key, name, mesh, clocks, text_of)
        except CorruptError as exc:
            reports = salvage.salvage(
                path, key=key, name=name, mesh=mesh, clocks=clocks, why=str(exc)
            )
            store = cls._opened(path, key, name, mesh, clocks, text_of)
        store.reports.extend(reports)
        try:
            store._begin(take=take, history_s=history_s)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _opened(
        cls,
        path: Path,
        key: MailboxKey,
        name: str | None,
        mesh: str,
        clocks: Clocks,
        text_of: TextOf,
    ) -> "SqliteStore":
        db = connection.connect(path)
        store = cls(path, db, key=key, text_of=text_of)
        try:
            with store._reading():
                connection.configure(db)
                store._prepare(name, mesh, clocks)
        except reads.DAMAGE as exc:
            db.close()
            raise CorruptError(f"{path} is damaged: {exc}.") from exc
        except BaseException:
            db.close()
            raise
        return store

    @property
    def name(self) -> str:
        """The display name as stored: the truth about what this mailbox is called."""
        return str(self._meta["name"])

    @property
    def incarnation(self) -> Incarnation:
        """Names this life of the store."""
        return Incarnation(_bytes(self._meta["incarnation"]))

    @property
    def is_failed(self) -> bool:
        """Whether a commit failed or damage has shown: close the store and open it again."""
        return self._is_failed

    def snapshot(self) -> MailboxSnapshot:
        """Read everything the core needs; letters that fail their digest are set aside."""
        damage, db, now_s = Damage(), self._db, self._clock.now_s()
        with self._reading():
            meta = read_meta(db)
            renamed_s = meta.get("renamed_s")
            snapshot = MailboxSnapshot(
                key=self._key,
                name=str(meta["name"]),
                incarnation=self.incarnation,
                claim=_int(meta["claim"]),
                registered_ms=_int(meta["registered_ms"]),
                next_row=max(_int(meta.get("next_row", 1)), _next_row(db, "outbox")),
                outbox=tuple(reads.queued(db, now_s, damage)),
                next_sequences=reads.next_sequences(db),
                streams_in=reads.streams_in(db),
                pins=reads.pins(db),
                aliases=reads.aliases(db, now_s),
                unread=reads.unread(db),
                untold=reads.untold(db),
                renamed_s=now_s - renamed_s if isinstance(renamed_s, float) else None,
                remembered=reads.remembered(db, now_s),
            )
        self._set_aside(damage)
        return snapshot

    def commit(self, changes: Sequence[Change]) -> None:
        """Make all changes durable in one transaction, or none of them.

        Raises:
            DiskFullError: nothing was written.
            StoreError: it is unknown whether it was written.
            In both cases the store must be closed and opened again.
        """
        if not changes:
            return

        batch = Batch(self._db, self._book, now_s=self._clock.now_s(), now_ms=self._clock.wall_ms())
        for change in changes:
            batch.add(change)
        self._transact(batch.write)
        self._room.keep()
        self._book.recent.add(batch.arrived)
        self._book.recent.drop(batch.shown)

    def letters(self, rows: Sequence[int]) -> list[StoredLetter]:
        """Return queued letters with their bodies, in the order asked for, as far as there."""
        damage = Damage()
        with self._reading():
            found = reads.stored_letters(self._db, rows, damage)
        self._set_aside(damage)
        return found

    def read(self, query: InboxQuery) -> InboxPage:
        """Return messages of the inbox, oldest first; reading changes nothing."""
        damage = Damage()
        with self._reading():
            page = reads.page(self._db, query, self._text_of, damage)
        self._set_aside(damage)
        return page

    def recent(self, after_row: int, *, limit: int) -> list[InboxMessage] | None:
        """Return the oldest unread messages after a row, if they are all in memory."""
        return self._book.recent.after(after_row, limit=limit)

    def shown_letters(self, rows: Sequence[int]) -> list[ShownLetter]:
        """Return those of these inbox rows that are still unread, as the core wants them."""
        with self._reading():
            return reads.shown_letters(self._db, rows)

    def receipts(
        self, message_id: MessageId | None = None, *, limit: int = 100
    ) -> list[StoredReceipt]:
        """Return all receipts of one message, or the newest ones."""
        with self._reading():
            return reads.receipts(self._db, message_id, limit)

    def counts(self) -> Counts:
        """Count messages."""
        book = self._book
        return Counts(unread=book.unread, history=book.history, queued=book.queued)

    def close(self) -> None:
        """Release the files; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if not self._is_failed and "clock" in self._meta:
                self._clock_due_s = 0.0
                self._transact(lambda: put_meta(self._db, "clean", 1))
        except StoreError:
            self._is_failed = True
        finally:
            self._db.close()

    def _prepare(self, name: str | None, mesh: str, clocks: Clocks) -> None:
        """Check the file, bring its schema up to date and read what is kept in memory."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            is_new = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
            migrate(db)
            check_schema(db)
            meta = read_meta(db)
            if not meta.get("clean") or self.path.stat().st_size <= quick_check_bytes_max:
                connection.check(db)
            if is_new:
                write_first_meta(db, self._key, name or self.path.parent.name, mesh, clocks)
                meta = read_meta(db)
            check_owner(self.path, meta, self._key, mesh)
            self._meta = meta
            last = Instant.decode(str(meta["clock"]))
            self._clock = ElapsedClock(clocks, last)
            if name is not None and name.lower() == self.name.lower() and name != self.name:
                self._put_meta("name", name)
            db.execute("COMMIT")
        except BaseException:
            connection.rollback(db)
            raise
        self._load()

    def _load(self) -> None:
        db, book = self._db, self._book
        book.streams_in = reads.streams_in(db)
        book.next_sequences = reads.next_sequences(db)
        reads.pins(db), reads.aliases(db, 0.0), reads.remembered(db, 0.0)  # verified early
        book.body_of_row = reads.shared_bodies(db)
        for body_id in book.body_of_row.values():
            book.rows_of_body[body_id] = book.rows_of_body.get(body_id, 0) + 1
        book.next_inbox_row = max(_int(self._meta.get("next_inbox_row", 1)), _next_row(db, "inbox"))
        book.recent.begin(book.next_inbox_row)
        book.next_body_id = db.execute("SELECT ifnull(max(id), 0) + 1 FROM body").fetchone()[0]
        self._count()

    def _count(self) -> None:
        db, book = self._db, self._book
        (book.queued,) = db.execute(
            "SELECT count(*) FROM outbox INDEXED BY outbox_queued WHERE state = 0"
        ).fetchone()
        (book.unread,) = db.execute(
            "SELECT count(*) FROM inbox INDEXED BY inbox_unread WHERE is_shown = 0"
        ).fetchone()
        (total,) = db.execute("SELECT count(*) FROM inbox").fetchone()
        book.history = total - book.unread

    def _begin(self, *, take: bool, history_s: float) -> None:
        """Claim the mailbox and remove what is older than the history kept."""

        def claim() -> None:
            self._put_meta("clean", 0)
            if take:
                self._put_meta("claim", _int(self._meta["claim"]) + 1)

        self._transact(claim)
        now_s = self._clock.now_s()
        for step in retention.steps(self._db, now_s=now_s, history_s=history_s):
            self._transact(step)
        self._count()

    def _put_meta(self, name: str, value: Value) -> None:
        put_meta(self._db, name, value)
        self._meta[name] = value

    def _transact(self, write: Callable[[], None]) -> None:
        """Run `write` in one transaction, which carries the clock on if that was a while ago.

        A clock that was stored earlier says the same: what has passed since is known.
        """
        assert not self._is_failed, "a failed store must be opened again"
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            write()
            now_s = self._clock.now_s()
            if now_s >= self._clock_due_s:
                put_meta(db, "clock", self._clock.instant().encode())
            db.execute("COMMIT")
            if now_s >= self._clock_due_s:
                self._clock_due_s = now_s + clock_interval_s
        except BaseException as exc:
            self._is_failed = True
            connection.rollback(db)
            if isinstance(exc, sqlite3.Error):
                raise self._error(exc) from exc
            raise

    def _set_aside(self, damage: Damage) -> None:
        """Keep damaged rows apart: mail that cannot be believed must neither be read nor sent."""
        if not (damage.outbox or damage.inbox):
            return
        now_ms = self._clock.wall_ms()

        def write() -> None:
            db = self._db
            for row in damage.inbox:
                db.execute(_KEEP_INBOX, (now_ms, row))
                db.execute("DELETE FROM inbox WHERE row = ?", (row,))
            for row in damage.outbox:
                db.execute(_KEEP_OUTBOX, (now_ms, row))
                db.execute(_EXPIRE, (CODES[State.EXPIRED], self._clock.now_s(), now_ms, row))

        self._transact(write)
        self._count()
        self.reports.extend(f"Message {row} of the inbox was damaged." for row in damage.inbox)
        self.reports.extend(
            f"Letter {row} of the outbox was damaged; it will not be sent." for row in damage.outbox
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        assert not self._is_failed, "a failed store must be opened again"
        try:
            yield
        except sqlite3.Error as exc:
            raise self._error(exc) from exc

    def _error(self, exc: sqlite3.Error) -> StoreError:
        error = connection.store_error(exc, self.path)
        if isinstance(error, CorruptError):
            salvage.suspect(self.path)  # Opening again mends it.
            self._is_failed = True
        return error


_KEEP_INBOX: Final = """
    INSERT INTO damaged (found_ms, source, row, letter, body)
    SELECT ?, 'inbox', inbox.row, letter, ifnull(body, body.bytes)
    FROM inbox LEFT JOIN body ON body.id = body_id WHERE inbox.row = ?"""
_KEEP_OUTBOX: Final = """
    INSERT INTO damaged (found_ms, source, row, letter, body)
    SELECT ?, 'outbox', row, letter, body FROM outbox WHERE row = ?"""
_EXPIRE: Final = """
    UPDATE outbox SET state = ?, changed_s = ?, changed_ms = ? WHERE row = ? AND state = 0"""


def _next_row(db: sqlite3.Connection, table: str) -> int:
    return _int(db.execute(f"SELECT ifnull(max(row), 0) + 1 FROM {table}").fetchone()[0])  # noqa: S608


def _int(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value
