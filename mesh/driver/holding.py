"""Which mailboxes this node holds: its own agent's, and those it tends for agents that are away.

All file work runs on the store thread. A name is taken by its lock; where another node of this host
merely tends the mailbox, that node is asked to release it.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from mesh import limits
from mesh.config import Config
from mesh.core.events import Event, MailboxReleased, MailboxTaken
from mesh.core.snapshot import MailboxSnapshot
from mesh.driver import contents, remote
from mesh.driver.clock import MachineClocks
from mesh.driver.stores import Stores
from mesh.errors import ConfigError, MeshError, NameInUseError, StoreError, TransportError
from mesh.model import MailboxKey, NodeId, Profile, fold
from mesh.net.registry import LocalNode, live_nodes
from mesh.store.home import Home
from mesh.store.locks import is_held
from mesh.store.mailboxes import MailboxDirectory, holder_of, orphans, seeds_of
from mesh.store.sqlite import SqliteStore
from mesh.wire.keys import MailboxSigner

_log = logging.getLogger(__name__)
_TAKE_TIMEOUT_S = 6.0
_TAKE_PAUSE_S = 0.05
_LOOK_PAUSE_S = 0.2
_PROMISE_S = 10.0
_PROMISES_MAX = 64
_SETTLE_TIMEOUT_S = 1.0


@dataclass(slots=True)
class Held:
    """One mailbox of this node."""

    directory: MailboxDirectory
    signer: MailboxSigner
    store: SqliteStore
    is_live: bool


class Holding:
    """Takes, tends, renames and releases mailboxes."""

    def __init__(
        self,
        home: Home,
        *,
        config: Config,
        node: NodeId,
        stores: Stores,
        post: Callable[[Event], None],
        settle: Callable[[], Awaitable[None]],
        changed: Callable[[], None],
        let_go: Callable[[MailboxKey], Awaitable[None]],
    ) -> None:
        self._home = home
        self._config = config
        self._node = node
        self._stores = stores
        self._post = post
        self._settle = settle
        self._changed = changed
        self._let_go = let_go
        self._clocks = MachineClocks()
        self._held: dict[MailboxKey, Held] = {}
        self._foreign: set[str] = set()
        self._promised: dict[str, float] = {}
        self._look = asyncio.Event()
        self._moving = asyncio.Lock()
        self._is_ending = False

    @property
    def names(self) -> list[str]:
        """The names of all mailboxes held."""
        return [held.store.name for held in self._held.values()]

    def sign(self, key: MailboxKey, message: bytes) -> bytes:
        """Sign for a mailbox held by this node."""
        return self._held[key].signer.sign(message)

    def files_of(self, key: MailboxKey) -> Path:
        """Return where a mailbox keeps what it received.

        Raises:
            StoreError: it is not held any more.
        """
        held = self._held.get(key)
        if held is None:
            raise StoreError("This mailbox is not held by this process any more.")
        return held.directory.files

    async def take(self, name: str, profile: Profile) -> MailboxKey:
        """Take the mailbox of this node's agent.

        Raises:
            NameInUseError: a live session holds it; says which.
            ConfigError, StoreError: it cannot be used.
        """
        own = next((h for h in self._held.values() if fold(h.store.name) == fold(name)), None)
        if own is not None:
            own.is_live = True
            if await self._retake(own, profile):
                return own.signer.key
        deadline = asyncio.get_running_loop().time() + _TAKE_TIMEOUT_S
        while (held := await self._open_whole(name, is_live=True)) is None:
            try:
                async with asyncio.timeout_at(deadline):
                    is_staying = await self._ask_to_release(name)
                    await asyncio.sleep(0 if is_staying else _TAKE_PAUSE_S)
            except TimeoutError:  # It may be stopped, as by Ctrl-Z: then it lets go of nothing.
                who = await self._stores.run(lambda: self._who_holds(name))
                text = f"The name {name} is held on this host by {who}, which does not let go of it"
                raise NameInUseError(f"{text}: it is stopped, or very busy.") from None
            if is_staying:
                who = await self._stores.run(lambda: self._who_holds(name))
                raise NameInUseError(
                    f"The name {name} is in use by a live session on this host ({who})."
                )
        return await self._add(held, profile)

    async def release(self, name: str) -> bool:
        """Give up a tended mailbox to the session that asks for it; False if we may not.

        It is not tended again for a while: a session that starts on a busy machine needs it.
        """
        if len(self._promised) < _PROMISES_MAX:
            self._promised[fold(name)] = asyncio.get_running_loop().time() + _PROMISE_S
        for key, held in list(self._held.items()):
            if fold(held.store.name) == fold(name) and not held.is_live:
                await self._drop(key)
                return key not in self._held
        return False

    async def release_all(self) -> None:
        """Give up everything and tend nothing more; the node is about to end."""
        self._is_ending = True
        for key in list(self._held):
            await self._drop(key)

    def reopen(self, key: MailboxKey) -> MailboxSnapshot:
        """Open a mailbox's store again after a failed commit. Runs on the store thread."""
        held = self._held.get(key)
        if held is None:
            raise StoreError("This mailbox is not held by this process any more.")
        held.store.close()
        held.store = self._open_store(held.directory, held.signer, name=None, take=False)
        self._stores.add(key, held.store)
        return held.store.snapshot()

    async def rename(
        self, key: MailboxKey, name: str, commit: Callable[[], Awaitable[None]]
    ) -> None:
        """Move a mailbox to another name; `commit` writes the name durably.

        Raises:
            NameInUseError: the name is taken on this host; nothing was done.
        """
        held = self._held[key]
        until_ms = self._clocks.wall_ms() + int(limits.alias_s * 1000)
        await self._stores.run(lambda: held.directory.begin_rename(name, until_ms=until_ms))
        try:
            await commit()
        except BaseException:
            await self._stores.run(held.directory.cancel_rename)
            raise
        await self._stores.flush()
        await self._stores.run(lambda: self._finish_rename(key))
        self._changed()

    def look(self) -> None:
        """Look for orphaned mailboxes now."""
        self._look.set()

    async def keys_of_host(self) -> frozenset[MailboxKey]:
        """Return the keys of all mailboxes of this host, whoever holds them."""
        seeds = await self._stores.run(lambda: seeds_of(self._home))
        return frozenset(MailboxSigner(seed).key for seed in seeds)

    async def tend(self) -> None:
        """Hold every mailbox of this host that nobody else holds, until cancelled.

        Whatever may leave one without a holder is noticed (`look`); looking unasked is a backstop.
        """
        while True:
            now = asyncio.get_running_loop().time()
            self._promised = {name: end for name, end in self._promised.items() if end > now}
            for name in await self._stores.run(self._orphans):
                await self._try_to_tend(name)
            try:
                async with asyncio.timeout(
                    _PROMISE_S if self._promised else limits.tend_interval_s
                ):
                    await self._look.wait()
            except TimeoutError:
                continue
            # Where one comes or goes others often do: one look will serve for them all.
            await asyncio.sleep(_LOOK_PAUSE_S)
            self._look.clear()

    def _orphans(self) -> list[str]:
        if self._is_ending or len(self._held) > limits.tended_mailboxes_max:
            return []
        try:
            found = orphans(self._home)
        except (StoreError, OSError) as exc:
            _log.warning("cannot look for orphaned mailboxes: %s", exc)
            return []
        room = limits.tended_mailboxes_max - len(self._held)
        return [name for name in found if name not in self._foreign][:room]

    async def _try_to_tend(self, name: str) -> None:
        if self._is_ending or name in self._promised:
            return
        try:
            held = await self._open_whole(name, is_live=False)
        except ConfigError:
            self._foreign.add(name)
            return
        except MeshError as exc:
            self._foreign.add(name)
            _log.warning("cannot tend %s: %s", name, exc)
            return
        except OSError as exc:  # No descriptor is left, perhaps: later there may be one.
            _log.warning("cannot tend %s for now: %s", name, exc)
            return
        if held is not None and self._is_ending:
            await self._stores.run(lambda: _close(held))
        elif held is not None:
            await self._add(held, Profile(host=host_label()))

    async def _open_whole(self, name: str, *, is_live: bool) -> Held | None:
        """Take and open a mailbox if it is free; if cancelled, give it up again."""
        opened: list[Held] = []

        def work() -> Held | None:
            held = self._open(name, is_live=is_live)
            opened.extend([held] if held else [])
            return held

        try:
            return await self._stores.run(work)
        except asyncio.CancelledError:
            # The one thread has done `work` before this.
            await self._stores.run(lambda: _close_all(opened))
            raise

    def _open(self, name: str, *, is_live: bool) -> Held | None:
        directory = MailboxDirectory.take(self._home, name, node=self._node.hex())
        if directory is None:
            return None
        try:
            signer = MailboxSigner(directory.seed)
            shown = name if is_live else None
            store = self._open_store(directory, signer, name=shown, take=True)
        except BaseException:
            directory.release()
            raise
        return Held(directory, signer, store, is_live)

    def _open_store(
        self, directory: MailboxDirectory, signer: MailboxSigner, *, name: str | None, take: bool
    ) -> SqliteStore:
        store = SqliteStore.open(
            directory.database,
            key=signer.key,
            name=name,
            mesh=self._config.mesh,
            clocks=self._clocks,
            take=take,
            text_of=contents.searchable_text,
        )
        for report in store.reports:
            _log.warning("%s", report)
        return store

    async def _add(self, held: Held, profile: Profile) -> MailboxKey:
        key = held.signer.key
        async with self._moving:
            self._held[key] = held
            self._stores.add(key, held.store)
            snapshot = await self._stores.run(held.store.snapshot)
            self._post(MailboxTaken(snapshot, held.is_live, profile))
        self._changed()
        return key

    async def _retake(self, held: Held, profile: Profile) -> bool:
        """The agent of a mailbox we tend is back in this process; False if it was just lost."""
        key = held.signer.key
        async with self._moving:
            if self._held.get(key) is not held:
                return False
            self._post(MailboxReleased(key))
            await self._settle()  # Nothing may be committed between the snapshot and its use.
            await self._stores.flush()
            snapshot = await self._stores.run(lambda: self.reopen(key))
            self._post(MailboxTaken(snapshot, is_live=True, profile=profile))
        self._changed()
        return True

    async def _drop(self, key: MailboxKey) -> None:
        """Give a mailbox up, wholly even if cancelled: half given up, nobody could have it."""
        async with self._moving:
            held = self._held.get(key)
            if held is None or (held.is_live and not self._is_ending):
                return
            self._post(MailboxReleased(key))
            try:
                await self._settle()
            finally:
                await self._finish_drop(key, held)

    async def _finish_drop(self, key: MailboxKey, held: Held) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_TIMEOUT_S):
                    await self._settle()
        finally:  # Before Python 3.11.4 a timeout in a cancelled task ends in CancelledError.
            await self._stores.flush()
            await self._let_go(key)
            del self._held[key]
            self._stores.drop(key)
            await self._stores.run(lambda: _close(held))
            self._changed()

    def _finish_rename(self, key: MailboxKey) -> None:
        held = self._held[key]
        held.store.close()
        held.directory.finish_rename()
        held.store = self._open_store(held.directory, held.signer, name=None, take=False)
        self._stores.add(key, held.store)

    async def _ask_to_release(self, name: str) -> bool:
        """Ask the holder of a mailbox for it; True if it is a session that stays and keeps it."""
        node = await self._stores.run(lambda: self._holder(name))
        if node is None:
            return False
        try:
            if await remote.release(node.control, node.token, name):
                return False
            agent = await remote.connect(node.control, node.token)
        except TransportError as exc:
            _log.debug("cannot ask process %d to release %s: %s", node.pid, name, exc)
            return False
        return agent is not None and not agent.is_passing and fold(agent.name) == fold(name)

    def _holder(self, name: str) -> LocalNode | None:
        holder = holder_of(self._home, name)
        nodes = live_nodes(self._home.run, is_held)
        return next((node for node in nodes if node.node.hex() == holder), None)

    def _who_holds(self, name: str) -> str:
        node = self._holder(name)
        return f"the process {node.pid}" if node else "another process"


def _close(held: Held) -> None:
    try:
        held.store.close()
    finally:
        held.directory.release()


def _close_all(opened: list[Held]) -> None:
    for held in opened:
        _close(held)


def host_label() -> str:
    return socket.gethostname().split(".")[0]
