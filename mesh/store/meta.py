"""What a database says of itself: whose mailbox it is, its life, its clock; one row for each."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from mesh.errors import ConfigError, CorruptError, StoreError
from mesh.model import MailboxKey
from mesh.store.clocks import Clocks, ElapsedClock
from mesh.store.rows import Value, checked, with_digest

_INSERT: Final = "INSERT OR REPLACE INTO meta (name, value, digest) VALUES (?, ?, ?)"


def put_meta(db: sqlite3.Connection, name: str, value: Value) -> None:
    """Write one entry of `meta`."""
    db.execute(_INSERT, with_digest("meta", name, value))


def read_meta(db: sqlite3.Connection) -> dict[str, Value]:
    """Return all entries.

    Raises:
        CorruptError: one is not what was written.
    """
    rows = db.execute("SELECT name, value, digest FROM meta")
    return {str(name): value for name, value in (checked("meta", row) for row in rows)}


def write_first_meta(
    db: sqlite3.Connection, key: MailboxKey, name: str, mesh: str, clocks: Clocks
) -> None:
    """Begin the life of a mailbox."""
    first: dict[str, Value] = {
        "mesh": mesh,
        "name": name,
        "key": bytes(key),
        "incarnation": os.urandom(8),
        "claim": 0,
        "registered_ms": clocks.wall_ms(),
        "clock": ElapsedClock(clocks, None).instant().encode(),
    }
    for entry, value in first.items():
        put_meta(db, entry, value)


def check_owner(path: Path, meta: dict[str, Value], key: MailboxKey, mesh: str) -> None:
    """Refuse a database that belongs to another key or mesh.

    Raises:
        CorruptError: it does not say whose it is any more.
        StoreError: it is another key's.
        ConfigError: it is another mesh's.
    """
    missing = {"mesh", "name", "key", "incarnation", "claim", "registered_ms", "clock"} - set(meta)
    if missing:
        raise CorruptError(f"{path} has lost its {', '.join(sorted(missing))}.")
    if meta["key"] != key:
        raise StoreError(f"{path} belongs to another key than the one beside it.")
    if meta["mesh"] != mesh:
        raise ConfigError(
            f"The mailbox {meta['name']!r} belongs to the mesh {meta['mesh']!r}, not to {mesh!r}."
            " Use another name, another IPC_HOME, or that IPC_MESH."
        )
