"""Reading a file to share, and keeping a file that arrived.

Reading goes down from the root by directory descriptors (`beneath`) and follows no link on the way,
so the file that is read is the one that was judged, whatever happens to the tree meanwhile. What
arrives is written once, under a name made from its digest and a harmless form of the name it came
with; it is never opened, unpacked or run here.
"""

import errno
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from mesh import limits
from mesh.errors import DiskFullError, MalformedError, PolicyError, StoreError, UsageError
from mesh.sharing import beneath
from mesh.sharing.beneath import O_NOFOLLOW
from mesh.sharing.confine import Fence, Place, absolute, is_among, locate

O_BINARY: Final[int] = getattr(os, "O_BINARY", 0)
_O_NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)
_O_NOCTTY: Final[int] = getattr(os, "O_NOCTTY", 0)
_READ: Final = os.O_RDONLY | O_BINARY | O_NOFOLLOW | _O_NONBLOCK | _O_NOCTTY
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_BINARY | O_NOFOLLOW
_HAS_DIR_FD: Final = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd
_CHUNK_BYTES: Final = 256 * limits.KIB
_PRIVATE_KEY: Final = re.compile(rb"\s*-----BEGIN [A-Z ]{0,40}PRIVATE KEY")
_UNSAFE: Final = re.compile(r"[^\w.+@,=-]+")
_RESERVED: Final = re.compile(
    r"(con|prn|aux|nul|conin|conout|clock|com[0-9¹²³]|lpt[0-9¹²³])(\.|\Z)", re.IGNORECASE
)
_KINDS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedContent:
    """A file as it was read; `blake2b` is BLAKE2b-256 in hexadecimal, as of `b2sum -l 256`."""

    name: str
    content: bytes
    bytes: int
    blake2b: str
    is_text: bool


def read_shared_file(
    path: str | Path, fence: Fence, *, bytes_max: int = limits.file_bytes_max
) -> SharedContent:
    """Read a file that may be shared, whole. Links are followed that stay inside the roots.

    Raises:
        PolicyError: outside the roots, or a credential file, be it through a link.
        UsageError: missing, no regular file, unreadable, or larger than `bytes_max`.
    """
    with open_shared(path, fence) as (descriptor, name):
        content = _read_whole(descriptor, str(path), bytes_max)
        check_content(content, path, fence)
    return SharedContent(
        name=name,
        content=content,
        bytes=len(content),
        blake2b=digest_of(content),
        is_text=is_text(content),
    )


@contextmanager
def open_shared(path: str | Path, fence: Fence) -> Iterator[tuple[int, str]]:
    """Open a file that may be shared; gives its descriptor and the name to show for it.

    Raises:
        PolicyError: outside the roots, or a credential file, be it through a link.
        UsageError: missing, no regular file, or unreadable.
    """
    place = locate(path, fence)
    try:
        with _opened(place, str(path)) as descriptor:
            name = os.fsencode(absolute(path, cwd=fence.cwd).name).decode("utf-8", "replace")
            yield (descriptor, name)
    except FileNotFoundError as exc:
        raise UsageError(f"{path} does not exist.") from exc
    except NotADirectoryError as exc:
        raise UsageError(f"{path} does not exist: a part of it is no directory.") from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise PolicyError(f"{path} leads through a link that changed or never ends.") from exc
        raise UsageError(f"{path} cannot be read ({exc.strerror}).") from exc


def check_content(beginning: bytes, path: str | Path, fence: Fence) -> None:
    """Check how a file begins, unless the user has named it.

    Raises:
        PolicyError: it holds a private key.
    """
    resolved = Path(os.path.realpath(absolute(path, cwd=fence.cwd)))
    if _PRIVATE_KEY.match(beginning) and not is_among(resolved, fence.allowed):
        raise PolicyError(f"{path} holds a private key; such files are never shared.")


def digest_of(content: bytes) -> str:
    """Return the BLAKE2b-256 digest by which people compare files, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=32).hexdigest()


def is_text(content: bytes) -> bool:
    """Tell whether content is UTF-8 text."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content


def safe_name(name: str) -> str:
    """Return a harmless file name that resembles `name`, which may be anything.

    One path component of letters, digits and `._+@,=-`, not hidden, not reserved on Windows, at
    most `limits.quarantine_name_bytes_max` bytes, its extension kept.
    """
    base = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    base = unicodedata.normalize("NFC", base.encode("utf-8", "replace").decode())
    base = _UNSAFE.sub("_", "".join(c for c in base if not unicodedata.category(c).startswith("C")))
    base = base.lstrip(".-_=@+,").rstrip(".")
    if _RESERVED.match(base):
        base = f"file-{base}"
    suffix = PurePosixPath(base).suffix
    if len(suffix.encode()) > 16:
        suffix = ""
    room = limits.quarantine_name_bytes_max - len(suffix.encode())
    stem = base.removesuffix(suffix).encode()[:room].decode("utf-8", "ignore").rstrip(".")
    return stem + suffix if stem else "file" + suffix


def quarantine_names(name: str, digest: str) -> Iterator[str]:
    """Yield the names under which a received file may lie, best first, a bounded number."""
    safe = f"{digest[:12]}-{safe_name(name)}"
    for version in range(limits.quarantine_versions_max):
        yield f"{version}-{safe}" if version else safe


def save_quarantined(directory: Path, *, name: str, content: bytes, digest: str) -> Path:
    """Write a received file once, durably and without rights to run it; return where it is.

    The same content under the same name is not written again. The caller holds the mailbox, so no
    other process writes there. `digest` is what the sender claims, and is checked.

    Raises:
        MalformedError: the digest is not that of the content.
        DiskFullError: no space is left; nothing was kept.
        StoreError: the disk refused.
    """
    true_digest = digest_of(content)
    if digest != true_digest:
        raise MalformedError("A shared file does not have the digest that came with it.")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.is_symlink():
            raise StoreError(f"{directory} is a link; received files are not written through it.")
        for kept_as in quarantine_names(name, true_digest):
            path = directory / kept_as
            if not exists(path):
                _write_new(path, content)
                return path.absolute()
            if _holds(path, content):
                return path.absolute()
    except OSError as exc:
        kind = DiskFullError if exc.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
        raise kind(f"A received file cannot be written ({exc.strerror}).") from exc
    raise StoreError(f"{directory} holds too many changed copies of {name}.")


@contextmanager
def _opened(place: Place, shown: str) -> Iterator[int]:
    """Open a judged file for reading, following no link below its root."""
    if not place.parts:
        raise UsageError(f"{shown} is a directory; share its files one by one.")
    descriptor = _open_below(place, shown) if _HAS_DIR_FD else _open_checked(place)
    try:
        _check_regular(os.fstat(descriptor), shown)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_below(place: Place, shown: str) -> int:
    *directories, name = place.parts
    directory = beneath.enter(place.root, directories)
    try:
        # Looked at before it is opened, as opening a device may do something.
        _check_regular(os.stat(name, dir_fd=directory, follow_symlinks=False), shown)
        return os.open(name, _READ, dir_fd=directory)
    finally:
        os.close(directory)


def _open_checked(place: Place) -> int:
    """Open where there are no directory descriptors (Windows), and check afterwards."""
    descriptor = os.open(place.path, _READ)
    if Path(os.path.realpath(place.path)) != place.path:
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return descriptor


def _check_regular(status: os.stat_result, shown: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise UsageError(f"{shown} is {kind}, not a regular file.")


def _read_whole(descriptor: int, shown: str, bytes_max: int) -> bytes:
    found = bytearray()
    while len(found) <= bytes_max:
        chunk = os.read(descriptor, min(_CHUNK_BYTES, bytes_max + 1 - len(found)))
        if not chunk:
            return bytes(found)
        found += chunk
    raise UsageError(
        f"filepath {shown} has {max(os.fstat(descriptor).st_size, len(found))} bytes; "
        f"the limit is {bytes_max} bytes."
    )


def exists(path: Path) -> bool:
    """Whether there is anything of that name, be it a link that leads nowhere."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _holds(path: Path, content: bytes) -> bool:
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(content):
            return False
        return _read_whole(descriptor, str(path), len(content)) == content
    finally:
        os.close(descriptor)


def _write_new(path: Path, content: bytes) -> None:
    """Make a file appear whole: written beside, synced, renamed, its directory synced."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)  # left by a crash
    descriptor = os.open(part, _CREATE, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Wait until the disk has the names in a directory."""
    if os.name == "posix":
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
