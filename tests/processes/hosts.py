"""Hosts and worker processes for the tests: started, driven, killed, and always cleaned up."""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.processes.nursery import Child, Nursery
from tests.processes.worker import LINE_BYTES_MAX

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "a team secret of good length"
CALL_S = 20.0


class WorkerError(Exception):
    """The worker answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass
class Session:
    """A running worker. `call` performs one operation; several may be under way."""

    process: asyncio.subprocess.Process | Child
    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    _next_id: int = 0
    _waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _events: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    _reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def begin(self, op: str, **args: Any) -> asyncio.Future[Any]:
        """Ask without waiting."""
        assert self.process.stdin is not None
        self._next_id += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._reading is None or self._reading.done():
            future.set_exception(ConnectionResetError(f"{self.name} has ended"))
            return future
        self._waiting[self._next_id] = future
        request = {"id": self._next_id, "op": op, "args": args}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        return future

    async def call(self, op: str, *, limit_s: float = CALL_S, **args: Any) -> Any:
        """Ask and wait. Raises `WorkerError`, or `ConnectionError` when the worker is gone."""
        async with asyncio.timeout(limit_s):
            return await self.begin(op, **args)

    async def event(self) -> dict[str, Any]:
        """Return the next event."""
        async with asyncio.timeout(CALL_S):
            return await self._events.get()

    async def sees(self, timeout_s: float = 5.0, **states: str) -> float:
        """Wait until agents are in the states given; return how long it took."""
        found = await self.call("wait_roster", states=states, timeout_s=timeout_s)
        assert found["reached"], f"{self.name} sees {found['seen']}, not {states}"
        return float(found["after_s"])

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        """End the process as a crash would."""
        self.signal(signal.SIGKILL)
        await self.process.wait()
        if self._reading is not None:
            await self._reading

    async def close(self) -> None:
        """End the session properly."""
        if self.process.returncode is None:
            with suppress(ConnectionError):
                await self.call("close")
        await self.process.wait()
        if self._reading is not None:
            await self._reading

    async def read(self) -> None:
        """Hand out what the worker says, until it has ended."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            value = json.loads(line)
            if "event" in value:
                self._events.put_nowait(value)
                continue
            future = self._waiting.pop(value["id"])
            if future.done():
                continue
            if "error" in value:
                error = value["error"]
                future.set_exception(WorkerError(error["code"], error["message"]))
            else:
                future.set_result(value["ok"])
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError(f"{self.name} has ended"))
                future.exception()
        self._waiting.clear()


class Mesh:
    """Some hosts of one mesh, with the processes on them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings: dict[str, Any] = {
            "mesh": f"test-{secrets.token_hex(6)}",
            "secret": SECRET,
            "port": 0,
            "bind": "127.0.0.1",
            "mdns": False,
        }
        self.sessions: list[Session] = []
        self.nursery: Nursery | None = None

    def home(self, host: str) -> Path:
        return self.directory / host

    async def open(
        self,
        host: str = "h1",
        *,
        prefix: Sequence[str] = (),
        is_elsewhere: bool = False,
        **changes: Any,
    ) -> Session:
        """Start a session that has no name yet; `is_elsewhere`: it thinks others are far away."""
        session = Session(await self._start(prefix), f"{host}/?")
        self.sessions.append(session)
        session._reading = asyncio.create_task(session.read())
        if is_elsewhere:
            await session.call("be_elsewhere", limit_s=60)
        settings = {**self.settings, **changes, "home": str(self.home(host))}
        await session.call("open", limit_s=150, **settings)
        return session

    async def join(self, name: str, host: str = "h1", **changes: Any) -> Session:
        """Start a session under a name."""
        session = await self.open(host, **changes)
        session.name = f"{host}/{name}"
        session.facts = await session.call("register", limit_s=60, name=name)
        return session

    async def _start(self, prefix: Sequence[str]) -> asyncio.subprocess.Process | Child:
        if self.nursery is not None:
            return await self.nursery.spawn()
        return await asyncio.create_subprocess_exec(
            *(*prefix, sys.executable, "-m", "tests.processes.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            cwd=REPOSITORY,
            env={**_clean_environment(), "PYTHONPATH": str(REPOSITORY)},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self.sessions:
            if session.process.returncode is None:
                session.signal(signal.SIGKILL)
        for session in self.sessions:
            await session.kill()


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory with a short path, as sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="m") as path:
        yield Path(path)


@asynccontextmanager
async def new_mesh() -> AsyncIterator[Mesh]:
    with short_directory() as directory:
        async with Mesh(directory) as mesh:
            yield mesh


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def contents(messages: Sequence[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages]


def _clean_environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("IPC_")}
