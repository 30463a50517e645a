"""Runs one command and ends all it has started, as a program of its own (Linux).

    python -I -S reaper.py DESCRIPTOR GRACE_S PIPE_S PROGRAM ARGUMENT…

As a subreaper it becomes the parent of whatever its command leaves behind, in a session of its own
and with a changed environment, too; so nothing that the command started is out of its reach. When
the command ends, what is left gets PIPE_S seconds to end by itself. At SIGTERM the command is asked
to end and has GRACE_S seconds; at a second one it ends at once. How it ended is written to the
descriptor: its return code (negative for a signal), or why it could not be run.

This is a program because the process of the mesh may be anybody's, and being a subreaper would
change what happens to children that are not ours.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

_SET_PARENT_DEATH_SIGNAL: Final = 1
_SET_CHILD_SUBREAPER: Final = 36
_SWEEP_S: Final = 2.0
_AWAITED: Final = (signal.SIGCHLD, signal.SIGTERM)


def main(report: int, grace_s: float, pipe_s: float, command: list[str]) -> None:
    """Run the command until it and all it has started has ended."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.set_inheritable(report, False)  # noqa: FBT003 - it takes no keywords
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    child = os.fork()
    if not child:
        libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        _become(command, report, before)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(1, 2)
    status = _attend(child, grace_s)
    _say(report, f"ended {os.waitstatus_to_exitcode(status)}")
    _linger(time.monotonic() + pipe_s)
    _kill_group(child, signal.SIGKILL)
    _sweep()


def _become(command: list[str], report: int, mask: set[int | signal.Signals]) -> NoReturn:
    try:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python has set to be ignored
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execv(command[0], command)  # noqa: S606 - no shell is what is wanted
    except OSError as exc:
        _say(report, f"failed {exc.strerror}")
    os._exit(127)


def _attend(child: int, grace_s: float) -> int:
    """Wait for the command, reaping others meanwhile; return its status."""
    asked = 0
    kill_at: float | None = None
    while True:
        status = _reap(child)
        if status is not None:
            return status
        left_s = 3600.0 if kill_at is None else max(0.0, kill_at - time.monotonic())
        heard = signal.sigtimedwait(_AWAITED, left_s)
        if heard is not None and heard.si_signo == signal.SIGTERM:
            asked += 1
            if asked == 1:
                kill_at = time.monotonic() + grace_s
                _kill_group(child, signal.SIGTERM)
        if asked > 1 or (kill_at is not None and time.monotonic() >= kill_at):
            _kill_group(child, signal.SIGKILL)
            kill_at = None


def _reap(child: int) -> int | None:
    """Reap whatever has ended; return the command's status if it has."""
    found: int | None = None
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not process:
            return found
        if process == child:
            found = status


def _linger(until: float) -> None:
    """Wait until all that is left has ended, or the time is up, or we are to end."""
    while _reap(0) is None and _descendants():
        left_s = until - time.monotonic()
        if left_s <= 0:
            return
        heard = signal.sigtimedwait(_AWAITED, left_s)
        if heard is not None and heard.si_signo == signal.SIGTERM:
            return


def _sweep() -> None:
    """End everything below this process; repeated, as it may be starting more."""
    until = time.monotonic() + _SWEEP_S
    while time.monotonic() < until:
        _reap(0)
        found = _descendants()
        if not found:
            return
        for process in found:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        signal.sigtimedwait((signal.SIGCHLD,), 0.05)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").iterdir() if Path("/proc/self").exists() else ():
        if not directory.name.isdecimal():
            continue
        try:
            parent = int((directory / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, IndexError):
            continue  # It has just ended.
        children.setdefault(parent, []).append(int(directory.name))
    found: list[int] = []
    level = [os.getpid()]
    while level:
        level = [child for parent in level for child in children.get(parent, ())]
        found += level
    return found


def _kill_group(process: int, number: signal.Signals) -> None:
    try:
        os.killpg(process, number)
    except (ProcessLookupError, PermissionError):
        return


def _say(report: int, text: str) -> None:
    os.write(report, text.encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
