"""Entering a directory below a root, following no link on the way.

Linux does it in one call (openat2), in which no part of the path can be exchanged while another is
looked at. Python knows no such call, so it is made by number; where the kernel is older, a sandbox
forbids it or the system is another, the path is walked name by name, each opened from the one
before. Both refuse the same.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

O_NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
# O_PATH needs only the right to pass through a directory, not the right to list it.
_ENTER: Final[int] = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | O_NOFOLLOW
_CLOEXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)
_OPENAT2: Final = 437
"""The same on every architecture on which Python runs."""
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_HOW: Final = struct.Struct("=QQQ")
"""Flags, mode, and how the path may be resolved."""
_MISSING: Final = frozenset((errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL, errno.E2BIG))
"""What a kernel or sandbox says that does not have the call, or one that may not enter."""
_ATTEMPTS_MAX: Final = 16


def enter(root: Path, parts: Sequence[str]) -> int:
    """Return a descriptor of the directory that `parts` name below `root`; the caller closes it.

    Raises:
        OSError: it is not there, is no directory, or a link is on the way (ELOOP or ENOTDIR).
    """
    if not parts:
        return os.open(root, _ENTER)
    if sys.platform == "linux":
        directory = os.open(root, _ENTER)
        try:
            return _open_beneath(directory, parts)
        except OSError as exc:
            if exc.errno not in _MISSING:
                raise
        finally:
            os.close(directory)
    return walk(root, parts)


def walk(root: Path, parts: Sequence[str]) -> int:
    """Do the same name by name."""
    directory = os.open(root, _ENTER)
    try:
        for part in parts:
            inner = os.open(part, _ENTER, dir_fd=directory)
            os.close(directory)
            directory = inner
    except OSError:
        os.close(directory)
        raise
    return directory


def _open_beneath(directory: int, parts: Sequence[str]) -> int:
    path = os.fsencode("/".join(parts))
    how = _HOW.pack(_ENTER | _CLOEXEC, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
    for _ in range(_ATTEMPTS_MAX):
        found: int = _libc.syscall(
            ctypes.c_long(_OPENAT2), directory, path, how, ctypes.c_size_t(len(how))
        )
        if found >= 0:
            return found
        # Something was renamed on the way just then; the kernel asks to try again.
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))


if sys.platform == "linux":
    _libc: Final = ctypes.CDLL(None, use_errno=True)
    _libc.syscall.restype = ctypes.c_long
