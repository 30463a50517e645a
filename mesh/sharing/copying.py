"""Copying a file while it is hashed: the digest is made in a thread beside the reads and writes."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from mesh import limits
from mesh.wire.digests import FileHash

PIECE_BYTES: Final = limits.MIB


@contextmanager
def hashing_beside(digest: FileHash) -> Iterator[Callable[[bytes], None]]:
    """Give a function that hashes a piece while its caller goes on; at most one is under way.

    When the block ends, all pieces are hashed.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest") as thread:
        pending = thread.submit(lambda: None)

        def update(piece: bytes) -> None:
            nonlocal pending
            pending.result()
            pending = thread.submit(digest.update, piece)

        yield update
        pending.result()


def copy_hashed(
    source: int,
    target: int,
    digest: FileHash,
    *,
    length: int | None = None,
    check: Callable[[int], None] = lambda _: None,
) -> int:
    """Copy `length` bytes, or all, from where the descriptors stand; return how many came.

    `check` is told how many came so far and may raise.
    """
    copied = 0
    with hashing_beside(digest) as update:
        while length is None or copied < length:
            wanted = PIECE_BYTES if length is None else min(PIECE_BYTES, length - copied)
            piece = os.read(source, wanted)
            if not piece:
                break
            copied += len(piece)
            check(copied)
            update(piece)
            write_all(target, piece)
    return copied


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however many calls the disk wants for it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
