"""One mesh session in a process of its own, driven over stdin and stdout in JSON lines.

    <- {"id": 1, "op": "send", "args": {"to": "bob", "content": "hello"}}
    -> {"id": 1, "ok": {...}}     or {"id": 1, "error": {"code", "message"}}
    -> {"event": "message", ...}  once `follow` was asked for

Operations run side by side. The first one is `open` (fields of `mesh.Config`), then `register`.
"""

import asyncio
import dataclasses
import gc
import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import mesh
from mesh.core.events import Sighted, Source
from mesh.model import CurveKey
from mesh.sharing import near

POLL_S = 0.02
LINE_BYTES_MAX = 64 * 1024 * 1024


class Worker:
    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        self._write = write
        self._stack = AsyncExitStack()
        self._session: mesh.Session
        self._receipts: dict[str, mesh.Receipt] = {}
        self.is_over = asyncio.Event()

    @property
    def _agent(self) -> mesh.Agent:
        assert self._session.agent is not None
        return self._session.agent

    async def answer(self, line: str) -> None:
        request = json.loads(line)
        try:
            result = await getattr(self, "op_" + request["op"])(**request.get("args", {}))
        except mesh.MeshError as exc:
            error = {"code": exc.code, "message": str(exc), "type": type(exc).__name__}
            self._write({"id": request["id"], "error": error})
            return
        self._write({"id": request["id"], "ok": result})

    async def op_open(self, **settings: Any) -> dict[str, Any]:
        settings["home"] = Path(settings["home"])
        settings["peers"] = tuple(settings.get("peers", ()))
        self._session = await self._stack.enter_async_context(
            mesh.open_session(mesh.Config(**settings))
        )
        return {"pid": os.getpid()}

    async def op_register(self, name: str) -> dict[str, Any]:
        agent = await self._session.register(name)
        return {"name": agent.name, "fingerprint": agent.fingerprint, "unread": agent.unread}

    async def op_send(self, to: str, content: str, **options: Any) -> dict[str, Any]:
        return self._keep(await self._agent.send(to, content, **options))

    async def op_send_many(self, to: str, contents: list[str]) -> list[str]:
        receipts = await self._agent.send_many((to, content) for content in contents)
        return [receipt.id for receipt in receipts]

    async def op_be_elsewhere(self) -> None:
        """Behave as if every other process ran on another machine; to be called before `open`."""
        near.own_machine_key = lambda: None

    async def op_share_file(self, to: str, path: str) -> dict[str, Any]:
        return self._keep(await self._agent.share_file(to, path))

    async def op_broadcast(self, content: str) -> dict[str, Any]:
        return self._keep(await self._agent.broadcast(content))

    async def op_wait(self, id_: str, state: str, timeout_s: float) -> dict[str, Any]:
        reached = await self._receipts[id_].wait(state, timeout_s)
        return {"reached": reached, **self._facts(self._receipts[id_])}

    async def op_wait_receipt(self, id_: str, state: str, timeout_s: float) -> list[str]:
        """Ask the disk until the message has got so far; returns the states."""
        async with asyncio.timeout(timeout_s):
            while True:
                states = [recipient.state for recipient in await self._agent.receipt(id_)]
                if all(s == state for s in states):
                    return states
                await asyncio.sleep(POLL_S)

    async def op_receipt(self, id_: str) -> list[dict[str, Any]]:
        return [recipient.to_json() for recipient in await self._agent.receipt(id_)]

    async def op_check(self, **filters: Any) -> list[dict[str, Any]]:
        return [message.to_json() for message in await self._agent.check(**filters)]

    async def op_collect(self, count: int, timeout_s: float) -> list[dict[str, Any]]:
        """Check until `count` messages have come; fewer if the time is up."""
        found: list[mesh.Message] = []
        deadline = asyncio.get_running_loop().time() + timeout_s
        while len(found) < count:
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                break
            found += await self._agent.check(wait_s=left_s)
        return [message.to_json() for message in found]

    async def op_follow(self) -> None:
        """Report each message as it comes, until the end."""
        async for message in self._agent.messages():
            self._write({"event": "message", "content": message.content, "id": message.id})

    async def op_roster(self) -> list[dict[str, Any]]:
        return [entry.to_json() for entry in self._session.roster()]

    async def op_wait_roster(
        self, states: dict[str, str], timeout_s: float, poll_s: float = POLL_S
    ) -> dict[str, Any]:
        """Wait until each agent named, and possibly others, is in the state given."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            seen = {entry.id: entry.state for entry in self._session.roster()}
            is_there = states.items() <= seen.items()
            if is_there or loop.time() - begun > timeout_s:
                return {"reached": is_there, "after_s": loop.time() - begun, "seen": seen}
            await asyncio.sleep(poll_s)

    async def op_transitions(self, timeout_s: float) -> list[list[str]]:
        """Watch for a while; return each change of an agent's state, as [name, state]."""
        seen: dict[str, str] = {}
        found: list[list[str]] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    now = {entry.address: entry.state for entry in self._session.roster()}
                    changed = now.items() - seen.items()
                    found += [[address.partition("#")[0], state] for address, state in changed]
                    seen = now
                    await asyncio.sleep(POLL_S)
        return found

    async def op_status(self) -> dict[str, Any]:
        return (await self._session.status()).to_json()

    async def op_wait_problem(self, timeout_s: float) -> list[str]:
        async with asyncio.timeout(timeout_s):
            while not (problems := (await self._session.status()).problems):
                await asyncio.sleep(POLL_S)
        return list(problems)

    async def op_rename(self, new: str) -> dict[str, Any]:
        return (await self._agent.rename(new)).to_json()

    async def op_trust(self, name: str, fingerprint: str) -> None:
        await self._agent.trust(name, fingerprint)

    async def op_inside(self) -> dict[str, Any]:
        """Count what this process keeps, with all garbage gone: tasks, and objects by type."""
        gc.collect()
        types = Counter(f"{type(o).__module__}.{type(o).__name__}" for o in gc.get_objects())
        return {"tasks": len(asyncio.all_tasks()), "objects": types}

    async def op_sight(self, endpoints: list[str]) -> None:
        """Let discovery see a node at each of these endpoints."""
        for endpoint in endpoints:
            sighted = Sighted(Source.MDNS, CurveKey(os.urandom(32)), (endpoint,))
            self._agent._node.post(sighted)

    async def op_fork(self) -> int:
        """Leave a forked child behind that outlives this process; return its pid."""
        child = os.fork()
        if child == 0:
            os.close(0)
            os.close(1)
            signal.alarm(30)
            signal.pause()
            os._exit(0)
        return child

    async def op_spawn(self) -> int:
        """Leave an ordinary child behind that outlives this process; return its pid."""
        child = subprocess.Popen(
            ["sleep", "30"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        return child.pid

    async def op_close(self) -> None:
        await self._stack.aclose()
        self.is_over.set()

    async def aclose(self) -> None:
        await self._stack.aclose()

    def _keep(self, receipt: mesh.Receipt) -> dict[str, Any]:
        self._receipts[receipt.id] = receipt
        return self._facts(receipt)

    def _facts(self, receipt: mesh.Receipt) -> dict[str, Any]:
        recipients = [dataclasses.asdict(recipient) for recipient in receipt.recipients]
        for recipient in recipients:
            recipient["at"] = None
        return {"id": receipt.id, "state": receipt.state, "recipients": recipients}


def _write(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def main() -> None:
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    worker = Worker(_write)
    try:
        async with asyncio.TaskGroup() as group:
            running: set[asyncio.Task[None]] = set()
            closing = group.create_task(worker.is_over.wait())
            reading = group.create_task(reader.readline())
            while True:
                await asyncio.wait({closing, reading}, return_when=asyncio.FIRST_COMPLETED)
                if closing.done() or not reading.result():
                    break
                answering = group.create_task(worker.answer(reading.result().decode()))
                running.add(answering)
                answering.add_done_callback(running.discard)
                reading = group.create_task(reader.readline())
            for task in (*running, closing, reading):
                task.cancel()
    finally:
        await worker.aclose()


def run() -> None:
    logging.basicConfig(
        level=os.environ.get("WORKER_LOG", "ERROR"), format="%(asctime)s %(process)d %(message)s"
    )
    asyncio.run(main())


if __name__ == "__main__":
    run()
