"""Taking, listing and renaming mailboxes, with a crash between any two steps."""

import os
import stat
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mesh.core.changes import PutName, PutOutbox
from mesh.errors import NameInUseError, StoreError, UsageError
from mesh.model import Alias, MailboxKey
from mesh.store import mailboxes
from mesh.store.home import Home
from mesh.store.mailboxes import MailboxDirectory, holder_of, orphans, seeds_of
from mesh.store.sqlite import SqliteStore
from tests.store.samples import FakeClocks, entry


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home", mesh="default")


def public_key(seed: bytes) -> MailboxKey:
    return MailboxKey(seed[::-1])


def take(home: Home, name: str) -> MailboxDirectory:
    taken = MailboxDirectory.take(home, name, node="node-1")
    assert taken is not None
    return taken


def open_store(mailbox: MailboxDirectory, name: str | None = None) -> SqliteStore:
    key = mailbox.key(public_key)
    return SqliteStore.open(
        mailbox.database, key=key, name=name, mesh="default", clocks=FakeClocks()
    )


def until_ms() -> int:
    return time.time_ns() // 1_000_000 + 7_200_000


def test_a_mailbox_is_made_privately_and_keeps_its_key(home: Home) -> None:
    with take(home, "Alice") as first:
        seed = first.seed
        assert first.path == home.mail / "alice"
        assert stat.S_IMODE((first.path / "key").stat().st_mode) == 0o600
        assert stat.S_IMODE(first.path.stat().st_mode) == 0o700
        assert first.files.is_dir()
    with take(home, "ALICE") as again:
        assert again.seed == seed
        assert len(seed) == 32


def test_the_keys_of_a_host_are_those_of_all_its_mailboxes(home: Home) -> None:
    with take(home, "alice") as alice, take(home, "bob") as bob:
        assert sorted(seeds_of(home)) == sorted((alice.seed, bob.seed))
        (bob.path / "key").write_bytes(b"short")
    assert seeds_of(home) == [alice.seed]
    (home.mail / "bob" / "key").unlink()
    (home.mail / "bob" / "key").symlink_to(home.mail / "alice" / "key")
    assert seeds_of(home) == [alice.seed]


def test_a_held_mailbox_is_not_given_out_and_names_its_holder(home: Home) -> None:
    assert holder_of(home, "alice") is None
    with take(home, "alice"):
        assert MailboxDirectory.take(home, "Alice", node="node-2") is None
        assert holder_of(home, "ALICE") == "node-1"
    assert holder_of(home, "alice") is None


def test_bad_names_are_refused(home: Home) -> None:
    for name in ("../x", "system", "", ".lock", "a/b"):
        with pytest.raises(UsageError):
            MailboxDirectory.take(home, name, node="node-1")


def test_orphans_are_listed_the_most_recently_used_first(home: Home) -> None:
    for age, name in enumerate(("carol", "bob", "alice")):
        with take(home, name) as mailbox:
            lock = mailbox.path / "lock"
        os.utime(lock, (1e9 - age, 1e9 - age))
    with take(home, "dave"):
        assert orphans(home) == ["carol", "bob", "alice"]
    (home.mail / "empty").mkdir()
    assert orphans(home)[0] == "dave"


def test_a_key_lost_beside_its_database_is_not_replaced(home: Home) -> None:
    with take(home, "alice") as mailbox:
        open_store(mailbox, "alice").close()
    (mailbox.path / "key").unlink()
    with pytest.raises(StoreError, match="missing"):
        take(home, "alice")
    (mailbox.path / "key").write_bytes(b"short")
    with pytest.raises(StoreError, match="32 bytes"):
        take(home, "alice")
    assert holder_of(home, "alice") is None


def test_a_rename_moves_everything_and_reserves_the_old_name(home: Home) -> None:
    with take(home, "alice") as mailbox:
        store = open_store(mailbox, "alice")
        store.commit([PutOutbox((entry(1),), b"hello")])
        mailbox.begin_rename("Bob", until_ms=until_ms())
        assert MailboxDirectory.take(home, "bob", node="node-2") is None
        store.commit([PutName("Bob", Alias("alice", 0.0, 7200.0))])
        store.close()
        mailbox.finish_rename()
        assert mailbox.path == home.mail / "bob"
        assert holder_of(home, "bob") == "node-1"
        store = open_store(mailbox)
        assert store.name == "Bob"
        assert len(store.letters([1])) == 1
        store.close()
        with pytest.raises(NameInUseError, match="Bob"):
            take(home, "alice")
    assert orphans(home) == ["bob"]


def test_a_reservation_ends_and_its_owner_may_come_back_before(home: Home) -> None:
    with take(home, "alice") as mailbox:
        open_store(mailbox, "alice").close()
        until = until_ms()
        mailbox.begin_rename("bob", until_ms=until)
        mailbox.finish_rename()
        late = MailboxDirectory.take(home, "alice", node="node-2", now_ms=lambda: until)
        assert late is not None
        late.release()
        for name in ("key", "lock"):
            (late.path / name).unlink()
        late.files.rmdir()
        late.path.rmdir()
        mailbox.begin_rename("carol", until_ms=until)
        mailbox.finish_rename()
        with pytest.raises(NameInUseError):
            take(home, "bob")
        mailbox.begin_rename("Bob", until_ms=until)
        mailbox.finish_rename()
        assert mailbox.path == home.mail / "bob"
        with pytest.raises(NameInUseError):
            take(home, "carol")


def test_a_name_of_another_mailbox_cannot_be_taken_over(home: Home) -> None:
    with take(home, "alice") as alice:
        take(home, "bob").release()
        with pytest.raises(NameInUseError, match="another mailbox"):
            alice.begin_rename("bob", until_ms=until_ms())
        with take(home, "carol") as carol:
            carol.begin_rename("dave", until_ms=until_ms())
            with pytest.raises(NameInUseError):
                alice.begin_rename("dave", until_ms=until_ms())
            carol.cancel_rename()
        alice.begin_rename("dave", until_ms=until_ms())
        alice.cancel_rename()
        assert not (home.mail / "dave").exists()
        alice.begin_rename("ALICE", until_ms=until_ms())
        alice.finish_rename()
        assert alice.path == home.mail / "alice"
    take(home, "alice").release()


def test_a_rename_that_was_not_committed_is_undone(home: Home) -> None:
    with take(home, "alice") as mailbox:
        open_store(mailbox, "alice").close()
        mailbox.begin_rename("bob", until_ms=until_ms())
    assert orphans(home) == ["alice"]
    with take(home, "alice"), take(home, "bob"):
        pass


@pytest.mark.parametrize("step", range(9))
def test_a_committed_rename_is_finished_whenever_its_process_died(
    home: Home, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 0 dies right after the commit, the others at the n-th change of the directories."""
    mailbox = take(home, "alice")
    seed = mailbox.seed
    store = open_store(mailbox, "alice")
    mailbox.begin_rename("bob", until_ms=until_ms())
    store.commit([PutName("bob", Alias("alice", 0.0, 7200.0))])
    store.close()
    if step:
        left = iter(range(step - 1))

        def crash_in_turn(*_: object) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            for owner, name in (
                (Path, "unlink"),
                (Path, "rmdir"),
                (Path, "rename"),
                (mailboxes, "make_private_directory"),
                (mailboxes, "write_private"),
            ):
                original = getattr(owner, name)

                def wrapped(*args, original=original, **kwargs):
                    crash_in_turn()
                    return original(*args, **kwargs)

                patch.setattr(owner, name, wrapped)
            with suppress(KeyboardInterrupt):
                mailbox.finish_rename()
    mailbox.release()
    assert orphans(home) == ["bob"]
    with pytest.raises(NameInUseError, match="bob"):
        take(home, "alice")
    with take(home, "bob") as again:
        assert again.seed == seed
        store = open_store(again)
        assert store.name == "bob"
        store.close()
    assert not list(home.mail.glob("*/renaming.json"))
