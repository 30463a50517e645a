"""Whole nodes in one process: real core, ciphers and engine, on loopback and memory disks."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mesh.core.events import Broadcast, Draft, MailboxTaken, Shown, Sighted, Source, Submit
from mesh.core.node import Node
from mesh.core.snapshot import MailboxSnapshot
from mesh.driver import contents
from mesh.driver.ciphers import Ciphers
from mesh.driver.clock import MachineClocks, now_s
from mesh.driver.contents import Options
from mesh.driver.desk import Desk
from mesh.driver.engine import Engine
from mesh.driver.outbound import Outbound
from mesh.driver.receipt import Receipt
from mesh.driver.recovery import DiskWatch
from mesh.driver.stores import Stores
from mesh.errors import StoreError
from mesh.model import HostId, Incarnation, Kind, MailboxKey, Profile, parse_address
from mesh.net.loopback import LoopbackNetwork
from mesh.packet import Greeting
from mesh.store.interface import InboxQuery
from mesh.store.memory import MemoryStore
from mesh.store.memory_disk import MemoryDisk
from mesh.wire.keys import MailboxSigner, NodeSigner, open_keys

WAIT_S = 5.0


@dataclass
class LoopNode:
    """One node with one mailbox."""

    name: str
    network: LoopbackNetwork
    signer: MailboxSigner = field(default_factory=lambda: MailboxSigner(os.urandom(32)))
    is_broken: bool = False

    def __post_init__(self) -> None:
        node = NodeSigner(os.urandom(32))
        self.transport = self.network.transport(self.name, curve=node.curve.public)
        self.key: MailboxKey = self.signer.key
        self.disk = MemoryDisk(self.key, self.name, "one", Incarnation(os.urandom(8)))
        self.stores = Stores()
        self.links_lost = 0
        self.desk = Desk(
            on_link_lost=self._on_link_lost, on_host_changed=lambda: None, on_moved=lambda: None
        )
        greeting = Greeting(
            version=1,
            node=node.id,
            host=HostId(os.urandom(16)),
            curve=self.transport.curve,
            endpoints=(f"loop://{self.transport.name}",),
        )
        self.ciphers = Ciphers([open_keys("one")], node=node, sign=self._sign, random=os.urandom)
        self.core = Node(greeting, is_open=False, random=random.random, now=now_s())
        self.outbound = Outbound(
            transport=self.transport, ciphers=self.ciphers, stores=self.stores, greeting=greeting
        )
        self.engine = Engine(
            self.core,
            transport=self.transport,
            ciphers=self.ciphers,
            outbound=self.outbound,
            stores=self.stores,
            listener=self.desk,
            reopen=self.reopen,
            disk=DiskWatch(Path.cwd()),
        )

    def open(self, *, take: bool = True) -> MemoryStore:
        return MemoryStore.open(
            self.disk,
            mesh="one",
            clocks=MachineClocks(),
            take=take,
            text_of=contents.searchable_text,
        )

    def reopen(self, key: MailboxKey) -> MailboxSnapshot:
        assert key == self.key
        if self.is_broken:
            raise StoreError("The disk is gone.")
        store = self.open(take=False)
        self.stores.add(key, store)
        return store.snapshot()

    def take(self) -> None:
        store = self.open()
        self.stores.add(self.key, store)
        self.engine.post(MailboxTaken(store.snapshot(), is_live=True, profile=Profile()))

    def meet(self, other: "LoopNode") -> None:
        endpoint = f"loop://{other.transport.name}"
        self.engine.post(Sighted(Source.MDNS, other.transport.curve, (endpoint,)))

    async def send(self, to: str, content: str) -> Receipt:
        draft = draft_of(content)
        return await self.submit(lambda token: Submit(token, self.key, parse_address(to), (draft,)))

    async def broadcast(self, content: str) -> Receipt:
        draft = draft_of(content, Kind.BROADCAST)
        return await self.submit(lambda token: Broadcast(token, self.key, draft))

    async def submit(self, make: Callable) -> Receipt:
        async with asyncio.timeout(WAIT_S):
            (receipt,) = await self.desk.request(self.engine.post, make)
        return receipt

    async def show_all(self) -> None:
        rows = list(self.disk.inbox)
        letters = await self.stores.use(self.key, lambda store: store.shown_letters(rows))
        await self.desk.request(
            self.engine.post, lambda token: Shown(token, self.key, tuple(letters))
        )

    async def sees(self, name: str) -> None:
        async with asyncio.timeout(WAIT_S):
            with self.desk.roster_bell.listen() as ear:
                while not any(self.core.roster.is_live(s) for s in self.core.roster.named(name)):
                    await ear.wait()

    async def inbox(self, count: int) -> list[str]:
        """Wait for so many messages and return their texts."""
        async with asyncio.timeout(WAIT_S):
            with self.desk.arrival_bell(self.key).listen() as ear:
                while len(found := await self.read()) < count:
                    await ear.wait()
        return found

    async def read(self) -> list[str]:
        page = await self.stores.use(self.key, lambda store: store.read(InboxQuery(limit=10_000)))
        return [contents.searchable_text(message.body) for message in page.messages]

    def _sign(self, key: MailboxKey, message: bytes) -> bytes:
        assert key == self.key
        return self.signer.sign(message)

    def _on_link_lost(self) -> None:
        self.links_lost += 1


def draft_of(content: str, kind: Kind = Kind.DIRECT) -> Draft:
    return contents.draft(content, None, Options(), kind=kind)


@asynccontextmanager
async def running(*names: str) -> AsyncIterator[list[LoopNode]]:
    """Nodes that run, hold their mailboxes and know nothing of each other."""
    network = LoopbackNetwork()
    nodes = [LoopNode(name, network) for name in names]
    async with asyncio.TaskGroup() as group:
        work = []
        for node in nodes:
            await node.stores.__aenter__()
            await node.transport.__aenter__()
            node.take()
            work += [group.create_task(node.engine.run()), group.create_task(node.engine.listen())]
        try:
            yield nodes
        finally:
            for task in work:
                task.cancel()
    for node in nodes:
        await node.transport.__aexit__(None, None, None)
        await node.stores.__aexit__(None, None, None)


@asynccontextmanager
async def linked(*names: str) -> AsyncIterator[list[LoopNode]]:
    """Running nodes, the first of which has dialled all others."""
    async with running(*names) as nodes:
        for other in nodes[1:]:
            nodes[0].meet(other)
            await nodes[0].sees(other.name)
            await other.sees(nodes[0].name)
        yield nodes
