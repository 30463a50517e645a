"""Reads the database back into values, believing only rows whose digest is right."""

import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from mesh.core.snapshot import (
    OutboxEntry,
    Pin,
    RememberedPeer,
    ShownLetter,
    StreamIn,
    StreamKey,
    Unread,
)
from mesh.errors import PeerError
from mesh.model import Alias, CurveKey, Incarnation, Letter, MailboxKey, MessageId, Verified, Why
from mesh.store.interface import (
    InboxMessage,
    InboxPage,
    InboxQuery,
    StoredLetter,
    StoredReceipt,
)
from mesh.store.rows import (
    QUEUED,
    STATES,
    Value,
    body_digest,
    checked,
    inbox_digest,
    outbox_digest,
    stream_value,
)
from mesh.wire import letters as letter_codec

TextOf = Callable[[bytes], str]
"""Returns the searchable text of a body."""

_CHUNK: Final = 256
_OUTBOX: Final = "row, deadline_s, to_prefix, letter, digest, was_sent, body_id, body_digest, body"
_INBOX: Final = "row, received_ms, verified, letter, digest, is_shown, body_bytes, body_id, body"
_QUEUED_IN: Final = f"""
    SELECT {_OUTBOX} FROM outbox WHERE row IN ({", ".join("?" * _CHUNK)}) AND state = 0"""  # noqa: S608
DAMAGE: Final = (TypeError, ValueError, AttributeError, struct.error, PeerError)
"""Errors by which a row shows that it is not what was written."""


@dataclass(slots=True)
class Damage:
    """Rows that failed their digest while reading; the store sets them aside."""

    outbox: list[int] = field(default_factory=list)
    inbox: list[int] = field(default_factory=list)


def plain_text(body: bytes) -> str:
    """Return a body as text; a stand-in for the real decoder."""
    return body.decode("utf-8", "replace")


def outbox_letter(
    row: int, deadline_s: float, to_prefix: str, header: bytes, digest: bytes
) -> Letter:
    """Return a verified letter of the outbox.

    Raises:
        ValueError: it is not what was written (or another error of `DAMAGE`).
    """
    if outbox_digest(row, deadline_s, to_prefix, header) != digest:
        raise ValueError("damaged letter")
    return letter_codec.decode(header)


def queued(db: sqlite3.Connection, now_s: float, damage: Damage) -> Iterator[OutboxEntry]:
    """Yield all letters still owed, by row."""
    rows = db.execute(
        "SELECT row, deadline_s, to_prefix, letter, digest, was_sent FROM outbox"
        " INDEXED BY outbox_queued WHERE state = 0 ORDER BY row"
    )
    for row, deadline_s, prefix, header, digest, was_sent in rows:
        try:
            letter = outbox_letter(row, deadline_s, prefix, header, digest)
        except DAMAGE:
            damage.outbox.append(row)
            continue
        yield OutboxEntry(row, letter, deadline_s - now_s, prefix, bool(was_sent))


def stored_letters(
    db: sqlite3.Connection, rows: Sequence[int], damage: Damage
) -> list[StoredLetter]:
    """Return queued letters with their bodies, in the order asked for."""
    found: dict[int, StoredLetter] = {}
    shared: dict[tuple[Value, int], bytes] = {}
    for start in range(0, len(rows), _CHUNK):
        chunk = list(rows[start : start + _CHUNK])
        chunk.extend([-1] * (_CHUNK - len(chunk)))
        for row, *columns, _, body_id, digest, body in db.execute(_QUEUED_IN, chunk).fetchall():
            try:
                letter = outbox_letter(row, *columns)
                if body_id is None:
                    content = _verified_body(digest, body)
                elif (digest, body_id) in shared:
                    content = shared[digest, body_id]
                else:
                    content = shared[digest, body_id] = _body(db, body_id, digest)
            except DAMAGE:
                damage.outbox.append(row)
                continue
            found[row] = StoredLetter(row, letter, content)
    return [found[row] for row in rows if row in found]


def page(db: sqlite3.Connection, query: InboxQuery, text_of: TextOf, damage: Damage) -> InboxPage:
    """Return messages of the inbox, oldest first."""
    source, arguments = _source(query)
    words = tuple(word.casefold() for word in query.words)
    messages: list[InboxMessage] = []
    body_bytes = remaining = 0
    is_full = query.limit <= 0
    sql = f"SELECT {_INBOX} FROM {source} ORDER BY row"  # noqa: S608
    for columns in db.execute(sql, arguments):
        if is_full and not words:
            break
        try:
            message = inbox_message(db, columns)
        except DAMAGE:
            damage.inbox.append(columns[0])
            continue
        if words and not _has_words(text_of(message.body), words):
            continue
        size = len(message.body)
        if not is_full and messages and body_bytes + size > query.body_bytes_max:
            is_full = True
        if is_full:
            remaining += 1
            continue
        messages.append(message)
        body_bytes += size
        is_full = len(messages) >= query.limit
    if not words:
        last = messages[-1].row if messages else 0
        sql = f"SELECT count(*) FROM {source} AND row > ?"  # noqa: S608
        remaining = db.execute(sql, (*arguments, last)).fetchone()[0]
    return InboxPage(tuple(messages), remaining)


def inbox_message(db: sqlite3.Connection, columns: Sequence[Value]) -> InboxMessage:
    """Return a verified message; errors of `DAMAGE` if it is not what was written."""
    row, received_ms, verified, header, digest, is_shown, _, body_id, body = columns
    if body_id is not None:
        body = _body(db, body_id)
    assert isinstance(row, int)
    if not (isinstance(header, bytes) and isinstance(body, bytes) and isinstance(verified, str)):
        raise TypeError("damaged columns")
    if not isinstance(received_ms, int) or (
        inbox_digest(received_ms, verified, header, body) != digest
    ):
        raise ValueError("damaged message")
    letter = letter_codec.decode(header)
    return InboxMessage(row, letter, body, received_ms, bool(is_shown), Verified(verified))


def shown_letters(db: sqlite3.Connection, rows: Sequence[int]) -> list[ShownLetter]:
    """Return those of these inbox rows that are unread."""
    sql = f"SELECT {_SHOWN} FROM inbox WHERE row = ? AND is_shown = 0"  # noqa: S608
    found = (db.execute(sql, (row,)).fetchone() for row in rows)
    return [_shown_letter(columns) for columns in found if columns is not None]


def untold(db: sqlite3.Connection) -> tuple[ShownLetter, ...]:
    """Return what was shown without its author having recorded it yet."""
    sql = (
        f"SELECT {_SHOWN} FROM inbox INDEXED BY inbox_untold"  # noqa: S608
        " WHERE is_shown = 1 AND is_told = 0 ORDER BY row"
    )
    return tuple(_shown_letter(columns) for columns in db.execute(sql))


def unread(db: sqlite3.Connection) -> dict[MailboxKey, Unread]:
    """Count what was not shown yet, by author."""
    rows = db.execute(
        "SELECT author, count(*), sum(body_bytes) FROM inbox INDEXED BY inbox_unread"
        " WHERE is_shown = 0 GROUP BY author"
    )
    return {MailboxKey(author): Unread(count, size) for author, count, size in rows}


def receipts(
    db: sqlite3.Connection, message_id: MessageId | None, limit: int
) -> list[StoredReceipt]:
    """Return all receipts of one message, or the newest ones, newest first."""
    columns = "message_id, address, recipient, state, why, changed_ms"
    if message_id is None:
        sql = f"SELECT {columns} FROM outbox ORDER BY row DESC LIMIT ?"  # noqa: S608
        rows = db.execute(sql, (limit,))
    else:
        sql = f"SELECT {columns} FROM outbox WHERE message_id = ? ORDER BY row"  # noqa: S608
        rows = db.execute(sql, (message_id,))
    found = []
    for one, to, key, state, why, at in rows:
        recipient = None if key is None else MailboxKey(key)
        with suppress(*DAMAGE, IndexError):  # nothing is known of a row whose state is nonsense
            found.append(StoredReceipt(MessageId(one), to, recipient, STATES[state], Why(why), at))
    return found


def streams_in(db: sqlite3.Connection) -> dict[StreamKey, StreamIn]:
    """Return all incoming streams.

    Raises:
        CorruptError: one is not what was written (so it is with the functions below).
    """
    columns = "author, incarnation, watermark, known_from, refused, digest"
    found: dict[StreamKey, StreamIn] = {}
    for row in db.execute(f"SELECT {columns} FROM stream_in"):  # noqa: S608
        author, incarnation, *stream = checked("stream_in", row)
        found[MailboxKey(author), Incarnation(incarnation)] = stream_value(*stream)
    return found


def next_sequences(db: sqlite3.Connection) -> dict[MailboxKey, int]:
    """Return the next sequence for each recipient."""
    rows = db.execute("SELECT recipient, next_sequence, digest FROM stream_out")
    verified = (checked("stream_out", row) for row in rows)
    return {MailboxKey(recipient): sequence for recipient, sequence in verified}


def pins(db: sqlite3.Connection) -> dict[str, Pin]:
    """Return the pins by folded name."""
    rows = db.execute("SELECT folded, name, key, is_trusted, digest FROM pin ORDER BY id")
    verified = (checked("pin", row) for row in rows)
    return {
        str(folded): Pin(str(name), MailboxKey(key), bool(trust))
        for folded, name, key, trust in verified
    }


def aliases(db: sqlite3.Connection, now_s: float) -> tuple[Alias, ...]:
    """Return the former names, oldest first."""
    rows = db.execute("SELECT folded, name, since_s, until_s, digest FROM alias ORDER BY since_s")
    verified = [checked("alias", row) for row in rows]
    return tuple(
        Alias(str(name), now_s - since, until - now_s) for _, name, since, until in verified
    )


def remembered(db: sqlite3.Connection, now_s: float) -> tuple[RememberedPeer, ...]:
    """Return the peers, the newest first."""
    rows = db.execute(
        "SELECT endpoints, curve, reached_s, digest FROM peer ORDER BY reached_s DESC"
    )
    found = []
    for row in rows:
        endpoints, curve, reached_s = checked("peer", row)
        places = tuple(str(endpoints).split("\n")) if endpoints else ()
        key = None if curve is None else CurveKey(curve)
        found.append(RememberedPeer(places, key, now_s - reached_s))
    return tuple(found)


def shared_bodies(db: sqlite3.Connection) -> dict[int, int]:
    """Return which queued row has which body of the body table."""
    return dict(
        db.execute(
            "SELECT row, body_id FROM outbox INDEXED BY outbox_body"
            " WHERE state = 0 AND body_id IS NOT NULL"
        )
    )


_SHOWN: Final = "author, incarnation, sequence, message_id, body_bytes"


def _shown_letter(columns: tuple[bytes, bytes, int, bytes, int]) -> ShownLetter:
    author, incarnation, sequence, message_id, body_bytes = columns
    return ShownLetter(
        MailboxKey(author), Incarnation(incarnation), sequence, MessageId(message_id), body_bytes
    )


def _source(query: InboxQuery) -> tuple[str, list[Value]]:
    where = ["is_shown = 0" if query.unread_only else "row > 0"]
    arguments: list[Value] = []
    if query.author_name:
        where.append("author_name = ?")
        arguments.append(query.author_name)
    if query.since_ms is not None:
        where.append("created_ms > ?")
        arguments.append(query.since_ms)
    if query.after_row:
        where.append("row > ?")
        arguments.append(query.after_row)
    if query.message_id is not None:
        where.append("message_id = ?")
        arguments.append(query.message_id)
    index = " INDEXED BY inbox_unread" if query.unread_only else ""
    return (f"inbox{index} WHERE {' AND '.join(where)}", arguments)


def _has_words(text: str, folded_words: Sequence[str]) -> bool:
    text = text.casefold()
    return all(word in text for word in folded_words)


def _verified_body(digest: object, body: object) -> bytes:
    if not isinstance(body, bytes) or body_digest(body) != digest:
        raise ValueError("damaged body")
    return body


def _body(db: sqlite3.Connection, body_id: Value, digest: Value = None) -> bytes:
    found = db.execute("SELECT digest, bytes FROM body WHERE id = ?", (body_id,)).fetchone()
    if found is None or digest not in {None, found[0]}:
        raise ValueError("lost body")
    return _verified_body(*found)


assert QUEUED == 0, "the texts of statements and indexes say so"
