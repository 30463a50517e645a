"""A neighbour's spooled file that becomes ours by a second name for it: verified, never copied.

    files/.linked-<digest>-<author>    the author's copy, while it is verified

Authors name the one file (by its inode) that only this letter needs and that they give up once it
is delivered; nobody writes to it any more, so one file under two names does no harm. Where the file
system has no such links, or the author still needs the file for others, it is copied instead. After
a crash there is nothing to resume: the name is removed, and made anew.
"""

import os
from pathlib import Path
from typing import Final

from mesh.sharing.ahead import Ahead
from mesh.sharing.copying import hash_range
from mesh.sharing.near import Near
from mesh.sharing.received import Coming, put_into_place
from mesh.wire.digests import FileHash

_PREFIX: Final = ".linked-"


class Linked:
    """One linked file while it is verified; `received` is how much of it was read."""

    def __init__(
        self, directory: Path, coming: Coming, near: Near, *, digest: FileHash, received: int
    ) -> None:
        self.received = received
        self._directory = directory
        self._path = directory / f"{_PREFIX}{coming.label}"
        self._coming = coming
        self._hash = digest
        self._descriptor = os.dup(near.descriptor)

    def read(self, *, offset: int, length: int) -> bool:
        """Hash the next piece; false if it is not the next one, or not all there."""
        if offset != self.received:
            return False
        end = offset + length
        self.received = hash_range(self._descriptor, self._hash, offset, end)
        return self.received == end

    def finish(self) -> bool:
        """Verify the file and put it into place durably; false if it is another file."""
        status = os.fstat(self._descriptor)
        is_whole = self.received == status.st_size == self._coming.bytes
        if not is_whole or self._hash.digest().hex() != self._coming.digest:
            self.discard()
            return False
        put_into_place(self._directory, self._path, self._coming, mtime_ns=status.st_mtime_ns)
        self.discard()
        return True

    def discard(self) -> None:
        """Close it, and remove the name if it has it still."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
        self._path.unlink(missing_ok=True)


def link(directory: Path, coming: Coming, near: Near, ahead: Ahead | None = None) -> Linked | None:
    """Give a neighbour's file a name in `directory`; None if it is to be copied.

    What was read `ahead` of it need not be read again.
    """
    path = directory / f"{_PREFIX}{coming.label}"
    try:
        path.unlink(missing_ok=True)
        if not near.is_given():
            return None
        os.link(near.path, path, follow_symlinks=False)
        status = path.lstat()
    except (OSError, NotImplementedError):
        return None
    if near.is_same(status):
        digest, received = (ahead or Ahead()).give(status, bytes_max=coming.bytes)
        return Linked(directory, coming, near, digest=digest, received=received)
    path.unlink(missing_ok=True)
    return None


def sweep(directory: Path) -> None:
    """Remove names that a crash has left."""
    for path in directory.glob(f"{_PREFIX}*"):
        path.unlink(missing_ok=True)
