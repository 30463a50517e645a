"""Mailboxes as directories of a home: taken by lock, each with its key, listed, renamed.

    mail/<folded name>/key            the Ed25519 seed, made at first use
    mail/<folded name>/mailbox.db     everything else; its stored name is the truth
    mail/<folded name>/lock           held by the node that holds the mailbox, and names it
    mail/<folded name>/files/         what was received
    mail/<old name>/renamed.json      the old name is reserved until its forwarding ends
    mail/<old name>/renaming.json     a rename has begun; mended by whoever looks next

Taking and renaming touch several names, so each holds the lock of the whole mail directory for
moments. The caller renames in three steps: `begin_rename`, commit of the new name to the database,
then `finish_rename` with the database closed. After a crash in between, the name in the database
decides whether the directory follows it or stays.
"""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from mesh import limits
from mesh.errors import MeshError, NameInUseError, StoreError, UsageError
from mesh.model import MailboxKey, check_name, fold
from mesh.store.connection import connect
from mesh.store.files import (
    make_private_directory,
    read_private,
    sync_directory,
    write_private,
)
from mesh.store.home import Home
from mesh.store.locks import FileLock, holder, is_held

seed_bytes: Final = 32
names_timeout_s: Final = 30.0
database_name: Final = "mailbox.db"
_KEY: Final = "key"
_LOCK: Final = "lock"
_RENAMED: Final = "renamed.json"
_RENAMING: Final = "renaming.json"

PublicKey = Callable[[bytes], MailboxKey]
"""Derives a mailbox's key from its seed."""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class _Move:
    """Where a name went, and until when the old one (folded) stays reserved."""

    old: str
    to: str
    until_ms: int

    def encode(self) -> bytes:
        return json.dumps({"old": self.old, "to": self.to, "until_ms": self.until_ms}).encode()


class MailboxDirectory:
    """A mailbox this process holds, until `release`."""

    def __init__(self, home: Home, path: Path, lock: FileLock, *, seed: bytes, node: str) -> None:
        self.home = home
        self.path = path
        self.lock = lock
        self.seed = seed
        self._node = node
        self._claimed: FileLock | None = None

    @classmethod
    def take(
        cls, home: Home, name: str, *, node: str, now_ms: Callable[[], int] = _wall_ms
    ) -> "MailboxDirectory | None":
        """Take the mailbox of that name, made at first use; None if another process holds it.

        `node` is what others learn from `holder_of`.

        Raises:
            NameInUseError: the name is reserved while it forwards to another one.
            StoreError: the disk refused.
        """
        folded = fold(check_name(name))
        path = home.mail / folded
        with _names_lock(home):
            _mend(home, now_ms())
            move = _reservation(path, now_ms())
            if move is not None:
                raise NameInUseError(
                    f"The name {name} was renamed to {move.to} and forwards until its time is over."
                )
            make_private_directory(path)
            lock = FileLock.acquire(path / _LOCK, content=node.encode())
        if lock is None:
            return None
        try:  # Others need not wait for our disk: the name is taken.
            seed = _seed(path)
            make_private_directory(path / "files")
            sync_directory(path)
            sync_directory(home.mail)
        except BaseException:
            lock.release()
            raise
        return cls(home, path, lock, seed=seed, node=node)

    @property
    def database(self) -> Path:
        """Where the mailbox's database is; another place after a rename."""
        return self.path / database_name

    @property
    def files(self) -> Path:
        """Where received files are."""
        return self.path / "files"

    @property
    def folded(self) -> str:
        """The folded name under which the mailbox lies."""
        return self.path.name

    def key(self, public_key: PublicKey) -> MailboxKey:
        """Return the mailbox's key."""
        return public_key(self.seed)

    def begin_rename(
        self, new: str, *, until_ms: int, now_ms: Callable[[], int] = _wall_ms
    ) -> None:
        """Claim the new name on this host; the caller then commits it, or calls `cancel_rename`.

        Raises:
            NameInUseError: the new name has a mailbox, or forwards to somebody else.
        """
        assert self._claimed is None, "one rename at a time"
        target = self.home.mail / fold(check_name(new))
        with _names_lock(self.home):
            _mend(self.home, now_ms())
            if target != self.path:
                self._claimed = self._claim(target, new, now_ms())
            move = _Move(self.folded, new, until_ms)
            write_private(self.path / _RENAMING, move.encode())

    def cancel_rename(self) -> None:
        """Give the claimed name back: the new name was not committed."""
        with _names_lock(self.home):
            (self.path / _RENAMING).unlink(missing_ok=True)
            self._drop_claim()

    def finish_rename(self) -> None:
        """Move the directory to the committed name; the database must be closed meanwhile."""
        with _names_lock(self.home):
            move = _read_move(self.path / _RENAMING)
            assert move is not None, "begin_rename comes first"
            self._drop_claim()
            if sys.platform == "win32":  # where no open file may lie in a directory that moves
                self.lock.release()
            self.path = _move_directory(self.home, self.path, move)
            self.lock.path = self.path / _LOCK
            if sys.platform == "win32":
                lock = FileLock.acquire(self.lock.path, content=self._node.encode())
                assert lock is not None, "nobody can take it while we hold the lock of all names"
                self.lock = lock

    def release(self) -> None:
        """Let go of the mailbox; idempotent."""
        if self._claimed is not None:
            self._claimed.release()
            self._claimed = None
        self.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _claim(self, target: Path, new: str, now_ms: int) -> FileLock:
        move = _reservation(target, now_ms)
        if move is not None and fold(move.to) != self.folded:
            raise NameInUseError(f"The name {new} forwards to {move.to} for now.")
        if (target / _KEY).exists():
            raise NameInUseError(f"The name {new} belongs to another mailbox of this host.")
        make_private_directory(target)
        claimed = FileLock.acquire(target / _LOCK, content=self._node.encode())
        if claimed is None:
            raise NameInUseError(f"The name {new} is being taken by another process.")
        return claimed

    def _drop_claim(self) -> None:
        """Remove the placeholder of the new name, under the lock of all names."""
        if self._claimed is None:
            return
        place = self._claimed.path
        self._claimed.release()
        self._claimed = None
        place.unlink(missing_ok=True)
        if not any(place.parent.iterdir()):
            place.parent.rmdir()


def orphans(home: Home) -> list[str]:
    """Return the folded names of mailboxes nobody holds, the most recently used first."""
    if _has_renames(home):  # Else fifty nodes that start at once would queue for nothing.
        with _names_lock(home):
            _mend(home, _wall_ms())
    found: list[tuple[float, str]] = []
    for path in home.mail.iterdir():
        if (path / _KEY).exists() and not is_held(path / _LOCK):
            lock = path / _LOCK
            used = lock.stat().st_mtime if lock.exists() else 0.0
            found.append((used, path.name))
    return [name for _, name in sorted(found, reverse=True)]


def holder_of(home: Home, name: str) -> str | None:
    """Return the node that holds the mailbox of that name, None if nobody does."""
    content = holder(home.mail / fold(name) / _LOCK)
    return None if content is None else content.decode("utf-8", "replace")


def seeds_of(home: Home) -> list[bytes]:
    """Return the seeds of all mailboxes, whoever holds them, but of those that cannot be read."""
    found: list[bytes] = []
    for file in home.mail.glob(f"*/{_KEY}"):
        try:
            seed = read_private(file, bytes_max=seed_bytes + 1)
        except (OSError, MeshError):
            continue
        if seed is not None and len(seed) == seed_bytes:
            found.append(seed)
    return found


@contextmanager
def _names_lock(home: Home) -> Iterator[None]:
    make_private_directory(home.mail)
    lock = FileLock.acquire_within(
        home.mail / ".lock", content=str(os.getpid()).encode(), timeout_s=names_timeout_s
    )
    if lock is None:
        raise StoreError(f"{home.mail / '.lock'} is held by another process for too long.")
    with lock:
        yield


def _seed(path: Path) -> bytes:
    """Read the key of a mailbox whose lock we hold, or make it."""
    file = path / _KEY
    seed = read_private(file, bytes_max=seed_bytes + 1)
    if seed is None:
        if (path / database_name).exists():
            raise StoreError(f"{file} is missing beside its database; put it back from a backup.")
        write_private(file, os.urandom(seed_bytes))
        seed = read_private(file, bytes_max=seed_bytes + 1)
    if seed is None or len(seed) != seed_bytes:
        raise StoreError(f"{file} is not a mailbox key of {seed_bytes} bytes.")
    return seed


def _reservation(path: Path, now_ms: int) -> _Move | None:
    """Return where a name forwards to; one that has ended is removed."""
    file = path / _RENAMED
    move = _read_move(file)
    # Longer than any forwarding lasts means that the clock was set back since.
    if move is not None and 0 < move.until_ms - now_ms <= 2 * limits.alias_s * 1000:
        return move
    file.unlink(missing_ok=True)
    return None


def _read_move(file: Path) -> _Move | None:
    content = read_private(file, bytes_max=4096)
    if content is None:
        return None
    try:
        found = json.loads(content)
        return _Move(
            fold(check_name(found["old"])), check_name(found["to"]), int(found["until_ms"])
        )
    except (ValueError, KeyError, TypeError, UsageError):
        return None


def _has_renames(home: Home) -> bool:
    return any(any(home.mail.glob(f"*/{name}")) for name in (_RENAMING, _RENAMED))


def _mend(home: Home, now_ms: int) -> None:
    """Finish or undo renames whose process died; the caller holds the lock of all names."""
    for intent in home.mail.glob(f"*/{_RENAMING}"):
        path = intent.parent
        lock = FileLock.acquire(path / _LOCK, content=b"mending")
        if lock is None:
            continue  # its process is at it
        with lock:
            move = _read_move(intent)
            is_committed = move is not None and _stored_name(path / database_name) == fold(move.to)
            if move is not None and is_committed and not _is_taken(home.mail / fold(move.to), path):
                _move_directory(home, path, move)
            else:
                intent.unlink()
    for reserved in home.mail.glob(f"*/{_RENAMED}"):
        _reservation(reserved.parent, now_ms)


def _is_taken(target: Path, path: Path) -> bool:
    return target != path and ((target / _KEY).exists() or is_held(target / _LOCK))


def _move_directory(home: Home, path: Path, move: _Move) -> Path:
    """Move a mailbox to its new name and reserve the old one; each step may be the last.

    The reservation is only written after the move: until then `renaming.json` travels along and
    says what is left to do.
    """
    target = home.mail / fold(move.to)
    if target != path:
        _clear_placeholder(target)
        path.rename(target)
        sync_directory(home.mail)
    old = home.mail / move.old
    if target != old:
        make_private_directory(old)
        write_private(old / _RENAMED, move.encode())
        sync_directory(home.mail)
    (target / _RENAMING).unlink(missing_ok=True)
    sync_directory(target)
    return target


def _clear_placeholder(target: Path) -> None:
    """Remove what a claim or a reservation left under the new name."""
    for name in (_LOCK, _RENAMED):
        (target / name).unlink(missing_ok=True)
    if target.exists():
        target.rmdir()


def _stored_name(database: Path) -> str | None:
    """Return the folded name in a database whose mailbox lock we hold."""
    if not database.exists():
        return None
    db = connect(database)
    try:
        found = db.execute("SELECT value FROM meta WHERE name = 'name'").fetchone()
    except sqlite3.Error:
        return None
    finally:
        db.close()
    return None if found is None else fold(str(found[0]))
