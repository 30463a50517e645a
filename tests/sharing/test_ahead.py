"""A neighbour's copy that is verified while it is still being made; and what is none."""

import os
from pathlib import Path

import pytest

from mesh.sharing import linked, near
from mesh.sharing.ahead import Ahead
from mesh.sharing.files import digest_of
from mesh.sharing.received import Coming
from mesh.sharing.spool import draft_prefix, spool_name

KEY = b"k" * 32
CONTENT = os.urandom(700_000)
ALL = 1 << 30


@pytest.fixture
def spool(tmp_path) -> Path:
    directory = tmp_path / spool_name
    directory.mkdir()
    return directory


@pytest.fixture
def draft(spool) -> Path:
    path = spool / f"{draft_prefix}0123456789abcdef"
    path.write_bytes(CONTENT[:400_000])
    return path


def place_of(path: Path) -> bytes:
    return near.place_of(path.parent, key=KEY, given=path.lstat().st_ino)


def read(ahead: Ahead, path: Path, up_to: int = ALL, bytes_max: int = ALL) -> int:
    ahead.read(place_of(path), key=KEY, up_to=up_to, bytes_max=bytes_max)
    return ahead.reached


def test_copy_is_hashed_as_it_grows(draft):
    """PROTOCOL.md FILE-11."""
    ahead = Ahead()
    assert read(ahead, draft, up_to=100_000) == 100_000
    assert read(ahead, draft, bytes_max=50_000) == 150_000
    assert read(ahead, draft) == 400_000
    with draft.open("ab") as file:
        file.write(CONTENT[400_000:])
    assert read(ahead, draft, up_to=400_000) == 400_000
    assert read(ahead, draft) == len(CONTENT)
    assert ahead.digest.digest().hex() == digest_of(CONTENT)


def test_another_copy_is_begun_anew(draft):
    """PROTOCOL.md FILE-11."""
    ahead = Ahead()
    read(ahead, draft)
    other = draft.with_name(f"{draft_prefix}other")
    other.write_bytes(b"something else")
    assert read(ahead, other) == 14
    assert ahead.digest.digest().hex() == digest_of(b"something else")


def test_another_copy_in_the_place_of_one_that_was_given_up_is_begun_anew(draft):
    ahead = Ahead()
    read(ahead, draft, up_to=400_000)
    other = CONTENT[::-1]
    draft.write_bytes(other[:300_000])  # The same inode, as disks give it again at once.
    assert read(ahead, draft, up_to=300_000) == 300_000
    with draft.open("ab") as file:
        file.write(other[300_000:])
    assert read(ahead, draft) == len(other)
    assert ahead.digest.digest().hex() == digest_of(other)


def test_nothing_stays_open(draft):
    before = len(list(Path("/dev/fd").iterdir()))
    read(Ahead(), draft)
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_only_a_copy_in_a_spool_of_ours_is_read(draft, tmp_path):
    """PROTOCOL.md FILE-11: nobody can make us look at another file."""
    private = tmp_path / "private"
    private.write_bytes(b"private")
    whole = draft.with_name(digest_of(b"whole"))
    whole.write_bytes(b"whole")
    pipe = draft.with_name(f"{draft_prefix}pipe")
    os.mkfifo(pipe)
    link = draft.with_name(f"{draft_prefix}link")
    link.symlink_to(private)
    elsewhere = near.place_of(draft.parent, key=b"x" * 32, given=draft.lstat().st_ino)
    named = near.place_of(draft.parent, key=KEY, given=private.lstat().st_ino)
    missing = near.place_of(tmp_path / "no" / spool_name, key=KEY, given=7)
    places = [place_of(path) for path in (private, whole, pipe, link)]
    for place in (*places, elsewhere, named, missing, b"", b"junk"):
        ahead = Ahead()
        ahead.read(place, key=KEY, up_to=ALL, bytes_max=ALL)
        assert ahead.reached == 0
    ahead = Ahead()
    ahead.read(place_of(draft), key=None, up_to=ALL, bytes_max=ALL)
    assert ahead.reached == 0


@pytest.mark.parametrize("content", [CONTENT[:400_000], CONTENT[:400_000] + b"more"])
def test_what_was_read_ahead_need_not_be_read_again(draft, tmp_path, content):
    """PROTOCOL.md FILE-10, FILE-11."""
    ahead = Ahead()
    read(ahead, draft)
    draft.write_bytes(content)
    file = _linked(tmp_path, draft, content, ahead)
    assert file.received == 400_000
    assert file.read(offset=400_000, length=len(content) - 400_000)
    assert file.finish()


def test_what_is_shorter_than_was_read_ahead_is_read_from_its_beginning(draft, tmp_path):
    """PROTOCOL.md FILE-11."""
    ahead = Ahead()
    read(ahead, draft)
    draft.write_bytes(CONTENT[:300_000])
    file = _linked(tmp_path, draft, CONTENT[:300_000], ahead)
    assert file.received == 0
    file.discard()


def test_what_is_other_than_was_read_ahead_is_found_out(draft, tmp_path):
    """PROTOCOL.md FILE-10, FILE-11: it is not the file that was promised."""
    ahead = Ahead()
    read(ahead, draft)
    other = b"x" * 450_000
    draft.write_bytes(other)
    file = _linked(tmp_path, draft, other, ahead)
    assert file.read(offset=400_000, length=50_000)
    assert not file.finish()


def test_what_was_read_ahead_is_given_away_once(draft, tmp_path):
    """A second try, after the disk refused the first one, begins at the beginning."""
    ahead = Ahead()
    read(ahead, draft)
    content = CONTENT[:400_000]
    first = _linked(tmp_path, draft, content, ahead)
    assert first.finish()
    (kept,) = [path for path in (tmp_path / "files").iterdir() if path.suffix != ".json"]
    kept.unlink()
    second = _linked(tmp_path, draft.with_name(digest_of(content)), content, ahead)
    assert second.read(offset=second.received, length=400_000 - second.received)
    assert second.finish()


def _linked(tmp_path: Path, draft: Path, content: bytes, ahead: Ahead) -> linked.Linked:
    """Let the copy be complete, and be offered."""
    digest = digest_of(content)
    draft = draft.rename(draft.with_name(digest))
    files = tmp_path / "files"
    files.mkdir(exist_ok=True)
    found = near.open_near(place_of(draft), key=KEY, digest=digest, size=len(content))
    assert found is not None
    file = linked.link(files, Coming("ab" * 32, digest, len(content), "data"), found, ahead)
    found.close()
    assert file is not None
    return file
