"""Real peers for the demo: `mesh run --json` processes whose output is read line by line."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mesh import limits
from mesh.config import Config

if sys.platform == "win32":
    import subprocess

    _CTRL_C = signal.CTRL_BREAK_EVENT
    _NEW_GROUP = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    _CTRL_C = signal.SIGINT
    _NEW_GROUP = 0

JsonObject = dict[str, Any]


class Peer:
    """One `mesh run` process. `messages` has what it printed, in order."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.ready: JsonObject = {}
        self.messages: list[JsonObject] = []
        self._process = process
        self._log = log
        self._news = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.returncode is not None

    @property
    def complaint(self) -> str:
        """The last line of its log, for whoever wonders why it failed."""
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    async def read(self) -> None:
        """Take in what the process prints until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            event = json.loads(line)
            match event.get("event"):
                case "ready":
                    self.ready = event
                case "message":
                    self.messages.append(event)
            self._ring()
        await self._process.wait()
        self._ring()

    def _ring(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds` is true of this peer; looked at after each line it prints.

        Raises:
            RuntimeError: the process ended before.
        """
        while not holds():
            if self.has_ended:
                raise RuntimeError(f"{self.name} ended: {self.complaint}")
            await self._news.wait()

    def texts_from(self, sender: str) -> list[str]:
        """Return the texts it printed of one sender, in order."""
        return [message["content"] for message in self.messages if message["from"] == sender]

    def kill(self) -> None:
        """End the process without a warning, as a crash would."""
        if not self.has_ended:
            self._process.kill()

    async def wait_for_end(self) -> int:
        """Wait until the process is gone and return its exit code."""
        return await self._process.wait()

    async def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        if not self.has_ended:
            self._process.send_signal(_CTRL_C)
        return await self._process.wait()


async def start_peer(name: str, environ: Mapping[str, str], *, directory: Path) -> Peer:
    """Start a peer; its log goes to a file in `directory`, which is its working directory, too."""
    log = directory / f"{name}.{os.urandom(4).hex()}.log"
    with log.open("wb") as file:
        process = await _spawn(name, environ, directory, file)
    return Peer(name, process, log)


async def _spawn(
    name: str, environ: Mapping[str, str], directory: Path, log: BinaryIO
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mesh.cli.main",
        "run",
        "--as",
        name,
        "--json",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env=dict(environ),
        cwd=directory,
        limit=limits.control_line_bytes_max,
        creationflags=_NEW_GROUP,
        start_new_session=sys.platform != "win32",  # Our own Ctrl-C is ours to pass on.
    )


def environment_of(config: Config) -> dict[str, str]:
    """Return the environment in which a process has these settings, whatever ours are."""
    package = str(Path(__file__).resolve().parents[2])
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("IPC_")}
    paths = [package, *filter(None, [inherited.get("PYTHONPATH")])]
    assert config.secret is not None
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(paths),
        "IPC_HOME": str(config.home),
        "IPC_MESH": config.mesh,
        "IPC_PORT": str(config.port),
        "IPC_SHARED_SECRET": config.secret,
    }


@contextmanager
def ended_at_last(peers: list[Peer]) -> Iterator[None]:
    """End all processes that are in the list when the block is left, however it is left."""
    try:
        yield
    finally:
        for peer in peers:
            peer.kill()
