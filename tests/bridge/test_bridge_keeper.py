"""The session of a process: opened late, tried again, reopened under its name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import mesh
from mcp_bridge import keeper as module
from mcp_bridge.keeper import Keeper, NotRegisteredError

pytestmark = pytest.mark.anyio


class Trouble:
    """Opens real sessions, but refuses the first `refusals` and fails one when told to."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.failing = asyncio.Event()

    @asynccontextmanager
    async def open(self, config: mesh.Config) -> AsyncIterator[mesh.Session]:
        if self.refusals:
            self.refusals -= 1
            raise mesh.StoreError("The disk refused.")
        try:
            async with mesh.open_session(config) as session, asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                yield session
                watch.cancel()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _watch(self) -> None:
        await self.failing.wait()
        self.failing.clear()
        raise mesh.StoreError("The node failed.")


@asynccontextmanager
async def kept(home: Path, trouble: Trouble) -> AsyncIterator[Keeper]:
    config = mesh.Config(home=home, mesh="keeper", port=0, mdns=False)
    keeper = Keeper(config, opener=trouble.open, look_around_s=0)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(keeper.run())
        try:
            yield keeper
        finally:
            await keeper.leave()


async def test_a_session_that_cannot_be_opened_is_told_and_tried_again(home: Path) -> None:
    async with kept(home, Trouble(refusals=1)) as keeper:
        with pytest.raises(mesh.StoreError, match="The disk refused"):
            await keeper.session()
        with pytest.raises(NotRegisteredError):
            await keeper.agent()


async def test_a_session_that_fails_is_reopened_under_its_name(home: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_reopen_pause_s", 0.0)
    trouble = Trouble()
    async with kept(home, trouble) as keeper:
        first = await keeper.register("alice", "work")
        token = keeper.token
        await first.send("alice", "kept")
        trouble.failing.set()
        while keeper.agent_or_none in (None, first):
            await asyncio.sleep(0.01)
        assert (await keeper.agent()).name == "alice"
        assert (keeper.token, keeper.unread) == (token, 1)


async def test_nothing_is_opened_before_it_is_wanted(home: Path) -> None:
    async with kept(home, Trouble()) as keeper:
        await asyncio.sleep(0)
        assert keeper.agent_or_none is None
    assert not home.exists()


async def test_who_asks_while_it_ends_is_told(home: Path) -> None:
    async with kept(home, Trouble()) as keeper:
        await keeper.leave()
        with pytest.raises(mesh.TransportError, match="ending"):
            await keeper.session()
