"""Files that are streamed, between two real sessions of one process."""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import mesh
from mesh import limits
from mesh.driver.agent import Agent

WAIT_S = 30.0
SECRET = "a team secret of good length"


def make_file(place: Path, size: int, name: str = "big.bin", seed: int = 1) -> Path:
    place.mkdir(exist_ok=True)
    path = place / name
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def config_of(place: Path, host: str, **settings) -> mesh.Config:
    return mesh.Config(
        home=place / host, port=0, mdns=False, share_roots=(place / "shared",), **settings
    )


@asynccontextmanager
async def pair(place: Path, **settings) -> AsyncIterator[tuple[Agent, Agent]]:
    """Two agents of one host, each with a session of its own."""
    async with (
        asyncio.timeout(WAIT_S),
        mesh.join("alice", config_of(place, "host")) as alice,
        mesh.join("bob", config_of(place, "host", **settings)) as bob,
    ):
        yield alice, bob


async def received(agent: Agent) -> mesh.Message:
    page = await agent.read(wait_s=WAIT_S, limit=1)
    return page.messages[0]


async def test_large_file_arrives_whole_private_and_named(tmp_path):
    path = make_file(tmp_path / "shared", 5 * limits.MIB + 17)
    seen: list[tuple[int, int]] = []
    async with pair(tmp_path) as (alice, bob):
        shared = await alice.share_file(
            "bob", path, "measurements", on_progress=lambda *p: seen.append(p)
        )
        message = await received(bob)
        assert await shared.wait("delivered", WAIT_S)
    kept = Path(message.path)
    assert message.data == {
        "type": "file",
        "name": "big.bin",
        "bytes": path.stat().st_size,
        "blake2b": hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest(),
        "description": "measurements",
        "path": str(kept),
    }
    assert kept.read_bytes() == path.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    outgoing = tmp_path / "host" / "mail" / "alice" / "outgoing"
    assert list(outgoing.iterdir()) == []
    assert [p.name for p in kept.parent.iterdir() if "partial" in p.name] == []
