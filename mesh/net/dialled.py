"""A link that this node opened: one DEALER, connected once, with its monitor.

ZeroMQ never redials it (the core decides when), so whatever ends the first attempt ends the link.
What was received before the end is handed over first, then the loss.
"""

import errno
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import zmq

from mesh.core.events import Loss
from mesh.model import LinkId
from mesh.net.addresses import split_tcp_endpoint
from mesh.net.batch import TURN_FRAMES_MAX, Batch, Sign, receive_rest
from mesh.net.gauge import Gauge
from mesh.net.sockets import (
    HANDSHAKE_EVENTS,
    LINGER_MS,
    NOBLOCK,
    Context,
    Monitor,
    Watch,
    is_readable,
    new_dialling_socket,
    set_client_keys,
)

_IPC: Final = re.compile(r"ipc:///[^@\x00]{1,106}\Z")
_EVENTS: Final = HANDSHAKE_EVENTS | zmq.EVENT_CONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED
_HUNG_UP: Final = frozenset({errno.EPIPE, errno.ECONNRESET})


@dataclass(frozen=True, slots=True)
class Target:
    """Where to dial and with which keys; `is_door` when the server key follows from the secret."""

    endpoint: str
    server: bytes
    secret: bytes
    public: bytes
    is_door: bool


def is_endpoint(endpoint: str) -> bool:
    """Tell whether an endpoint that a peer named may be handed to ZeroMQ."""
    return split_tcp_endpoint(endpoint) is not None or _IPC.match(endpoint) is not None


class Dialled:
    """One outgoing link. `notify` is called when `drain` has something to do.

    Raises:
        zmq.ZMQError: no descriptors are left, or the endpoint is not one.
    """

    def __init__(
        self,
        context: Context,
        watch: Watch,
        *,
        link: LinkId,
        target: Target,
        routing_id: bytes,
        notify: Callable[["Dialled"], None],
        drops: Counter[str],
        gauge: Gauge,
    ) -> None:
        self.link = link
        self._target = target
        self._watch = watch
        self._notify = notify
        self._drops = drops
        self._gauge = gauge
        self._descriptor = -1
        self._loss: Loss | None = None
        self._is_up = False
        self._is_closed = False
        self._socket = new_dialling_socket(context, routing_id=routing_id)
        try:
            set_client_keys(
                self._socket, server=target.server, secret=target.secret, public=target.public
            )
            self._monitor = Monitor(watch, self._socket, events=_EVENTS, report=self._on_event)
            try:
                self._socket.connect(target.endpoint)
            except zmq.ZMQError:
                self._monitor.close()
                raise
        except zmq.ZMQError:
            self._socket.close()
            raise
        watch.add(self._socket, self._on_signal)

    def send(self, frames: Sequence[bytes]) -> None:
        """Hand two frames to the wire; a wire that cannot take them ends the link."""
        if self._is_closed or self._loss is not None:
            return
        try:
            self._socket.send_multipart(frames, NOBLOCK)
            self._gauge.count_out(self, self._descriptor, frames)
        except zmq.Again:
            self._monitor.read()
            self._end(Loss.CONGESTED)
            return
        if is_readable(self._socket):
            self._notify(self)

    def drain(self, batch: Batch) -> bool:
        """Move what has arrived into `batch`; true when there is nothing left for now."""
        if self._is_closed:
            return True
        for _ in range(TURN_FRAMES_MAX):
            if batch.is_full:
                return False
            try:
                message = receive_rest(self._socket, self._drops)
            except zmq.Again:
                if self._loss is not None:
                    batch.add_loss(self.link, self._loss, self._target.endpoint)
                    self.close()
                return True
            if isinstance(message, tuple):
                self._gauge.count(self, self._descriptor, message)
                batch.add_frames(self.link, message, is_door=False)
            elif message is Sign.BYE:
                self._end(Loss.CLOSED)
        return False

    @property
    def is_over(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        """Close without a word to anybody here; the peer notices at once."""
        if not self._is_closed:
            self._is_closed = True
            self._gauge.drop(self, self._descriptor)
            self._watch.remove(self._socket)
            self._monitor.close()
            # A goodbye just sent should leave; a peer that does not read must not hold us up.
            is_worth_it = self._is_up and self._loss is None
            self._socket.close(linger=LINGER_MS if is_worth_it else 0)

    def _on_signal(self) -> None:
        if not self._is_closed and is_readable(self._socket):
            self._notify(self)

    def _is_behind(self) -> bool:
        if self._is_closed or not is_readable(self._socket):
            return False
        self._notify(self)
        return True

    def _on_event(self, event: int, value: int) -> None:
        if event == zmq.EVENT_CONNECTED:
            self._descriptor = value
            self._gauge.add(self, value, self._is_behind)
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._is_up = True
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._end(Loss.REJECTED)
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and value in _HUNG_UP:
            # A door with another secret has another key and hangs up in silence.
            self._end(Loss.REJECTED if self._target.is_door else Loss.UNREACHABLE)
        else:
            self._end(Loss.CLOSED if self._is_up else Loss.UNREACHABLE)

    def _end(self, loss: Loss) -> None:
        if self._loss is None and not self._is_closed:
            self._loss = loss
            self._notify(self)
