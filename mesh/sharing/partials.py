"""Files on their way in: written piece by piece, resumed after a crash, shown only when whole.

    files/.partial-<digest>-<author>         the beginning of a file, 0600
    files/.partial-<digest>-<author>.json    how much of it the disk certainly has

The journal is written after the pieces it speaks of are synced, so whatever it says is true after
any crash; its own loss costs no more than the pieces of one interval. Syncing goes on beside the
writing of further pieces. A whole file is verified and then put into place (`received`).
"""

import contextlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.errors import StoreError
from mesh.sharing.beneath import O_NOFOLLOW
from mesh.sharing.copying import SyncBehind, copy_hashed, sync_data, write_all
from mesh.sharing.files import O_BINARY
from mesh.sharing.received import Coming, chunks, is_there, put_into_place, read_index, read_small
from mesh.sharing.spool import storage_error
from mesh.wire.digests import FileHash

_PREFIX: Final = ".partial-"
_JOURNAL_BYTES_MAX: Final = 4 * limits.KIB
_UPDATE: Final = os.O_RDWR | os.O_CREAT | O_BINARY | O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Usage:
    """What lies in a mailbox's files: of one author, and promised to partial files of all."""

    author_bytes: int
    author_partials: int
    promised_bytes: int


@dataclass(frozen=True, slots=True)
class _Journal:
    author: str
    digest: str
    bytes: int
    kept: int


class Partial:
    """One partial file, open for writing. Its beginning is hashed again when it is resumed."""

    def __init__(
        self,
        directory: Path,
        coming: Coming,
        syncing: Executor,
        has_stopped: Callable[[], bool],
    ) -> None:
        self.coming = coming
        self._directory = directory
        self._path = directory / _label(coming)
        self._kept = kept_bytes(directory, coming)
        self._descriptor = os.open(self._path, _UPDATE, 0o600)
        try:
            os.ftruncate(self._descriptor, self._kept)
            self._hash = FileHash()
            for chunk in chunks(self._descriptor):
                self._hash.update(chunk)
                if has_stopped():
                    raise StoreError(f"{coming.name} is not received: its recipient is ending.")
        except BaseException:
            os.close(self._descriptor)
            raise
        self.received = self._kept
        self._behind = SyncBehind(
            syncing, self._descriptor, every=limits.partial_sync_bytes, durable=self._kept
        )
        self._note()

    def write(self, offset: int, data: bytes) -> bool:
        """Append a piece; false if it is not the next one."""
        if offset != self.received or offset + len(data) > self.coming.bytes:
            return False
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        write_all(self._descriptor, data)
        self._hash.update(data)
        self.received += len(data)
        self._wrote()
        return True

    def copy(self, source: int, *, offset: int, length: int) -> bool:
        """Append a piece of another file; false if it is not the next one, or not all there."""
        if offset != self.received or offset + length > self.coming.bytes:
            return False
        os.lseek(source, offset, os.SEEK_SET)
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        self.received += copy_hashed(source, self._descriptor, self._hash, length=length)
        self._wrote()
        return self.received == offset + length

    def sync(self) -> None:
        """Make everything written so far durable, and note it."""
        self._behind.settle()
        if self.received > self._kept:
            sync_data(self._descriptor)
            self._kept = self.received
            self._note()

    def finish(self) -> bool:
        """Verify a complete file and put it into place durably; false if it is another file."""
        is_whole = self.received == self.coming.bytes
        if not is_whole or self._hash.digest().hex() != self.coming.digest:
            self.discard()
            return False
        self._behind.settle()
        os.fsync(self._descriptor)
        self._kept = self.received
        self._note()
        mtime_ns = os.fstat(self._descriptor).st_mtime_ns
        self._shut()
        put_into_place(self._directory, self._path, self.coming, mtime_ns=mtime_ns)
        _remove(self._path)
        return True

    def discard(self) -> None:
        """Close and remove it."""
        self._shut()
        _remove(self._path)

    def close(self) -> None:
        """Keep it for another try."""
        try:
            self.sync()
        finally:
            self._shut()

    def cut(self) -> None:
        """Keep for another try only what the disk certainly has; no room is asked for."""
        with contextlib.suppress(OSError):
            self._behind.settle()
            self._kept = self._behind.durable
        try:
            os.ftruncate(self._descriptor, self._kept)
            self._note()
        finally:
            self._shut()

    def _wrote(self) -> None:
        """Note what has become durable meanwhile."""
        self._behind.wrote(self.received)
        if self._behind.durable > self._kept:
            self._kept = self._behind.durable
            self._note()

    def _shut(self) -> None:
        self._behind.abandon()
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _note(self) -> None:
        coming = self.coming
        journal = _Journal(coming.author, coming.digest, coming.bytes, self._kept)
        text = json.dumps(asdict(journal)).ljust(512) + "\n"
        descriptor = os.open(_journal_path(self._path), _UPDATE, 0o600)
        try:
            write_all(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _label(coming: Coming) -> str:
    """Return what the files of a partial file are called by."""
    return f"{_PREFIX}{coming.label}"


def kept_bytes(directory: Path, coming: Coming) -> int:
    """Return how much of a file the disk certainly has."""
    path = directory / _label(coming)
    journal = _read_journal(_journal_path(path))
    if journal is None or (journal.digest, journal.author) != (coming.digest, coming.author):
        return 0
    try:
        return min(journal.kept, path.lstat().st_size, coming.bytes)
    except FileNotFoundError:
        return 0


def discard_partial(directory: Path, coming: Coming) -> None:
    """Remove what there is of a file."""
    _remove(directory / _label(coming))


def usage(directory: Path, coming: Coming) -> Usage:
    """Count what there is besides `coming`."""
    author_bytes = sum(
        entry.bytes
        for entry in read_index(directory)
        if entry.author == coming.author and is_there(directory, entry)
    )
    partials = promised = 0
    for path in directory.glob(f"{_PREFIX}*.json"):
        journal = _read_journal(path)
        if journal is None or path.name == f"{_label(coming)}.json":
            continue
        promised += max(0, journal.bytes - journal.kept)
        if journal.author == coming.author:
            partials += 1
            author_bytes += journal.bytes
    return Usage(author_bytes, partials, promised)


def sweep(directory: Path) -> None:
    """Remove partial files that nobody has added to for a week."""
    horizon = time.time() - limits.partial_s_max
    for path in directory.glob(f"{_PREFIX}*"):
        is_journal = path.suffix == ".json"
        with contextlib.suppress(FileNotFoundError):
            is_alone = is_journal and not path.with_suffix("").exists()
            if is_alone or path.lstat().st_mtime < horizon:
                path.unlink()


def _journal_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _journal_path(path).unlink(missing_ok=True)


def _read_journal(path: Path) -> _Journal | None:
    match read_small(path, _JOURNAL_BYTES_MAX):
        case {"author": str(author), "digest": str(digest), "bytes": int(size), "kept": int(kept)}:
            return _Journal(author, digest, size, kept)
    return None


def open_partial(
    directory: Path,
    coming: Coming,
    syncing: Executor,
    has_stopped: Callable[[], bool] = lambda: False,
) -> Partial:
    """Open the partial file of `coming`, with what there is of it; `syncing` waits for the disk.

    Once `has_stopped`, there is no time left to read what is there.

    Raises:
        DiskFullError, StoreError: the disk refuses.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.is_symlink():
            raise StoreError(f"{directory} is a link; received files are not written through it.")
        return Partial(directory, coming, syncing, has_stopped)
    except OSError as exc:
        raise storage_error(exc) from exc
