"""An author's own copy of a file, read directly by a recipient on the same machine.

Nothing is trusted here: the path was told by a member, and what is read is verified like anything
that comes over a link. Only a file of this user that is named by its digest, as spooled files are,
is opened at all, so that nobody can make us look at another one.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Final

from mesh.sharing.files import O_BINARY, O_NOFOLLOW
from mesh.sharing.spool import spool_name
from mesh.wire.places import NONCE_BYTES, machine_key, open_place, seal_place

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


def place_of(directory: Path, *, key: bytes | None) -> bytes:
    """Return where a spool lies, legible on this machine only; empty where that cannot be."""
    if key is None:
        return b""
    path = os.fsencode(directory.absolute())
    return seal_place(path, key=key, nonce=os.urandom(NONCE_BYTES))


def open_near(place: bytes, *, key: bytes | None, digest: str, size: int) -> int | None:
    """Open the author's copy of a file for reading; None if it is not for us to read."""
    path = None if key is None or not place else open_place(place, key=key)
    if path is None or b"\0" in path:
        return None
    directory = Path(os.fsdecode(path))
    if not directory.is_absolute() or directory.name != spool_name:
        return None
    try:
        descriptor = os.open(directory / digest, _READ)
    except OSError:
        return None
    status = os.fstat(descriptor)
    is_ours = status.st_uid == os.geteuid() and stat.S_ISREG(status.st_mode)
    if is_ours and status.st_size == size:
        return descriptor
    os.close(descriptor)
    return None
