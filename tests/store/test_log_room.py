"""The log has room for the next commits, and nothing is read from that room."""

from pathlib import Path

from mesh.core.changes import PutInbox
from mesh.model import Verified
from mesh.store.interface import InboxQuery
from mesh.store.log_room import LogRoom
from mesh.store.sqlite import SqliteStore
from tests.store.samples import OWN, FakeClocks, letter


def opened(path: Path) -> SqliteStore:
    return SqliteStore.open(path, key=OWN, name="alice", mesh="default", clocks=FakeClocks())


def received(number: int) -> list[PutInbox]:
    return [PutInbox(letter(number), b"%d" % number, Verified.PINNED)]


def test_most_commits_leave_the_size_of_the_log_alone(tmp_path: Path) -> None:
    store = opened(tmp_path / "mailbox.db")
    sizes = set()
    for number in range(1, 101):
        store.commit(received(number))
        sizes.add((tmp_path / "mailbox.db-wal").stat().st_size)
    assert len(sizes) < 8
    store.close()


def test_after_a_crash_the_room_is_no_part_of_the_log(tmp_path: Path) -> None:
    store = opened(tmp_path / "mailbox.db")
    for number in range(1, 6):
        store.commit(received(number))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("mailbox.db", "mailbox.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    store.close()
    assert (crashed / "mailbox.db-wal").read_bytes().endswith(bytes(4096))
    again = opened(crashed / "mailbox.db")
    again.commit(received(6))
    bodies = [one.body for one in again.read(InboxQuery()).messages]
    assert bodies == [b"%d" % number for number in range(1, 7)]
    assert again.reports == []
    again.close()


def test_a_disk_with_little_to_spare_keeps_it(tmp_path: Path) -> None:
    log = tmp_path / "mailbox.db-wal"
    log.write_bytes(b"frames")
    LogRoom(tmp_path / "mailbox.db", free_bytes_min=1 << 62).keep()
    assert log.read_bytes() == b"frames"
    LogRoom(tmp_path / "mailbox.db", free_bytes_min=0).keep()
    assert log.stat().st_size > 6
    assert log.read_bytes().rstrip(b"\0") == b"frames"


def test_a_log_that_is_not_there_is_left_alone(tmp_path: Path) -> None:
    LogRoom(tmp_path / "mailbox.db").keep()
    assert list(tmp_path.iterdir()) == []
