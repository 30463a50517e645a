"""What links have brought and the core has not seen yet: each link waits in a line of its own.

Envelopes are opened when their turn comes, and turns go round. While some links bring much mail and
others little, each gets a few letters into a tick and then pauses, so that whoever writes as fast
as it can holds up itself and nobody else. (Small shares alone would not do: each tick is a commit,
and the disk is everybody's.) Where all bring much, nobody gains by a pause. One that has brought
more than a line holds, while others write, loses what it brings; it will send that again. A link
that is alone takes all there is.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator

from mesh import limits
from mesh.core.events import LinkLost, PacketReceived
from mesh.driver.ciphers import Ciphers
from mesh.driver.lanes import Lanes
from mesh.errors import PeerError
from mesh.model import LinkId
from mesh.net.interface import FramesReceived, TransportEvent
from mesh.packet import Chunk, Mail, Packet, Want

_log = logging.getLogger(__name__)


class _Line:
    """What one link has brought: packets already opened, then envelopes and perhaps its end."""

    __slots__ = ("free_at", "packets", "size", "waiting")

    def __init__(self) -> None:
        self.packets: deque[Packet] = deque()
        self.waiting: deque[TransportEvent] = deque()
        self.size = 0
        self.free_at = 0.0


class _Writer:
    """How much mail a link has brought lately."""

    __slots__ = ("at", "letters", "since")

    def __init__(self, now: float) -> None:
        self.since = self.at = now
        self.letters = 0

    def add(self, letters: int, now: float) -> None:
        if now - self.since > limits.contention_s:
            self.since, self.letters = now, 0
        self.at = now
        self.letters += letters

    @property
    def is_quiet(self) -> bool:
        return self.letters <= limits.quiet_letters_max


class Inbound:
    """The lines of all links. `refuse` is told of links that bring nothing valid."""

    def __init__(
        self,
        ciphers: Ciphers,
        lanes: Lanes,
        *,
        refuse: Callable[[LinkId], None],
        drops: Counter[str],
    ) -> None:
        self._ciphers = ciphers
        self._lanes = lanes
        self._refuse = refuse
        self._drops = drops
        self._lines: dict[LinkId, _Line] = {}
        self._writers: dict[LinkId, _Writer] = {}
        self._frames = 0
        self._bytes = 0

    def next_turn(self, now: float) -> float | None:
        """Return when something may be taken; None while nothing waits."""
        if not self._lines:
            return None
        if not (self._is_contended(now) and self._is_somebody_quiet()):
            return now
        return max(now, min(line.free_at for line in self._lines.values()))

    def has_room(self, now: float) -> bool:
        """Whether more should be read from the links."""
        is_contended = self._is_contended(now)
        frames_max = limits.inbound_frames_max if is_contended else limits.inbound_frames_alone_max
        return self._frames < frames_max and self._bytes < limits.inbound_bytes_max

    def put(self, event: TransportEvent, now: float) -> None:
        """Add what a link has brought, or its end."""
        line = self._lines.setdefault(event.link, _Line())
        size = _size(event)
        is_too_much = line.size + size > limits.line_bytes_max and self._is_contended(now)
        if is_too_much and isinstance(event, FramesReceived):
            self._drops["flood"] += 1
            return
        line.waiting.append(event)
        line.size += size
        self._frames += 1
        self._bytes += size

    def drop(self, link: LinkId) -> None:
        """Forget what a link has brought that was closed from here, and its lane."""
        self._writers.pop(link, None)
        self._clear(link)
        lane = self._lanes.end(link)
        if lane is not None:
            self._clear(lane)

    def take(self, now: float) -> Iterator[PacketReceived | LinkLost]:
        """Yield what is to go into the next tick; the links keep their order, and take turns."""
        is_contended = self._is_contended(now)
        must_pause = is_contended and self._is_somebody_quiet()
        alone = limits.batch_letters_max if is_contended else limits.tick_letters_max
        share = limits.share_letters_max if must_pause else alone
        for link, line in list(self._lines.items()):
            if must_pause and line.free_at > now:
                continue
            yield from self._share(link, line, share, now)
            if not line.packets and not line.waiting:
                self._lines.pop(link, None)
            else:
                line.free_at = now + limits.share_pause_s

    def _share(
        self, link: LinkId, line: _Line, share: int, now: float
    ) -> Iterator[PacketReceived | LinkLost]:
        while share > 0 and (line.packets or line.waiting):
            if not line.packets:
                event = line.waiting.popleft()
                self._count_out(line, event)
                if not isinstance(event, FramesReceived):
                    is_lane = self._lanes.is_lane(link)
                    self._ciphers.drop(link)
                    self.drop(link)
                    if not is_lane:
                        yield LinkLost(link, event.loss)
                    continue
                line.packets.extend(self._open(event))
                continue
            packet = line.packets.popleft()
            if isinstance(packet, Mail):
                packet, rest = _cut(packet, share)
                if rest is not None:
                    line.packets.appendleft(rest)
                self._count_in(link, len(packet.items), now)
                share -= len(packet.items)
            else:
                share -= 1
            yield PacketReceived(self._lanes.link_of(link), packet)

    def _open(self, event: FramesReceived) -> list[Packet]:
        if not self._ciphers.knows(event.link):
            self._lanes.admit(event.link, event.frames)
        is_lane = self._lanes.is_lane(event.link)
        try:
            packets, unknown = self._ciphers.open(event.link, event.frames, is_door=event.is_door)
        except PeerError as exc:
            self._drops[type(exc).__name__] += 1
            _log.debug("dropped an envelope on link %d: %s", event.link, exc)
            if is_lane:
                self._lanes.end(event.link)
            self._refuse(event.link)
            return []
        if unknown:
            self._drops["UnknownPacket"] += unknown
        if not is_lane:
            return packets
        pieces: list[Packet] = [p for p in packets if isinstance(p, Chunk | Want)]
        if len(pieces) < len(packets):
            self._drops["lane"] += len(packets) - len(pieces)
        return pieces

    def _clear(self, link: LinkId) -> None:
        """Forget what a connection has brought."""
        line = self._lines.pop(link, None)
        if line is not None:
            while line.waiting:
                self._count_out(line, line.waiting.popleft())
            line.packets.clear()

    def _count_in(self, link: LinkId, letters: int, now: float) -> None:
        writer = self._writers.get(link)
        if writer is None:
            writer = self._writers[link] = _Writer(now)
        writer.add(letters, now)

    def _count_out(self, line: _Line, event: TransportEvent) -> None:
        size = _size(event)
        line.size -= size
        self._frames -= 1
        self._bytes -= size

    def _is_contended(self, now: float) -> bool:
        """Whether several links brought mail a moment ago."""
        horizon = now - limits.contention_s
        for link in [link for link, writer in self._writers.items() if writer.at < horizon]:
            del self._writers[link]
        return len(self._writers) > 1

    def _is_somebody_quiet(self) -> bool:
        """Whether somebody writes little, whom those who write much would hold up."""
        return any(writer.is_quiet for writer in self._writers.values())


def _cut(mail: Mail, share: int) -> tuple[Mail, Mail | None]:
    if len(mail.items) <= share:
        return mail, None
    return Mail(mail.author, mail.items[:share]), Mail(mail.author, mail.items[share:])


def _size(event: TransportEvent) -> int:
    return sum(map(len, event.frames)) if isinstance(event, FramesReceived) else 0
