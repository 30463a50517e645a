"""An author's own copy of a file, read directly by a recipient on the same machine.

Nothing is trusted here: the path was told by a member, and what is read is verified like anything
that comes over a link. Only a file of this user that is named by its digest, as spooled files are,
is opened at all, so that nobody can make us look at another one.
"""

import os
import stat
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from mesh.sharing.beneath import O_NOFOLLOW
from mesh.sharing.files import O_BINARY
from mesh.sharing.spool import draft_prefix, spool_name
from mesh.wire.places import NONCE_BYTES, Place, machine_key, open_place, seal_place

_READ: Final = os.O_RDONLY | O_BINARY | O_NOFOLLOW | getattr(os, "O_NONBLOCK", 0)
_ENTRIES_MAX: Final = 4096
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def own_machine_key() -> bytes | None:
    """Return the key by which processes of this user on this machine know each other, if any."""
    if sys.platform != "linux":
        return None
    try:
        boot = _BOOT_ID.read_bytes()
    except OSError:
        return None
    return machine_key(boot.strip() + b"\0" + str(os.geteuid()).encode())


@dataclass(frozen=True, slots=True)
class Near:
    """An author's copy, open for reading, where it lies, and the file that its author gives up."""

    descriptor: int
    path: Path
    given: int

    def is_given(self) -> bool:
        """Whether the author gives this very file up, and nobody else has a name for it yet."""
        status = os.fstat(self.descriptor)
        return status.st_ino == self.given and status.st_nlink == 1

    def is_same(self, status: os.stat_result) -> bool:
        """Whether this is the file that has that status."""
        return os.path.samestat(status, os.fstat(self.descriptor))

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


def place_of(directory: Path, *, key: bytes | None, given: int = 0) -> bytes:
    """Return where a spool lies, legible on this machine only; empty where that cannot be.

    `given` is the number of a file in it that is given up once it has arrived.
    """
    if key is None:
        return b""
    place = Place(os.fsencode(directory.absolute()), given)
    return seal_place(place, key=key, nonce=os.urandom(NONCE_BYTES))


def open_near(place: bytes, *, key: bytes | None, digest: str, size: int) -> Near | None:
    """Open the author's copy of a file for reading; None if it is not for us to read."""
    told = _told(place, key)
    if told is None:
        return None
    directory, given = told
    path = directory / digest
    descriptor = _open_ours(path)
    if descriptor is None:
        return None
    if os.fstat(descriptor).st_size == size:
        return Near(descriptor, path, given)
    os.close(descriptor)
    return None


def open_spooling(place: bytes, *, key: bytes | None) -> int | None:
    """Open the copy that an author is making; None if there is none that is for us to read."""
    told = _told(place, key)
    if told is None:
        return None
    directory, given = told
    try:
        with os.scandir(directory) as entries:
            drafts = [e.name for e in islice(entries, _ENTRIES_MAX) if e.inode() == given]
    except OSError:
        return None
    if not drafts or not drafts[0].startswith(draft_prefix):
        return None
    descriptor = _open_ours(directory / drafts[0])
    if descriptor is not None and os.fstat(descriptor).st_ino != given:
        os.close(descriptor)
        return None
    return descriptor


def _told(place: bytes, key: bytes | None) -> tuple[Path, int] | None:
    """Return the directory of a spool, and a file number, as a place tells them."""
    told = None if key is None or not place else open_place(place, key=key)
    if told is None or b"\0" in told.path:
        return None
    directory = Path(os.fsdecode(told.path))
    if not directory.is_absolute() or directory.name != spool_name:
        return None
    return directory, told.given


def _open_ours(path: Path) -> int | None:
    """Open a regular file of this user; None if it is none."""
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and stat.S_ISREG(status.st_mode):
        return descriptor
    os.close(descriptor)
    return None
