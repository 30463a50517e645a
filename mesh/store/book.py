"""What a store keeps in memory about its rows: read at open, true as long as commits are."""

from dataclasses import dataclass, field
from typing import Final

from mesh.core.snapshot import ShownLetter, StreamIn, StreamKey
from mesh.model import Incarnation, Letter, MailboxKey
from mesh.store.interface import InboxMessage

_RECENT_LETTERS_MAX: Final = 2048
_RECENT_BYTES_MAX: Final = 2 * 1024 * 1024


class Recent:
    """The unread messages that came last, so that a reader who keeps up need not read the disk.

    Bounded in number and bytes; all unread messages after the row `_after` are here.
    """

    def __init__(self) -> None:
        self._messages: dict[tuple[MailboxKey, Incarnation, int], InboxMessage] = {}
        self._bytes = 0
        self._after = 0

    def begin(self, next_row: int) -> None:
        """Know nothing of the messages before `next_row`."""
        self._after = next_row - 1

    def add(self, messages: list[InboxMessage]) -> None:
        """Remember messages that were just written, the newest ones only."""
        for message in messages:
            self._messages[_name(message.letter)] = message
            self._bytes += len(message.body)
        while len(self._messages) > _RECENT_LETTERS_MAX or self._bytes > _RECENT_BYTES_MAX:
            oldest = next(iter(self._messages))
            self._after = self._messages[oldest].row
            self._drop(oldest)

    def drop(self, letters: list[ShownLetter]) -> None:
        """Forget messages that were shown."""
        for letter in letters:
            self._drop((letter.author, letter.incarnation, letter.sequence))

    def after(self, row: int, *, limit: int) -> list[InboxMessage] | None:
        """Return the unread messages after `row`, oldest first; None if the disk must be asked."""
        if row < self._after:
            return None
        return [one for one in self._messages.values() if one.row > row][:limit]

    def _drop(self, name: tuple[MailboxKey, Incarnation, int]) -> None:
        message = self._messages.pop(name, None)
        if message is not None:
            self._bytes -= len(message.body)


@dataclass(slots=True)
class Book:
    """Counts, next numbers and streams. `body_of_row` knows queued letters with shared bodies."""

    next_inbox_row: int = 1
    next_body_id: int = 1
    queued: int = 0
    unread: int = 0
    history: int = 0
    streams_in: dict[StreamKey, StreamIn] = field(default_factory=dict)
    next_sequences: dict[MailboxKey, int] = field(default_factory=dict)
    body_of_row: dict[int, int] = field(default_factory=dict)
    rows_of_body: dict[int, int] = field(default_factory=dict)
    recent: Recent = field(default_factory=Recent)


def _name(letter: Letter) -> tuple[MailboxKey, Incarnation, int]:
    return (letter.author, letter.incarnation, letter.sequence)
