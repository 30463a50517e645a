"""One simulated process: drives a core exactly as the asyncio driver does, and may die anywhere.

A tick takes what has happened, steps the core, sends what need not wait, commits (which takes
virtual time, while more events come in), and only then sends acks and answers. `doom` names the
phase in which the process is killed, in the next tick that writes `doom_weight` things or more.
"""

from collections import deque
from dataclasses import replace

from mesh import limits
from mesh.core.changes import Change
from mesh.core.effects import Transmission
from mesh.core.events import (
    Event,
    LinkLost,
    Loss,
    MailboxReleased,
    MailboxTaken,
    PacketReceived,
    Resumed,
    Timeout,
    Token,
)
from mesh.core.link import SELF_LINK
from mesh.core.node import Node
from mesh.model import LinkId, MailboxKey, Profile
from mesh.packet import Greeting, Hello, Offer, Packet
from mesh.sim.answers import Answers
from mesh.sim.clock import HostClocks
from mesh.sim.disk import Disk, DiskFault
from mesh.sim.filing import Filing
from mesh.sim.history import Sending, Violation
from mesh.sim.network import Connection
from mesh.sim.put_off import PutOff
from mesh.sim.relapses import Relapses
from mesh.sim.setting import Setting
from mesh.sim.tick import Phase, Tick


class Process:
    """A node on a host. It ends by `crash`; nothing of it but the disks remains."""

    def __init__(
        self,
        setting: Setting,
        *,
        host_number: int,
        clocks: HostClocks,
        greeting: Greeting,
        secrets: tuple[int, ...],
    ) -> None:
        self.secrets = secrets
        self.host_number = host_number
        self.greeting = greeting
        self.clocks = clocks
        self.disks: dict[MailboxKey, Disk] = {}
        self._answers = Answers(setting.history, setting.tamper, self.disks)
        self.is_alive = True
        self.is_stopping = False
        self.doom: Phase | None = None
        self.doom_weight = 1
        self.commit_s = (0.0002, 0.003)
        self.paused_until = 0.0
        self._setting = setting
        self._timeline = setting.timeline
        self._offset_s = setting.random.uniform(0.0, 1000.0)
        self.core = Node(
            greeting,
            is_open=False,
            random=setting.random.random,
            now=self._core_now(),
            bounds=setting.tamper.bounds(setting.bounds),
        )
        self.place, self._filing = b"%d" % host_number, Filing(self, setting)
        self._events: deque[Event] = deque()
        self._looped: list[Packet] = []
        self._links: dict[LinkId, tuple[Connection, int]] = {}
        self._next_accepted = -1
        self._releasing: set[MailboxKey] = set()
        self._retaking: set[MailboxKey] = set()
        self._relapses = Relapses()
        self._committing: Tick | None = None
        self._put_off = PutOff()
        self._is_due = False
        self._wake_at: float | None = None
        self._arm()

    # What the world and the network do to a process.

    def post(self, event: Event) -> None:
        """Add an event to the next tick."""
        if self.is_alive:
            self._events.append(self._setting.tamper.event(event))
            self._schedule()

    def submit(self, token: Token, sending: Sending, event: Event) -> None:
        """The application sends a message."""
        self._answers.expect(token, sending)
        self.post(event)

    def take(self, disk: Disk, *, is_live: bool, is_new_claim: bool = True) -> None:
        """Open a mailbox that nobody holds and tell the core."""
        self.disks[disk.key] = disk
        self._events.append(self._opened(disk, is_live=is_live, is_new_claim=is_new_claim))
        self._schedule()

    def release(self, key: MailboxKey) -> None:
        """Give a mailbox back once everything decided about it so far is on disk."""
        if key not in self._releasing and key in self.core.mailboxes:
            self._releasing.add(key)
            self.post(MailboxReleased(key))

    def send(self, link: LinkId, packet: Packet) -> None:
        """Send one packet outside any tick; to this very process it comes as an event."""
        if link == SELF_LINK:
            self.post(PacketReceived(link, packet))
        else:
            self._send([(link, packet)])

    def is_quiet(self) -> bool:
        """Whether nothing is waiting in this process."""
        return self._committing is None and not self._events and not self._put_off

    def pause(self, until: float) -> None:
        """Stop running until a time."""
        self.paused_until = until
        self._timeline.at(until, self._resume)

    def crash(self, *, is_silent: bool = False) -> None:
        """End here and now; a commit under way has reached the disk or has not.

        `is_silent`: the whole machine goes, so nobody is told that the links are gone.
        """
        if not self.is_alive:
            return
        self.is_alive = False
        if self._committing is not None:
            for key, changes in self._committing.changes.items():
                if self._setting.random.random() < 0.5:
                    break
                self._apply(key, changes, is_dying=True)
        self._answers.lose()
        network = self._setting.network
        network.unlisten(self)
        for connection, _ in list(self._links.values()):
            network.cut(connection, is_silent=is_silent)
        self.disks.clear()

    def linked(self, connection: Connection) -> LinkId:
        """Give a link dialled by a peer its number."""
        link = LinkId(self._next_accepted)
        self._next_accepted -= 1
        self._links[link] = (connection, 1)
        return link

    def receive(self, link: LinkId, packets: tuple[Packet, ...]) -> None:
        """Packets have come in."""
        if self.is_alive and link in self._links:
            for packet in packets:
                self.post(PacketReceived(link, packet))

    def lost(self, link: LinkId, loss: Loss) -> None:
        """A link is gone or never was."""
        if self.is_alive:
            self._links.pop(link, None)
            self.post(LinkLost(link, loss))

    # The tick.

    def _tick(self) -> None:
        self._is_due = False
        if not self.is_alive or self._committing is not None:
            return
        if self._timeline.now < self.paused_until:
            return
        tick = self._step_all()
        if self._is_doomed(Phase.STEPPED, tick):
            return
        self._send_at_once(tick)
        if not self.is_alive or self._is_doomed(Phase.SENT, tick):
            return
        if self._setting.tamper.is_answering_early:
            self._answers.give(tick)
        if not self._is_to_commit(tick):
            self._finish(tick)
            return
        self._committing = tick
        self._timeline.after(self._setting.random.uniform(*self.commit_s), self._commit)

    def _is_to_commit(self, tick: Tick) -> bool:
        """Let what nobody waits for share the next commit, if one comes soon."""
        now, acks = self._timeline.now, tick.acks
        is_due = self._put_off.is_due(now)
        is_touched = bool(tick.changes) or (bool(self._put_off) and bool(acks))
        if is_touched and not is_due and tick.can_be_put_off():
            self._put_off.add(tick, now)
            tick.acks = [] if self._setting.tamper.is_discreet else acks
            self._timeline.after(limits.put_off_s, self._schedule)
        elif is_touched or is_due:
            self._put_off.join(tick)
        return bool(tick.changes)

    def _step_all(self) -> Tick:
        tick, now = Tick(), self._core_now()
        for _ in range(min(len(self._events), limits.tick_events_max)):
            self._step(self._events.popleft(), now, tick)
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= now:
            self._step(Timeout(), now, tick)
        return tick

    def _step(self, event: Event, now: float, tick: Tick) -> None:
        try:
            effects = self.core.step(event, now)
        except Exception as exc:  # (whatever a step raises is a finding)
            raise Violation(f"the core raised {exc!r} on {type(event).__name__}") from exc
        self._setting.history.stepped(self.core.mailboxes)
        tick.add(self._setting.tamper.effects(effects), self._setting.history)

    def _send_at_once(self, tick: Tick) -> None:
        outgoing: list[tuple[LinkId, Packet]] = []
        network = self._setting.network
        for effects in tick.effects:
            for link in effects.closes:
                connection, way = self._links.pop(link, (None, 0))
                if connection is not None:
                    network.close(connection, way)
            for dial in effects.dials:
                hello = Hello(replace(self.greeting, expected=dial.expected))
                connection = network.dial(self, dial, hello)
                if connection is not None:
                    self._links[dial.link] = (connection, 0)
            outgoing += effects.packets
        outgoing += self._mail(tick.at_once, tick)
        if self.doom is Phase.SENDING and outgoing and tick.weight >= self.doom_weight:
            outgoing = outgoing[: self._setting.random.randrange(len(outgoing))]
            self._send(outgoing)
            self._is_doomed(Phase.SENDING, tick)
            return
        self._send(outgoing)

    def _commit(self) -> None:
        tick = self._committing
        if not self.is_alive or tick is None:
            return
        if self._timeline.now < self.paused_until:
            self._timeline.at(self.paused_until, self._commit)
            return
        if self._is_doomed(Phase.COMMITTING, tick):
            return
        for key, changes in tick.changes.items():
            if key not in self.disks or not self._write(key, changes):
                tick.failed.add(key)
        self._committing = None
        if not self._is_doomed(Phase.COMMITTED, tick):
            self._finish(tick)

    def _write(self, key: MailboxKey, changes: list[Change]) -> bool:
        """Commit to a disk; False if it says that this has failed."""
        fault = self.disks[key].take_fault()
        if fault is None or fault is DiskFault.UNCERTAIN:
            self._apply(key, changes)
        return fault is None

    def _apply(self, key: MailboxKey, changes: list[Change], *, is_dying: bool = False) -> None:
        disk = self.disks.get(key)
        if disk is None:
            return
        history, tamper = self._setting.history, self._setting.tamper
        kept = tamper.changes(changes)
        step = tamper.unit_of_commit or max(1, len(kept))
        parts = [kept[start : start + step] for start in range(0, len(kept), step)]
        if is_dying and len(parts) > 1:
            parts = parts[: self._setting.random.randrange(len(parts))]
        for part in parts:
            tamper.committing(disk, part)
            history.committing(disk, part)
            disk.apply(part)
            history.committed(disk, part)

    def _finish(self, tick: Tick) -> None:
        failed = tick.failed if self._setting.tamper.is_careful else set()
        outgoing = [(link, packet) for link, key, packet in tick.acks if key not in failed]
        outgoing += self._mail([t for t in tick.after if t.mailbox not in failed], tick)
        self._send(outgoing)
        if self._is_doomed(Phase.ACKED, tick):
            return
        looped, self._looped = self._looped, []
        self._events.extend(PacketReceived(SELF_LINK, packet) for packet in looped)
        self._filing.take(tick.files(failed))
        self._answers.give(tick)
        for key in sorted(failed):
            self._recover(key)
        self._hand_over()
        self._arm()

    def _recover(self, key: MailboxKey) -> None:
        """Go on from what the disk holds, before anything else.

        A disk that fails again and again is left alone for a while each time, or the node would
        spend its days opening the mailbox and announcing it.
        """
        mailbox, disk = self.core.mailboxes.get(key), self.disks.get(key)
        if mailbox is None or disk is None:
            return
        pause_s = self._relapses.pause_s(key, self._timeline.now)
        if not pause_s:
            taken = self._opened(disk, is_live=mailbox.is_live, is_new_claim=False)
            self._events.extendleft((taken, MailboxReleased(key)))
            return
        self._events.appendleft(MailboxReleased(key))
        self._retaking.add(key)
        self._timeline.after(pause_s, lambda: self._retake(disk, is_live=mailbox.is_live))

    def _retake(self, disk: Disk, *, is_live: bool) -> None:
        if self.is_alive:
            self._retaking.discard(disk.key)
            self.take(disk, is_live=is_live, is_new_claim=False)

    def _hand_over(self) -> None:
        """Let go of the mailboxes the core has released."""
        waiting = {e.snapshot.key for e in self._events if isinstance(e, MailboxTaken)}
        waiting |= self._retaking
        for key in [k for k in self.disks if k not in self.core.mailboxes and k not in waiting]:
            self._filing.release(key)
            self._write_put_off(key)
            del self.disks[key]
            self._releasing.discard(key)

    def _write_put_off(self, key: MailboxKey) -> None:
        changes = self._put_off.take(key)
        if changes and not self._write(key, changes):
            self._put_off.forget_acks(key)

    # Small parts.

    def _opened(self, disk: Disk, *, is_live: bool, is_new_claim: bool) -> MailboxTaken:
        disk.open(self.clocks, take=is_new_claim)
        self._setting.history.opened(disk)
        tamper = self._setting.tamper
        snapshot = tamper.snapshot(disk.snapshot())
        snapshot = snapshot if is_live else tamper.adopted(snapshot)
        return MailboxTaken(snapshot, is_live, Profile())

    def _mail(self, wanted: list[Transmission], tick: Tick) -> list[tuple[LinkId, Packet]]:
        return tick.mail(wanted, self.disks, self._setting.tamper) if wanted else []

    def _send(self, outgoing: list[tuple[LinkId, Packet]]) -> None:
        by_link: dict[LinkId, list[Packet]] = {}
        for link, packet in outgoing:
            placed = replace(packet, place=self.place) if isinstance(packet, Offer) else packet
            by_link.setdefault(link, []).append(placed)
        self._looped += by_link.pop(SELF_LINK, [])
        for link, packets in by_link.items():
            if link in self._links:
                self._setting.network.send(*self._links[link], tuple(packets))

    def _is_doomed(self, phase: Phase, tick: Tick) -> bool:
        """Die if this is the phase, in a tick that writes enough to be worth it."""
        if self.doom is not phase or tick.weight < self.doom_weight:
            return False
        self.doom = None
        self._setting.history.inject("crash", phase)
        self.crash()
        return True

    def _resume(self) -> None:
        if self.is_alive and self._timeline.now >= self.paused_until:
            self.post(Resumed())

    def _schedule(self) -> None:
        if not self._is_due and self._committing is None:
            self._is_due = True
            self._timeline.after(0.00002, self._tick)

    def _arm(self) -> None:
        """Tick again as soon as there is something to do."""
        if self._events:
            self._schedule()
        deadline = self.core.next_deadline()
        if deadline is None:
            return
        at = max(self._timeline.now, deadline - self._offset_s) + 1e-6
        if self._wake_at is None or at < self._wake_at:
            self._wake_at = at
            self._timeline.at(at, self._wake)

    def _wake(self) -> None:
        if not self.is_alive or self._timeline.now < (self._wake_at or 0.0):
            return
        self._wake_at = None
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= self._core_now():
            self._schedule()
        elif self._committing is None:
            self._arm()

    def _core_now(self) -> float:
        return self._timeline.now + self._offset_s
