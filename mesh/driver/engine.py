"""The loop: take what has happened, step the core, send, commit once, answer.

One tick handles all waiting events, so a busy node batches by itself and an idle one never waits
for company. Mail leaves while the commit is running; acks and answers only after it. If a commit
fails, the mailbox is opened anew from what the disk really holds, and every message of that tick is
looked up there before its sender is told anything.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable
from typing import Final, Protocol

from mesh import limits
from mesh.core.effects import Accepted, Answer, Arrival, Denied, Done, Receipt
from mesh.core.events import (
    Event,
    LinkLost,
    LocalNodes,
    Loss,
    Moved,
    PacketReceived,
    Resumed,
    Timeout,
)
from mesh.core.filework import DropSpool, FileTask
from mesh.core.link import SELF_LINK
from mesh.core.node import Node
from mesh.driver.bell import Bell
from mesh.driver.ciphers import Ciphers
from mesh.driver.clock import SleepWatch, now_s, wall_ms
from mesh.driver.inbound import Inbound
from mesh.driver.merge import Answering, Merged
from mesh.driver.outbound import Outbound
from mesh.driver.recovery import DiskWatch, Recovery, Reopen
from mesh.driver.skew import Skews
from mesh.driver.stores import Stores
from mesh.errors import StoreError
from mesh.model import LinkId, MailboxKey
from mesh.net.interface import Discovery, Transport
from mesh.packet import Mail

_NEVER_UP: Final = frozenset({Loss.UNREACHABLE, Loss.REJECTED})
_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who hears of what the ticks have made true."""

    def answered(self, answer: Answer, error: StoreError | None) -> None:
        """A request was answered; `error` if its commit failed and the disk does not have it."""
        ...

    def uncertain(self, answer: Accepted, error: StoreError) -> None:
        """A message's commit failed and the disk cannot be asked either."""
        ...

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Letters have entered inboxes."""
        ...

    def receipts(self, receipts: Iterable[Receipt]) -> None:
        """Messages have moved on."""
        ...

    def roster_changed(self) -> None:
        """Peers or agents look different now."""
        ...

    def link_lost(self) -> None:
        """A link has ended: the registry should be asked who is still alive."""
        ...

    def host_changed(self) -> None:
        """Nodes of this host came or went: mailboxes may be without a holder."""
        ...

    def moved(self) -> None:
        """The network around this machine may be another: all should be looked for again."""
        ...


TakeFiles = Callable[[Iterable[FileTask]], None]
"""Carries out what is to be done with files that are streamed."""


class Engine:
    """Drives one core. Events may be posted from the event loop's thread only."""

    def __init__(
        self,
        core: Node,
        *,
        transport: Transport,
        ciphers: Ciphers,
        outbound: Outbound,
        stores: Stores,
        listener: Listener,
        reopen: Reopen,
        disk: DiskWatch,
        files: TakeFiles | None = None,
    ) -> None:
        self.core = core
        self.drops: Counter[str] = Counter()
        self._transport = transport
        self._ciphers = ciphers
        self._outbound = outbound
        self._stores = stores
        self._listener = listener
        self.recovery = Recovery(
            core,
            stores=stores,
            reopen=reopen,
            post_first=self._put_first,
            report=self._report,
            disk=disk,
        )
        self.skews = Skews()
        self._files = files
        self._inbound = Inbound(ciphers, outbound.lanes, refuse=self._refuse, drops=self.drops)
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._acks_put_off: list[Answering] = []
        self._acks_durable: list[Answering] = []
        self._flush_at: float | None = None
        self._posted = 0
        self._carried_out = 0
        self._ticked = Bell()
        stores.alarm = self._commit_now

    def post(self, event: Event, *, can_wait: bool = False) -> None:
        """Add an event to the next tick; one that can wait causes none."""
        self._events.append(event)
        self._posted += 1
        if not can_wait:
            self._wake.set()
        self._look_for_room()

    async def settle(self) -> None:
        """Wait until every event posted so far has been carried out."""
        wanted = self._posted
        self._wake.set()
        with self._ticked.listen() as ear:
            while self._carried_out < wanted:
                await ear.wait()

    async def run(self) -> None:
        """Tick until cancelled."""
        watch = SleepWatch()
        due_at: float | None = None
        while True:
            if not self._is_ready():
                due_at = await self._sleep()
                if watch.has_slept(due_at=due_at):
                    self.post(Resumed())
                    self._listener.moved()
            await self._tick()

    async def listen(self) -> None:
        """Let what the transport brings wait for its turn, as fast as the ticks keep up."""
        while True:
            events = await self._transport.receive()
            now = now_s()
            for event in events:
                self._inbound.put(event, now)
            self._wake.set()
            self._look_for_room()
            await self._room.wait()

    async def discover(self, discovery: Discovery) -> None:
        """Feed sightings in until cancelled."""
        while True:
            for event in await discovery.watch():
                self.post(event)
                if isinstance(event, LocalNodes):
                    self._listener.host_changed()
                elif isinstance(event, Moved):
                    self._listener.moved()

    def retire_previous(self) -> None:
        """Understand the current secret only, and end the links that an older one made."""
        for link in self._ciphers.retire_previous():
            if self._ciphers.knows(link):  # Else it is a lane, which has ended with its link.
                self._cut(link)

    async def _sleep(self) -> float | None:
        turn_at = self._inbound.next_turn(now_s())
        deadlines = (self.core.next_deadline(), self._flush_at, turn_at)
        due_at = min((d for d in deadlines if d is not None), default=None)
        delay_s = None if due_at is None else max(0.0, due_at - now_s())
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            return due_at
        return None

    async def _tick(self) -> None:
        waiting = len(self._events)
        merged = self._step_all()
        taken = waiting - len(self._events)
        for link in merged.closes:
            self._inbound.drop(link)
        if merged.transmissions and not self.recovery.disk.is_trusted():
            merged.hold_back()
        await self._outbound.at_once(merged)
        failed: dict[MailboxKey, StoreError] = {}
        # What waits may be what these answers speak of.
        is_touched = merged.changes or (self._flush_at is not None and merged.acks)
        if is_touched and merged.can_be_put_off() and not self._is_flush_due():
            self._put_off(merged)
        elif is_touched or self._is_flush_due():
            failed = await self._stores.commit(merged.changes)
            self._acks_durable += merged.join(self._signable(self._acks_put_off, failed))
            self._acks_put_off = []
        await self._outbound.after_commit(merged, failed)
        if merged.files and self._files is not None:
            self._files(task for task in merged.files if not _is_undone(task, failed))
        await self._publish(merged, failed)
        self._flush_acks()
        for packet in self._outbound.take_looped():
            self.post(PacketReceived(SELF_LINK, packet))
        self._carried_out += taken
        self._ticked.ring()

    def _put_off(self, merged: Merged) -> None:
        """Let verdicts share the next commit, if one comes soon; what says so waits with them."""
        self._stores.put_off(merged.changes)
        self._acks_put_off += merged.acks
        merged.acks, merged.changes = [], {}
        if self._flush_at is None:
            self._flush_at = now_s() + limits.put_off_s

    def _flush_acks(self) -> None:
        """Let what nobody waits for leave after everything else, and together."""
        if self._is_flush_due():
            self._outbound.answer(self._signable(self._acks_durable, ()))
            self._acks_durable = []
        if not self._acks_durable and not self._acks_put_off and not self._stores.has_put_off:
            self._flush_at = None

    def _signable(self, acks: list[Answering], failed: Container[MailboxKey]) -> list[Answering]:
        """Leave out those of mailboxes given up meanwhile, whose next holder says it again."""
        return [one for one in acks if one[1] not in failed and self._stores.has(one[1])]

    async def flush(self) -> None:
        """Write, and let leave, all that was put off, and what was posted before."""
        await self.settle()
        if self._flush_at is None:
            return
        self._commit_now()
        with self._ticked.listen() as ear:
            while self._flush_at is not None:
                await ear.wait()

    def _commit_now(self) -> None:
        """Ask for a commit, even of nothing: it tells which stores have failed."""
        self._flush_at = now_s()
        self._wake.set()

    def _is_flush_due(self) -> bool:
        return self._flush_at is not None and now_s() >= self._flush_at

    def _step_all(self) -> Merged:
        merged = Merged()
        now = now_s()
        for _ in range(min(len(self._events), limits.tick_events_max)):
            merged.add(self.core.step(self._events.popleft(), now))
        for event in self._inbound.take(now):
            merged.add(self.core.step(event, now))
            if isinstance(event, PacketReceived):
                if isinstance(event.packet, Mail):
                    self.skews.note(event.packet, wall_ms())
            elif isinstance(event, LinkLost) and event.loss not in _NEVER_UP:
                self._listener.link_lost()
        # Last: whoever has answered is not to be blamed for what kept this process from hearing it.
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= now:
            merged.add(self.core.step(Timeout(), now))
        self._wake.clear()
        if self._is_ready():
            self._wake.set()
        self._look_for_room()
        return merged

    def _is_ready(self) -> bool:
        """Whether something waits that may go into a tick now."""
        now = now_s()
        turn_at = self._inbound.next_turn(now)
        return bool(self._events) or (turn_at is not None and turn_at <= now)

    def _look_for_room(self) -> None:
        if len(self._events) < limits.tick_events_max and self._inbound.has_room(now_s()):
            self._room.set()
        else:
            self._room.clear()

    async def _publish(self, merged: Merged, failed: dict[MailboxKey, StoreError]) -> None:
        for notice in merged.notices:
            _log.log(notice.severity, "%s", notice.text)
        for answer in merged.answers:
            if isinstance(answer, Denied) or answer.mailbox not in failed:
                self._listener.answered(answer, None)
        self._listener.arrived(a for a in merged.arrivals if a.mailbox not in failed)
        self._listener.receipts(r for r in merged.receipts if r.mailbox not in failed)
        if merged.roster_changed:
            self._listener.roster_changed()
        for key in merged.changes:
            if key not in failed:
                self.recovery.succeeded(key)
        for key, error in failed.items():
            await self.recovery.recover(key, error, merged)

    def _put_first(self, *events: Event) -> None:
        """Let the core forget what the disk does not have before it decides anything else."""
        self._events.extendleft(reversed(events))
        self._posted += len(events)
        self._wake.set()

    def _report(
        self, answer: Accepted | Done, error: StoreError | None, *, uncertain: bool
    ) -> None:
        if uncertain and isinstance(answer, Accepted) and error is not None:
            self._listener.uncertain(answer, error)
        else:
            self._listener.answered(answer, error)

    def _refuse(self, link: LinkId) -> None:
        """A peer that never got through the greeting is not kept."""
        if not self._ciphers.is_open(link):
            self._cut(link)

    def _cut(self, link: LinkId) -> None:
        """End a link from here; the core is told."""
        self._ciphers.drop(link)
        self._inbound.drop(link)
        self._transport.close_link(link)
        self.post(LinkLost(link, Loss.CLOSED))


def _is_undone(task: FileTask, failed: dict[MailboxKey, StoreError]) -> bool:
    """Whether a file would be dropped for letters that the disk still holds as owed."""
    return isinstance(task, DropSpool) and task.mailbox in failed
