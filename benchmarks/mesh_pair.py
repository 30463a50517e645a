"""The mesh: two agents of one host, with a secret, every message on both disks."""

import asyncio
import time
from collections import deque

import mesh
from benchmarks.pairs import Figures, Link, Settings, figures

_WARM_UP = 200
_BATCH = 256
_WAIT_S = 30.0


def receive(link: Link, settings: Settings) -> None:
    """Consume everything through `messages()`."""
    asyncio.run(_receive(link, settings))


def send(link: Link, settings: Settings) -> Figures:
    """Send one by one, then with a full window."""
    return asyncio.run(_send(link, settings))


async def _receive(link: Link, settings: Settings) -> None:
    expected = _WARM_UP + 2 * settings.pings + settings.messages
    async with mesh.join("bob", _config(settings)) as bob:
        count = 0
        async for _ in bob.messages():
            count += 1
            if count == expected:
                link.send("consumed")
                break
        await asyncio.to_thread(link.recv)


async def _send(link: Link, settings: Settings) -> Figures:
    body = "x" * settings.body_bytes
    async with mesh.join("alice", _config(settings)) as alice:
        async with asyncio.timeout(_WAIT_S):
            while not any(e.id == "bob" and e.state == "live" for e in alice.roster()):
                await asyncio.sleep(0.02)
        for _ in range(_WARM_UP):
            await _ping(alice, body)
        busy = [await _ping(alice, body) for _ in range(settings.pings)]
        paced = []
        for _ in range(settings.pings):
            await asyncio.sleep(settings.pause_s)
            paced.append(await _ping(alice, body))
        started = time.perf_counter()
        await _blast(alice, body, settings)
        await asyncio.to_thread(link.recv)
        rate = settings.messages / (time.perf_counter() - started)
    link.send("end")
    return figures(rate, busy=busy, paced=paced)


async def _blast(alice: mesh.Agent, body: str, settings: Settings) -> None:
    waiting: deque[list[mesh.Receipt]] = deque()
    for start in range(0, settings.messages, _BATCH):
        if len(waiting) * _BATCH >= settings.window:
            await _all_delivered(waiting.popleft())
        count = min(_BATCH, settings.messages - start)
        waiting.append(await alice.send_many(("bob", body) for _ in range(count)))
    for receipts in waiting:
        await _all_delivered(receipts)


async def _all_delivered(receipts: list[mesh.Receipt]) -> None:
    for receipt in receipts:
        if not await receipt.wait("delivered", _WAIT_S):
            raise RuntimeError(f"a message was {receipt.state}")


async def _ping(alice: mesh.Agent, body: str) -> tuple[float, float]:
    started = time.perf_counter()
    receipt = await alice.send("bob", body)
    accepted = time.perf_counter()
    await _all_delivered([receipt])
    return (accepted - started, time.perf_counter() - started)


def _config(settings: Settings) -> mesh.Config:
    return mesh.Config(
        home=settings.directory / "home",
        mesh="benchmark",
        secret="a-secret-that-is-long-enough-for-this",
        port=0,
        mdns=False,
        bind="127.0.0.1",
    )
