"""The one mesh session of this process: opened when it is wanted, kept, and closed with a goodbye.

A client that only looks at the tools (a health check) must leave no trace, so nothing is opened at
start. `notice` says that a client is there; the session opens soon after. `want` opens it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final, TypeAlias

import mesh
from mcp_bridge.config import Push, profile, wake
from mcp_bridge.news import News

Opener: TypeAlias = "Callable[[mesh.Config], AbstractAsyncContextManager[mesh.Session]]"

log = logging.getLogger(__name__)

linger_s: Final = 1.0
"""How long after a first look a client must still be there; a health check is gone by then."""
open_timeout_s: Final = 20.0
look_around_s: Final = 1.5
"""How long a new node needs to know who is there, on this host and on the LAN."""
_quiet_fraction: Final = 0.2
"""For which part of that time no mail must have come, before what waited is said to be here."""
_reopen_pause_s: Final = 1.0


class NotRegisteredError(mesh.UsageError):
    """The session has no name yet."""

    code = "not_registered"


class AlreadyRegisteredError(mesh.UsageError):
    """The session has another name already."""

    code = "already_registered"


class Keeper:
    """Keeps the session. `run` must be running for anything else to get anywhere."""

    def __init__(
        self,
        config: mesh.Config,
        *,
        opener: Opener,
        place: str = "",
        look_around_s: float = look_around_s,
    ) -> None:
        self.news = News()
        self.push = Push.OFF
        self.client = ""
        self.token = ""
        self.queued_told = 0
        """How many unread messages the model was told of when it registered."""
        self._is_hooked = False
        self._place = place
        self._config = config
        self._opener = opener
        self._look_around_s = look_around_s
        self._name = config.instance_id
        self._summary = ""
        self._opened_at = 0.0
        self._session: mesh.Session | None = None
        self._failure: mesh.MeshError | None = None
        self._start_failure: mesh.MeshError | None = None
        self._naming = asyncio.Lock()
        self._named = asyncio.Event()
        self._noticed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._leaving = asyncio.Event()
        self._ended = asyncio.Event()

    def notice(self, client: str = "") -> None:
        """Note that a client is there, and its name; the session opens soon."""
        self.client = client or self.client
        self._noticed.set()

    def want(self, client: str = "") -> None:
        """Have the session opened now; a failed one is tried again."""
        self.notice(client)
        self._wanted.set()

    async def run(self) -> None:
        """Open the session when wanted, keep it, and close it after `leave`.

        Raises:
            ConfigError: a setting is wrong; the process cannot do its work.
        """
        try:
            while await self._is_wanted():
                await self._live()
        finally:
            self._ended.set()
            self._settled.set()

    async def leave(self) -> None:
        """Close the session, with a goodbye to the mesh, and wait for that."""
        self._leaving.set()
        self.want()
        await self._ended.wait()

    async def session(self) -> mesh.Session:
        """Return the session, opened and named if a name was configured.

        Raises:
            MeshError: it could not be opened; the next call tries again.
        """
        if self._session is None and not self._leaving.is_set():
            self._settled.clear()
            self.want()
            try:
                async with asyncio.timeout(open_timeout_s):
                    await self._settled.wait()
            except TimeoutError as exc:
                raise mesh.TransportError("The mesh node is still starting; try again.") from exc
        if self._session is None:
            raise self._failure or mesh.TransportError("This session is ending.")
        return self._session

    async def agent(self) -> mesh.Agent:
        """Return the registered agent.

        Raises:
            NotRegisteredError: there is none yet.
            MeshError: the session could not be opened.
        """
        found = (await self.session()).agent
        if found is None:
            reason = f"{self._start_failure} " if self._start_failure else ""
            raise NotRegisteredError(
                f"{reason}This session is not registered: call register with instance_id, "
                "a name for it, first."
            )
        return found

    async def named(self) -> mesh.Agent:
        """Wait until there is a registered agent, and return it."""
        while (agent := self.agent_or_none) is None:
            self._named.clear()
            await self._named.wait()
        return agent

    def present(self, *, push: Push | None = None, is_hooked: bool | None = None) -> None:
        """Let the others know by what mail wakes this session from now on."""
        before = self._wake
        self.push = self.push if push is None else push
        self._is_hooked = self._is_hooked if is_hooked is None else is_hooked
        if self._wake != before and self._session is not None:
            self._describe(self._session)

    @property
    def news_due_s(self) -> float:
        """For how long yet a peer may be unknown only because this node is new."""
        age_s = asyncio.get_running_loop().time() - self._opened_at
        return max(0.0, self._look_around_s - age_s)

    async def look_around(self) -> None:
        """Wait until a new node can know who is there."""
        await asyncio.sleep(self.news_due_s)

    @property
    def agent_or_none(self) -> mesh.Agent | None:
        """The registered agent, if there is one by now."""
        return None if self._session is None else self._session.agent

    @property
    def unread(self) -> int:
        """How many messages wait to be read."""
        try:
            return 0 if self.agent_or_none is None else self.agent_or_none.unread
        except mesh.StoreError:
            return 0

    async def register(self, name: str, summary: str) -> mesh.Agent:
        """Take a name; the same name again is fine.

        Raises:
            AlreadyRegisteredError: the session has another name.
            NameInUseError: another live process has the name.
            UsageError: the name or the summary is bad.
        """
        session = await self.session()
        async with self._naming:
            if session.agent is None:
                return await self._take(session, name, summary, is_told=True)
            if session.agent.name.lower() != name.lower():
                raise AlreadyRegisteredError(
                    f"This session is registered as {session.agent.name}; "
                    "use rename to change its name."
                )
            if summary:
                self._summary = summary
                self._describe(session)
            return session.agent

    async def _take(
        self, session: mesh.Session, name: str, summary: str, *, is_told: bool = False
    ) -> mesh.Agent:
        self._summary = summary
        agent = await session.register(name, profile=self._profile())
        self._name = name
        if is_told:
            await self._gather(agent)
            self.queued_told = agent.unread
        self.token = self.token or secrets.token_urlsafe(32)
        self._start_failure = None
        self._named.set()
        return agent

    async def _gather(self, agent: mesh.Agent) -> None:
        """Let mail that waited elsewhere for this name come in, until no more of it comes."""
        with contextlib.suppress(TimeoutError), agent.arrivals() as ear:
            async with asyncio.timeout(self._look_around_s):
                while True:
                    async with asyncio.timeout(self._look_around_s * _quiet_fraction):
                        await ear.wait()

    async def rename(self, name: str) -> mesh.Renamed:
        """Take another name."""
        renamed = await (await self.agent()).rename(name)
        self._name = renamed.name
        return renamed

    def _describe(self, session: mesh.Session) -> None:
        if session.agent is not None:
            host = next((entry.host for entry in session.roster() if entry.you), "")
            session.agent.describe(replace(self._profile(), host=host))

    def _profile(self) -> mesh.Profile:
        return profile(
            client=self.client, summary=self._summary, place=self._place, wake=self._wake
        )

    @property
    def _wake(self) -> str:
        return wake(self.push, is_hooked=self._is_hooked)

    async def _is_wanted(self) -> bool:
        """Wait until the session is wanted, or for a while after a client was noticed."""
        if self._leaving.is_set():
            return False
        await self._noticed.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self._failure else linger_s):
                await self._wanted.wait()
        return not self._leaving.is_set()

    async def _live(self) -> None:
        """Keep one session from its opening to its end; one that fails in between is reopened."""
        self._failure = None
        try:
            async with self._opener(self._config) as session:
                self._opened_at = asyncio.get_running_loop().time()
                await self._claim_name(session)
                self._session = session
                self._named.set()
                self._settled.set()
                await self._leaving.wait()
        except mesh.ConfigError:
            raise
        except mesh.MeshError as exc:
            log.warning("The mesh node failed: %s", exc)
            self._failure = exc
        finally:
            was_open, self._session = self._session is not None, None
            self.news.changed.set()
            self._settled.set()
            self._wanted.clear()
        if was_open and not self._leaving.is_set():
            await asyncio.sleep(_reopen_pause_s)
            self._wanted.set()

    async def _claim_name(self, session: mesh.Session) -> None:
        """Register under the last name, else `IPC_INSTANCE_ID`; remember why not, if that fails."""
        if self._name is None:
            return
        try:
            await self._take(session, self._name, self._summary)
        except mesh.MeshError as exc:
            log.warning("Not registered as %s: %s", self._name, exc)
            self._start_failure = exc
