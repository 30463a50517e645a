"""An author's own copy of a file, read directly by a recipient on the same machine.

Nothing is trusted here: the path was told by a member, and what is read is verified like anything
that comes over a link. Only a file of this user that is named by its digest, as spooled files are,
is opened at all, so that nobody can make us look at another one.
"""

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh.sharing.beneath import O_NOFOLLOW
from mesh.sharing.files import O_BINARY
from mesh.sharing.spool import spool_name
from mesh.wire.places import NONCE_BYTES, Place, machine_key, open_place, seal_place

_READ: Final = os.O_RDONLY | O_BINARY | O_NOFOLLOW | getattr(os, "O_NONBLOCK", 0)
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
    told = None if key is None or not place else open_place(place, key=key)
    if told is None or b"\0" in told.path:
        return None
    directory = Path(os.fsdecode(told.path))
    if not directory.is_absolute() or directory.name != spool_name:
        return None
    path = directory / digest
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return None
    status = os.fstat(descriptor)
    is_ours = status.st_uid == os.geteuid() and stat.S_ISREG(status.st_mode)
    if is_ours and status.st_size == size:
        return Near(descriptor, path, told.given)
    os.close(descriptor)
    return None
