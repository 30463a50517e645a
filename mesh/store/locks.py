"""Operating-system locks: who holds one is alive, exactly and at once.

A lock is a file of its own, opened once; its content says who holds it. POSIX `flock` belongs to
the open file, so two locks exclude each other within one process too. A forked child inherits the
open file and would keep the lock alive after its parent's death: children close their copy.
On Windows one byte far behind the content is locked, which leaves the content readable.
"""

import os
import sys
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mesh.store.files import private_file_mode

content_bytes_max: Final = 4096
_try_delay_s: Final = 0.001
_try_delay_s_max: Final = 0.05
_probe_tries_max: Final = 200
_BYTE: Final = 1 << 30
_FLAGS: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int, *, shared: bool) -> bool:  # noqa: ARG001  (Windows has no shared lock)
        try:
            os.lseek(fd, _BYTE, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, _BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


class FileLock:
    """A lock that is held until `release` or the end of the process."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        _held.add(self)

    @classmethod
    def acquire(cls, path: Path, *, content: bytes) -> "FileLock | None":
        """Take the lock and write who has it; None if somebody else holds it."""
        assert len(content) <= content_bytes_max
        for _ in range(_probe_tries_max):
            fd = os.open(path, _FLAGS | os.O_CREAT, private_file_mode)
            try:
                outcome = _lock_at(fd, path)
                if outcome:
                    os.ftruncate(fd, 0)
                    os.lseek(fd, 0, os.SEEK_SET)
                    os.write(fd, content)
                    lock = cls(path, fd)
                    fd = -1
                    return lock
            finally:
                if fd >= 0:
                    os.close(fd)
            if outcome is False:
                return None
            time.sleep(_try_delay_s)
        return None

    @classmethod
    def acquire_within(cls, path: Path, *, content: bytes, timeout_s: float) -> "FileLock | None":
        """Take a lock that is only held for moments, waiting for it; None if it took longer."""
        deadline_s = time.monotonic() + timeout_s
        delay_s = _try_delay_s
        while (lock := cls.acquire(path, content=content)) is None:
            if time.monotonic() >= deadline_s:
                return None
            # Fifty that wait must leave the one who holds it a processor to finish on.
            time.sleep(delay_s)
            delay_s = min(2 * delay_s, _try_delay_s_max)
        return lock

    @property
    def is_released(self) -> bool:
        """Whether this object no longer holds the lock."""
        return self._fd < 0

    def release(self) -> None:
        """Let go of the lock; idempotent. The file stays."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        _held.discard(self)
        _unlock(fd)
        os.close(fd)

    def remove(self) -> None:
        """Let go of the lock and its file; for names that are never used again."""
        self.release()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _forget(self) -> None:
        """Close the copy of a forked child; unlocking it would free the parent's lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_held(path: Path) -> bool:
    """Tell whether somebody, perhaps this process, holds the lock; disturbs nobody."""
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError:
        return False
    try:
        if not _try_lock(fd, shared=True):
            return True
        _unlock(fd)
        return False
    finally:
        os.close(fd)


def holder(path: Path) -> bytes | None:
    """Return what the holder wrote about itself; None if nobody holds the lock."""
    if not is_held(path):
        return None
    try:
        with path.open("rb") as file:
            return file.read(content_bytes_max)
    except FileNotFoundError:
        return None


def _lock_at(fd: int, path: Path) -> bool | None:
    """Return True when locked, False when held by somebody, None when it is worth another try."""
    if not _try_lock(fd, shared=False):
        # A probe holds the lock in shared mode for an instant; only an exclusive holder refuses us.
        if sys.platform == "win32" or not _try_lock(fd, shared=True):
            return False
        _unlock(fd)
        return None
    try:
        is_same = os.path.samestat(os.fstat(fd), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        is_same = False
    return True if is_same else None


_held: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


def _close_in_child() -> None:
    for lock in list(_held):
        lock._forget()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
