"""Removes old history in small steps: settled letters and shown messages, never anything open."""

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from mesh import limits
from mesh.store.meta import put_meta

step_rows: Final = 500
steps_max: Final = 40

_OLD: Final = {
    "outbox": "state <> 0 AND changed_s < ?",
    "inbox": "is_shown = 1 AND changed_s < ?",
}
_NEXT: Final = {"outbox": "next_row", "inbox": "next_inbox_row"}


def steps(
    db: sqlite3.Connection, *, now_s: float, history_s: float
) -> Iterator[Callable[[], None]]:
    """Yield transactions to run; what they leave over comes at the next opening."""
    for table, condition in _OLD.items():
        sql = f"SELECT row FROM {table} WHERE {condition} ORDER BY row LIMIT ?"  # noqa: S608
        for _ in range(steps_max):
            rows = db.execute(sql, (now_s - history_s, step_rows)).fetchall()
            if not rows:
                break
            yield partial(_remove, db, table, rows)
    yield partial(_forget, db, now_s)


def _remove(db: sqlite3.Connection, table: str, rows: list[tuple[int]]) -> None:
    """Delete rows and their bodies; row numbers are never given out again."""
    (last,) = db.execute(f"SELECT max(row) FROM {table}").fetchone()  # noqa: S608
    name = _NEXT[table]
    (stored,) = db.execute("SELECT max(value) FROM meta WHERE name = ?", (name,)).fetchone()
    put_meta(db, name, max(last + 1, stored or 1))
    if table == "inbox":
        db.executemany(
            "DELETE FROM body WHERE id = (SELECT body_id FROM inbox WHERE row = ?)", rows
        )
    db.executemany(f"DELETE FROM {table} WHERE row = ?", rows)  # noqa: S608


def _forget(db: sqlite3.Connection, now_s: float) -> None:
    """Drop former names and peers that are too old to matter."""
    db.execute("DELETE FROM alias WHERE until_s < ?", (now_s - limits.alias_tombstone_s,))
    db.execute("DELETE FROM peer WHERE reached_s < ?", (now_s - limits.remembered_s_max,))
    db.execute(
        "DELETE FROM peer WHERE id NOT IN (SELECT id FROM peer ORDER BY reached_s DESC LIMIT ?)",
        (limits.remembered_max,),
    )
