"""Files that have come whole: where they lie, who sent them, and whether they are still the same.

files/.received.json    which author sent which file here, and when it was put
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.errors import StoreError
from mesh.sharing.beneath import O_NOFOLLOW
from mesh.sharing.copying import write_all
from mesh.sharing.files import O_BINARY, exists, quarantine_names, sync_directory
from mesh.wire.digests import FileHash

_INDEX: Final = ".received.json"
_INDEX_BYTES_MAX: Final = 4 * limits.MIB
_UPDATE: Final = os.O_RDWR | os.O_CREAT | O_BINARY | O_NOFOLLOW
_READ: Final = os.O_RDONLY | O_BINARY | O_NOFOLLOW
_HASH_BYTES: Final = limits.MIB


@dataclass(frozen=True, slots=True)
class Coming:
    """A file that is expected: hexadecimal author key and digest, size, name as given."""

    author: str
    digest: str
    bytes: int
    name: str

    @property
    def label(self) -> str:
        """What tells its files on disk from others."""
        return f"{self.digest[:12]}-{self.author[:8]}"


@dataclass(frozen=True, slots=True)
class Received:
    """One entry of the index; `kept_as` is the file's name in the directory."""

    kept_as: str
    author: str
    digest: str
    bytes: int
    mtime_ns: int


def put_into_place(directory: Path, path: Path, coming: Coming, *, mtime_ns: int) -> None:
    """Give a verified, durable file of this directory its name in quarantine, durably.

    It is noted in the index first: after a crash in between it is found by its old name, or in
    place.

    Raises:
        OSError, StoreError: it cannot be; it keeps its name.
    """
    for kept_as in quarantine_names(coming.name, coming.digest):
        target = directory / kept_as
        is_same = _is_same(target, coming)
        if not is_same and exists(target):
            continue
        stamp = target.stat().st_mtime_ns if is_same else mtime_ns
        entry = Received(kept_as, coming.author, coming.digest, coming.bytes, stamp)
        _remember(directory, entry)
        if is_same:
            path.unlink()
        else:
            path.rename(target)
        sync_directory(directory)
        return
    raise StoreError(f"{directory} holds too many changed copies of {coming.name}.")


def find_received(directory: Path, *, author: str, digest: str) -> Path | None:
    """Return where a file of this author lies, if it is still as it was put there."""
    for entry in reversed(read_index(directory)):
        if (entry.author, entry.digest) == (author, digest) and is_there(directory, entry):
            return (directory / entry.kept_as).absolute()
    return None


def read_small(path: Path, bytes_max: int) -> object:
    """Return the JSON value of a small file; None if it is missing or damaged."""
    try:
        descriptor = os.open(path, _READ)
        with os.fdopen(descriptor, "rb") as file:
            value: object = json.loads(file.read(bytes_max))
    except (OSError, ValueError, RecursionError):
        return None
    return value


def read_index(directory: Path) -> list[Received]:
    """Return what the index says, the oldest first."""
    value = read_small(directory / _INDEX, _INDEX_BYTES_MAX)
    found: list[Received] = []
    for entry in value if isinstance(value, list) else []:
        match entry:
            case [str(kept_as), str(author), str(digest), int(size), int(stamp)]:
                found.append(Received(kept_as, author, digest, size, stamp))
    return found


def _remember(directory: Path, entry: Received) -> None:
    kept = [e for e in read_index(directory) if e.kept_as != entry.kept_as or e != entry]
    recent = [*kept, entry][-limits.files_remembered_max :]
    rows = [[e.kept_as, e.author, e.digest, e.bytes, e.mtime_ns] for e in recent]
    draft = directory / f"{_INDEX}.draft"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, _UPDATE, 0o600)
    try:
        write_all(descriptor, json.dumps(rows).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(directory / _INDEX)


def is_there(directory: Path, entry: Received) -> bool:
    """Whether a file is still as it was put there."""
    if "/" in entry.kept_as or os.sep in entry.kept_as:
        return False
    try:
        status = (directory / entry.kept_as).lstat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (entry.bytes, entry.mtime_ns)


def _is_same(path: Path, coming: Coming) -> bool:
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_size != coming.bytes:
            return False
        found = FileHash()
        for chunk in chunks(descriptor):
            found.update(chunk)
        return found.digest().hex() == coming.digest
    finally:
        os.close(descriptor)


def chunks(descriptor: int) -> Iterator[bytes]:
    """Yield a file from its beginning."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    while chunk := os.read(descriptor, _HASH_BYTES):
        yield chunk
