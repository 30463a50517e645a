"""A node with room for one agent: what applications open."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from mesh.config import Config
from mesh.driver.agent import Agent
from mesh.driver.control import Answer
from mesh.driver.holding import host_label
from mesh.driver.node import MeshNode
from mesh.driver.operations import Operations
from mesh.driver.results import JsonObject, Reached, RosterEntry, Status
from mesh.errors import ConfigError, UsageError
from mesh.model import MailboxKey, Profile, check_name, fold


class Session:
    """One node and, once registered, its agent; use `open_session`."""

    def __init__(self, config: Config) -> None:
        if not __debug__:
            raise ConfigError("Python's -O is not supported: it removes checks of our own.")
        self.config = config
        self.agent: Agent | None = None
        self._key: MailboxKey | None = None
        self._node = MeshNode(config, dispatch=self._dispatch)
        self._operations = Operations(self, release=self._release)

    @property
    def mode(self) -> str:
        """`open` or `secret`."""
        return self.config.mode

    def roster(self) -> list[RosterEntry]:
        """Return every agent known."""
        return self._node.roster(self._key)

    def reached(self) -> list[Reached]:
        """Return which other nodes are linked, and where nobody is reached."""
        return self._node.reached()

    async def status(self) -> Status:
        """Return how this session and its mesh are doing."""
        return await self._node.status(self._key)

    async def register(self, name: str, *, profile: Profile | None = None) -> Agent:
        """Take the mailbox `name` and become its agent; again under the same name is fine.

        Raises:
            UsageError: a bad name, or this session has another one (rename it).
            NameInUseError: a live session of this host holds it.
        """
        check_name(name)
        if self.agent is not None:
            if fold(self.agent.name) != fold(name):
                text = f"This session is {self.agent.name} already; use rename to change that."
                raise UsageError(text)
            return self.agent
        shown = profile or Profile()
        self._key = await self._node.holding.take(name, replace(shown, host=host_label()))
        await self._node.settle()
        self.agent = Agent(self._node, self._key)
        return self.agent

    async def __aenter__(self) -> Self:
        await self._node.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._node.__aexit__(kind, error, trace)

    async def _dispatch(self, op: str, args: JsonObject) -> Answer:
        return await self._operations(op, args)

    async def _release(self, name: str) -> bool:
        return await self._node.holding.release(name)


def open_session(config: Config | None = None) -> Session:
    """Return a session to enter with `async with`; None reads the environment."""
    return Session(Config.from_env(os.environ) if config is None else config)


@asynccontextmanager
async def join(
    name: str, config: Config | None = None, *, profile: Profile | None = None
) -> AsyncIterator[Agent]:
    """Join the mesh as `name` for the length of the block.

    Raises:
        ConfigError: a setting is wrong.
        NameInUseError: a live session of this host holds the name.
    """
    async with open_session(config) as session:
        yield await session.register(name, profile=profile)
