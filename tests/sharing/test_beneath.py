"""Going down from a root: by one call of the kernel or name by name, with the same refusals."""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mesh.sharing import beneath

pytestmark = pytest.mark.skipif(os.name != "posix", reason="directory descriptors")
Way = Callable[[Path, Sequence[str]], int]
WAYS = [pytest.param(beneath.enter, id="enter"), pytest.param(beneath.walk, id="walk")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    (directory / "a" / "b").mkdir(parents=True)
    (directory / "file").touch()
    (directory / "to-a").symlink_to(directory / "a")
    (directory / "a" / "out").symlink_to(tmp_path)
    (directory / "loop").symlink_to("loop")
    return directory


def entered(way: Way, root: Path, *parts: str) -> Path:
    descriptor = way(root, parts)
    try:
        status = os.fstat(descriptor)
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)
    return next(p for p in (root, *root.rglob("*")) if os.path.samestat(p.lstat(), status))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd").iterdir()))


@pytest.mark.parametrize("way", WAYS)
def test_directories_below_are_entered(way, root):
    assert entered(way, root) == root
    assert entered(way, root, "a") == root / "a"
    assert entered(way, root, "a", "b") == root / "a" / "b"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "parts",
    [
        *(("to-a",), ("to-a", "b"), ("a", "out"), ("a", "out", "root"), ("loop",), ("file",)),
        *(("file", "x"), ("missing",), ("a", "missing", "x"), ("a" * 300,)),
    ],
)
def test_links_and_what_is_no_directory_are_refused_alike_and_nothing_stays_open(way, root, parts):
    before = descriptors()
    with pytest.raises(OSError) as one:
        way(root, parts)
    with pytest.raises(OSError) as other:
        beneath.walk(root, parts)
    alike = {errno.ELOOP, errno.ENOTDIR}
    assert one.value.errno == other.value.errno or {one.value.errno, other.value.errno} <= alike
    assert descriptors() == before


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_kernel_without_the_call_is_walked(root, monkeypatch, code):
    asked: list[int] = []

    class Kernel:
        def syscall(self, number: ctypes.c_long, *_: object) -> int:
            asked.append(number.value)
            ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(beneath, "_libc", Kernel())
    assert entered(beneath.enter, root, "a", "b") == root / "a" / "b"
    with pytest.raises(NotADirectoryError):
        beneath.enter(root, ("a", "out"))
    assert asked == [437, 437]


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_rename_on_the_way_is_tried_again_but_not_for_ever(root, monkeypatch):
    asked: list[int] = []

    class Kernel:
        def syscall(self, number: ctypes.c_long, *_: object) -> int:
            asked.append(number.value)
            ctypes.set_errno(errno.EAGAIN)
            return -1

    monkeypatch.setattr(beneath, "_libc", Kernel())
    with pytest.raises(BlockingIOError):
        beneath.enter(root, ("a", "b"))
    assert len(asked) == 16


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_this_kernel_has_the_call_or_says_so(root):
    """Should a sandbox forbid it, the other tests still hold; here it is seen to be used."""
    directory = os.open(root, os.O_RDONLY)
    try:
        inner = beneath._open_beneath(directory, ("a",))
    except OSError as exc:
        if exc.errno in beneath._MISSING:
            pytest.skip(f"openat2: {exc.strerror}")
        raise
    finally:
        os.close(directory)
    os.close(inner)
