"""Outgoing files on the sender's own disk: copied there before their letters are accepted.

    mail/<name>/outgoing/<digest>      what a letter that is owed carries, 0600

The copy is what is sent, however the original changes meanwhile. It is removed when no letter needs
it any more; what a crash leaves is swept when the mailbox is taken the next time.
"""

import errno
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.errors import DiskFullError, StoreError, UsageError
from mesh.sharing.beneath import O_NOFOLLOW
from mesh.sharing.confine import Fence
from mesh.sharing.copying import SyncBehind, copy_hashed
from mesh.sharing.files import O_BINARY, check_content, open_shared, sync_directory
from mesh.wire.digests import FileHash

spool_name: Final = "outgoing"
draft_prefix: Final = ".draft-"
_READ: Final = os.O_RDONLY | O_BINARY | O_NOFOLLOW
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_BINARY | O_NOFOLLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledFile:
    """A file that lies in the spool; `digest` is its BLAKE2b-256."""

    name: str
    size: int
    digest: bytes


def shared_size(path: str | Path, fence: Fence) -> int:
    """Return the size of a file that may be shared; raises as `open_shared` does."""
    with open_shared(path, fence) as (descriptor, _):
        return os.fstat(descriptor).st_size


def spool_shared_file(
    path: str | Path,
    directory: Path,
    fence: Fence,
    *,
    bytes_max: int = limits.streamed_file_bytes_max,
    pin: Callable[[bytes], None],
    told: Callable[[int, int], None] = lambda *_: None,
    has_stopped: Callable[[], bool] = lambda: False,
) -> SpooledFile:
    """Copy a file that may be shared into the spool, durably; uses 1 MiB of memory.

    `pin` is told the digest before the file appears, so that nobody removes it meanwhile; `told`
    hears the number of the copy and how many bytes it has, now and then. Once `has_stopped`, there
    is no time left to copy it.

    Raises:
        PolicyError, UsageError: as `open_shared`, or larger than `bytes_max`.
        DiskFullError, StoreError: it cannot be kept; nothing was.
    """
    with open_shared(path, fence) as (source, name):
        size = os.fstat(source).st_size
        check_size(path, size, bytes_max)
        check_content(_beginning(source), path, fence)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = free_bytes(directory)
        if free - size < limits.files_free_bytes_min:
            text = f"{path} has {size} bytes; the disk of the mailbox has {free} bytes left."
            raise DiskFullError(text)
        draft = directory / f"{draft_prefix}{os.urandom(8).hex()}"
        try:
            copied, digest = _copy(
                source,
                draft,
                shown=str(path),
                bytes_max=bytes_max,
                told=told,
                has_stopped=has_stopped,
            )
            pin(digest)
            draft.replace(directory / digest.hex())
            sync_directory(directory)
        except OSError as exc:
            draft.unlink(missing_ok=True)
            raise storage_error(exc) from exc
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    shown = name.encode("utf-8", "replace")[: limits.file_name_bytes_max].decode("utf-8", "ignore")
    return SpooledFile(name=shown or "file", size=copied, digest=digest)


def inode_of(directory: Path, digest: bytes) -> int:
    """Return the number of a spooled file; 0 if it is not there."""
    try:
        return (directory / digest.hex()).lstat().st_ino
    except OSError:
        return 0


def check_size(path: str | Path, size: int, bytes_max: int) -> None:
    """Check the size of a file to be shared.

    Raises:
        UsageError: too large.
    """
    if size > bytes_max:
        raise UsageError(f"filepath {path} has {size} bytes; the limit is {bytes_max} bytes.")


def free_bytes(directory: Path) -> int:
    """Return how much this user may still write where `directory` is."""
    return shutil.disk_usage(directory).free


def storage_error(exc: OSError) -> StoreError:
    """Return what a refusal of the disk means."""
    kind = DiskFullError if exc.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
    return kind(f"A file cannot be written ({exc.strerror}).")


class Spool:
    """The outgoing files of one mailbox, read piece by piece."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[bytes, int] = {}

    def read(self, digest: bytes, *, offset: int, length: int, file_bytes: int) -> bytes | None:
        """Return a piece; None if the file is gone, unreadable or not of that size."""
        try:
            descriptor = self._descriptor(digest)
            if os.fstat(descriptor).st_size != file_bytes:
                return None
            os.lseek(descriptor, offset, os.SEEK_SET)
            piece = os.read(descriptor, length)
        except OSError:
            return None
        return piece if len(piece) == length else None

    def drop(self, digest: bytes) -> None:
        """Remove a file; it may be gone already."""
        self._close(digest)
        (self.directory / digest.hex()).unlink(missing_ok=True)

    def sweep(self, is_needed: Callable[[bytes], bool]) -> None:
        """Remove what a crash has left; what is new may belong to a message yet to be accepted."""
        if not self.directory.is_dir():
            return
        horizon = time.time() - limits.spool_grace_s
        for path in self.directory.iterdir():
            digest = _digest_of_name(path.name)
            if digest is not None and is_needed(digest):
                continue
            if path.lstat().st_mtime < horizon:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close every file."""
        for digest in list(self._open):
            self._close(digest)

    def _descriptor(self, digest: bytes) -> int:
        descriptor = self._open.get(digest)
        if descriptor is None:
            if len(self._open) >= limits.offers_open_max:
                self._close(next(iter(self._open)))
            descriptor = os.open(self.directory / digest.hex(), _READ)
            self._open[digest] = descriptor
        return descriptor

    def _close(self, digest: bytes) -> None:
        descriptor = self._open.pop(digest, None)
        if descriptor is not None:
            os.close(descriptor)


def _digest_of_name(name: str) -> bytes | None:
    try:
        return bytes.fromhex(name)
    except ValueError:
        return None


def _beginning(source: int) -> bytes:
    beginning = os.read(source, limits.KIB)
    os.lseek(source, 0, os.SEEK_SET)
    return beginning


def _copy(
    source: int,
    target: Path,
    *,
    shown: str,
    bytes_max: int,
    told: Callable[[int, int], None],
    has_stopped: Callable[[], bool],
) -> tuple[int, bytes]:
    digest = FileHash()
    descriptor = os.open(target, _CREATE, 0o600)
    number = os.fstat(descriptor).st_ino
    told_to = 0
    try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sync") as thread:
            behind = SyncBehind(thread, descriptor, every=limits.partial_sync_bytes)

            def wrote(size: int) -> None:
                nonlocal told_to
                check_size(shown, size, bytes_max)
                if has_stopped():
                    raise StoreError(f"{shown} was not sent: its sender is ending.")
                behind.wrote(size)
                if size - told_to >= limits.near_bytes_max:
                    told_to = size
                    told(number, size)

            copied = copy_hashed(source, descriptor, digest, told=wrote)
            behind.settle()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not copied:
        raise UsageError(f"filepath {shown} became empty while it was read.")
    return copied, digest.digest()
