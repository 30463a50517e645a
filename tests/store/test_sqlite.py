"""What only a database on a real disk can do: be damaged, full, killed, too new."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.core.changes import (
    MarkSent,
    MarkShown,
    PutInbox,
    PutOutbox,
    ReserveSequences,
    SettleOutbox,
)
from mesh.core.snapshot import StreamIn
from mesh.errors import DiskFullError, SchemaError, StoreError
from mesh.model import MailboxKey, State, Verified
from mesh.store import salvage
from mesh.store.interface import InboxQuery
from mesh.store.schema import MIGRATIONS
from mesh.store.sqlite import SqliteStore
from tests.store.samples import BOB, EVE, LIFE, OWN, FakeClocks, entry, letter, message_id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mailbox.db"


def opened(path: Path, **settings: object) -> SqliteStore:
    given = {"key": OWN, "name": "alice", "mesh": "default", "clocks": FakeClocks(), **settings}
    return SqliteStore.open(path, **given)  # type: ignore[arg-type]


def filled(path: Path, count: int = 40) -> None:
    store = opened(path)
    for row in range(1, count + 1):
        store.commit(
            [
                PutOutbox((entry(row),), b"outgoing %d" % row),
                PutInbox(letter(row), b"incoming %d" % row * 50, Verified.PINNED),
            ]
        )
    store.close()


def altered(path: Path, sql: str, *arguments: object) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(sql, arguments)
    db.close()


def kept(path: Path) -> list[Path]:
    return sorted(path.parent.glob("mailbox.db.damaged-*Z"))


def test_all_files_are_private_whatever_the_umask(path: Path) -> None:
    old = os.umask(0)
    try:
        store = opened(path)
        store.commit([PutOutbox((entry(1),), b"")])
        files = list(path.parent.iterdir())
        assert {file.name for file in files} >= {"mailbox.db", "mailbox.db-wal"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        store.close()
    finally:
        os.umask(old)


def test_the_database_is_durable_and_ours_alone(path: Path) -> None:
    store = opened(path)
    try:
        db = store._db
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        with pytest.raises(StoreError, match="in use"):
            opened(path)
    finally:
        store.close()


def test_a_stored_name_follows_the_typed_case_and_nothing_else(path: Path) -> None:
    opened(path).close()
    for typed, stored in (("ALICE", "ALICE"), (None, "ALICE"), ("bob", "ALICE")):
        store = opened(path, name=typed)
        assert store.name == stored
        store.close()


def test_a_newer_schema_is_refused(path: Path) -> None:
    opened(path).close()
    altered(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(SchemaError, match="newer"):
        opened(path)
    assert kept(path) == []


def test_another_key_is_refused(path: Path) -> None:
    opened(path).close()
    with pytest.raises(StoreError, match="another key"):
        opened(path, key=MailboxKey(b"x" * 32))
    assert kept(path) == []


def test_a_full_disk_writes_nothing_and_says_so(path: Path) -> None:
    store = opened(path)
    store.commit([PutOutbox((entry(1),), b"first")])
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFullError):
        store.commit([PutOutbox((entry(2),), b"x" * 100_000)])
    assert store.is_failed
    with pytest.raises(AssertionError):
        store.commit([PutOutbox((entry(2),), b"second")])
    store.close()
    store = opened(path)
    assert [one.row for one in store.snapshot().outbox] == [1]
    store.commit([PutOutbox((entry(2),), b"second")])
    store.close()


def test_a_failed_commit_leaves_the_counts_of_the_disk(path: Path) -> None:
    store = opened(path)
    put = PutInbox(letter(1), b"hello", Verified.OPEN)
    with pytest.raises(AssertionError):
        store.commit([put, put])
    store.close()
    store = opened(path)
    assert store.counts().unread == 0
    assert store.snapshot().streams_in == {}
    store.close()


def test_a_killed_writer_leaves_exactly_what_it_had_committed(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from mesh.core.changes import PutOutbox\n"
        "from tests.store.samples import entry; from tests.store.test_sqlite import opened\n"
        "store = opened(Path(sys.argv[1]))\n"
        "for row in range(1, 100000):\n"
        "    store.commit([PutOutbox((entry(2 * row - 1), entry(2 * row)), b'x' * 2000)])\n"
        "    print(row, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        committed = [int(writer.stdout.readline()) for _ in range(30)][-1]
        writer.send_signal(signal.SIGKILL)
        committed = max([committed, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    store = opened(path)
    rows = [one.row for one in store.snapshot().outbox]
    assert rows == list(range(1, len(rows) + 1))
    assert len(rows) in (2 * committed, 2 * committed + 2)
    assert all(one.body == b"x" * 2000 for one in store.letters(rows))
    assert store.reports == []
    store.close()


@pytest.mark.parametrize(
    ("table", "row"), [("pin", ""), ("meta", "WHERE name = 'registered_ms'"), ("stream_in", "")]
)
def test_a_damaged_row_of_state_makes_a_new_database(path: Path, table: str, row: str) -> None:
    filled(path)
    if table == "pin":
        altered(path, "INSERT INTO pin (folded, name, key, is_trusted, digest) VALUES (1,2,3,4,5)")
    else:
        altered(path, f"UPDATE {table} SET digest = x'00' {row}")
    store = opened(path)
    snapshot = store.snapshot()
    assert len(kept(path)) == 1
    assert stat.S_IMODE(kept(path)[0].stat().st_mode) == 0o600
    assert any(table in report for report in store.reports)
    assert len(snapshot.outbox) == len(store.letters(range(1, 41))) == 40
    assert snapshot.next_sequences == {BOB: 41 + salvage.sequence_jump}
    assert snapshot.streams_in[BOB, LIFE].watermark == 40
    assert store.counts().unread == 40
    store.close()
    again = opened(path)
    assert again.reports == []
    assert again.snapshot().claim == snapshot.claim + 1
    again.close()
    assert len(kept(path)) == 1


def test_a_lost_stream_is_known_again_from_its_mail(path: Path) -> None:
    filled(path)
    altered(path, "UPDATE stream_in SET watermark = 3")
    store = opened(path)
    assert store.snapshot().streams_in == {(BOB, LIFE): StreamIn(40, (), 41)}
    store.close()


def test_lost_outgoing_streams_begin_anew_without_sending_twice(path: Path) -> None:
    store = opened(path)
    store.commit([PutOutbox((entry(row),), b"%d" % row) for row in (1, 2, 3)])
    store.commit([MarkSent((1,)), ReserveSequences(EVE, 9)])
    old = store.incarnation
    store.close()
    altered(path, "UPDATE stream_out SET next_sequence = 1")
    store = opened(path)
    snapshot = store.snapshot()
    assert snapshot.incarnation not in (old, LIFE)
    assert [(one.row, one.letter.sequence) for one in snapshot.outbox] == [(2, 1), (3, 2)]
    assert {one.letter.incarnation for one in snapshot.outbox} == {snapshot.incarnation}
    assert snapshot.next_sequences == {BOB: 3}
    assert store.receipts(message_id(1))[0].state is State.EXPIRED
    assert [one.body for one in store.letters([2, 3])] == [b"2", b"3"]
    store.close()


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize("offset", [0, 16, 100])
def test_a_destroyed_beginning_loses_nothing(path: Path, offset: int) -> None:
    filled(path)
    overwrite(path, offset, b"\xff" * 60)
    store = opened(path)
    assert len(kept(path)) == 1
    assert len(store.snapshot().outbox) == 40
    assert len(store.read(InboxQuery()).messages) == 40
    store.close()


def test_any_destroyed_page_loses_only_rows_of_that_page(path: Path) -> None:
    filled(path, 60)
    whole = path.read_bytes()
    for page in range(1, len(whole) // 4096):
        path.write_bytes(whole)
        overwrite(path, page * 4096, b"\xa5" * 4096)
        store = opened(path)
        snapshot = store.snapshot()
        assert store.reports, page
        assert all(one.body for one in store.letters([one.row for one in snapshot.outbox]))
        assert len(store.read(InboxQuery()).messages) >= 40, page
        assert len(snapshot.outbox) >= 30, page
        store.close()


def test_a_file_that_is_no_database_is_kept_and_replaced(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 10)
    store = opened(path)
    assert kept(path)[0].read_bytes().startswith(b"not a database")
    assert store.snapshot().outbox == ()
    assert "Nothing of it could be read." in store.reports
    store.close()


def test_a_crash_before_the_swap_is_mended_at_the_next_opening(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    altered(path, "UPDATE stream_in SET digest = x'00'")

    def die(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(salvage, "sync_directory", die)
        with pytest.raises(KeyboardInterrupt):
            opened(path)
    assert path.with_name("mailbox.db.new").exists()
    store = opened(path)
    assert store.reports == []
    assert len(store.snapshot().outbox) == 40
    assert not path.with_name("mailbox.db.new").exists()
    store.close()


def test_damaged_mail_is_set_aside_and_named(path: Path) -> None:
    filled(path, 5)
    altered(path, "UPDATE inbox SET body = x'00' WHERE row = 2")
    altered(path, "UPDATE outbox SET letter = x'00' WHERE row = 3")
    altered(path, "UPDATE outbox SET body = x'00' WHERE row = 4")
    store = opened(path)
    assert [one.row for one in store.snapshot().outbox] == [1, 2, 4, 5]
    assert [one.row for one in store.letters([1, 2, 3, 4, 5])] == [1, 2, 5]
    assert [one.row for one in store.read(InboxQuery()).messages] == [1, 3, 4, 5]
    assert store.counts().unread == 4
    assert store.counts().queued == 3
    assert store.receipts(message_id(3))[0].state is State.EXPIRED
    assert len(store.reports) == 3
    assert store._db.execute("SELECT count(*) FROM damaged").fetchone() == (3,)
    store.close()


def test_a_flipped_bit_in_any_message_shows(path: Path) -> None:
    filled(path, 3)
    whole = path.read_bytes()
    start = whole.index(b"incoming 2incoming 2")
    for offset in range(start, start + 200, 7):
        path.write_bytes(whole)
        overwrite(path, offset, bytes([whole[offset] ^ 4]))
        store = opened(path)
        assert [one.row for one in store.read(InboxQuery()).messages] == [1, 3]
        store.close()


def test_settled_letters_lose_their_body_but_keep_their_receipt(path: Path) -> None:
    store = opened(path)
    large = tuple(replace(entry(row), was_sent=True) for row in (2, 3))
    store.commit([PutOutbox((entry(1),), b"small"), PutOutbox(large, b"x" * 5000)])
    store.commit([SettleOutbox(row, State.DELIVERED) for row in (1, 2, 3)])
    db = store._db
    assert db.execute("SELECT count(*) FROM body").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM outbox WHERE body IS NOT NULL").fetchone() == (0,)
    assert len(store.receipts()) == 3
    store.close()


def test_damage_that_shows_only_in_use_is_mended_at_the_next_opening(path: Path) -> None:
    filled(path, 5)
    altered(path, "UPDATE outbox SET letter = x'00' WHERE row = 3")
    salvage.suspect(path)
    store = opened(path)
    assert len(kept(path)) == 1
    assert [one.row for one in store.snapshot().outbox] == [1, 2, 4, 5]
    store.close()
    store = opened(path)
    assert store.reports == []
    store.close()


def test_damage_that_shows_while_reading_fails_the_store_so_that_it_is_opened_again(
    path: Path,
) -> None:
    filled(path, 200)
    store = opened(path)
    (root,) = store._db.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'inbox'"
    ).fetchone()
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._db.execute("PRAGMA cache_size = 0")
    overwrite(path, (root - 1) * 4096, b"\xff" * 64)
    with pytest.raises(StoreError):
        store.read(InboxQuery(limit=1000))
    assert store.is_failed
    store.close()
    again = opened(path)
    assert len(kept(path)) == 1
    assert again.reports
    assert len(again.read(InboxQuery(limit=1000)).messages) > 150
    again.close()


def test_a_crash_between_two_writes_of_the_clock_loses_no_time(path: Path, tmp_path: Path) -> None:
    clocks = FakeClocks()
    store = opened(path, clocks=clocks)
    clocks.pass_s(0.6)
    store.commit([PutOutbox((entry(1),), b"")])
    crashed = tmp_path / "crashed" / "mailbox.db"
    crashed.parent.mkdir()
    for suffix in ("", "-wal"):
        crashed.with_name(crashed.name + suffix).write_bytes(
            path.with_name(path.name + suffix).read_bytes()
        )
    store.close()
    clocks.pass_s(10)
    again = opened(crashed, clocks=clocks)
    assert again.snapshot().outbox[0].remaining_s == pytest.approx(3590)
    again.close()


def test_what_came_last_is_read_from_memory_until_it_is_shown(path: Path) -> None:
    store = opened(path)
    store.commit([PutInbox(letter(n), b"%d" % n, Verified.PINNED) for n in range(1, 5)])
    on_disk = list(store.read(InboxQuery()).messages)
    assert store.recent(0, limit=9) == on_disk
    assert store.recent(on_disk[0].row, limit=2) == on_disk[1:3]
    store.commit([MarkShown(tuple(store.shown_letters([on_disk[1].row])))])
    assert store.recent(0, limit=9) == [on_disk[0], *on_disk[2:]]
    store.close()
    store = opened(path)
    assert store.recent(0, limit=9) is None
    store.commit([PutInbox(letter(5), b"5", Verified.PINNED)])
    assert store.recent(0, limit=9) is None
    last = store.recent(on_disk[-1].row, limit=9)
    assert last is not None
    assert [one.body for one in last] == [b"5"]
    store.close()


def test_memory_keeps_the_newest_messages_only(path: Path) -> None:
    store = opened(path)
    store.commit([PutInbox(letter(n), bytes(3 << 20), Verified.PINNED) for n in (1, 2)])
    first, second = store.read(InboxQuery()).messages
    assert store.recent(0, limit=9) is None
    assert store.recent(first.row, limit=9) is None
    assert store.recent(second.row, limit=9) == []
    store.commit([PutInbox(letter(n), b"small", Verified.PINNED) for n in range(3, 3003)])
    assert store.recent(second.row, limit=9) is None
    newest = store.recent(3000, limit=9)
    assert newest is not None
    assert [one.letter.sequence for one in newest] == [3001, 3002]
    store.close()


def test_an_index_that_hides_letters_is_found_at_opening(path: Path) -> None:
    filled(path, 30)
    db = sqlite3.connect(path)
    (root,) = db.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'outbox_queued'"
    ).fetchone()
    db.close()
    # An empty leaf of an index: nothing is wrong with it but that it is empty.
    overwrite(path, (root - 1) * 4096, bytes([10, 0, 0, 0, 0, 16, 0, 0]))
    store = opened(path)
    assert len(kept(path)) == 1
    assert len(store.snapshot().outbox) == 30
    store.close()
