"""Running a command whose output is shared: bounded in time, size and reach.

The command gets no input, its own session, an environment of a few harmless variables, and no
secrets. On Linux a small program runs it (`reaper`) that ends with it everything it has started,
also what has left its session. Its output is collected as it comes, beginning and end kept; a child
that holds the pipe open after the command ended is not waited for.
"""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh import limits
from mesh.errors import UsageError
from mesh.sharing.confine import Fence
from mesh.sharing.policy import permit, split_command
from mesh.sharing.redaction import redact, secret_values

_PASSED: Final[tuple[str, ...]] = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "PATHEXT", "COMSPEC", "TEMP", "TMP"),
    *("USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMFILES", "PROGRAMDATA"),
)
_SET: Final = {
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
}
_REAPER: Final = Path(__file__).with_name("reaper.py")
_HAS_REAPER: Final = sys.platform == "linux" and bool(sys.executable)
_REPORT_BYTES_MAX: Final = 500
_END_DELAY_S: Final = 1.0
_END_DELAY_CANCELLED_S: Final = 0.2
_PIPE_DELAY_S: Final = 0.3
_SWEEP_DELAY_S: Final = 3.0
# Kept beside what is shown, so that a secret across the cut is seen whole before it is redacted.
_MARGIN_BYTES: Final = 8 * limits.KIB
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended; `returncode` is negative when a signal ended it."""

    stdout: str
    stderr: str
    returncode: int
    truncated: bool
    timed_out: bool


async def run_shared_command(
    command: str,
    fence: Fence,
    *,
    policy: str,
    timeout_s: float = limits.command_timeout_s,
    secrets: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> CommandResult:
    """Run a command line without a shell and return its output, secrets redacted.

    `policy` is `off`, `allowlist` or `any`; `secrets` are texts never to be shown beside those that
    `environ` names. When the time is up, or this call is cancelled, the command ends with all it
    started.

    Raises:
        PolicyError: the policy does not allow the command.
        UsageError: it cannot be split, or there is no such program.
    """
    arguments = permit(split_command(command), policy, fence)
    cwd = fence.cwd
    if not cwd.is_dir():
        raise UsageError(f"The working directory {cwd} does not exist.")
    passed = _environment(environ)
    program = _find_program(arguments[0], passed.get("PATH", os.defpath), cwd)
    output, timed_out = await _run(
        [program, *arguments[1:]], cwd=cwd, environ=passed, timeout_s=timeout_s
    )
    hidden = secret_values(environ) | frozenset(secrets)
    stdout, is_stdout_cut = output.streams[1].text(hidden)
    stderr, is_stderr_cut = output.streams[2].text(hidden)
    return CommandResult(
        stdout=stdout,
        stderr=stderr,
        returncode=output.returncode,
        truncated=is_stdout_cut or is_stderr_cut,
        timed_out=timed_out,
    )


class _Stream:
    """The beginning and the end of what came out of one pipe."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._head_max = self._tail_max = bytes_max // 2 + _MARGIN_BYTES
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def add(self, chunk: bytes) -> None:
        room = self._head_max - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if len(self._tail) > 2 * self._tail_max:
            self._trim()

    def text(self, secrets: frozenset[str]) -> tuple[str, bool]:
        """Return what is shown, at most `bytes_max` bytes and a line on the gap, and if cut."""
        self._trim()
        if not self._left_out:
            whole = _clean(self._head + self._tail, secrets).encode()
            if len(whole) <= self._bytes_max:
                return whole.decode(), False
            head = tail = whole
        else:
            head = _clean(self._head, secrets).encode()
            tail = _clean(self._tail, secrets).encode()
        half = self._bytes_max // 2
        first, last = head[:half].decode(errors="ignore"), tail[-half:].decode(errors="ignore")
        return f"{first}\n[… output left out here …]\n{last}", True

    def _trim(self) -> None:
        surplus = len(self._tail) - self._tail_max
        if surplus > 0:
            del self._tail[:surplus]
            self._left_out += surplus


class _Output(asyncio.SubprocessProtocol):
    """Collects output and says when the command ended, whoever still holds its pipes."""

    def __init__(self) -> None:
        self.streams = {fd: _Stream(limits.command_output_bytes_max) for fd in (1, 2)}
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()
        self.closed = asyncio.Event()
        self.returncode = -int(signal.SIGTERM)
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.streams[fd].add(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        self._open.discard(fd)
        if not self._open:
            self.drained.set()

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed.set()


async def _run(
    arguments: list[str], *, cwd: Path, environ: dict[str, str], timeout_s: float
) -> tuple[_Output, bool]:
    report, reporting = os.pipe()
    try:
        transport, output = await _start(arguments, cwd=cwd, environ=environ, reporting=reporting)
        timed_out = await _attend(transport, output, timeout_s)
        os.set_blocking(report, False)
        os.close(reporting)
        reporting = -1
        _take_report(os.read(report, _REPORT_BYTES_MAX).decode(), output, arguments[0])
    finally:
        for descriptor in (report, reporting):
            if descriptor >= 0:
                os.close(descriptor)
    return output, timed_out


async def _start(
    arguments: list[str], *, cwd: Path, environ: dict[str, str], reporting: int
) -> tuple[asyncio.SubprocessTransport, _Output]:
    line = arguments
    passed: tuple[int, ...] = ()
    if _HAS_REAPER:
        delays = (str(_END_DELAY_S), str(_PIPE_DELAY_S))
        line = [sys.executable, "-I", "-S", str(_REAPER), str(reporting), *delays, *arguments]
        passed = (reporting,)
    try:
        return await asyncio.get_running_loop().subprocess_exec(
            _Output,
            *line,
            stdin=asyncio.subprocess.DEVNULL,
            cwd=cwd,
            env=environ,
            start_new_session=True,
            umask=0o077,
            pass_fds=passed,
        )
    except (OSError, ValueError) as exc:
        raise UsageError(f"{arguments[0]} cannot be run ({exc}).") from exc


async def _attend(
    transport: asyncio.SubprocessTransport, output: _Output, timeout_s: float
) -> bool:
    """Wait for a command to end, or make it; tell whether its time was up."""
    timed_out = False
    end_delay_s = _END_DELAY_CANCELLED_S
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await output.exited.wait()
        except TimeoutError:
            timed_out = True
        else:
            await _wait(output.drained, _PIPE_DELAY_S)
        end_delay_s = _END_DELAY_S
    finally:
        try:
            if not output.exited.is_set():
                _signal_group(transport, is_final=False)
                await _wait(output.exited, end_delay_s)
        finally:
            _signal_group(transport, is_final=True)
            await _close(transport, output)
    return timed_out


def _take_report(text: str, output: _Output, program: str) -> None:
    """Take over how the command ended from the program that ran it."""
    word, _, rest = text.partition(" ")
    if word == "failed":
        raise UsageError(f"{program} cannot be run ({rest.partition('ended')[0]}).")
    if word == "ended":
        output.returncode = int(rest)


async def _close(transport: asyncio.SubprocessTransport, output: _Output) -> None:
    await _wait(output.exited, _SWEEP_DELAY_S)
    await _wait(output.drained, _PIPE_DELAY_S)
    returncode = transport.get_returncode()
    if returncode is None:
        transport.kill()
    else:
        output.returncode = returncode
    transport.close()
    await _wait(output.closed, _END_DELAY_S)


async def _wait(event: asyncio.Event, delay_s: float) -> None:
    try:
        async with asyncio.timeout(delay_s):
            await event.wait()
    except TimeoutError:
        return


def _signal_group(transport: asyncio.SubprocessTransport, *, is_final: bool) -> None:
    """Ask, or make, the command and what it started end; the reaper is made by asking again."""
    makes = signal.SIGTERM if _HAS_REAPER else getattr(signal, "SIGKILL", signal.SIGTERM)
    try:
        if os.name == "posix":
            os.killpg(transport.get_pid(), makes if is_final else signal.SIGTERM)
        elif is_final and transport.get_returncode() is None:
            transport.kill()
    except (ProcessLookupError, PermissionError):
        return


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    upper = {name.upper(): text for name, text in environ.items()}
    passed = {name: upper[name] for name in _PASSED if name in upper}
    passed |= {name: text for name, text in environ.items() if name.startswith("LC_")}
    # Relative entries would find programs planted in the working directory.
    entries = [entry for entry in passed.get("PATH", os.defpath).split(os.pathsep) if entry]
    passed["PATH"] = os.pathsep.join(entry for entry in entries if Path(entry).is_absolute())
    return passed | _SET


def _find_program(name: str, path: str, cwd: Path) -> str:
    """Find a program as the command's own directory and search path give it."""
    wanted = str(cwd.absolute() / name) if Path(name).name != name else name
    found = shutil.which(wanted, path=path)
    if found is None or not Path(found).is_absolute():
        raise UsageError(f"There is no program {name}.")
    return found


def _clean(raw: bytes | bytearray, secrets: frozenset[str]) -> str:
    text = redact(raw.decode(errors="replace"), secrets)
    return _CONTROLS.sub("\ufffd", text)
