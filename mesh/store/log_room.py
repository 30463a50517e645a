"""Keeps the write-ahead log longer than it is full.

A sync of a file that has just grown must write the file system's journal as well, which takes about
as long again. So whenever a commit has made the log longer, zeros make it longer still; the next
commits then overwrite. SQLite stops reading its log at the first frame that is not valid.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from mesh import limits

_ROOM_BYTES_MIN: Final = 64 * limits.KIB
_ROOM_BYTES_MAX: Final = limits.MIB


class LogRoom:
    """The log of one open database. Where room cannot be made, all works as well without.

    A disk with less than `free_bytes_min` to spare keeps it for the mail.
    """

    def __init__(self, database: Path, *, free_bytes_min: int = 256 * limits.MIB) -> None:
        self._free_bytes_min = free_bytes_min
        self._path = database.with_name(f"{database.name}-wal")
        self._size = 0

    def keep(self) -> None:
        """Make room if the log has grown since the last call."""
        with suppress(OSError):
            size = self._path.stat().st_size
            if size > self._size:
                self._size = self._extend(size)

    def _extend(self, size: int) -> int:
        disk = os.statvfs(self._path) if hasattr(os, "statvfs") else None
        if disk is None or disk.f_bavail * disk.f_frsize < self._free_bytes_min:
            return size
        room = min(max(size, _ROOM_BYTES_MIN), _ROOM_BYTES_MAX)
        with self._path.open("r+b", buffering=0) as log:
            log.seek(0, os.SEEK_END)
            log.write(bytes(room))
            return log.tell()
