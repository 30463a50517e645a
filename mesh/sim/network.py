"""Links between simulated processes: in order, with latency, until they are cut.

A link behaves as TCP does: packets neither overtake each other nor come twice. A blocked direction
holds them back; a cut drops what is on its way, but what a peer has sent just before may still come
in while a new link is already up. Either end may learn of a cut late, or never.
"""

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final, Protocol

from mesh.core.effects import Dial
from mesh.core.events import Loss
from mesh.model import CurveKey, LinkId
from mesh.packet import Greeting, Packet
from mesh.sim.clock import Timeline

connect_timeout_s: Final = 3.0
blind_fraction: Final = 0.2
"""How often an end of a cut link learns of it only after `blind_s_max`, if at all."""
blind_s_max: Final = 60.0


class End(Protocol):
    """A process, as the network sees it."""

    @property
    def host_number(self) -> int:
        """The host it runs on."""
        ...

    @property
    def greeting(self) -> Greeting:
        """Who it is."""
        ...

    @property
    def secrets(self) -> tuple[int, ...]:
        """The secrets it understands, its own first."""
        ...

    def linked(self, connection: "Connection") -> LinkId:
        """Return the link number under which the process knows a link dialled by a peer."""
        ...

    def receive(self, link: LinkId, packets: tuple[Packet, ...]) -> None:
        """Packets have come in."""
        ...

    def lost(self, link: LinkId, loss: Loss) -> None:
        """A link is gone."""
        ...


Flight = tuple[float, tuple[Packet, ...]]


@dataclass(slots=True)
class Direction:
    """One way of a link: what is on its way, and until when anything may still arrive."""

    source: End
    target: End
    target_link: LinkId
    flights: deque[Flight] = field(default_factory=deque)
    arrives_at: float = 0.0
    cut_at: float = float("inf")


@dataclass(slots=True)
class Connection:
    """One link, made under `secret`: `ways[0]` leads from the dialling end, `ways[1]` back."""

    ways: tuple[Direction, Direction]
    secret: int = 0
    is_open: bool = True


class Network:
    """All links, listeners, partitions and delays."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self._timeline = timeline
        self._random = random
        self.latency_s = 0.0005 * 10 ** random.uniform(0.0, 1.5)
        self.listeners: dict[str, tuple[CurveKey, End]] = {}
        self.blocked: set[tuple[int, int]] = set()
        self.slow_s: dict[tuple[int, int], float] = {}
        self.connections: dict[int, Connection] = {}
        self.packets = 0
        self.segment_hosts = 0

    def dial(self, source: End, dial: Dial, greeting: Packet) -> Connection | None:
        """Open a link; the greeting goes first. None if nobody answers there."""
        found = self.listeners.get(dial.endpoint)
        target = found[1] if found and dial.curve in {None, found[0]} else None
        if target is None or not self._is_reachable(source, target):
            is_refused = found is None and self._random.random() < 0.5
            delay_s = self._random.uniform(0.001, 0.05) if is_refused else connect_timeout_s
            self._timeline.after(delay_s, lambda: source.lost(dial.link, Loss.UNREACHABLE))
            return None
        secret = source.secrets[0]
        if secret not in target.secrets:
            delay_s = self._random.uniform(0.001, 0.05)
            self._timeline.after(delay_s, lambda: source.lost(dial.link, Loss.REJECTED))
            return None
        there = Direction(source, target, LinkId(0))
        back = Direction(target, source, dial.link)
        connection = Connection((there, back), secret)
        there.target_link = target.linked(connection)
        self.connections[id(connection)] = connection
        self.send(connection, 0, (greeting,))
        return connection

    def unlisten(self, end: End) -> None:
        """Nobody answers any more where `end` has listened."""
        for endpoint in [e for e, (_, target) in self.listeners.items() if target is end]:
            del self.listeners[endpoint]

    def send(self, connection: Connection, way: int, packets: tuple[Packet, ...]) -> None:
        """Put packets on their way."""
        if not connection.is_open:
            return
        direction = connection.ways[way]
        now = self._timeline.now
        arrives_at = max(direction.arrives_at, now + self._delay_s(direction))
        direction.arrives_at = arrives_at
        direction.flights.append((arrives_at, packets))
        self.packets += len(packets)
        self._timeline.at(arrives_at, lambda: self._arrive(direction))

    def close(self, connection: Connection, way: int) -> None:
        """One end closes the link: it hears no more of it, the other end is told."""
        if not connection.is_open:
            return
        own, other = connection.ways[way], connection.ways[1 - way]
        is_flushed = self._random.random() < 0.7
        own.cut_at = own.arrives_at if is_flushed else self._timeline.now
        other.cut_at = self._timeline.now
        self._forget(connection)
        self._tell(own, max(own.arrives_at, self._timeline.now) + self._delay_s(own))

    def cut(self, connection: Connection, *, is_silent: bool = False) -> None:
        """Break a link; `is_silent`: neither end need hear of it."""
        if not connection.is_open:
            return
        self._forget(connection)
        now = self._timeline.now
        for direction in connection.ways:
            direction.cut_at = now + self._random.uniform(0.0, 2.0) * self._delay_s(direction)
            is_blind = is_silent or self._random.random() < blind_fraction
            told_s = self._random.uniform(0.0, blind_s_max if is_blind else 0.05)
            if is_silent and self._random.random() < 0.5:
                continue
            self._tell(direction, direction.cut_at + told_s)

    def end_foreign(self) -> None:
        """Cut links made under a secret that one of their ends does not know any more."""
        for connection in list(self.connections.values()):
            ends = (connection.ways[0].source, connection.ways[0].target)
            if any(connection.secret not in end.secrets for end in ends):
                self.cut(connection)

    def heal(self, pairs: set[tuple[int, int]]) -> None:
        """Let blocked directions flow again."""
        self.blocked -= pairs
        for connection in list(self.connections.values()):
            for direction in connection.ways:
                self._timeline.after(self._delay_s(direction), partial(self._arrive, direction))

    def _arrive(self, direction: Direction) -> None:
        pair = (direction.source.host_number, direction.target.host_number)
        now = self._timeline.now
        flights = direction.flights
        if direction.cut_at < now:
            flights.clear()
            return
        if pair in self.blocked:
            return
        while flights and flights[0][0] <= now:
            direction.target.receive(direction.target_link, flights.popleft()[1])

    def _tell(self, direction: Direction, at: float) -> None:
        target, link = direction.target, direction.target_link
        self._timeline.at(at, lambda: target.lost(link, Loss.CLOSED))

    def _forget(self, connection: Connection) -> None:
        connection.is_open = False
        self.connections.pop(id(connection), None)

    def is_one_segment(self, one: int, other: int) -> bool:
        """Whether there is any way between two hosts; 0 hosts a segment mean a single one."""
        return not self.segment_hosts or one // self.segment_hosts == other // self.segment_hosts

    def _is_reachable(self, source: End, target: End) -> bool:
        if not self.is_one_segment(source.host_number, target.host_number):
            return False
        pair = (source.host_number, target.host_number)
        return pair not in self.blocked and (pair[1], pair[0]) not in self.blocked

    def _delay_s(self, direction: Direction) -> float:
        pair = (direction.source.host_number, direction.target.host_number)
        if pair[0] == pair[1]:
            return 0.0001
        return self.slow_s.get(pair, self.latency_s) * (0.5 + self._random.random())
