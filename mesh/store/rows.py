"""Turns rows into values and back, each with the digest that shows when a disk has changed it.

SQLite does not notice a flipped bit in a value. A digest (BLAKE2b, 16 bytes) covers what must be
believed when it is read: letters with their bodies, stream positions, pins. What only moves forward
(a letter's state, whether it was shown) is left out, as it changes with every acknowledgement.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any, Final

from mesh.core.snapshot import RefusedRange, StreamIn, StreamKey
from mesh.errors import CorruptError
from mesh.model import State, Verified, Why

digest_bytes: Final = 16
inline_body_bytes_max: Final = 1024
"""Larger bodies live in their own table: SQLite rewrites a whole row to change one column."""

STATES: Final = (State.QUEUED, State.DELIVERED, State.SHOWN, State.REFUSED, State.EXPIRED)
CODES: Final = {state: code for code, state in enumerate(STATES)}
QUEUED: Final = CODES[State.QUEUED]

Value = int | float | str | bytes | None

_OUTBOX: Final = struct.Struct(">qdH").pack
_INBOX: Final = struct.Struct(">qI").pack
_VERIFIED: Final = {word.value: word.value.encode() for word in Verified}


def outbox_digest(row: int, deadline_s: float, to_prefix: str, letter: bytes) -> bytes:
    """Return the digest of a letter in the outbox, without its body."""
    prefix = to_prefix.encode()
    head = _OUTBOX(row, deadline_s, len(prefix))
    return hashlib.blake2b(b"".join((head, prefix, letter)), digest_size=16).digest()


def inbox_digest(received_ms: int, verified: str, letter: bytes, body: bytes) -> bytes:
    """Return the digest of a message in the inbox, with its body."""
    head = _INBOX(received_ms, len(letter))
    hashed = hashlib.blake2b(
        b"".join((head, _VERIFIED.get(verified, b"?"), letter)), digest_size=16
    )
    hashed.update(body)
    return hashed.digest()


def body_digest(body: bytes) -> bytes:
    """Return the digest of a body by itself."""
    return hashlib.blake2b(body, digest_size=digest_bytes).digest()


def row_digest(table: str, *values: Value) -> bytes:
    """Return the digest of a small row; equal values of different types differ."""
    hashed = hashlib.blake2b(table.encode(), digest_size=digest_bytes)
    for value in values:
        text = value if isinstance(value, bytes) else repr(value).encode()
        hashed.update(struct.pack(">cI", type(value).__name__[0].encode(), len(text)))
        hashed.update(text)
    return hashed.digest()


def checked(table: str, row: Sequence[Any]) -> tuple[Any, ...]:
    """Return the columns of a small row whose last one is the digest of the others.

    Raises:
        CorruptError: they are not what was written.
    """
    *values, digest = row
    if row_digest(table, *values) != digest:
        raise CorruptError(f"A row of {table} is not what was written.")
    return tuple(values)


def with_digest(table: str, *values: Value) -> tuple[Value, ...]:
    """Return the columns of a small row, its digest last."""
    return (*values, row_digest(table, *values))


def stream_row(key: StreamKey, stream: StreamIn) -> tuple[Value, ...]:
    """Return the columns of a row of `stream_in` (after its id)."""
    refused = json.dumps([[one.first, one.last, one.why.value] for one in stream.refused])
    values = (*key, stream.watermark, stream.known_from, refused)
    return with_digest("stream_in", *values)


def stream_value(watermark: int, known_from: int, refused: str) -> StreamIn:
    """Read the columns of a verified row of `stream_in`."""
    ranges = tuple(RefusedRange(first, last, Why(why)) for first, last, why in json.loads(refused))
    return StreamIn(watermark, ranges, known_from)
