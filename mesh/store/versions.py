"""Which SQLite this layer runs on, for diagnosis."""

import sqlite3
from typing import Final

# The first releases of their lines in which a reset of the WAL can no longer damage a database.
_WAL_RESET_MENDED: Final = ((3, 44, 6), (3, 50, 7), (3, 51, 3))


def sqlite_version() -> str:
    """Return the version of the SQLite library in use."""
    return sqlite3.sqlite_version


def has_wal_reset_bug(version: str) -> bool:
    """Whether this SQLite can damage a database that two connections write to at once.

    The mailboxes are safe from it: each has one connection, which locks all others out.
    """
    number = tuple(int(part) for part in version.split(".")[:3])
    if number < (3, 7, 0) or number >= _WAL_RESET_MENDED[-1]:
        return False
    return not any(number[:2] == mended[:2] and number >= mended for mended in _WAL_RESET_MENDED)
