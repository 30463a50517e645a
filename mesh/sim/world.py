"""Hosts with disks, the processes on them, and the rules by which mailboxes change hands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from mesh.core.bounds import BOUNDS, Bounds
from mesh.core.events import LocalNodes, Sighted, Source, Stopping
from mesh.core.links import PROTOCOL_VERSION
from mesh.model import CurveKey, HostId, Incarnation, MailboxKey, NodeId
from mesh.packet import Greeting
from mesh.sim.clock import HostClocks, Timeline
from mesh.sim.disk import Disk
from mesh.sim.history import History
from mesh.sim.network import Network
from mesh.sim.process import Process
from mesh.sim.setting import Setting
from mesh.sim.tamper import Tamper

rescan_s: Final = 2.0
"""How late the processes of a host may notice that its registry has changed."""
well_known_port: Final = 47600


@dataclass(slots=True)
class Agent:
    """One named participant; `process` is its running session, if any."""

    disk: Disk
    host: "Host"
    process: Process | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether a session runs that is about to take the mailbox."""
        process = self.process
        return process is not None and process.is_alive and not process.is_stopping

    @property
    def session(self) -> Process | None:
        """The live session, once it holds its mailbox and the core knows."""
        process = self.process
        if process is None or not process.is_alive:
            return None
        mailbox = process.core.mailboxes.get(self.disk.key)
        return process if mailbox is not None and mailbox.is_live else None


@dataclass(slots=True)
class Host:
    """One machine: processes come and go, mailboxes stay."""

    number: int
    id: HostId
    clocks: HostClocks
    agents: list[Agent] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    secrets: tuple[int, ...] = (1,)
    is_off: bool = False

    def holder(self, disk: Disk) -> Process | None:
        """Return the process that holds a mailbox's lock."""
        return next((p for p in self.processes if p.is_alive and disk.key in p.disks), None)

    def alive(self) -> list[Process]:
        """Return the processes that run."""
        return [p for p in self.processes if p.is_alive]


class World:
    """Everything there is. All chance comes from `random`; `busy` agents get most of the mail."""

    def __init__(self, random: Random, tamper: Tamper, bounds: Bounds = BOUNDS) -> None:
        self.timeline = Timeline()
        self.random = random
        self.file_random = Random(f"files {random.getstate()[1][1:3]}")  # noqa: S311
        self.network = Network(self.timeline, random)
        self.history = History(self.timeline)
        self.tamper = tamper
        self.hosts: list[Host] = []
        self.agents: list[Agent] = []
        self.busy: list[Agent] = []
        self.is_multicast = random.random() < 0.8
        self._setting = Setting(
            self.timeline, random, self.file_random, self.network, self.history, tamper, bounds
        )
        self.history.bounds = bounds
        self._next_port = well_known_port + 1

    def add_host(self) -> Host:
        """Add a machine."""
        id_ = HostId(self.random.randbytes(16))
        host = Host(len(self.hosts), id_, HostClocks(self.timeline))
        self.hosts.append(host)
        return host

    def add_agent(self, name: str, host: Host) -> Agent:
        """Give a host another mailbox."""
        key = MailboxKey(self.random.randbytes(32))
        disk = Disk(key, name, Incarnation(self.random.randbytes(8)))
        if not self.tamper.is_synced:
            disk.log = []
        agent = Agent(disk, host)
        host.agents.append(agent)
        self.agents.append(agent)
        self.history.disks[key] = disk
        return agent

    # Sessions.

    def start(self, agent: Agent) -> None:
        """Start a session of an agent, unless it has one or its host is off."""
        if agent.host.is_off or (agent.process is not None and agent.process.is_alive):
            return
        agent.process = self._run(agent.host)
        self.history.note("start", agent.disk.key)
        self._take(agent, agent.process, delay_s=0.02)

    def crash(self, agent: Agent) -> None:
        """Kill an agent's session."""
        if agent.process is not None:
            self._end(agent.process, agent.host)

    def stop(self, agent: Agent) -> None:
        """End an agent's session in peace: it says goodbye first."""
        process = agent.process
        if process is None or not process.is_alive:
            return
        process.is_stopping = True
        process.post(Stopping())
        for key in list(process.core.mailboxes):
            process.release(key)
        self._when_quiet(process, lambda: self._end(process, agent.host))

    def power_off(self, host: Host) -> None:
        """Cut a machine's power."""
        host.is_off = True
        for process in host.alive():
            process.crash(is_silent=True)
        for agent in host.agents:
            log = agent.disk.log
            if log:
                agent.disk.lose(self.random.randrange(min(3, len(log)) + 1))
        host.processes.clear()

    def power_on(self, host: Host) -> None:
        """Boot a machine."""
        if host.is_off:
            host.clocks.boot()
            host.is_off = False

    def rotate(self, host: Host, secret: int) -> None:
        """Give a host another secret: its sessions start again and understand the old one, too."""
        host.secrets = (secret, host.secrets[0])
        for agent in host.agents:
            if agent.process is not None and agent.process.is_alive:
                self.crash(agent)
                self.timeline.after(self.random.uniform(0.3, 3.0), partial(self.start, agent))

    def retire(self, secret: int) -> None:
        """The time of all older secrets is up on the hosts that have this one."""
        for host in self.hosts:
            if host.secrets[0] == secret:
                host.secrets = (secret,)
                for process in host.processes:
                    process.secrets = host.secrets
        self.network.end_foreign()

    def wipe(self, agent: Agent) -> bool:
        """Lose an agent's database while nobody holds it."""
        if agent.host.holder(agent.disk) is not None:
            return False
        disk = agent.disk
        for row in disk.contents.outbox.values():
            disk.received_before.add(row.letter.message_id)
        disk.wipe(Incarnation(self.random.randbytes(8)))
        return True

    def rescan(self, host: Host) -> None:
        """All processes of a host look at the registry; mailboxes and port find new holders."""
        host.processes = host.alive()
        door, listeners = _door(host), self.network.listeners
        if door not in listeners and host.processes:
            heir = host.processes[0]
            listeners[door] = (heir.greeting.curve, heir)
        nodes = tuple(p.greeting.node for p in host.processes)
        for process in host.processes:
            process.post(LocalNodes(nodes))
        if not self._tend(host) and host.processes:
            self._changed(host)

    def meet(self, process: Process) -> None:
        """Let a process and all others see each other, as far as discovery reaches."""
        for other in self.running():
            if other is process or not self.network.is_one_segment(
                other.host_number, process.host_number
            ):
                continue
            is_local = other.host_number == process.host_number
            source = Source.REGISTRY if is_local else Source.MDNS
            pair = (other.host_number, process.host_number)
            if is_local or (self.is_multicast and pair not in self.network.blocked):
                self._sight(process, other, source)
                self._sight(other, process, source)

    def running(self) -> list[Process]:
        """Return all processes that run."""
        return [p for host in self.hosts for p in host.processes if p.is_alive]

    def _run(self, host: Host) -> Process:
        random = self.random
        curve = CurveKey(random.randbytes(32))
        is_first = not any(p.is_alive for p in host.processes)
        port = well_known_port if is_first else self._next_port
        self._next_port += 0 if is_first else 1
        endpoint = f"tcp://host{host.number}:{port}"
        greeting = Greeting(
            PROTOCOL_VERSION, NodeId(random.randbytes(16)), host.id, curve, (endpoint,)
        )
        process = Process(
            self._setting,
            host_number=host.number,
            clocks=host.clocks,
            greeting=greeting,
            secrets=host.secrets,
        )
        host.processes.append(process)
        self.network.listeners[endpoint] = (curve, process)
        if not self.is_multicast:
            self._point_to_doors(process)
        self.meet(process)
        self._changed(host)
        return process

    def _point_to_doors(self, process: Process) -> None:
        """Without multicast, each process knows the well-known endpoints of the other hosts."""
        for host in self.hosts:
            is_near = self.network.is_one_segment(host.number, process.host_number)
            if is_near and host.number != process.host_number:
                process.post(Sighted(Source.STATIC, None, (_door(host),)))

    def _take(self, agent: Agent, process: Process, *, delay_s: float) -> None:
        """Take the mailbox for its session; whoever tends it is asked to release it."""
        if not process.is_alive:
            return
        holder = agent.host.holder(agent.disk)
        if holder is None or not self.tamper.is_locking:
            process.take(agent.disk, is_live=True)
            self._changed(agent.host)
            return
        holder.release(agent.disk.key)
        next_s = min(1.0, 2 * delay_s)
        self.timeline.after(delay_s, lambda: self._take(agent, process, delay_s=next_s))

    def _tend(self, host: Host) -> bool:
        """Give orphaned mailboxes to a process of their host; False if one must wait for one."""
        homes = [a.process for a in host.agents if a.session is not None and a.process is not None]
        orphans = [a for a in host.agents if host.holder(a.disk) is None and not a.is_awaited]
        for agent in orphans if homes else ():
            homes[0].take(agent.disk, is_live=False)
            self.history.inject("hand-over", agent.disk.key)
        return bool(homes) or not orphans

    def _sight(self, process: Process, other: Process, source: Source) -> None:
        seen = other.greeting
        event = Sighted(source, seen.curve, seen.endpoints, seen.node)
        delay_s = self.random.uniform(0.0, rescan_s)
        self.timeline.after(delay_s, lambda: process.post(event))

    def _changed(self, host: Host) -> None:
        self.timeline.after(self.random.uniform(0.0, rescan_s), lambda: self.rescan(host))

    def _end(self, process: Process, host: Host) -> None:
        if process.is_alive:
            process.crash()
            self._changed(host)

    def _when_quiet(self, process: Process, action: Callable[[], None]) -> None:
        """Act once a process has carried out everything it was given."""
        if process.is_quiet() and not process.disks:
            action()
        elif process.is_alive:
            for key in list(process.disks):
                process.release(key)
            self.timeline.after(0.005, lambda: self._when_quiet(process, action))


def _door(host: Host) -> str:
    return f"tcp://host{host.number}:{well_known_port}"
