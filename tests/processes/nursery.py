"""Worker processes by fork from one that has imported everything: a start costs milliseconds.

Only for runs that start thousands. The nursery imports, opens nothing and has one thread, so what
it forks is as good as new. Each child is a process of its own that a signal can hit.
"""

import asyncio
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import mesh
from tests.processes.worker import LINE_BYTES_MAX, run

REPOSITORY = Path(__file__).resolve().parents[2]
REQUEST_BYTES_MAX = 256


@dataclass
class Child:
    """A forked worker, with the face of `asyncio.subprocess.Process`."""

    pid: int
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    _handle: int
    returncode: int | None = None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._handle, number)

    async def wait(self) -> int:
        """Wait for the end. (The exit code is not told: the nursery is the parent.)"""
        if self.returncode is None:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(self._handle, ended.set)
            await ended.wait()
            loop.remove_reader(self._handle)
            os.close(self._handle)
            self.stdin.close()
            self.returncode = 0
        return self.returncode


class Nursery:
    """Starts workers; ends with whoever holds the other end of its socket."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        number = self._theirs.fileno()
        clean = {name: text for name, text in os.environ.items() if not name.startswith("IPC_")}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.processes.nursery", str(number)),
            pass_fds=(number,),
            cwd=REPOSITORY,
            env={**clean, "PYTHONPATH": str(REPOSITORY)},
        )
        self._theirs.close()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ours.close()
        await self._process.wait()

    async def spawn(self) -> Child:
        """Start a worker."""
        loop = asyncio.get_running_loop()
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        async with self._turn:
            socket.send_fds(self._ours, [b"go"], [theirs_in, theirs_out])
            for number in (theirs_in, theirs_out):
                os.close(number)
            answer, handles, _, _ = await asyncio.to_thread(
                socket.recv_fds, self._ours, REQUEST_BYTES_MAX, 1
            )
        reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb", 0)
        )
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(ours_out, "wb", 0)
        )
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        return Child(json.loads(answer)["pid"], writer, reader, handles[0])


def serve(link: socket.socket) -> None:
    """Fork a worker for each request, until the other end is gone."""
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not select.select([link], [], [], 0.2)[0]:
            continue
        request, numbers, _, _ = socket.recv_fds(link, REQUEST_BYTES_MAX, 2)
        if not request:
            break
        pid = os.fork()
        if pid == 0:
            link.close()
            os.dup2(numbers[0], 0)
            os.dup2(numbers[1], 1)
            for number in numbers:
                os.close(number)
            run()
            os._exit(0)
        for number in numbers:
            os.close(number)
        handle = os.pidfd_open(pid)
        socket.send_fds(link, [json.dumps({"pid": pid}).encode()], [handle])
        os.close(handle)


def import_all() -> None:
    """Import what workers need: the package does so only when a name is used."""
    for name in mesh.__all__:
        getattr(mesh, name)


if __name__ == "__main__":
    import_all()
    serve(socket.socket(fileno=int(sys.argv[1])))
