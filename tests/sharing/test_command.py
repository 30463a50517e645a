"""Shared commands: run without a shell, bounded, ended with their children, secrets out."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from mesh import limits
from mesh.errors import PolicyError, UsageError
from mesh.sharing.command import run_shared_command
from mesh.sharing.confine import Fence

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX commands")
PYTHON = sys.executable


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "notes.md").write_text("one\ntwo\nthree\n")
    return directory


async def _run(command, project, *, policy="any", **settings):
    return await run_shared_command(command, Fence(cwd=project), policy=policy, **settings)


def _script(project: Path, text: str) -> str:
    path = project / "script.py"
    path.write_text(text)
    return f"{PYTHON} script.py"


def _is_alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_output_errors_and_returncode_come_apart(project):
    command = _script(
        project, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    )
    result = await _run(command, project)
    assert (result.stdout, result.stderr, result.returncode) == ("out\n", "err\n", 3)
    assert not result.truncated
    assert not result.timed_out


@pytest.mark.parametrize(
    ("command", "stdout"),
    [
        ("cat notes.md", "one\ntwo\nthree\n"),
        ("head -n 1 notes.md", "one\n"),
        ("wc -l notes.md", "3 notes.md\n"),
        ("ls", "notes.md\n"),
        ("echo 'a;b' \"c|d\" e\\>f $HOME", "a;b c|d e>f $HOME\n"),
        ("cat", ""),
    ],
)
async def test_the_allowlist_runs_what_reads(command, stdout, project):
    result = await _run(command, project, policy="allowlist")
    assert (result.stdout, result.returncode) == (stdout, 0)


async def test_git_runs_tame_and_shows_no_credentials(project):
    steps = (
        ["init", "-q"],
        ["config", "user.email", "a@b"],
        ["config", "user.name", "a"],
        ["config", "core.fsmonitor", "touch fsmonitor-ran"],
        ["config", "diff.external", "touch external-ran"],
        ["config", "core.pager", "touch pager-ran"],
        ["add", "."],
        ["commit", "-q", "-m", "first"],
    )
    (project / ".env").write_text("HIDDEN=before\n")
    for step in steps:
        process = await asyncio.create_subprocess_exec("git", *step, cwd=project)
        assert await process.wait() == 0
    (project / ".env").write_text("HIDDEN=after\n")
    (project / "notes.md").write_text("changed\n")
    for name in ("fsmonitor-ran", "external-ran"):  # our own preparation may have run them
        (project / name).unlink(missing_ok=True)
    status = await _run("git status --short", project, policy="allowlist")
    diff = await _run("git diff", project, policy="allowlist")
    log = await _run("git log -p --format=%h", project, policy="allowlist")
    branch = await _run("git branch -a", project, policy="allowlist")
    created = await _run("git branch newly-made", project, policy="allowlist")
    listed = await _run("git branch", project, policy="allowlist")
    assert " M notes.md" in status.stdout
    assert "+changed" in diff.stdout
    assert branch.returncode == created.returncode == 0
    assert branch.stdout == listed.stdout
    assert "HIDDEN" not in diff.stdout + log.stdout
    assert "Binary files" in diff.stdout
    assert not list(project.glob("*-ran"))
    raw = await _run("git log --raw --format= --abbrev=40", project, policy="allowlist")
    (blob,) = [line.split()[3] for line in raw.stdout.splitlines() if line.endswith(".env")]
    for command in (f"git show {blob}", f"git diff {blob} {blob[:8]}", f"git log {blob}"):
        shown = await _run(command, project, policy="allowlist")
        assert shown.returncode != 0, command
        assert "HIDDEN" not in shown.stdout + shown.stderr
    assert "first" in (await _run("git show HEAD", project, policy="allowlist")).stdout


async def test_a_missing_program_is_a_usage_error(project):
    with pytest.raises(UsageError, match="no program no-such-program") as caught:
        await _run("no-such-program", project)
    assert caught.value.code == "usage"


async def test_a_program_that_cannot_be_run_is_a_usage_error(project):
    broken = project / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    with pytest.raises(UsageError, match="cannot be run"):
        await _run("./broken", project)


async def test_a_missing_working_directory_is_a_usage_error(project):
    with pytest.raises(UsageError, match="working directory"):
        await _run("ls", project / "gone")


async def test_a_program_planted_in_the_working_directory_is_not_found(project):
    planted = project / "git"
    planted.write_text("#!/bin/sh\necho planted\n")
    planted.chmod(0o755)
    environ = {"PATH": f".:{os.pathsep}relative"}
    with pytest.raises(UsageError):
        await _run("git status", project, policy="allowlist", environ=environ)


async def test_off_refuses_everything(project):
    with pytest.raises(PolicyError, match="IPC_SHARE_COMMAND") as caught:
        await _run("pwd", project, policy="off")
    assert caught.value.code == "refused"


async def test_the_environment_is_small_and_without_secrets(project):
    command = _script(
        project, "import os; print('\\n'.join(f'{k}={v}' for k, v in os.environ.items()))"
    )
    environ = dict(os.environ) | {
        "IPC_SHARED_SECRET": "the-team-secret-itself",
        "GITHUB_TOKEN": "some-token-value",
        "LC_ALL": "C.UTF-8",
        "LD_PRELOAD": "",
    }
    result = await _run(command, project, environ=environ)
    names = {line.partition("=")[0] for line in result.stdout.splitlines()}
    assert {"PATH", "TERM", "NO_COLOR", "LC_ALL"} <= names
    assert not {name for name in names if name.startswith("IPC_")} | {"LD_PRELOAD"} & names
    assert "GITHUB_TOKEN" not in names


async def test_secrets_are_redacted_from_both_streams(project):
    command = _script(
        project,
        "import sys\nprint('a the-team-secret-itself b')\n"
        "print('ghp_' + 'a' * 36, 'from-the-environment', file=sys.stderr)",
    )
    environ = dict(os.environ) | {"DEPLOY_TOKEN": "from-the-environment"}
    result = await _run(command, project, environ=environ, secrets=["the-team-secret-itself"])
    assert result.stdout == "a [redacted] b\n"
    assert result.stderr == "[redacted] [redacted]\n"


async def test_input_is_empty_so_nothing_eats_the_protocol(project):
    result = await _run(_script(project, "import sys; print(repr(sys.stdin.read()))"), project)
    assert result.stdout == "''\n"


async def test_a_flood_keeps_its_beginning_and_its_end(project):
    count = limits.command_output_bytes_max // 4
    command = _script(project, f"print('first'); print('0123456789' * {count}); print('last')")
    result = await _run(command, project)
    assert result.truncated
    assert result.stdout.startswith("first\n0123")
    assert result.stdout.endswith("789\nlast\n")
    assert len(result.stdout.encode()) <= limits.command_output_bytes_max + 100
    assert "left out" in result.stdout


async def test_output_that_grows_by_replacement_is_cut_to_the_limit(project):
    command = _script(
        project,
        f"import sys; sys.stdout.buffer.write(b'\\xff' * {limits.command_output_bytes_max})",
    )
    result = await _run(command, project)
    assert result.truncated
    assert len(result.stdout.encode()) <= limits.command_output_bytes_max + 100


async def test_a_secret_across_the_cut_is_redacted(project):
    half = limits.command_output_bytes_max // 2
    command = _script(
        project, f"print('.' * {half - 10} + 'the-team-secret-itself' + '.' * {4 * half})"
    )
    result = await _run(command, project, secrets=["the-team-secret-itself"])
    assert result.truncated
    assert "the-team" not in result.stdout


async def test_control_characters_are_replaced(project):
    result = await _run(_script(project, "print('a\\0b\\x1b[31mc\\td')"), project)
    assert result.stdout == "a\ufffdb\ufffd[31mc\td\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_timeout_ends_the_command_and_its_children(project):
    command = _script(
        project,
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)",
    )
    started = time.monotonic()
    result = await _run(command, project, timeout_s=2)
    assert result.timed_out
    assert result.returncode == -signal.SIGTERM
    assert time.monotonic() - started < 9
    assert not _is_alive(int(result.stdout))


async def test_a_command_that_ignores_the_request_to_end_is_made_to(project):
    command = _script(
        project,
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\ntime.sleep(60)",
    )
    result = await _run(command, project, timeout_s=2)
    assert result.timed_out
    assert result.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
@pytest.mark.parametrize("is_orphan", [False, True])
async def test_a_child_that_left_the_session_and_holds_the_pipe_hangs_nothing(is_orphan, project):
    end = "" if is_orphan else "\ntime.sleep(60)"
    command = _script(
        project,
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "print(child.pid, flush=True)" + end,
    )
    started = time.monotonic()
    result = await _run(command, project, timeout_s=10 if is_orphan else 2)
    assert result.timed_out is not is_orphan
    assert time.monotonic() - started < 9
    assert not _is_alive(int(result.stdout))


ESCAPE = """
import os, sys, time
if os.fork():
    time.sleep({stays})
    sys.exit()
os.setsid()
if os.fork():
    os._exit(0)
nowhere = os.open(os.devnull, os.O_RDWR)
for number in range(3):
    os.dup2(nowhere, number)
open("part{number}", "w").write(str(os.getpid()))
os.rename("part{number}", "pid{number}")
if {number}:
    os.execve("/bin/sleep", ["sleep", "60"], {{}})
os.execve(sys.executable, [sys.executable, "other.py"], {{}})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a subreaper is Linux")
@pytest.mark.parametrize("way", ["ends", "times out", "is cancelled"])
async def test_nothing_escapes_that_changed_session_parent_and_environment(way, project):
    stays = 0.5 if way == "ends" else 60
    (project / "other.py").write_text(ESCAPE.format(stays=60, number=1))
    command = _script(project, ESCAPE.format(stays=stays, number=0))
    pids = [project / "pid0", project / "pid1"]
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(_run(command, project, timeout_s=2 if "out" in way else 15))
        while not all(pid.exists() for pid in pids):
            await asyncio.sleep(0.01)
        if way == "is cancelled":
            running.cancel()
    assert running.cancelled() is (way == "is cancelled")
    if not running.cancelled():
        assert running.result().timed_out is (way == "times out")
    assert [int(pid.read_text()) for pid in pids if _is_alive(int(pid.read_text()))] == []


@pytest.mark.skipif(sys.platform != "linux", reason="the reaper is Linux")
async def test_what_is_no_program_is_named_and_a_signal_is_told(project):
    (project / "noise").write_bytes(b"\x7fELF no program at all")
    (project / "noise").chmod(0o700)
    with pytest.raises(UsageError, match="cannot be run"):
        await _run("./noise", project)
    command = _script(project, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (await _run(command, project)).returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_cancellation_ends_the_command(project):
    pid_file = project / "pid"
    command = _script(
        project,
        "import os, pathlib, time\npathlib.Path('part').write_text(str(os.getpid()))\n"
        "os.rename('part', 'pid')\ntime.sleep(60)",
    )
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(_run(command, project))
        while not pid_file.exists():
            await asyncio.sleep(0.01)
        running.cancel()
    assert running.cancelled()
    assert not _is_alive(int(pid_file.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux")
async def test_a_crash_leaves_no_core_file(project):
    command = _script(
        project,
        "import resource, time\ntime.sleep(0.1)\nprint(resource.getrlimit(resource.RLIMIT_CORE))",
    )
    assert (await _run(command, project)).stdout == "(0, 0)\n"
