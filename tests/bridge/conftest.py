"""Bridges in this process: a real node behind the SDK's own client, in either protocol era."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mcp.client import Client

import mesh
from mcp_bridge.config import Push
from mcp_bridge.keeper import Keeper
from mcp_bridge.line import Line
from mcp_bridge.push import Pusher
from mcp_bridge.server import build_server
from tests.bridge.bridges import Bridge, Pair, Start
from tests.bridge.inboxes import FakeInbox


@pytest.fixture
def home() -> Iterator[Path]:
    """Return a state directory with a path short enough for local sockets."""
    with tempfile.TemporaryDirectory(prefix="ipc-") as directory:
        yield Path(directory) / "home"


@pytest.fixture
def start(home: Path) -> Start:
    """Return what starts a bridge; all those of one test are on one host and one mesh."""
    name = f"t{uuid4().hex[:12]}"

    @asynccontextmanager
    async def started(
        register: str | None = None,
        *,
        mode: str = "auto",
        line: Line | None = None,
        at: Path | None = None,
        **settings: Any,
    ) -> AsyncIterator[Bridge]:
        places = {"home": at or home, "mesh": name, "port": 0, "mdns": False}
        config = mesh.Config(**{**places, **settings})
        keeper = Keeper(config, opener=mesh.open_session, look_around_s=0.5)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(keeper.run())
            pushing = None
            if line is not None:
                push = Push.INBOX if line.is_sure else Push.CHANNEL
                pushing = group.create_task(Pusher(keeper, line, push).run())
            try:
                async with Client(build_server(keeper), mode=mode) as client:
                    bridge = Bridge(client, keeper)
                    if register:
                        await bridge.call("register", instance_id=register)
                    yield bridge
            finally:
                if pushing is not None:
                    pushing.cancel()
                await keeper.leave()

    return started


@pytest.fixture
async def inbox(home: Path) -> AsyncIterator[FakeInbox]:
    """Return the inbox of an idle session."""
    inbox = FakeInbox(home.parent / "inbox")
    async with inbox.serving():
        yield inbox


@pytest.fixture
def pair(start: Start) -> Pair:
    """Return what starts alice and bob, who see each other."""

    @asynccontextmanager
    async def started() -> AsyncIterator[tuple[Bridge, Bridge]]:
        async with start("alice") as alice, start("bob") as bob:
            for bridge in (alice, bob):
                while (await bridge.call("list_instances"))["message"] != "2 instances, 2 live":
                    await asyncio.sleep(0.01)
            yield alice, bob

    return started
