"""What one `receive` gathers, and the two one-frame signs that transports exchange.

A message between nodes has exactly two frames. One frame alone is for the transport itself:
`PROBE` finds out whether the other end is still there and is swallowed, `BYE` says that the
listening side has no use for the link. Everything else is dropped and counted before anybody looks
at it.
"""

from collections import Counter
from enum import Enum
from typing import Final

from mesh import limits
from mesh.core.events import Loss
from mesh.model import LinkId
from mesh.net.interface import FramesReceived, TransportEvent, TransportLost
from mesh.net.sockets import NOBLOCK, Socket

PROBE: Final = b""
BYE: Final = b"\x01"
TURN_FRAMES_MAX: Final = 64


class Sign(Enum):
    """What a message of one frame says."""

    PROBE = 1
    BYE = 2
    DROPPED = 3


class Batch:
    """Transport events, bounded in number and bytes."""

    def __init__(self) -> None:
        self.events: list[TransportEvent] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self.events) >= limits.tick_events_max or self._bytes >= limits.tick_bytes_max

    def add_frames(self, link: LinkId, frames: tuple[bytes, bytes], *, is_door: bool) -> None:
        self.events.append(FramesReceived(link, frames, is_door))
        self._bytes += len(frames[0]) + len(frames[1])

    def add_loss(self, link: LinkId, loss: Loss, address: str) -> None:
        self.events.append(TransportLost(link, loss, address))


def receive_rest(socket: Socket, drops: Counter[str]) -> tuple[bytes, bytes] | Sign:
    """Receive one message, after its routing id if it has one.

    Raises:
        zmq.Again: nothing is waiting.
    """
    first = socket.recv(NOBLOCK, copy=False)
    if not first.more:
        return _sign(first.bytes, drops)
    second = socket.recv(NOBLOCK, copy=False)
    if not second.more:
        return first.bytes, second.bytes
    while socket.recv(NOBLOCK, copy=False).more:
        pass
    drops["parts"] += 1
    return Sign.DROPPED


def _sign(frame: bytes, drops: Counter[str]) -> Sign:
    if frame == PROBE:
        return Sign.PROBE
    if frame == BYE:
        return Sign.BYE
    drops["parts"] += 1
    return Sign.DROPPED
