"""Reads whatever can still be read of a damaged database."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mesh.errors import CorruptError
from mesh.store.connection import connect
from mesh.store.schema import check_schema, template

probes_max: Final = 20_000
_PAGE_BYTES: Final = 4096
Columns = tuple[Any, ...]
"""A row as found: nothing about it is known before its digest was checked."""


def open_damaged(path: Path) -> sqlite3.Connection | None:
    """Open a copy of a damaged database; None if not even its schema can be had.

    A damaged first page is replaced by that of a fresh database: all databases of one version
    begin in the same way.
    """
    if not path.exists() or path.stat().st_size < _PAGE_BYTES:
        return None
    db = _try_open(path)
    if db is None:
        _graft_first_page(path)
        db = _try_open(path)
    return db


def walk(db: sqlite3.Connection, table: str, columns: str) -> Iterator[Columns]:
    """Yield every readable row, its row id first: from both ends, then one by one in between."""
    sql = f"SELECT rowid, {columns} FROM {table} NOT INDEXED"  # noqa: S608
    last, is_whole = 0, True
    try:
        for row in db.execute(f"{sql} ORDER BY rowid"):
            last = row[0]
            yield row
    except sqlite3.Error:
        is_whole = False
    if is_whole:
        return
    first: int | None = None
    try:
        for row in db.execute(f"{sql} WHERE rowid > ? ORDER BY rowid DESC", (last,)):
            first = row[0]
            yield row
    except sqlite3.Error:
        is_whole = False
    end = first if first is not None else last + probes_max
    for rowid in range(last + 1, min(end, last + probes_max)):
        try:
            yield from db.execute(f"{sql} WHERE rowid = ?", (rowid,)).fetchall()
        except sqlite3.Error:
            continue


def _try_open(path: Path) -> sqlite3.Connection | None:
    db = connect(path)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA trusted_schema = OFF")
        check_schema(db)
    except (sqlite3.Error, CorruptError, UnicodeDecodeError):
        db.close()
        return None
    with suppress(sqlite3.Error):  # so that all pages are in one file, if that is possible
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return db


def _graft_first_page(path: Path) -> None:
    page = bytearray(template()[:_PAGE_BYTES])
    page[18:20] = b"\x02\x02"  # it has a write-ahead log
    page[28:40] = bytes(12)  # page count (taken from the file then) and free pages
    with path.open("r+b") as file:
        file.write(page)
