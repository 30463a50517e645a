"""Makes private files and directories: never through a link, never readable by others, synced."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

if sys.platform == "darwin":
    import fcntl

_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
private_file_mode: Final = 0o600
private_directory_mode: Final = 0o700


def create_private(path: Path, content: bytes = b"") -> None:
    """Create a file that only its owner can read, and sync its content.

    Raises:
        FileExistsError: something is there already, be it a dangling link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY
    fd = os.open(path, flags, private_file_mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        sync_file(file.fileno())


def write_private(path: Path, content: bytes) -> None:
    """Replace a private file as a whole: after a crash it has the old content or the new one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    create_private(draft, content)
    draft.replace(path)
    sync_directory(path.parent)


def read_private(path: Path, *, bytes_max: int) -> bytes | None:
    """Return the beginning of a file, None if there is none. Links are not followed."""
    try:
        fd = os.open(path, os.O_RDONLY | _NO_FOLLOW | _BINARY)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(bytes_max)


def make_private_directory(path: Path) -> None:
    """Make a directory that only its owner can enter; one that exists is left as it is."""
    path.mkdir(mode=private_directory_mode, exist_ok=True)


def sync_file(fd: int) -> None:
    """Wait until the disk itself has the file (on macOS `fsync` alone does not)."""
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        except OSError:  # not every file system knows it
            os.fsync(fd)
    else:
        os.fsync(fd)


def sync_directory(path: Path) -> None:
    """Wait until the disk has the names in a directory; a no-op where that cannot be asked for."""
    if sys.platform == "win32":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def copy_private(source: Path, target: Path) -> None:
    """Copy a file into a new private one and sync it."""
    create_private(target)
    with source.open("rb") as reader, target.open("r+b") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        sync_file(writer.fileno())
