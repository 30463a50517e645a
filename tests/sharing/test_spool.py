"""The spool: copies made whole and durably, or not at all."""

import hashlib
import os
from pathlib import Path

import pytest

from mesh import limits
from mesh.errors import StoreError, UsageError
from mesh.sharing.confine import Fence
from mesh.sharing.copying import SyncBehind, copy_hashed
from mesh.sharing.spool import spool_shared_file
from mesh.sharing.threads import file_threads
from mesh.wire.digests import FileHash

SIZE = limits.partial_sync_bytes + 3 * limits.MIB + 7


@pytest.fixture
def big(tmp_path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def spool(path: Path, **settings):
    pinned: list[bytes] = []
    directory = path.parent / "outgoing"
    made = spool_shared_file(path, directory, Fence(cwd=path.parent), pin=pinned.append, **settings)
    assert pinned == [made.digest]
    return made, directory


def test_copy_is_named_by_the_digest_of_what_was_read(big):
    made, directory = spool(big)
    assert made.digest == hashlib.blake2b(big.read_bytes(), digest_size=32).digest()
    (copy,) = directory.iterdir()
    assert (copy.name, copy.read_bytes()) == (made.digest.hex(), big.read_bytes())
    assert copy.stat().st_mode & 0o777 == 0o600


def test_sender_that_ends_stops_copying_and_leaves_nothing(big):
    with pytest.raises(StoreError, match="ending"):
        spool(big, has_stopped=lambda: True)
    assert list((big.parent / "outgoing").iterdir()) == []


def test_file_that_grows_over_the_limit_while_it_is_read_is_refused_and_leaves_nothing(big):
    calls = iter(range(1000))

    def grow() -> bool:
        if next(calls) == 1:
            with big.open("ab") as file:
                file.write(bytes(2 * limits.MIB))
        return False

    with pytest.raises(UsageError, match=str(SIZE + limits.MIB)):
        spool(big, bytes_max=SIZE + limits.MIB, has_stopped=grow)
    assert list((big.parent / "outgoing").iterdir()) == []


def test_file_that_shrinks_while_it_is_read_is_shared_as_it_was_read(big):
    calls = iter(range(1000))

    def shrink() -> bool:
        if next(calls) == 1:
            os.truncate(big, 3 * limits.MIB)
        return False

    made, directory = spool(big, has_stopped=shrink)
    (copy,) = directory.iterdir()
    assert made.size == copy.stat().st_size < SIZE
    assert hashlib.blake2b(copy.read_bytes(), digest_size=32).digest() == made.digest


def test_sparse_file_is_copied_with_its_holes_as_zeros(tmp_path):
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 5 * limits.MIB)
    made, directory = spool(path)
    assert (directory / made.digest.hex()).read_bytes() == bytes(5 * limits.MIB)


def test_sync_that_failed_is_told_to_the_writer(big):
    """A disk that refuses must never be taken for one that has the file."""
    source, target = os.open(big, os.O_RDONLY), os.open(big.parent / "copy", os.O_RDWR | os.O_CREAT)
    cannot_be_synced, other = os.pipe()
    with file_threads("test") as thread:
        behind = SyncBehind(thread, cannot_be_synced, every=limits.MIB)

        def copy() -> None:
            copy_hashed(source, target, FileHash(), told=behind.wrote)
            behind.settle()

        with pytest.raises(OSError, match="Invalid argument"):
            copy()
        assert behind.durable == 0
    for descriptor in (source, target, cannot_be_synced, other):
        os.close(descriptor)
