"""Locks between objects, processes and forked children."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.store.locks import FileLock, holder, is_held

PROGRAM = (
    "import sys; from pathlib import Path; from mesh.store.locks import FileLock\n"
    "lock = FileLock.acquire(Path(sys.argv[1]), content=b'other')\n"
    "print('held' if lock else 'refused', flush=True); sys.stdin.read()\n"
)


def other_process(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_objects_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None
    with FileLock.acquire(path, content=b"first") as first:
        assert FileLock.acquire(path, content=b"second") is None
        assert (is_held(path), holder(path)) == (True, b"first")
        first.release()
        first.release()
        assert first.is_released
    assert (is_held(path), holder(path)) == (False, None)
    with FileLock.acquire(path, content=b"2"):
        assert holder(path) == b"2"


def test_a_lock_is_free_the_moment_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with other_process(path) as process:
        assert said(process) == "held"
        assert FileLock.acquire(path, content=b"me") is None
        assert holder(path) == b"other"
        process.kill()
        process.wait()
        with FileLock.acquire(path, content=b"me"):
            with other_process(path) as late:
                assert said(late) == "refused"
            assert holder(path) == b"me"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are a POSIX matter")
def test_a_forked_child_neither_keeps_nor_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock.acquire(path, content=b"parent")
    assert lock is not None
    ready, wait = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        lock.release()
        os.write(ready[1], b"1" if is_held(path) else b"0")
        os.read(wait[0], 1)
        os._exit(0)
    try:
        assert os.read(ready[0], 1) == b"1"
        assert is_held(path)
        lock.release()
        assert not is_held(path)
    finally:
        os.write(wait[1], b"x")
        os.waitpid(child, 0)
        for fd in (*ready, *wait):
            os.close(fd)


def test_a_probe_does_not_make_a_taker_fail(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    program = (
        "import sys; from pathlib import Path; from mesh.store.locks import is_held\n"
        "print('ready', flush=True)\n"
        "while True: is_held(Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as prober:
        assert said(prober) == "ready"
        try:
            for _ in range(300):
                lock = FileLock.acquire(path, content=b"me")
                assert lock is not None
                lock.release()
        finally:
            prober.kill()


def test_waiting_for_a_lock_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock.acquire(path, content=b"me"):
        assert FileLock.acquire_within(path, content=b"", timeout_s=0.01) is None


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="lock"):
        FileLock.acquire(tmp_path / "lock", content=b"")
    assert not (tmp_path / "elsewhere").exists()
