"""The files of one mailbox on a simulated disk: what it has to give, and what is on its way in.

A shelf outlives every process. A power loss takes what was not synced; a fault may damage or lose
what is there. Contents are made up from digest and offset, so that a piece in a wrong place shows.
"""

from dataclasses import dataclass, field
from typing import Final

from mesh import limits
from mesh.model import MailboxKey

FileKey = tuple[MailboxKey, bytes]
"""Author and digest."""

_STAMP_BYTES: Final = 16
_SYNC_BYTES: Final = limits.MIB
"""How much is written between two syncs: less than in earnest, so that small files resume, too."""


def piece_of(digest: bytes, offset: int, length: int) -> bytes:
    """Return what the file with this digest holds at a place."""
    stamp = digest[: _STAMP_BYTES - 8] + offset.to_bytes(8, "big")
    return (stamp * (length // _STAMP_BYTES + 1))[:length]


@dataclass(slots=True)
class Spooled:
    """A file to give."""

    size: int
    is_good: bool = True


@dataclass(slots=True)
class Part:
    """The beginning of a file: where each piece ends and whether it is right."""

    size: int
    pieces: list[tuple[int, bool]] = field(default_factory=list)
    durable: int = 0

    @property
    def written(self) -> int:
        """How much is there."""
        return self.pieces[-1][0] if self.pieces else 0

    def append(self, length: int, *, is_right: bool) -> None:
        """Write the next piece; the disk is synced every so often."""
        self.pieces.append((self.written + length, is_right))
        if self.written - self.durable >= _SYNC_BYTES:
            self.durable = self.written

    def cut(self) -> None:
        """Forget what was not synced: only so much is certain after a crash."""
        self.pieces = [piece for piece in self.pieces if piece[0] <= self.durable]
        self.durable = self.written

    def is_right(self) -> bool:
        """Whether every byte is there and as it should be."""
        return self.written == self.size and all(is_right for _, is_right in self.pieces)


@dataclass(slots=True)
class Shelf:
    """Everything of one mailbox; `received` says which files are in place, and whether rightly."""

    spool: dict[bytes, Spooled] = field(default_factory=dict)
    parts: dict[FileKey, Part] = field(default_factory=dict)
    received: dict[FileKey, tuple[int, bool]] = field(default_factory=dict)
    is_full: bool = False

    def holds(self, author: MailboxKey, digest: bytes, size: int) -> bool:
        """Whether a file is in place, whole and right."""
        return self.received.get((author, digest)) == (size, True)
