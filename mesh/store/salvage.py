"""Replaces a damaged database by one with every row that verifies; nothing is thrown away.

The damaged file stays beside the new one as `mailbox.db.damaged-<time>`, with a text that names
what was lost. The new file is built completely before it takes the old one's place, so a crash at
any point leaves either the damaged database or the finished new one.

Dedup must survive. If the incarnation and all outgoing streams could be read, the mailbox keeps
them and jumps far ahead in every stream, since the sequences used last may be among what was lost.
Otherwise it begins a new incarnation: letters that never left are put into its streams, those that
may have left end as expired, for sending them again could deliver them twice.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mesh.core.snapshot import StreamIn, StreamKey
from mesh.errors import CorruptError, StoreError
from mesh.model import Incarnation, MailboxKey, State, Why
from mesh.store import reads
from mesh.store.clocks import Clocks, ElapsedClock, Instant
from mesh.store.connection import connect, store_error
from mesh.store.files import copy_private, create_private, sync_directory
from mesh.store.leaves import leaf_rows
from mesh.store.meta import put_meta
from mesh.store.rows import (
    CODES,
    QUEUED,
    Value,
    body_digest,
    checked,
    outbox_digest,
    stream_row,
    stream_value,
    with_digest,
)
from mesh.store.schema import migrate
from mesh.store.walk import Columns, open_damaged, walk
from mesh.store.writes import (
    INSERT_ALIAS,
    INSERT_BODY,
    INSERT_INBOX,
    INSERT_OUTBOX,
    INSERT_PEER,
    INSERT_PIN,
    INSERT_STREAM_IN,
    INSERT_STREAM_OUT,
)
from mesh.wire import letters

sequence_jump: Final = 1 << 32
named_rows_max: Final = 200
_OUTBOX: Final = (
    "state, why, was_sent, deadline_s, changed_s, changed_ms, message_id, recipient,"
    " to_prefix, address, letter, digest, body_id, body_digest, body"
)
_INBOX: Final = (
    "is_shown, is_told, changed_s, received_ms, created_ms, verified, author, incarnation,"
    " sequence, message_id, author_name, body_bytes, letter, digest, body_id, body"
)
_SMALL: Final = {
    "pin": ("folded, name, key, is_trusted, digest", INSERT_PIN),
    "alias": ("folded, name, since_s, until_s, digest", INSERT_ALIAS),
    "peer": ("endpoints, curve, reached_s, digest", INSERT_PEER),
}


def finish(path: Path) -> None:
    """Put a finished new database in its place, if a crash left one waiting."""
    new = _beside(path, ".new")
    if not new.exists():
        return
    # The old log must go first: SQLite would replay it into the new file.
    for suffix in ("-wal", "-shm"):
        _beside(path, suffix).unlink(missing_ok=True)
    new.replace(path)
    sync_directory(path.parent)


def suspect(path: Path) -> None:
    """Note that damage showed while the database was in use; the next opening rebuilds it."""
    with suppress(OSError):
        create_private(_beside(path, ".suspect"))


def is_suspect(path: Path) -> bool:
    """Whether damage showed in an earlier use that the checks at opening may not find."""
    return path.exists() and _beside(path, ".suspect").exists()


def salvage(
    path: Path, *, key: MailboxKey, name: str | None, mesh: str, clocks: Clocks, why: str
) -> list[str]:
    """Build the new database, keep the damaged one, swap them; return what happened, as sentences.

    Raises:
        StoreError: the disk refused; everything is as it was.
    """
    draft, copy = _beside(path, ".draft"), _beside(path, ".copy")
    first: dict[str, Value] = {"name": name or path.parent.name, "mesh": mesh, "key": bytes(key)}
    try:
        _discard(draft, copy)
        kept = _keep(path)
        for suffix in ("", "-wal"):
            if _beside(path, suffix).exists():
                copy_private(_beside(path, suffix), _beside(copy, suffix))
        notes = _rebuild(copy, draft, first, clocks)
        reports = [f"{path} was damaged ({why}). It is kept as {kept.name}.", *notes]
        create_private(_beside(kept, ".txt"), ("\n".join(reports) + "\n").encode())
        draft.replace(_beside(path, ".new"))
        sync_directory(path.parent)
        _discard(draft, copy)
        finish(path)
        _beside(path, ".suspect").unlink(missing_ok=True)
    except sqlite3.Error as exc:
        raise store_error(exc, path) from exc
    except OSError as exc:
        raise StoreError(f"{path} is damaged ({why}) and cannot be rebuilt: {exc}.") from exc
    return reports


def _rebuild(copy: Path, draft: Path, first: dict[str, Value], clocks: Clocks) -> list[str]:
    target = connect(draft)
    source = open_damaged(copy)
    try:
        target.execute("PRAGMA synchronous = FULL")
        target.execute("BEGIN IMMEDIATE")
        migrate(target)
        work = _Salvage(target, clocks)
        if source is None:
            work.lost.append("Nothing of it could be read.")
        else:
            work.carry(source, copy, first)
        work.write_state(first)
        target.execute("COMMIT")
    finally:
        target.close()
        if source is not None:
            source.close()
    hidden = len(work.lost) - named_rows_max
    lost = [*work.lost[:named_rows_max], *([f"And {hidden} more."] if hidden > 0 else [])]
    return [f"{work.kept} rows were carried over, {len(work.lost)} were not.", *work.notes, *lost]


@dataclass(slots=True)
class _Salvage:
    """One rebuilding: what was found so far."""

    target: sqlite3.Connection
    clocks: Clocks
    meta: dict[str, Value] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept: int = 0
    latest_s: float = 0.0
    has_all_streams: bool = True
    next_sequences: dict[MailboxKey, int] = field(default_factory=dict)
    streams_in: dict[StreamKey, StreamIn] = field(default_factory=dict)
    next_rows: dict[str, int] = field(default_factory=lambda: {"outbox": 1, "inbox": 1})

    def carry(self, source: sqlite3.Connection, file: Path, first: dict[str, Value]) -> None:
        """Copy all that verifies; `first` is what the caller knows about the mailbox."""
        for name, value in self._verified(source, "meta", "name, value, digest"):
            self.meta[name] = value
        for entry in ("mesh", "key"):
            if self.meta.get(entry, first[entry]) != first[entry]:
                first[entry] = self.meta[entry]  # refused for that, once it is open again
        for row_id, digest, body in _rows(source, file, "body", "digest, bytes"):
            if isinstance(body, bytes) and body_digest(body) == digest:
                self.target.execute(INSERT_BODY, (row_id, digest, body))
            else:
                self.lost.append(f"Body {row_id} is damaged.")
        self._carry_streams(source)
        for table, (columns, insert) in _SMALL.items():
            for row in self._verified(source, table, columns):
                self.target.execute(insert, with_digest(table, *row))
        self._carry_mail(source, file)

    def _carry_mail(self, source: sqlite3.Connection, file: Path) -> None:
        incarnation = self._incarnation()
        for found in _rows(source, file, "outbox", _OUTBOX):
            try:
                self._carry_letter(found, incarnation)
            except (*reads.DAMAGE, sqlite3.IntegrityError):
                self.lost.append(f"Letter {found[0]} of the outbox to {found[10]!r} is damaged.")
        for found in _rows(source, file, "inbox", _INBOX):
            try:
                self._carry_message(found)
            except (*reads.DAMAGE, sqlite3.IntegrityError):
                self.lost.append(f"Message {found[0]} of the inbox from {found[11]!r} is damaged.")

    def write_state(self, first: dict[str, Value]) -> None:
        """Write what the mailbox is and where its streams stand."""
        wall_ms = self.clocks.wall_ms()
        state: dict[str, Value] = {
            "incarnation": os.urandom(8),
            "claim": wall_ms // 1000,  # above any number of openings
            "registered_ms": wall_ms,
            **self.meta,
            "mesh": first["mesh"],
            "key": first["key"],
            "name": self.meta.get("name", first["name"]),
            "clock": self._instant().encode(),
            "next_row": _at_least(self.meta.get("next_row"), self.next_rows["outbox"]),
            "next_inbox_row": _at_least(self.meta.get("next_inbox_row"), self.next_rows["inbox"]),
        }
        for name, value in state.items():
            put_meta(self.target, name, value)
        for key, stream in self.streams_in.items():
            self.target.execute(INSERT_STREAM_IN, stream_row(key, stream))
        for recipient, sequence in self.next_sequences.items():
            self.target.execute(INSERT_STREAM_OUT, with_digest("stream_out", recipient, sequence))

    def _carry_streams(self, source: sqlite3.Connection) -> None:
        columns = "author, incarnation, watermark, known_from, refused, digest"
        for author, incarnation, *stream in self._verified(source, "stream_in", columns):
            self.streams_in[author, incarnation] = stream_value(*stream)
        damaged = len(self.lost)
        for recipient, sequence in self._verified(
            source, "stream_out", "recipient, next_sequence, digest"
        ):
            self.next_sequences[recipient] = sequence + sequence_jump
        self.has_all_streams = len(self.lost) == damaged and _is_readable(source, "stream_out")

    def _incarnation(self) -> Incarnation | None:
        """Return the new incarnation, None if the old one goes on."""
        if self.has_all_streams and "incarnation" in self.meta:
            return None
        incarnation = Incarnation(os.urandom(8))
        self.meta["incarnation"] = bytes(incarnation)
        self.next_sequences.clear()
        self.notes.append("The outgoing streams were damaged: the mailbox begins new ones.")
        return incarnation

    def _carry_letter(self, columns: Columns, incarnation: Incarnation | None) -> None:
        row, state, why_code, was_sent, deadline_s, changed_s, *_ = columns
        prefix, _, header, digest, body_id, own_digest, body = columns[9:]
        letter = reads.outbox_letter(row, deadline_s, prefix, header, digest)
        values = list(columns)
        self.next_rows["outbox"] = max(self.next_rows["outbox"], row + 1)
        self.latest_s = max(self.latest_s, changed_s)
        has_body = (
            self._has_body(body_id, own_digest)
            if body_id is not None
            else (isinstance(body, bytes) and body_digest(body) == own_digest)
        )
        Why(why_code)
        if state not in CODES.values():
            values[1] = state = QUEUED
        if state == QUEUED and (not has_body or (incarnation and was_sent)):
            values[1] = CODES[State.EXPIRED]
            why = "may have left" if has_body else "has lost its text"
            self.lost.append(
                f"Letter {row} of the outbox to {letter.to} {why}; it ends as expired."
            )
        elif state == QUEUED and incarnation:
            letter = replace(letter, incarnation=incarnation)
            if letter.recipient is not None:
                sequence = self.next_sequences.get(letter.recipient, 1)
                self.next_sequences[letter.recipient] = sequence + 1
                letter = replace(letter, sequence=sequence)
            values[11] = letters.encode(letter)
            values[12] = outbox_digest(row, deadline_s, prefix, values[11])
        self._insert(INSERT_OUTBOX, values)

    def _carry_message(self, columns: Columns) -> None:
        row, is_shown, _, changed_s, received_ms, _, verified = columns[:7]
        author, incarnation, sequence = columns[7:10]
        body_bytes, header, digest, body_id, body = columns[12:]
        found = (row, received_ms, verified, header, digest, is_shown, body_bytes, body_id, body)
        letter = reads.inbox_message(self.target, found).letter
        values = list(columns)
        values[7:10] = author, incarnation, sequence = (
            letter.author,
            letter.incarnation,
            letter.sequence,
        )
        self.next_rows["inbox"] = max(self.next_rows["inbox"], row + 1)
        self.latest_s = max(self.latest_s, changed_s)
        known = self.streams_in.get((author, incarnation))
        if known is None or known.watermark < sequence:
            # What lies before was decided, but how is forgotten.
            self.streams_in[author, incarnation] = StreamIn(sequence, (), sequence + 1)
        self._insert(INSERT_INBOX, values)

    def _insert(self, sql: str, values: list[Value]) -> None:
        self.target.execute(sql, values)
        self.kept += 1

    def _has_body(self, body_id: Value, digest: Value) -> bool:
        sql = "SELECT 1 FROM body WHERE id = ? AND ifnull(digest = ?, 1)"
        return self.target.execute(sql, (body_id, digest)).fetchone() is not None

    def _verified(self, source: sqlite3.Connection, table: str, columns: str) -> Iterator[Columns]:
        for row_id, *row in walk(source, table, columns):
            try:
                verified = checked(table, row)
            except (CorruptError, *reads.DAMAGE):
                self.lost.append(f"Row {row_id} of {table} is damaged.")
                continue
            yield verified

    def _instant(self) -> Instant:
        """Return where the elapsed clock stands: as stored, or at the newest time in any row."""
        if "clock" in self.meta:
            return Instant.decode(str(self.meta["clock"]))
        return replace(ElapsedClock(self.clocks, None).instant(), elapsed_s=self.latest_s)


def _rows(db: sqlite3.Connection, file: Path, table: str, columns: str) -> Iterator[Columns]:
    """Yield the rows of a large table: by its tree, and if that is broken, also by its leaves."""
    if _is_readable(db, table):
        yield from walk(db, table, columns)
        return
    seen = set()
    for row in walk(db, table, columns):
        seen.add(row[0])
        yield row
    for row in leaf_rows(file, columns=len(columns.split(",")) + 1):
        if row[0] not in seen:
            seen.add(row[0])
            yield row


def _is_readable(db: sqlite3.Connection, table: str) -> bool:
    try:
        db.execute(f"SELECT count(*) FROM {table} NOT INDEXED").fetchone()  # noqa: S608
    except sqlite3.Error:
        return False
    return True


def _at_least(stored: Value, value: int) -> int:
    return max(stored, value) if isinstance(stored, int) else value


def _keep(path: Path) -> Path:
    """Copy the damaged files beside the database, under the time of today."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    kept = _beside(path, f".damaged-{stamp}")
    for suffix in ("", "-wal"):
        if _beside(path, suffix).exists():
            copy_private(_beside(path, suffix), _beside(kept, suffix))
    return kept


def _discard(*paths: Path) -> None:
    for path in paths:
        for suffix in ("", "-wal", "-shm", "-journal"):
            _beside(path, suffix).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
