"""A neighbour's file that is verified while its author still copies it into the spool.

Whoever may have the very file (`linked`) hashes all of it first, as its author did before: done one
after the other, that is most of the time that a large file takes on one machine. Authors only ever
append to such a copy; should it be another file in the end, its digest says so. Nothing stays open
in between, so that a copy which was given up takes no room.
"""

import os

from mesh.sharing.copying import hash_range
from mesh.sharing.near import open_spooling
from mesh.wire.digests import FileHash


class Ahead:
    """One such file; `reached` bytes of it are in `digest`."""

    def __init__(self) -> None:
        self.digest = FileHash()
        self.reached = 0
        self._file: os.stat_result | None = None

    def read(self, place: bytes, *, key: bytes | None, up_to: int, bytes_max: int) -> None:
        """Hash what is new of the file at `place`, `bytes_max` at most; another file is begun anew.

        A copy that has fewer bytes than were read is another one, be it in the place on the disk of
        one that was given up. Nothing happens where there is none that is for us to read.

        Raises:
            OSError: it cannot be read.
        """
        descriptor = open_spooling(place, key=key)
        if descriptor is None:
            return
        try:
            status = os.fstat(descriptor)
            if not self._is_of(status) or up_to < self.reached:
                self.digest, self.reached, self._file = FileHash(), 0, status
            end = min(up_to, self.reached + bytes_max)
            self.reached = hash_range(descriptor, self.digest, self.reached, end)
        finally:
            os.close(descriptor)

    def give(self, status: os.stat_result, *, bytes_max: int) -> tuple[FileHash, int]:
        """Give away, once, what was read of the file that has that status, and how much that is.

        Of another file, or of more than `bytes_max`, it is nothing.
        """
        if not self._is_of(status) or self.reached > bytes_max:
            return FileHash(), 0
        given = self.digest, self.reached
        self.digest, self.reached, self._file = FileHash(), 0, None
        return given

    def _is_of(self, status: os.stat_result) -> bool:
        return self._file is not None and os.path.samestat(self._file, status)
