"""Opens SQLite as a mailbox needs it, and turns its errors into ours."""

import sqlite3
import sys
from pathlib import Path
from typing import Final

from mesh.errors import CorruptError, DiskFullError, StoreError
from mesh.store.files import create_private

busy_timeout_s: Final = 0.5
checkpoint_pages: Final = 2000
wal_bytes_kept_max: Final = 16 * 1024 * 1024
_INDEXES: Final = (
    ("outbox", "outbox_queued", "state = 0"),
    ("outbox", "outbox_body", "state = 0 AND body_id IS NOT NULL"),
    ("inbox", "inbox_unread", "is_shown = 0"),
    ("inbox", "inbox_untold", "is_shown = 1 AND is_told = 0"),
)
_CORRUPT: Final = frozenset(
    # A plain error about our own statements means that the description of a table is damaged.
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
)


def connect(path: Path) -> sqlite3.Connection:
    """Open a database for this process alone; a missing one is created with mode 0600.

    Nothing is read yet. The caller begins and ends transactions itself.
    """
    try:
        create_private(path)
    except FileExistsError:
        pass
    except OSError as exc:
        raise StoreError(f"{path} cannot be created: {exc}.") from exc
    db = sqlite3.connect(
        path,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    # A damaged text must reach its digest check instead of failing as "not UTF-8".
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return db


def configure(db: sqlite3.Connection) -> None:
    """Set what durability, one writer and distrust of the file ask for."""
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    if sys.platform == "darwin":
        db.execute("PRAGMA fullfsync = ON")
        db.execute("PRAGMA checkpoint_fullfsync = ON")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA secure_delete = FAST")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
    db.execute(f"PRAGMA journal_size_limit = {wal_bytes_kept_max}")


def check(db: sqlite3.Connection) -> None:
    """Walk the whole file.

    Raises:
        CorruptError: its structure is damaged.
    """
    found = [str(row[0]) for row in db.execute("PRAGMA quick_check(5)")]
    if found != ["ok"]:
        raise CorruptError("; ".join(found))
    # The walk does not compare indexes with tables, and a letter that an index hides is lost.
    for table, index, where in _INDEXES:
        count = f"SELECT count(*) FROM {table} {{}} WHERE {where}"  # noqa: S608
        by_table = db.execute(count.format("NOT INDEXED")).fetchone()
        if db.execute(count.format(f"INDEXED BY {index}")).fetchone() != by_table:
            raise CorruptError(f"the index {index} does not fit its table")


def rollback(db: sqlite3.Connection) -> None:
    """End a failed transaction; what cannot be ended so ends when the file is closed."""
    try:
        if db.in_transaction:
            db.execute("ROLLBACK")
    except sqlite3.Error:
        return


def store_error(exc: sqlite3.Error, path: Path) -> StoreError:
    """Return our error for one of SQLite's."""
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(f"The disk is full: {path} cannot grow.")
    if code in _CORRUPT:
        return CorruptError(f"{path} is damaged: {exc}.")
    if code == sqlite3.SQLITE_READONLY:
        return StoreError(f"{path} is read-only.")
    if code == sqlite3.SQLITE_BUSY:
        return StoreError(f"{path} is in use by another program.")
    return StoreError(f"{path} cannot be used: {exc}.")
