"""One node: the place where all parts are put together, started and ended.

Order of ending: say goodbye, give up the mailboxes (other nodes of the host take them over at
once), leave the registry, close the sockets, free the node's lock last.
"""

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from mesh.config import Config
from mesh.core.events import Event, PacketReceived, Rename, Stopping
from mesh.core.link import SELF_LINK
from mesh.core.links import PROTOCOL_VERSION
from mesh.core.mailbox import Mailbox
from mesh.core.node import Node
from mesh.core.transfer import FileQuota
from mesh.driver import contents, view
from mesh.driver.ciphers import Ciphers
from mesh.driver.clock import now_s, wall_ms
from mesh.driver.contents import Options
from mesh.driver.control import Answer, ControlServer
from mesh.driver.desk import Desk
from mesh.driver.door import Door
from mesh.driver.engine import Engine
from mesh.driver.holding import Holding
from mesh.driver.outbound import Outbound
from mesh.driver.recovery import DiskWatch
from mesh.driver.results import JsonObject, Reached, RosterEntry, Status
from mesh.driver.rotation import Rotation
from mesh.driver.sources import enter_sources
from mesh.driver.start import check_start
from mesh.driver.stores import Stores
from mesh.driver.transfers import Transfers
from mesh.errors import StoreError
from mesh.model import Address, Kind, LinkId, MailboxKey, State, Why
from mesh.net.addresses import is_on_loopback, told_by_member
from mesh.net.interface import Discovery
from mesh.net.registry import LocalNode, Registry, lock_path
from mesh.net.zmq_transport import Keys, ZmqTransport
from mesh.packet import Greeting, Packet
from mesh.store.home import Home
from mesh.store.interface import StoredReceipt
from mesh.store.locks import FileLock, is_held
from mesh.wire.keys import MeshKeys, NodeSigner

_log = logging.getLogger(__name__)
_FINISH_S = 0.5

Dispatch = Callable[[str, JsonObject], Awaitable[Answer]]


class MeshNode:
    """A running node, between `async with` and its end. Holds no name by itself.

    `dispatch` answers this user's commands at the control endpoint.
    """

    def __init__(self, config: Config, *, dispatch: Dispatch) -> None:
        self.config = config
        self._signer = NodeSigner(os.urandom(32))
        self.id = self._signer.id
        self.stores = Stores()
        self.desk = Desk(
            on_link_lost=self._look_around,
            on_host_changed=self._look_for_mailboxes,
            on_moved=self._look_everywhere,
        )
        self.transfers = Transfers(self, config)
        self._dispatch = dispatch
        self._stack = AsyncExitStack()
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []
        self._discoveries: list[Discovery] = []
        self._rotation = Rotation(config)
        self._registry: Registry
        self._transport: ZmqTransport
        self._engine: Engine
        self._outbound: Outbound
        self._control: ControlServer
        self.holding: Holding
        self.core: Node

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        await self._tasks.__aenter__()
        for work in self._work():
            self._running.append(self._tasks.create_task(work))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if not any(map(_has_failed, self._running)):
                await self._say_goodbye()
        finally:
            for task in self._running:
                task.cancel()
            try:
                await self._join(kind, error, trace)
            finally:  # A cancelled node closes everything, too.
                self.desk.close(StoreError("The node has ended."))
                await self._stack.aclose()

    # What agents use.

    def post(self, event: Event, *, can_wait: bool = False) -> None:
        """Hand an event to the core; one that can wait goes with the next that cannot."""
        self._engine.post(event, can_wait=can_wait)

    async def settle(self) -> None:
        """Wait until everything posted so far has been carried out."""
        await self._engine.settle()

    def mailbox(self, key: MailboxKey) -> Mailbox:
        """Return the core's view of a mailbox held by this node.

        Raises:
            StoreError: it is not held any more, or out of use until its disk works again.
        """
        mailbox = self.core.mailboxes.get(key)
        if mailbox is None:
            gone = StoreError("This mailbox is not held by this process any more.")
            raise self._engine.recovery.trouble(key) or gone
        return mailbox

    def send(self, link: LinkId, packet: Packet) -> None:
        """Send a piece of a file; to this very node it comes as an event."""
        if link == SELF_LINK:
            self.post(PacketReceived(link, packet))
        else:
            self._outbound.send(link, packet)

    def needs_file(self, key: MailboxKey, digest: bytes) -> bool:
        """Whether a letter of this mailbox is owed that carries this file."""
        return self.core.offers.needs_file(key, digest)

    def letters_with_file(self, key: MailboxKey, digest: bytes) -> int:
        """Return how many letters of this mailbox are owed that carry this file."""
        return self.core.offers.letters_with_file(key, digest)

    def route_to(self, key: MailboxKey, address: Address) -> tuple[LinkId, MailboxKey] | None:
        """Return by which link whom an address means to a mailbox is reached now, and its key."""
        return self.core.offers.route_to(key, address, now_s())

    def files_of(self, key: MailboxKey) -> Path:
        """Return where a mailbox keeps what it received."""
        return self.holding.files_of(key)

    async def keys_of_host(self) -> frozenset[MailboxKey]:
        """Return the keys of all mailboxes of this host: nobody else can have signed with them."""
        return await self.holding.keys_of_host()

    def roster(self, own: MailboxKey | None) -> list[RosterEntry]:
        """Return every agent known, as `own` sees them."""
        return view.roster_entries(self.core, own, is_open=self.config.mode == "open")

    def reached(self) -> list[Reached]:
        """Return which nodes are linked, and where nobody is reached."""
        return view.reached(self.core)

    def why(self, key: MailboxKey, entry: StoredReceipt) -> Why:
        """Say why a message is where it is."""
        if entry.state is not State.QUEUED:
            return entry.why
        return self.core.why(key, entry.message_id, entry.to, now_s())

    async def status(self, own: MailboxKey | None) -> Status:
        """Return how this node, and the agent `own`, are doing."""
        counts = await self.stores.use(own, lambda store: store.counts()) if own else None
        return view.node_status(
            self.core,
            self.config,
            own=own,
            counts=counts,
            endpoints=self._transport.endpoints,
            drops=self._transport.drops + self._engine.drops,
            problems=(
                *self.config.warnings,
                *self._rotation.problems,
                *self._engine.skews.problems,
            ),
            refusals=self._transport.refusals(),
        )

    async def rename(self, key: MailboxKey, name: str) -> None:
        """Give an agent of this node another name.

        Raises:
            RateLimitError, NameInUseError, StoreError: nothing was done.
        """
        old = self.mailbox(key).name
        text = f"{old} is now called {name}; mail to {old} is forwarded for 2 hours."
        draft = contents.draft(
            text, {"type": "renamed", "old": old, "new": name}, Options(), kind=Kind.RENAMED
        )

        async def commit() -> None:
            await self.desk.request(self.post, lambda token: Rename(token, key, name, draft))

        await self.holding.rename(key, name, commit)

    # Starting.

    async def _open(self) -> None:
        stack, config = self._stack, self.config
        await stack.enter_async_context(self.stores)
        home = await self.stores.run(self._open_home)
        for report in home.reports:
            _log.warning("%s", report)
        lock = await self.stores.run(lambda: self._lock(home))
        stack.callback(lock.remove)
        mesh_keys = await self.stores.run(lambda: self._rotation.derive(home))
        self._transport = await stack.enter_async_context(self._new_transport(home, mesh_keys))
        greeting = Greeting(
            version=PROTOCOL_VERSION,
            node=self.id,
            host=home.host_id,
            curve=self._transport.curve,
            endpoints=self._transport.endpoints,
        )
        is_here = is_on_loopback(greeting.endpoints)
        quota = FileQuota(
            file_bytes_max=config.file_bytes_max, author_bytes_max=config.files_bytes_per_author_max
        )
        self.core = Node(
            greeting,
            is_open=config.mode == "open",
            is_strict=config.is_strict,
            random=random.random,
            now=now_s(),
            may_dial=lambda endpoint: told_by_member(endpoint, is_loopback_allowed=is_here),
            quota=quota,
        )
        self.holding = Holding(
            home,
            config=config,
            node=self.id,
            stores=self.stores,
            post=self.post,
            settle=self.settle,
            changed=self._names_changed,
            let_go=self.transfers.release,
        )
        await stack.enter_async_context(self.transfers)
        self._engine = self._new_engine(mesh_keys, greeting)
        await self._enter_registry(home)
        others = await enter_sources(stack, config, self._transport)
        self._discoveries = [self._registry, *others]

    def _open_home(self) -> Home:
        check_start(self.config)
        home = Home.open(self.config.home, mesh=self.config.mesh)
        if self.config.mode == "secret":
            home.mark_secret_mode()
        return home

    def _lock(self, home: Home) -> FileLock:
        lock = FileLock.acquire(lock_path(home.ensure_run(), self.id), content=b"")
        assert lock is not None, "a random name cannot be taken"
        return lock

    def _new_transport(self, home: Home, mesh_keys: list[MeshKeys]) -> ZmqTransport:
        keys = Keys(
            clients=[(keys.client.secret, keys.client.public) for keys in mesh_keys],
            server_secret=self._signer.curve.secret,
            door_secret=mesh_keys[0].door.secret,
        )
        return ZmqTransport(
            keys,
            bind=self.config.listen_host,
            ipc_path=home.run / f"{self.id.hex()}.sock" if os.name == "posix" else None,
            random=os.urandom,
        )

    def _new_engine(self, mesh_keys: list[MeshKeys], greeting: Greeting) -> Engine:
        ciphers = Ciphers(mesh_keys, node=self._signer, sign=self.holding.sign, random=os.urandom)
        self._outbound = Outbound(
            transport=self._transport,
            ciphers=ciphers,
            stores=self.stores,
            greeting=greeting,
            place_of=self.transfers.place_of,
        )
        return Engine(
            self.core,
            transport=self._transport,
            ciphers=ciphers,
            outbound=self._outbound,
            stores=self.stores,
            listener=self.desk,
            reopen=self.holding.reopen,
            disk=DiskWatch(self.config.home),
            files=self.transfers.take,
        )

    async def _enter_registry(self, home: Home) -> None:
        token = os.urandom(16).hex()
        control = home.run / f"{self.id.hex()}.ctl"
        self._control = await self._stack.enter_async_context(
            ControlServer(control, token, self._dispatch)
        )
        own = LocalNode(
            node=self.id,
            curve=self._transport.curve,
            endpoints=self._transport.endpoints,
            mesh=self.config.mesh,
            pid=os.getpid(),
            names=(),
            started_ms=wall_ms(),
            control=self._control.endpoint,
            token=token,
        )
        registry = Registry(home.run, own=own, is_held=is_held)
        self._registry = await self._stack.enter_async_context(registry)

    # Running.

    def _work(self) -> list[Coroutine[None, None, None]]:
        engine = self._engine
        work: list[Coroutine[None, None, None]] = [
            engine.run(),
            engine.listen(),
            engine.recovery.run(),
            self._control.serve(),
            self._rotation.watch(self._retire_previous),
            self.transfers.run(),
        ]
        work += [engine.discover(discovery) for discovery in self._discoveries]
        if self.config.tends:
            work.append(self.holding.tend())
        if self.config.advertises and self.config.port:
            door = Door(self._transport, host=self.config.listen_host, port=self.config.port)
            work.append(door.keep())
        return work

    def _retire_previous(self) -> None:
        self._transport.accept_only([keys.client.public for keys in self._rotation.keys])
        self._engine.retire_previous()

    def _look_around(self) -> None:
        self._registry.rescan()
        self._look_for_mailboxes()

    def _look_everywhere(self) -> None:
        self._transport.find_endpoints()
        self._registry.update(endpoints=self._transport.endpoints)
        for discovery in self._discoveries:
            discovery.rescan()

    def _look_for_mailboxes(self) -> None:
        self.holding.look()

    def _names_changed(self) -> None:
        self._registry.update(names=self.holding.names)

    # Ending.

    async def _say_goodbye(self) -> None:
        """Give up what we hold and tell the peers; their sockets linger until that has left."""
        await self._control.finish(_FINISH_S)
        self.desk.mark_seen(self.post)
        await self._engine.flush()
        await self.holding.release_all()
        self.post(Stopping())
        await self.settle()

    async def _join(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for the tasks; a failure of one of them is raised as itself."""
        is_cancelled = isinstance(error, asyncio.CancelledError)
        reason = (kind, error, trace) if is_cancelled else (None, None, None)
        try:
            await self._tasks.__aexit__(*reason)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from error


def _has_failed(task: asyncio.Task[None]) -> bool:
    """Whether a task ended otherwise than by having nothing left to do."""
    return task.done() and (task.cancelled() or task.exception() is not None)
