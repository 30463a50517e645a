"""Ends connections that would fill our memory: by a message without end, or by not reading.

ZeroMQ bounds the size of a frame and the number of messages, but not the number of frames in one
message: a peer whose message never ends fills our memory before any of our code sees a byte. Nor
does it bound in bytes what waits for a peer that does not read. Only members can try (strangers do
not pass the gate), and where the kernel tells how much a connection has received and got rid of
(Linux), what is still in no message, or still unsent, is known. Who goes too far is cut off, and
ZeroMQ frees what it had kept for it.

While a socket has messages to read, what is missing may simply be there; only far more than all
its queues may hold is then too much.
"""

import logging
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from mesh import limits
from mesh.net.sockets import Watch

INTERVAL_S: Final = 0.5
PENDING_BYTES_MAX: Final = 48 * limits.MIB
"""More than one message, and what the kernel keeps for a connection, can come to."""
UNREAD_BYTES_MAX: Final = 2 * limits.link_frames_in_max * limits.frame_bytes_max
UNSENT_BYTES_MAX: Final = 256 * limits.MIB
"""More than the windows of many streams, and what else is sent unasked, come to."""
FRAME_COST_BYTES: Final = 64
"""What CURVE and ZMTP add to a frame at most."""
LOOK_COST_BYTES: Final = 16
"""What heartbeats bring between two looks."""
_TCP_INFO: Final = getattr(socket, "TCP_INFO", 11)
_ACKED_AND_RECEIVED: Final = struct.Struct("=120xQQ")
_SO_DOMAIN: Final = 39
_SO_COOKIE: Final = 57
_IS_TOLD: Final = sys.platform == "linux"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Connection:
    cookie: bytes
    is_busy: Callable[[], bool] = field(repr=False)
    delivered: int = 0
    handed: int = 0


class Gauge:
    """Looks at all TCP connections of a transport twice a second, while there are any."""

    def __init__(self, watch: Watch, drops: Counter[str]) -> None:
        self._watch = watch
        self._drops = drops
        self._connections: dict[tuple[object, int], _Connection] = {}
        self._is_waiting = False

    def add(self, owner: object, descriptor: int, is_busy: Callable[[], bool]) -> None:
        """Watch a connection of a socket; `is_busy` tells whether that has messages to read."""
        if not _IS_TOLD:
            return
        with suppress(OSError), _borrowed(descriptor) as line:
            if line.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN) == socket.AF_UNIX:
                return
            cookie = line.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
            self._connections[owner, descriptor] = _Connection(cookie, is_busy)
            self._wait()

    def count(self, owner: object, descriptor: int, frames: Sequence[bytes]) -> None:
        """Note what a connection has delivered."""
        connection = self._connections.get((owner, descriptor))
        if connection is not None:
            connection.delivered += sum(map(len, frames)) + len(frames) * FRAME_COST_BYTES

    def count_out(self, owner: object, descriptor: int, frames: Sequence[bytes]) -> None:
        """Note what a connection was given to send."""
        connection = self._connections.get((owner, descriptor))
        if connection is not None:
            connection.handed += sum(map(len, frames))

    def drop(self, owner: object, descriptor: int) -> None:
        """Forget a connection that has ended."""
        self._connections.pop((owner, descriptor), None)

    def close(self) -> None:
        """Forget all connections."""
        self._connections.clear()

    def _wait(self) -> None:
        if self._connections and not self._is_waiting:
            self._is_waiting = True
            self._watch.loop.call_later(INTERVAL_S, self._look)

    def _look(self) -> None:
        self._is_waiting = False
        for (owner, descriptor), connection in tuple(self._connections.items()):
            try:
                with _borrowed(descriptor) as line:
                    self._judge(line, connection)
            except OSError:
                self.drop(owner, descriptor)
        self._wait()

    def _judge(self, line: socket.socket, connection: _Connection) -> None:
        info = line.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED_AND_RECEIVED.size)
        acked, received = _ACKED_AND_RECEIVED.unpack(info)
        # Nobody saves up for later by sending frames that cost less than they are taken for.
        connection.delivered = min(connection.delivered + LOOK_COST_BYTES, received)
        connection.handed = max(connection.handed, acked)
        pending = received - connection.delivered
        if connection.handed - acked > UNSENT_BYTES_MAX:
            self._cut_off(line, connection, "unread", "it does not read what it is sent")
        elif pending > UNREAD_BYTES_MAX or (
            pending > PENDING_BYTES_MAX and not connection.is_busy()
        ):
            self._cut_off(line, connection, "endless", "a message without end")

    def _cut_off(self, line: socket.socket, connection: _Connection, drop: str, why: str) -> None:
        if line.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8) == connection.cookie:
            self._drops[drop] += 1
            _log.warning("Cut off %s: %s.", line.getpeername()[0], why)
            line.shutdown(socket.SHUT_RDWR)


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """Use a descriptor that belongs to ZeroMQ, and leave it open."""
    line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    try:
        yield line
    finally:
        line.detach()
