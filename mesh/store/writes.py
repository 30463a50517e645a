"""Applies changes to the database: collected first, then written kind by kind.

Collecting lets SQLite run one prepared statement over many rows. Kinds are written in an order in
which each finds what it refers to: letters are put before they are bound, marked or settled.
"""

import sqlite3
from collections.abc import Sequence
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
from mesh.core.snapshot import RefusedRange, ShownLetter, StreamKey
from mesh.model import MailboxKey, fold
from mesh.store import streams
from mesh.store.book import Book
from mesh.store.endings import Endings, mark_shown, mark_told
from mesh.store.interface import InboxMessage
from mesh.store.meta import put_meta
from mesh.store.rows import (
    QUEUED,
    Value,
    body_digest,
    inbox_digest,
    inline_body_bytes_max,
    outbox_digest,
    stream_row,
    with_digest,
)
from mesh.wire import letters

Row = tuple[Value, ...]

INSERT_OUTBOX: Final = f"INSERT INTO outbox VALUES ({', '.join('?' * 16)})"  # noqa: S608
INSERT_INBOX: Final = f"INSERT INTO inbox VALUES ({', '.join('?' * 17)})"  # noqa: S608
INSERT_BODY: Final = "INSERT INTO body (id, digest, bytes) VALUES (?, ?, ?)"
INSERT_STREAM_IN: Final = """
    INSERT INTO stream_in (author, incarnation, watermark, known_from, refused, digest)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (author, incarnation) DO UPDATE SET
    watermark = excluded.watermark, known_from = excluded.known_from,
    refused = excluded.refused, digest = excluded.digest"""
INSERT_STREAM_OUT: Final = (
    "INSERT OR REPLACE INTO stream_out (recipient, next_sequence, digest) VALUES (?, ?, ?)"
)
INSERT_PIN: Final = (
    "INSERT OR REPLACE INTO pin (folded, name, key, is_trusted, digest) VALUES (?, ?, ?, ?, ?)"
)
INSERT_ALIAS: Final = (
    "INSERT OR REPLACE INTO alias (folded, name, since_s, until_s, digest) VALUES (?, ?, ?, ?, ?)"
)
INSERT_PEER: Final = (
    "INSERT OR REPLACE INTO peer (endpoints, curve, reached_s, digest) VALUES (?, ?, ?, ?)"
)


class Batch:
    """The rows of one commit. `now_s` is the elapsed clock, `now_ms` the wall clock.

    `arrived` and `shown` are the inbox's letters that come in and are read with it.
    """

    def __init__(self, db: sqlite3.Connection, book: Book, *, now_s: float, now_ms: int) -> None:
        self._db = db
        self._book = book
        self._now_s = now_s
        self._now_ms = now_ms
        self._bodies: list[Row] = []
        self._outbox: list[Row] = []
        self._binds: list[BindOutbox] = []
        self._sent: list[tuple[int]] = []
        self._settles: list[SettleOutbox | SettleShown] = []
        self._inbox: list[Row] = []
        self.arrived: list[InboxMessage] = []
        self.shown: list[ShownLetter] = []
        self._told: list[ShownLetter] = []
        self._streams_in: set[StreamKey] = set()
        self._streams_out: set[MailboxKey] = set()
        self._others: list[PutPin | PutName | PutPeer] = []

    def add(self, change: Change) -> None:
        """Collect one change."""
        match change:
            case PutInbox():
                self._put_inbox(change)
            case PutOutbox():
                self._put_outbox(change)
            case SettleOutbox() | SettleShown():
                self._settles.append(change)
            case MarkSent():
                self._sent.extend((row,) for row in change.rows)
            case BindOutbox():
                self._binds.append(change)
                self._reserve(change.letter.recipient, change.letter.sequence)
            case ReserveSequences():
                self._reserve(change.recipient, change.up_to)
            case MarkShown() | MarkTold() | Refuse():
                self._add_verdict(change)
            case _:
                self._others.append(change)

    def write(self) -> None:
        """Run everything collected; the caller holds a transaction."""
        db, book = self._db, self._book
        db.executemany(INSERT_BODY, self._bodies)
        db.executemany(INSERT_OUTBOX, self._outbox)
        book.queued += len(self._outbox)
        for bind in self._binds:
            self._bind(bind)
        db.executemany("UPDATE outbox SET was_sent = 1 WHERE row = ? AND state = 0", self._sent)
        Endings(db, book, now_s=self._now_s, now_ms=self._now_ms).write(self._settles)
        db.executemany(INSERT_INBOX, self._inbox)
        book.unread += len(self._inbox)
        mark_shown(db, book, self.shown, now_s=self._now_s)
        mark_told(db, self._told)
        db.executemany(
            INSERT_STREAM_IN, [stream_row(key, book.streams_in[key]) for key in self._streams_in]
        )
        db.executemany(
            INSERT_STREAM_OUT,
            [
                with_digest("stream_out", recipient, book.next_sequences[recipient])
                for recipient in self._streams_out
            ],
        )
        for other in self._others:
            self._put_other(other)

    def _put_outbox(self, change: PutOutbox) -> None:
        body: bytes | None = change.body
        # Kept even beside a shared body: so a letter cannot come to another one's.
        digest = body_digest(change.body)
        body_id = None
        if len(change.entries) > 1 or len(change.body) > inline_body_bytes_max:
            body_id, body = self._put_body(change.body, digest), None
            self._book.rows_of_body[body_id] = len(change.entries)
        for entry in change.entries:
            letter, prefix = entry.letter, entry.to_prefix
            header = letters.encode(letter)
            deadline_s = self._now_s + entry.remaining_s
            self._outbox.append(
                (
                    *(entry.row, QUEUED, "", int(entry.was_sent), deadline_s, self._now_s),
                    *(self._now_ms, letter.message_id, letter.recipient, prefix, letter.to),
                    *(header, outbox_digest(entry.row, deadline_s, prefix, header)),
                    *(body_id, digest, body),
                )
            )
            if body_id is not None:
                self._book.body_of_row[entry.row] = body_id
            self._reserve(letter.recipient, letter.sequence)

    def _put_inbox(self, change: PutInbox) -> None:
        letter, verified, book = change.letter, change.verified.value, self._book
        header = letters.encode(letter)
        body: bytes | None = change.body
        body_id = None
        if len(change.body) > inline_body_bytes_max:
            body_id, body = self._put_body(change.body, body_digest(change.body)), None
        self._inbox.append(
            (
                *(book.next_inbox_row, 0, 0, self._now_s, self._now_ms, letter.created_ms),
                *(verified, letter.author, letter.incarnation, letter.sequence),
                *(letter.message_id, fold(letter.author_name), letter.body_bytes, header),
                *(inbox_digest(self._now_ms, verified, header, change.body), body_id, body),
            )
        )
        self.arrived.append(
            InboxMessage(
                *(book.next_inbox_row, letter, change.body),
                *(self._now_ms, False, change.verified),
            )
        )
        book.next_inbox_row += 1
        key = (letter.author, letter.incarnation)
        stream = book.streams_in.get(key, streams.EMPTY)
        book.streams_in[key] = streams.with_received(stream, letter.sequence, change.skipped_from)
        self._streams_in.add(key)

    def _put_body(self, body: bytes, digest: bytes) -> int:
        body_id = self._book.next_body_id
        self._book.next_body_id += 1
        self._bodies.append((body_id, digest, body))
        return body_id

    def _add_verdict(self, change: MarkShown | MarkTold | Refuse) -> None:
        match change:
            case MarkShown():
                self.shown += change.letters
            case MarkTold():
                self._told += change.letters
            case Refuse():
                key = (change.author, change.incarnation)
                refused = RefusedRange(change.first, change.last, change.why)
                stream = self._book.streams_in.get(key, streams.EMPTY)
                self._book.streams_in[key] = streams.with_refused(stream, refused)
                self._streams_in.add(key)

    def _reserve(self, recipient: MailboxKey | None, sequence: int) -> None:
        if recipient is None:
            return
        if self._book.next_sequences.get(recipient, 1) <= sequence:
            self._book.next_sequences[recipient] = sequence + 1
            self._streams_out.add(recipient)

    def _bind(self, change: BindOutbox) -> None:
        found = self._db.execute(
            "SELECT deadline_s FROM outbox WHERE row = ? AND state = 0", (change.row,)
        ).fetchone()
        if found is None:
            return
        letter = change.letter
        header = letters.encode(letter)
        self._db.execute(
            "UPDATE outbox SET recipient = ?, to_prefix = '', address = ?, letter = ?, digest = ?"
            " WHERE row = ?",
            (
                *(letter.recipient, letter.to, header),
                *(outbox_digest(change.row, found[0], "", header), change.row),
            ),
        )

    def _put_other(self, change: PutPin | PutName | PutPeer) -> None:
        db = self._db
        match change:
            case PutPin(pin):
                row: Sequence[Value] = (fold(pin.name), pin.name, pin.key, int(pin.is_trusted))
                db.execute(INSERT_PIN, with_digest("pin", *row))
            case PutName(name, alias):
                since_s, until_s = self._now_s - alias.since_s, self._now_s + alias.until_s
                row = (fold(alias.name), alias.name, since_s, until_s)
                db.execute(INSERT_ALIAS, with_digest("alias", *row))
                db.execute("DELETE FROM alias WHERE folded = ?", (fold(name),))
                put_meta(db, "name", name)
                put_meta(db, "renamed_s", self._now_s)
            case PutPeer(peer):
                if peer.curve is not None:
                    db.execute("DELETE FROM peer WHERE curve = ?", (peer.curve,))
                row = ("\n".join(peer.endpoints), peer.curve, self._now_s - peer.age_s)
                db.execute(INSERT_PEER, with_digest("peer", *row))
            case _:
                assert_never(change)
