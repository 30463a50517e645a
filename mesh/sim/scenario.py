"""One run: agents send to each other while faults strike; then everything is mended and must end.

Phase 1, safety: every commit is judged by `history`. Phase 2, liveness: the network heals, each
host has at least one session, and every letter must come to a visible end within `quiet_s_max`.
The run is a function of its arguments alone.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from mesh import limits
from mesh.core.bounds import BOUNDS, Bounds
from mesh.core.events import Broadcast, Draft, Rename, Shown, Submit, Token, Trust
from mesh.model import Address, Kind, MessageId, fingerprint, fold, parse_address
from mesh.sim import faults
from mesh.sim.history import Sending, Violation
from mesh.sim.sharing import Sharing
from mesh.sim.tamper import Tamper
from mesh.sim.world import Agent, World

quiet_s_max: Final = 120.0
files_quiet_s_max: Final = 400.0
"""A damaged file is fetched twice, with a pause of a minute before it is offered again."""
nodes_max: Final = 2000
messages_max: Final = 100_000
segment_nodes: Final = 100
"""Larger meshes are many networks of so many agents, which nothing connects."""
_HOST_NODES: Final = 5
_NAMES: Final = ("ada", "Bob", "carol", "dave", "eve", "frank", "grace", "heidi")
_GHOST: Final = "nobody-yet"
_PADDING: Final = b"x" * (limits.batch_bytes_max // 2)


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did and whether it held. `recovered_s` is how long the mended mesh took."""

    seed: int
    nodes: int
    hosts: int
    messages: int
    injected: Mapping[str, int]
    outcomes: Mapping[str, int]
    states: Mapping[str, int]
    files: Mapping[str, int]
    checks: int
    packets: int
    actions: int
    virtual_s: float
    recovered_s: float
    digest: str
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        names = self.__slots__
        values = ((name, getattr(self, name)) for name in names)
        return {n: dict(v) if isinstance(v, Mapping) else v for n, v in values}


def simulate(
    seed: int,
    nodes: int | None = None,
    *,
    messages: int | None = None,
    tamper: Tamper | None = None,
) -> Report:
    """Run one simulation; what is not given is drawn: 3 to 7 agents, 20 to 60 messages."""
    scenario = _Scenario(Random(seed), nodes, messages, tamper or Tamper())  # noqa: S311
    failure, recovered_s = "", 0.0
    states: Counter[str] = Counter()
    try:
        recovered_s = scenario.run()
        states = scenario.world.history.finish()
    except (Violation, AssertionError) as exc:
        failure = f"{scenario.world.timeline.now:.6f} s: {exc}"
    world, history = scenario.world, scenario.world.history
    return Report(
        seed=seed,
        nodes=len(world.agents),
        hosts=len(world.hosts),
        messages=len(history.sendings),
        injected=history.injected,
        outcomes=Counter(s.outcome.value for s in history.sendings.values()),
        states=states,
        files=history.files,
        checks=history.checks,
        packets=world.network.packets,
        actions=world.timeline.actions,
        virtual_s=world.timeline.now,
        recovered_s=recovered_s,
        digest=history.digest,
        failure=failure,
    )


class _Scenario:
    def __init__(
        self, random: Random, nodes: int | None, messages: int | None, tamper: Tamper
    ) -> None:
        self.random = random
        self._is_large = (nodes or 0) > segment_nodes
        self._is_scarce = random.random() < 0.25 and not self._is_large
        self.world = World(random, tamper, _scarce(random) if self._is_scarce else BOUNDS)
        self._tokens = 0
        nodes = nodes or random.randint(3, 7)
        hosts = random.randint(min(2, nodes), min(4, nodes))
        if self._is_large:
            hosts = -(-nodes // _HOST_NODES)
            self.world.network.segment_hosts = segment_nodes // _HOST_NODES
        for _ in range(hosts):
            self.world.add_host()
        for number in range(nodes):
            name = _NAMES[number] if number < len(_NAMES) else f"agent-{number}"
            host = self.world.hosts[number % len(self.world.hosts)]
            if number == nodes - 1 and random.random() < 0.2 and not self._is_large:
                name = _NAMES[0].upper()  # another host's agent of the same name
            self.world.add_agent(name, host)
        self._messages = messages or random.randint(20, 60)
        self._end = random.choice([10.0, 30.0, 90.0])
        self._has_ghost = random.random() < 0.5
        self._has_twin = fold(self.world.agents[-1].disk.name) == fold(_NAMES[0])
        self._broadcasts = random.choice([0.03, 0.08, 0.3])
        self._has_night = random.random() < 0.04
        if random.random() < 0.5:
            self.world.busy = random.sample(self.world.agents, min(2, nodes))
        self._first_names = [agent.disk.name for agent in self.world.agents]
        if self._is_large:
            self._has_ghost, self._broadcasts, self.world.busy = False, 0.0005, []

    def run(self) -> float:
        """Run both phases; return how long the second took."""
        world, random, end = self.world, self.random, self._end
        for agent in world.agents:
            starts_at = random.choice([0.0, 0.0, 0.3 * end]) * random.random()
            world.timeline.at(starts_at, partial(world.start, agent))
        self._plan_requests(end)
        self._plan_faults(end)
        if not self._is_large:
            Sharing(world, self._token).plan(end)
        while world.timeline.now < self._end:
            world.timeline.run_until(self._end)
        faults.mend_all(world)
        if self._has_ghost:
            host = random.choice(world.hosts)
            world.start(world.add_agent(_GHOST, host))
        return self._settle()

    def _settle(self) -> float:
        timeline, history = self.world.timeline, self.world.history
        started_at, step_s = timeline.now, 1.0
        history.note("mended")
        look_at = started_at + limits.tend_interval_s
        has_files = any(sending.file for sending in history.sendings.values())
        patience_s = files_quiet_s_max if has_files else quiet_s_max
        while timeline.now < started_at + patience_s:
            timeline.run_until(timeline.now + step_s)
            if timeline.now >= look_at:  # The backstop of every node: look unasked.
                look_at += limits.tend_interval_s
                for host in self.world.hosts:
                    self.world.rescan(host)
            if self._is_scarce:
                self._make_room()
            if not history.unsettled() and self._is_quiet():
                return timeline.now - started_at
        left = history.unsettled() or ["a process that never comes to rest"]
        text = "; ".join(left[:3])
        raise Violation(f"not settled {patience_s:g} s after everything was mended: {text}")

    def _make_room(self) -> None:
        """Everybody is there and reads, as nothing more fits into the inboxes otherwise."""
        for agent in self.world.agents:
            self.world.start(agent)
            self._read(agent)

    def _is_quiet(self) -> bool:
        return all(p.is_quiet() for p in self.world.running() if not p.paused_until)

    def _plan_requests(self, end: float) -> None:
        random, timeline = self.random, self.world.timeline
        planned = 0
        while planned < self._messages:
            burst = min(random.choice([1, 1, 1, 2, 8]), self._messages - planned)
            planned += burst
            agent = random.choice(self.world.busy or self.world.agents)
            at = random.uniform(0.0, end)
            spacing_s = random.choice([0.0, 0.0005, 0.002, 0.05])
            for number in range(burst):
                timeline.at(at + number * spacing_s, partial(self._send, agent))
        for _ in range(len(self.world.agents) * 2):
            timeline.at(
                random.uniform(0.0, end), lambda: self._read(random.choice(self.world.agents))
            )
        if self._has_night or random.random() < 0.4:
            timeline.at(random.uniform(0.0, 0.4 if self._has_night else 1.0) * end, self._rename)
        for _ in range(random.randint(1, 4) if self._has_twin else random.randint(0, 1)):
            timeline.at(random.uniform(0.2, 1.0) * end, self._trust)

    def _plan_faults(self, end: float) -> None:
        random, timeline = self.random, self.world.timeline
        kinds = random.sample(list(faults.FAULTS), random.randint(1, 6))
        weights = [faults.FAULTS[kind].weight for kind in kinds]
        for kind in random.choices(kinds, weights, k=random.randint(0, 10)):
            strike = faults.FAULTS[kind].strike
            timeline.at(random.uniform(0.0, end), partial(strike, self.world))
        if self._has_night:
            timeline.at(random.uniform(0.4, 0.6) * end, self._night)

    def _night(self) -> None:
        """All machines are off for hours; nothing happens in between."""
        world = self.world
        world.history.inject("night")
        for host in world.hosts:
            world.power_off(host)
        hours_s = self.random.uniform(1.0, 4.0) * 3600.0
        world.timeline.skip(hours_s)
        self._end += hours_s
        for host in world.hosts:
            world.power_on(host)
        for agent in world.agents:
            world.start(agent)

    # What agents do.

    def _token(self) -> Token:
        self._tokens += 1
        return Token(self._tokens)

    def _send(self, agent: Agent) -> None:
        process = agent.session
        if process is None:
            return
        token, key = self._token(), agent.disk.key
        if self.random.random() < self._broadcasts:
            sending = self._sending(agent, Kind.BROADCAST, "")
            process.submit(token, sending, Broadcast(token, key, self._draft(sending)))
        else:
            to = self._address() if not self._is_large else self._near(agent)
            sending = self._sending(agent, Kind.DIRECT, to)
            event = Submit(token, key, parse_address(to), (self._draft(sending),))
            process.submit(token, sending, event)

    def _address(self) -> str:
        if self._has_ghost and self.random.random() < 0.1:
            return _GHOST
        if self._has_twin and self.random.random() < 0.4:
            return _NAMES[0]
        if self.random.random() < (0.5 if self._has_night else 0.1):
            return self.random.choice(self._first_names)
        disk = self.random.choice(self.world.busy or self.world.agents).disk
        if self.random.random() < 0.05:
            return f"{disk.name}#{fingerprint(disk.key)[:8]}"
        return disk.name

    def _near(self, agent: Agent) -> str:
        """Choose somebody in the network of an agent."""
        number = agent.host.number
        network = self.world.network
        near = [h for h in self.world.hosts if network.is_one_segment(h.number, number)]
        return self.random.choice(self.random.choice(near).agents).disk.name

    def _sending(self, agent: Agent, kind: Kind, to: str) -> Sending:
        random = self.random
        body = b"%d" % self._tokens + (
            _PADDING if random.random() < 0.02 and not self._is_large else b""
        )
        return Sending(
            id=MessageId(random.randbytes(16)),
            kind=kind,
            author=agent.disk.key,
            to=to,
            body=body,
            ttl_s=random.choice([limits.ttl_s_default] * 5 + [3.0, 30.0]),
            invoked_at=self.world.timeline.now,
        )

    def _draft(self, sending: Sending) -> Draft:
        sending.hops = limits.chain_hops_max + 1 if self.random.random() < 0.03 else 0
        chain = tuple(bytes([hop]) for hop in range(sending.hops))
        return Draft(sending.id, sending.kind, sending.body, b"", 0, sending.ttl_s, chain=chain)

    def _read(self, agent: Agent) -> None:
        process, unread = agent.session, agent.disk.unread()
        if process is not None and unread and process.is_quiet():
            shown = tuple(unread[: self.random.randint(1, len(unread))])
            token = self._token() if self.random.random() < 0.5 else None
            process.post(Shown(token, agent.disk.key, shown))

    def _rename(self) -> None:
        agent = self.random.choice(self.world.agents)
        process = agent.session
        if process is not None:
            sending = self._sending(agent, Kind.RENAMED, "")
            self.world.history.inject("rename", agent.disk.key)
            token = self._token()
            new = f"{agent.disk.name}-2"
            sending.new_name = new
            event = Rename(token, agent.disk.key, new, self._draft(sending))
            process.submit(token, sending, event)

    def _trust(self) -> None:
        agent, other = self.random.choices(self.world.agents, k=2)
        if self._has_twin:
            other = self.random.choice([self.world.agents[0], self.world.agents[-1]])
        process = agent.session
        if process is not None:
            name, prefix = other.disk.name, fingerprint(other.disk.key)[:8]
            self.world.history.trusts.add((agent.disk.key, fold(name), other.disk.key))
            process.post(Trust(self._token(), agent.disk.key, Address(name, prefix)))


def _scarce(random: Random) -> Bounds:
    """Draw bounds that a run comes up against; readers are slow, after all."""
    return Bounds(
        window_letters=random.choice([1, 3, 6]),
        outbox_letters=random.choice([10, 30]),
        inbox_letters_per_author=random.choice([6, 10]),
    )
