"""A transport within one process, with the contract of the real one, for tests and simulations.

Frames pass through queues, in order, bounded like ZeroMQ's. Links can be cut as a broken network
would: both ends lose them and no new ones come up until the pair is mended.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from mesh import limits
from mesh.core.events import Loss
from mesh.model import CurveKey, LinkId
from mesh.net.interface import FramesReceived, TransportEvent, TransportLost


class LoopbackNetwork:
    """All transports of one imagined network, by endpoint (`loop://name`)."""

    def __init__(self) -> None:
        self.listening: dict[str, LoopbackTransport] = {}
        self._cut: set[frozenset[str]] = set()

    def transport(
        self, name: str, *, curve: CurveKey | None = None, door: CurveKey | None = None
    ) -> "LoopbackTransport":
        """Make a transport; those with the same `door` key are of one mesh."""
        own = curve or CurveKey(name.encode().ljust(32, b".")[:32])
        return LoopbackTransport(self, name, own, door or CurveKey(b"door".ljust(32, b".")))

    def cut(self, one: str, other: str) -> None:
        """Lose all links between two transports and let no new ones come up."""
        self._cut.add(frozenset((one, other)))
        for transport in tuple(self.listening.values()):
            transport.lose_links_to(one if transport.name == other else other, {one, other})

    def mend(self, one: str, other: str) -> None:
        """Let links between two transports come up again."""
        self._cut.discard(frozenset((one, other)))

    def is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._cut


class LoopbackTransport:
    """Implements `Transport`; to be made by `LoopbackNetwork.transport`."""

    def __init__(
        self, network: LoopbackNetwork, name: str, curve: CurveKey, door: CurveKey
    ) -> None:
        self.name = name
        self.drops: Counter[str] = Counter()
        self._network = network
        self._curve = curve
        self._door_curve = door
        self._refusals: Counter[str] = Counter()
        self._doors: dict[LinkId, bool] = {}
        self._ends: dict[LinkId, tuple[LoopbackTransport, LinkId]] = {}
        self._events: deque[TransportEvent] = deque()
        self._wake = asyncio.Event()
        self._last_inbound = 0
        self._door_port = 0

    @property
    def curve(self) -> CurveKey:
        """The key under which others dial this transport."""
        return self._curve

    @property
    def door_curve(self) -> CurveKey:
        """The key of every door of this mesh."""
        return self._door_curve

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where this transport listens while it is entered."""
        return (f"loop://{self.name}",)

    def open_door(self, port: int, host: str) -> bool:
        """Take the one door of the imagined address `host:port`; false when it is taken."""
        is_ours = self._network.listening.setdefault(f"loop://{host}:{port}", self) is self
        self._door_port = port if is_ours else 0
        return is_ours

    @property
    def door_port(self) -> int:
        """The well-known port while this transport listens there, else 0."""
        return self._door_port

    def refusals(self) -> Mapping[str, int]:
        """How often each dialling transport was refused for being of another mesh."""
        return dict(self._refusals)

    def close_door(self) -> None:
        """Give up all doors."""
        self._door_port = 0
        own = f"loop://{self.name}"
        for endpoint, transport in tuple(self._network.listening.items()):
            if transport is self and endpoint != own:
                del self._network.listening[endpoint]

    def dial(self, link: LinkId, *, endpoint: str, curve: CurveKey | None) -> None:
        """Open a link; failure arrives as `TransportLost`."""
        assert link > 0
        assert link not in self._ends
        peer = self._network.listening.get(endpoint)
        is_door = endpoint not in (peer.endpoints if peer else ())
        if peer is None or self._network.is_cut(self.name, peer.name):
            self._put(TransportLost(link, Loss.UNREACHABLE, endpoint))
        elif peer.door_curve != self._door_curve:
            peer._refusals[self.endpoints[0]] += 1
            self._put(TransportLost(link, Loss.REJECTED, endpoint))
        elif is_door != (curve is None) or (curve is not None and curve != peer.curve):
            self._put(TransportLost(link, Loss.UNREACHABLE, endpoint))
        else:
            self._ends[link] = (peer, peer._accept(self, link, is_door=is_door))

    def send(self, link: LinkId, frames: Sequence[bytes]) -> None:
        """Hand two frames over; a full queue at the other end loses the link as `CONGESTED`."""
        assert len(frames) == limits.frame_parts
        end = self._ends.get(link)
        if end is None:
            return
        peer, far = end
        if len(peer._events) >= limits.link_frames_out_max:
            self._lose(link, Loss.CONGESTED)
            return
        peer._put(FramesReceived(far, tuple(frames), peer._doors.get(far, False)))

    def close_link(self, link: LinkId) -> None:
        """Close a link without an event here; the other end is told."""
        end = self._ends.pop(link, None)
        if end is not None:
            peer, far = end
            peer._hear_of_loss(far, Loss.CLOSED)

    async def receive(self) -> list[TransportEvent]:
        """Wait until something happened and return at most `limits.tick_events_max` of it."""
        while not self._events:
            self._wake.clear()
            await self._wake.wait()
        count = min(len(self._events), limits.tick_events_max)
        return [self._events.popleft() for _ in range(count)]

    def lose_links_to(self, name: str, pair: set[str]) -> None:
        """Lose all links to the named transport, if this one belongs to the pair that is cut."""
        if self.name not in pair:
            return
        for link, (peer, _) in tuple(self._ends.items()):
            if peer.name == name:
                self._hear_of_loss(link, Loss.CLOSED)

    async def __aenter__(self) -> Self:
        assert f"loop://{self.name}" not in self._network.listening
        self._network.listening[f"loop://{self.name}"] = self
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close_door()
        del self._network.listening[f"loop://{self.name}"]
        for link in tuple(self._ends):
            self.close_link(link)

    def _accept(self, peer: "LoopbackTransport", far: LinkId, *, is_door: bool) -> LinkId:
        self._last_inbound -= 1
        link = LinkId(self._last_inbound)
        self._ends[link] = (peer, far)
        self._doors[link] = is_door
        return link

    def _lose(self, link: LinkId, loss: Loss) -> None:
        peer, far = self._ends[link]
        self._hear_of_loss(link, loss)
        peer._hear_of_loss(far, Loss.CLOSED)

    def _hear_of_loss(self, link: LinkId, loss: Loss) -> None:
        end = self._ends.pop(link, None)
        self._doors.pop(link, None)
        if end is not None:
            self._put(TransportLost(link, loss, end[0].endpoints[0]))

    def _put(self, event: TransportEvent) -> None:
        self._events.append(event)
        self._wake.set()
