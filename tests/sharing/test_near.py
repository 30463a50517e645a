"""An author's own copy on this machine: what is opened on a member's word, and what is not."""

import os
from pathlib import Path

import pytest

from mesh.sharing import near
from mesh.sharing.spool import spool_name
from mesh.wire.places import NONCE_BYTES, Place, seal_place

KEY = b"k" * 32
DIGEST = "ab" * 32
CONTENT = b"spooled"


@pytest.fixture
def spool(tmp_path) -> Path:
    directory = tmp_path / spool_name
    directory.mkdir()
    (directory / DIGEST).write_bytes(CONTENT)
    return directory


def opened(place: bytes, *, size: int = len(CONTENT), digest: str = DIGEST) -> bytes | None:
    found = near.open_near(place, key=KEY, digest=digest, size=size)
    if found is None:
        return None
    with os.fdopen(found.descriptor, "rb") as file:
        return file.read()


def told(path: bytes) -> bytes:
    return seal_place(Place(path), key=KEY, nonce=bytes(NONCE_BYTES))


def test_spooled_file_is_opened(spool):
    """PROTOCOL.md FILE-10."""
    assert opened(near.place_of(spool, key=KEY)) == CONTENT


def test_what_is_not_exactly_a_spooled_file_of_that_size_is_not_opened(spool, tmp_path):
    """PROTOCOL.md FILE-10."""
    place = near.place_of(spool, key=KEY)
    assert opened(place, size=len(CONTENT) + 1) is None
    assert opened(place, digest="cd" * 32) is None
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / DIGEST).write_bytes(CONTENT)
    for path in (bytes(elsewhere), b"outgoing", b"", b"/tmp\0/outgoing", bytes(spool / "..")):
        assert opened(told(path)) is None
    assert opened(b"") is None
    assert opened(b"not sealed at all") is None


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_is_no_regular_file_is_not_opened(spool, tmp_path, kind):
    """PROTOCOL.md FILE-10."""
    path = spool / ("cd" * 32)
    if kind == "link":
        path.symlink_to(spool / DIGEST)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    for size in (0, len(CONTENT), path.lstat().st_size):
        assert opened(near.place_of(spool, key=KEY), digest="cd" * 32, size=size) is None


def test_machine_is_known_to_its_own_processes_only():
    key = near.own_machine_key()
    assert key == near.own_machine_key()
    if key is not None:
        assert len(key) == 32
