"""Sits between SQLite and the disk: records what it writes, and makes writes fail on demand.

The library that `sqlite3` uses gets another default file system, which passes everything on to the
one it had. So the store itself runs, with its own statements, settings and errors.
"""

import ctypes
import ctypes.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

OK: Final = 0
FULL: Final = 13
IOERR_WRITE: Final = 778
IOERR_FSYNC: Final = 1034
IOERR_TRUNCATE: Final = 1546

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int
_OFFSET = ctypes.c_int64
_OPEN = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _POINTER, _INT, _POINTER)
_DELETE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT)
_CLOSE = ctypes.CFUNCTYPE(_INT, _POINTER)
_WRITE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT, _OFFSET)
_TRUNCATE = ctypes.CFUNCTYPE(_INT, _POINTER, _OFFSET)
_SYNC = ctypes.CFUNCTYPE(_INT, _POINTER, _INT)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", _INT),
        ("file_bytes", _INT),
        ("path_bytes_max", _INT),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("data", _POINTER),
        ("open", _POINTER),
        ("delete", _POINTER),
        ("others", _POINTER * 14),
    )


class _Methods(ctypes.Structure):
    _fields_ = (
        ("version", _INT),
        ("close", _POINTER),
        ("read", _POINTER),
        ("write", _POINTER),
        ("truncate", _POINTER),
        ("sync", _POINTER),
        ("others", _POINTER * 13),
    )


class _File(ctypes.Structure):
    _fields_ = (("methods", ctypes.POINTER(_Methods)),)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing done to a file: `write` at `offset`, `truncate` to it, `sync`, or `delete`."""

    kind: str
    path: str
    offset: int = 0
    data: bytes = b""


Judge = Callable[[str], int]
"""Given the kind of an operation, says with which code of SQLite it fails; `OK` lets it happen."""


@dataclass
class Disk:
    """What passes by. `judge` decides about each write, truncation and sync."""

    judge: Judge = lambda _: OK
    operations: list[Operation] = field(default_factory=list)
    is_recording: bool = True
    _paths: dict[int, str] = field(default_factory=dict)
    _methods: dict[int, tuple[_Methods, _Methods]] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)

    def install(self, library: ctypes.CDLL) -> Callable[[], None]:
        """Become the file system of `library`; returns what undoes that."""
        library.sqlite3_vfs_find.restype = _POINTER
        library.sqlite3_vfs_find.argtypes = (ctypes.c_char_p,)
        library.sqlite3_vfs_register.argtypes = (_POINTER, _INT)
        library.sqlite3_vfs_unregister.argtypes = (_POINTER,)
        inner_at = library.sqlite3_vfs_find(None)
        inner = _Vfs.from_address(inner_at)
        own = _Vfs.from_buffer_copy(inner)
        own.name = b"recorder"
        open_file = _OPEN(lambda _, *rest: self._open(_OPEN(inner.open), inner_at, *rest))
        delete = _DELETE(lambda _, *rest: self._delete(_DELETE(inner.delete), inner_at, *rest))
        own.open = ctypes.cast(open_file, _POINTER)
        own.delete = ctypes.cast(delete, _POINTER)
        self._kept += [own, open_file, delete]
        library.sqlite3_vfs_register(ctypes.byref(own), 1)

        def undo() -> None:
            library.sqlite3_vfs_unregister(ctypes.byref(own))
            library.sqlite3_vfs_register(inner_at, 1)

        return undo

    def _open(
        self, inner: Any, vfs: int, name: int | None, file: int, flags: int, out: int | None
    ) -> int:
        code = int(inner(vfs, name, file, flags, out))
        if code == OK and name is not None:
            opened = _File.from_address(file)
            self._paths[file] = ctypes.string_at(name).decode()
            opened.methods = ctypes.pointer(self._wrapped(opened.methods))
        return code

    def _delete(self, inner: Any, vfs: int, name: int, must_sync: int) -> int:
        self._note(Operation("delete", ctypes.string_at(name).decode(), must_sync))
        return int(inner(vfs, name, must_sync))

    def _wrapped(self, methods: Any) -> _Methods:
        address = ctypes.addressof(methods.contents)
        if address in self._methods:
            return self._methods[address][0]
        inner = methods.contents
        own = _Methods.from_buffer_copy(inner)
        close = _CLOSE(lambda file: self._close(_CLOSE(inner.close), file))
        write = _WRITE(lambda *args: self._write(_WRITE(inner.write), *args))
        truncate = _TRUNCATE(lambda *args: self._truncate(_TRUNCATE(inner.truncate), *args))
        sync = _SYNC(lambda file, _: self._sync(file))
        for name, function in (
            ("close", close),
            ("write", write),
            ("truncate", truncate),
            ("sync", sync),
        ):
            setattr(own, name, ctypes.cast(function, _POINTER))
            self._kept.append(function)
        self._methods[address] = (own, inner)
        return own

    def _close(self, inner: Any, file: int) -> int:
        self._paths.pop(file, None)
        return int(inner(file))

    def _write(self, inner: Any, file: int, data: int, size: int, offset: int) -> int:
        code = self.judge("write")
        if code != OK:
            return code
        self._note(Operation("write", self._paths[file], offset, ctypes.string_at(data, size)))
        return int(inner(file, data, size, offset))

    def _truncate(self, inner: Any, file: int, size: int) -> int:
        code = self.judge("truncate")
        if code != OK:
            return code
        self._note(Operation("truncate", self._paths[file], size))
        return int(inner(file, size))

    def _sync(self, file: int) -> int:
        code = self.judge("sync")
        if code == OK:
            self._note(Operation("sync", self._paths[file]))
        return code

    def _note(self, operation: Operation) -> None:
        if self.is_recording:
            self.operations.append(operation)


def library() -> ctypes.CDLL | None:
    """Return the library that `sqlite3` uses; None if it is not one of its own."""
    import _sqlite3

    path = getattr(_sqlite3, "__file__", None)
    name = ctypes.util.find_library("sqlite3")
    if path is None or name is None:
        return None
    found = ctypes.CDLL(name)
    try:
        found.sqlite3_libversion.restype = ctypes.c_char_p
    except AttributeError:
        return None
    is_same = found.sqlite3_libversion().decode() == _sqlite3.sqlite_version
    return found if is_same else None


@contextmanager
def watched(judge: Judge = lambda _: OK) -> Iterator[Disk]:
    """Let every database opened meanwhile be written through a `Disk`."""
    found = library()
    assert found is not None
    disk = Disk(judge)
    undo = disk.install(found)
    try:
        yield disk
    finally:
        undo()
