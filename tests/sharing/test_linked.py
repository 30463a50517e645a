"""A neighbour's file under a second name: when it is given, and verified all the same."""

import os
from pathlib import Path

import pytest

from mesh.sharing import linked, near
from mesh.sharing.files import digest_of
from mesh.sharing.linked import Linked
from mesh.sharing.near import Near
from mesh.sharing.received import Coming, find_received
from mesh.sharing.spool import inode_of, spool_name

KEY = b"k" * 32
CONTENT = os.urandom(300_000)
DIGEST = digest_of(CONTENT)
COMING = Coming("ab" * 32, DIGEST, len(CONTENT), "data.bin")


@pytest.fixture
def spooled(tmp_path) -> Path:
    directory = tmp_path / spool_name
    directory.mkdir()
    path = directory / DIGEST
    path.write_bytes(CONTENT)
    path.chmod(0o600)
    return path


@pytest.fixture
def files(tmp_path) -> Path:
    directory = tmp_path / "files"
    directory.mkdir()
    return directory


def offered(spooled: Path, *, given: int | None = None) -> Near:
    number = inode_of(spooled.parent, bytes.fromhex(DIGEST)) if given is None else given
    place = near.place_of(spooled.parent, key=KEY, given=number)
    found = near.open_near(place, key=KEY, digest=DIGEST, size=spooled.stat().st_size)
    assert found is not None
    return found


def linked_to(files: Path, source: Near) -> Linked:
    file = linked.link(files, COMING, source)
    assert file is not None
    return file


def test_file_that_is_given_is_put_into_place_without_being_written(spooled, files):
    """PROTOCOL.md FILE-10."""
    source = offered(spooled)
    file = linked_to(files, source)
    assert not file.read(offset=1, length=10)
    assert file.read(offset=0, length=200_000)
    assert find_received(files, author=COMING.author, digest=DIGEST) is None
    assert file.read(offset=200_000, length=100_000)
    assert file.finish()
    source.close()
    kept = find_received(files, author=COMING.author, digest=DIGEST)
    assert kept is not None
    assert kept.samefile(spooled)
    assert list(files.glob(".linked-*")) == []


def test_file_with_another_content_is_not_taken(spooled, files):
    """PROTOCOL.md FILE-10: verified like anything that comes over a link."""
    spooled.write_bytes(CONTENT[:-1] + bytes((CONTENT[-1] ^ 1,)))
    file = linked_to(files, offered(spooled))
    assert file.read(offset=0, length=len(CONTENT))
    assert not file.finish()
    assert list(files.iterdir()) == []
    assert spooled.exists()


def test_file_that_is_cut_short_meanwhile_is_not_taken(spooled, files):
    file = linked_to(files, offered(spooled))
    os.truncate(spooled, 1000)
    assert not file.read(offset=0, length=len(CONTENT))
    assert not file.finish()
    assert list(files.iterdir()) == []


@pytest.mark.parametrize("given", [0, 1])
def test_file_that_is_not_given_is_to_be_copied(spooled, files, given):
    """PROTOCOL.md FILE-10."""
    source = offered(spooled, given=given)
    assert linked.link(files, COMING, source) is None
    assert list(files.iterdir()) == []


def test_file_that_somebody_has_already_is_to_be_copied(spooled, files):
    """PROTOCOL.md FILE-10."""
    os.link(spooled, files / "of somebody else")
    assert linked.link(files, COMING, offered(spooled)) is None


def test_another_file_under_the_same_path_is_to_be_copied(spooled, files):
    """PROTOCOL.md FILE-10: a second message with the same content has a file of its own."""
    source = offered(spooled)
    draft = spooled.with_name("draft")
    draft.write_bytes(CONTENT)
    draft.replace(spooled)
    assert linked.link(files, COMING, source) is None
    assert list(files.iterdir()) == []


def test_disk_that_knows_no_second_names_is_copied_to(spooled, files, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert linked.link(files, COMING, offered(spooled)) is None


def test_name_that_a_crash_has_left_is_made_anew_or_swept(spooled, files):
    """PROTOCOL.md FILE-10."""
    linked_to(files, offered(spooled))
    assert len(list(files.iterdir())) == 1
    again = linked_to(files, offered(spooled))
    assert again.read(offset=0, length=len(CONTENT))
    linked.sweep(files)
    assert list(files.iterdir()) == []
    assert spooled.read_bytes() == CONTENT
