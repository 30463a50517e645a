"""Makes transports of one mesh for the tests of this folder, and waits for what they report."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from mesh.model import CurveKey
from mesh.net.interface import FramesReceived, TransportLost
from mesh.net.loopback import LoopbackNetwork
from mesh.net.sockets import public_key
from mesh.net.zmq_transport import Keys, ZmqTransport

CLIENT = bytes(range(1, 33))
DOOR = bytes(range(2, 34))
TIMEOUT_S = 5.0


def keys(client: bytes = CLIENT, door: bytes = DOOR) -> Keys:
    return Keys([(client, public_key(client))], os.urandom(32), door)


def new_zmq(run: Path | None = None, name: str = "a", **changes) -> ZmqTransport:
    arguments = {
        "bind": "127.0.0.1",
        "ipc_path": run / f"{name}.sock" if run else None,
        "random": os.urandom,
    }
    own_keys = changes.pop("keys", None) or keys()
    return ZmqTransport(own_keys, **(arguments | changes))


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A short path, since sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="m") as path:
        yield Path(path)


@contextlib.contextmanager
def two(kind: str) -> Iterator[tuple]:
    """Two transports of one mesh, not entered."""
    if kind == "loopback":
        network = LoopbackNetwork()
        yield network.transport("a"), network.transport("b")
    elif kind == "ipc":
        with private_directory() as run:
            yield new_zmq(run, "a"), new_zmq(run, "b")
    else:
        is_polling = kind == "polling"
        yield new_zmq(is_polling=is_polling), new_zmq(is_polling=is_polling)


@contextlib.asynccontextmanager
async def pair(kind: str) -> AsyncIterator[tuple]:
    """Two transports of one mesh that know nothing of each other yet."""
    with two(kind) as (a, b):
        async with a, b:
            yield a, b


async def receive(transport, count: int = 1) -> list:
    """Wait for at least `count` events."""
    events: list = []
    async with asyncio.timeout(TIMEOUT_S):
        while len(events) < count:
            events += await transport.receive()
    return events


async def receive_frames(transport) -> FramesReceived:
    (event,) = await receive(transport)
    assert isinstance(event, FramesReceived)
    return event


async def receive_loss(transport) -> TransportLost:
    (event,) = await receive(transport)
    assert isinstance(event, TransportLost)
    return event


async def connect(dialling, listening, link: int = 1) -> int:
    """Open a link and return its number at the listening side."""
    dialling.dial(link, endpoint=listening.endpoints[0], curve=CurveKey(listening.curve))
    dialling.send(link, [b"head", b"first"])
    event = await receive_frames(listening)
    assert event.frames == (b"head", b"first")
    return event.link
