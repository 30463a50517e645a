"""What becomes of letters that are there already: how they end, whether they were shown and told.

Letters that stand side by side mostly share their fate, so each statement covers a whole run of
rows or sequences; a letter alone is a run of one.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mesh.core.changes import SettleOutbox, SettleShown
from mesh.core.snapshot import ShownLetter
from mesh.model import State
from mesh.store.book import Book
from mesh.store.rows import CODES, QUEUED, Value

_DELIVERED: Final = CODES[State.DELIVERED]
_SHOWN: Final = CODES[State.SHOWN]

_SETTLE: Final = """
    UPDATE outbox SET state = ?, why = ?, changed_s = ?, changed_ms = ?, body = NULL,
    body_digest = NULL WHERE row BETWEEN ? AND ? AND state = ?"""
_MARK_SHOWN: Final = """
    UPDATE inbox SET is_shown = 1, changed_s = ?
    WHERE author = ? AND incarnation = ? AND sequence BETWEEN ? AND ? AND is_shown = 0"""
_MARK_TOLD: Final = """
    UPDATE inbox SET is_told = 1 WHERE author = ? AND incarnation = ?
    AND sequence BETWEEN ? AND ? AND is_shown = 1 AND is_told = 0"""


@dataclass(slots=True)
class _Ending:
    """Rows `first..last` that leave state `before` in the same way."""

    state: int
    why: str
    before: int
    first: int
    last: int


class Endings:
    """Ends letters of the outbox, in the order asked for."""

    def __init__(self, db: sqlite3.Connection, book: Book, *, now_s: float, now_ms: int) -> None:
        self._db = db
        self._book = book
        self._now: tuple[float, int] = (now_s, now_ms)
        self._runs: list[_Ending] = []

    def write(self, changes: Iterable[SettleOutbox | SettleShown]) -> None:
        """End what `changes` ask for."""
        for change in changes:
            if isinstance(change, SettleOutbox):
                self._add(CODES[change.state], change.why.value, QUEUED, change.row)
            elif change.row:
                self._add(_SHOWN, "", _DELIVERED, change.row)
            else:
                self._write_runs()
                self._find_shown(change)
        self._write_runs()

    def _add(self, state: int, why: str, before: int, row: int) -> None:
        if self._runs:
            run = self._runs[-1]
            if run.last + 1 == row and (run.state, run.why, run.before) == (state, why, before):
                run.last = row
                return
        self._runs.append(_Ending(state, why, before, row, row))

    def _write_runs(self) -> None:
        runs, self._runs = self._runs, []
        for run in runs:
            values = (run.state, run.why, *self._now, run.first, run.last, run.before)
            ended = self._db.execute(_SETTLE, values).rowcount
            if run.before == QUEUED:
                self._book.queued -= ended
                self._release_bodies(run)

    def _find_shown(self, change: SettleShown) -> None:
        found = self._db.execute(
            "SELECT row, state FROM outbox WHERE message_id = ? AND recipient = ? AND state < 2",
            (change.message_id, change.recipient),
        )
        for row, state in found.fetchall():
            self._add(_SHOWN, "", state, row)

    def _release_bodies(self, run: _Ending) -> None:
        """Delete the shared bodies that nobody needs any more now that these rows are settled."""
        book = self._book
        if not book.body_of_row:
            return
        for row in range(run.first, run.last + 1):
            body_id = book.body_of_row.pop(row, None)
            if body_id is None:
                continue
            book.rows_of_body[body_id] -= 1
            if not book.rows_of_body[body_id]:
                del book.rows_of_body[body_id]
                self._db.execute("DELETE FROM body WHERE id = ?", (body_id,))


def mark_shown(
    db: sqlite3.Connection, book: Book, letters: Iterable[ShownLetter], *, now_s: float
) -> None:
    """Mark inbox letters as shown to their reader."""
    for run in _sequence_runs(letters):
        shown = db.execute(_MARK_SHOWN, (now_s, *run)).rowcount
        book.unread -= shown
        book.history += shown


def mark_told(db: sqlite3.Connection, letters: Iterable[ShownLetter]) -> None:
    """Note that the authors of shown letters know of it."""
    for run in _sequence_runs(letters):
        db.execute(_MARK_TOLD, run)


def _sequence_runs(letters: Iterable[ShownLetter]) -> Iterator[tuple[Value, ...]]:
    """Yield (author, incarnation, first, last) for neighbours of one stream."""
    stream: tuple[bytes, bytes] | None = None
    first = last = 0
    for letter in letters:
        if letter.sequence == last + 1 and (letter.author, letter.incarnation) == stream:
            last += 1
            continue
        if stream is not None:
            yield (*stream, first, last)
        stream = (letter.author, letter.incarnation)
        first = last = letter.sequence
    if stream is not None:
        yield (*stream, first, last)
