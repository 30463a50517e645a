"""Files whose sender or receiver is killed half-way, again and again, in real processes."""

import asyncio
import hashlib
import json
import os
import random
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from mesh import limits

REPOSITORY = Path(__file__).resolve().parents[2]
WAIT_S = 30.0


@asynccontextmanager
async def worker(role: str, place: Path, way: str, path: str = "-"):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.driver.transfer_worker", role, str(place), way, path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()


async def hear(process, event: str) -> dict:
    async with asyncio.timeout(WAIT_S):
        while line := await process.stdout.readline():
            said = json.loads(line)
            if said["event"] == event:
                return said
    raise AssertionError(f"the worker ended without {event}")


def journalled(place: Path) -> int:
    """How much of the file the receiver's disk certainly has."""
    for path in (place / "host" / "mail" / "bob" / "files").glob(".partial-*.json"):
        try:
            return json.loads(path.read_text())["kept"]
        except (ValueError, FileNotFoundError):
            continue
    return 0


def is_whole(place: Path) -> bool:
    return (place / "host" / "mail" / "bob" / "files" / ".received.json").exists()


async def is_handed_over(place: Path) -> None:
    """Wait until the receiver verifies the author's copy, or has done so."""
    directory = place / "host" / "mail" / "bob" / "files"
    async with asyncio.timeout(WAIT_S):
        while not list(directory.glob(".linked-*")) and not is_whole(place):
            await asyncio.sleep(0.002)


async def grows(place: Path, beyond: int) -> None:
    """Wait until more than `beyond` bytes are durable, or all are."""
    async with asyncio.timeout(WAIT_S):
        while journalled(place) <= beyond and not is_whole(place):
            await asyncio.sleep(0.002)


async def torture(place: Path, way: str, *, size: int, kills: int, seed: int) -> int:
    """Kill one side or the other at random points; return how often it was mid-way."""
    draw = random.Random(seed)
    path = place / "shared" / "big.bin"
    path.parent.mkdir()
    path.write_bytes(os.urandom(size))
    killed = 0
    reached = 0
    async with worker("send", place, way, str(path)) as sender:
        await hear(sender, "accepted")
    for _ in range(kills):
        async with AsyncExitStack() as stack:
            both = [
                await stack.enter_async_context(worker(role, place, way))
                for role in ("send", "receive")
            ]
            await (is_handed_over(place) if way == "near" else grows(place, reached))
            await asyncio.sleep(draw.uniform(0, 0.08))
            victim = draw.choice(both)
            if not is_whole(place):
                killed += 1
            victim.kill()
            await victim.wait()
            went_on = way == "near" or journalled(place) > reached
            assert is_whole(place) or went_on, "it began anew"
            reached = journalled(place)
    async with worker("send", place, way), worker("receive", place, way) as receiver:
        kept = Path((await hear(receiver, "message"))["path"])
        expected = hashlib.blake2b(path.read_bytes()).digest()
        assert hashlib.blake2b(kept.read_bytes()).digest() == expected
    print(f"killed mid-way {killed} times of {kills}, last resumed from {reached} of {size} bytes")
    return killed


@pytest.mark.parametrize("way", ["link", "near"])
async def test_transfer_goes_on_after_either_side_was_killed(tmp_path, way):
    """PROTOCOL.md FILE-8."""
    async with asyncio.timeout(60):
        assert await torture(tmp_path, way, size=64 * limits.MIB, kills=2, seed=7) >= 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("way", "kills", "killed_min"), [("link", 16, 10), ("copy", 16, 6), ("near", 16, 10)]
)
async def test_transfer_survives_many_kills_at_random_points(tmp_path, way, kills, killed_min):
    async with asyncio.timeout(300):
        size = 512 * limits.MIB
        assert await torture(tmp_path, way, size=size, kills=kills, seed=11) >= killed_min
