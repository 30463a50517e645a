"""Copying a file while it is hashed and synced, both in threads beside the reads and writes."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Final

from mesh import limits
from mesh.wire.digests import FileHash

PIECE_BYTES: Final = 512 * limits.KIB
_AHEAD_MAX: Final = 4


class SyncBehind:
    """Makes a file durable in another thread, every so many bytes, while more of it is written.

    `durable` is how much certainly is on disk.
    """

    def __init__(self, thread: Executor, descriptor: int, *, every: int, durable: int = 0) -> None:
        self.durable = durable
        self._thread = thread
        self._descriptor = descriptor
        self._every = every
        self._pending: Future[None] | None = None
        self._pending_to = durable

    def wrote(self, up_to: int) -> None:
        """Take note of what was written; does not wait.

        Raises:
            OSError: an earlier sync failed.
        """
        if self._pending is not None and self._pending.done():
            self.settle()
        if self._pending is None and up_to - self.durable >= self._every:
            self._pending_to = up_to
            self._pending = self._thread.submit(sync_data, self._descriptor)

    def settle(self) -> None:
        """Wait for the sync under way.

        Raises:
            OSError: it failed.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
            self.durable = self._pending_to

    def abandon(self) -> None:
        """Wait for the sync under way, whatever becomes of it: then the file may be closed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            wait([pending])


@contextmanager
def hashing_beside(digest: FileHash) -> Iterator[Callable[[bytes], None]]:
    """Give a function that hashes a piece while its caller goes on; a few may wait for it.

    When the block ends, all pieces are hashed. Pieces are small, since a processor is given to
    others (whoever carries mail) between them.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest") as thread:
        pending: deque[Future[None]] = deque()

        def update(piece: bytes) -> None:
            if len(pending) >= _AHEAD_MAX:
                pending.popleft().result()
            pending.append(thread.submit(digest.update, piece))

        yield update
        while pending:
            pending.popleft().result()


def copy_hashed(
    source: int,
    target: int,
    digest: FileHash,
    *,
    length: int | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> int:
    """Copy `length` bytes, or all, from where the descriptors stand; return how many came.

    `told` hears how many were written so far and may raise.
    """
    copied = 0
    with hashing_beside(digest) as update:
        while length is None or copied < length:
            wanted = PIECE_BYTES if length is None else min(PIECE_BYTES, length - copied)
            piece = os.read(source, wanted)
            if not piece:
                break
            update(piece)
            write_all(target, piece)
            copied += len(piece)
            told(copied)
    return copied


def hash_range(source: int, digest: FileHash, start: int, end: int) -> int:
    """Hash a file from `start` to `end`; return how far it went, less if the file ends before.

    Raises:
        OSError: it cannot be read.
    """
    os.lseek(source, start, os.SEEK_SET)
    while start < end:
        piece = os.read(source, min(limits.hash_bytes, end - start))
        if not piece:
            break
        digest.update(piece)
        start += len(piece)
    return start


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however many calls the disk wants for it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_data(descriptor: int) -> None:
    """Wait until the disk has what was written."""
    sync = getattr(os, "fdatasync", os.fsync)
    sync(descriptor)
