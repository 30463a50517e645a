"""The tables of a mailbox's database, as numbered migrations.

A migration is never edited after release; a change is a new one at the end. `PRAGMA user_version`
counts those that a database has seen. All tables have integer row ids, so that salvage can walk
them; rows that nothing else protects carry a digest (see `rows`).
"""

import sqlite3
from functools import cache
from typing import Final

from mesh.errors import CorruptError, SchemaError

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value, digest BLOB NOT NULL)",
        # Bodies of broadcasts (shared) and large ones (so that changing a row need not copy them).
        "CREATE TABLE body (id INTEGER PRIMARY KEY, digest BLOB NOT NULL, bytes BLOB NOT NULL)",
        """CREATE TABLE outbox (
            row INTEGER PRIMARY KEY, state INTEGER NOT NULL, why TEXT NOT NULL,
            was_sent INTEGER NOT NULL, deadline_s REAL NOT NULL, changed_s REAL NOT NULL,
            changed_ms INTEGER NOT NULL, message_id BLOB NOT NULL, recipient BLOB,
            to_prefix TEXT NOT NULL, address TEXT NOT NULL, letter BLOB NOT NULL,
            digest BLOB NOT NULL, body_id INTEGER, body_digest BLOB, body BLOB)""",
        "CREATE INDEX outbox_queued ON outbox (row) WHERE state = 0",
        "CREATE INDEX outbox_message ON outbox (message_id)",
        "CREATE INDEX outbox_body ON outbox (body_id) WHERE state = 0 AND body_id IS NOT NULL",
        """CREATE TABLE inbox (
            row INTEGER PRIMARY KEY, is_shown INTEGER NOT NULL, is_told INTEGER NOT NULL,
            changed_s REAL NOT NULL, received_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL,
            verified TEXT NOT NULL, author BLOB NOT NULL, incarnation BLOB NOT NULL,
            sequence INTEGER NOT NULL, message_id BLOB NOT NULL, author_name TEXT NOT NULL,
            body_bytes INTEGER NOT NULL, letter BLOB NOT NULL, digest BLOB NOT NULL,
            body_id INTEGER, body BLOB)""",
        "CREATE UNIQUE INDEX inbox_stream ON inbox (author, incarnation, sequence)",
        "CREATE INDEX inbox_unread ON inbox (row) WHERE is_shown = 0",
        "CREATE INDEX inbox_untold ON inbox (row) WHERE is_shown = 1 AND is_told = 0",
        """CREATE TABLE stream_in (
            id INTEGER PRIMARY KEY, author BLOB NOT NULL, incarnation BLOB NOT NULL,
            watermark INTEGER NOT NULL, known_from INTEGER NOT NULL, refused TEXT NOT NULL,
            digest BLOB NOT NULL, UNIQUE (author, incarnation))""",
        """CREATE TABLE stream_out (
            id INTEGER PRIMARY KEY, recipient BLOB NOT NULL UNIQUE,
            next_sequence INTEGER NOT NULL, digest BLOB NOT NULL)""",
        """CREATE TABLE pin (
            id INTEGER PRIMARY KEY, folded TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
            key BLOB NOT NULL, is_trusted INTEGER NOT NULL, digest BLOB NOT NULL)""",
        """CREATE TABLE alias (
            id INTEGER PRIMARY KEY, folded TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
            since_s REAL NOT NULL, until_s REAL NOT NULL, digest BLOB NOT NULL)""",
        """CREATE TABLE peer (
            id INTEGER PRIMARY KEY, endpoints TEXT NOT NULL UNIQUE, curve BLOB,
            reached_s REAL NOT NULL, digest BLOB NOT NULL)""",
        # Rows that failed their digest when read, kept as they were found.
        """CREATE TABLE damaged (
            id INTEGER PRIMARY KEY, found_ms INTEGER NOT NULL, source TEXT NOT NULL,
            row INTEGER NOT NULL, letter BLOB, body BLOB)""",
    ),
)


def version_of(db: sqlite3.Connection) -> int:
    """Return how many migrations the database has seen."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def check_schema(db: sqlite3.Connection) -> None:
    """Compare every definition of a database of the newest schema with ours.

    Raises:
        CorruptError: a flipped bit has changed one; SQLite would believe it.
    """
    if _definitions(db) != _own_definitions():
        raise CorruptError("The database's own description is damaged.")


def template() -> bytes:
    """Return an empty database of the newest schema, as a file's content."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(db)
        return db.serialize()
    finally:
        db.close()


@cache
def _own_definitions() -> frozenset[tuple[str, ...]]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(db)
        return _definitions(db)
    finally:
        db.close()


def _definitions(db: sqlite3.Connection) -> frozenset[tuple[str, ...]]:
    return frozenset(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))


def migrate(db: sqlite3.Connection) -> None:
    """Bring the database to the newest schema; the caller holds a transaction.

    Raises:
        SchemaError: it was written by a newer version.
    """
    version = version_of(db)
    if version > len(MIGRATIONS):
        raise SchemaError(
            f"The mailbox was written by a newer version (schema {version}, this one knows"
            f" {len(MIGRATIONS)}). Update this installation."
        )
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in statements:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")
