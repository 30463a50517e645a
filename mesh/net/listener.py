"""A listening socket and the links that peers opened to it.

A link is born with the first frames of a routing id not seen before and ends when its descriptor
is reported gone. That report may overtake frames still to be read, and descriptors are used again,
so it only raises a suspicion: once everything waiting has been read, a probe to the routing id
tells (`ROUTER_MANDATORY` answers that the host is unreachable). ZeroMQ cannot drop one peer of a
ROUTER; a link closed from here stays in the table, deaf, until its peer heeds the `BYE` and hangs
up.
"""

import socket as plain_sockets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import zmq

from mesh import limits
from mesh.core.events import Loss
from mesh.errors import TransportError
from mesh.model import LinkId
from mesh.net.addresses import plain_address, tcp_endpoint
from mesh.net.batch import BYE, PROBE, TURN_FRAMES_MAX, Batch, receive_rest
from mesh.net.gauge import Gauge
from mesh.net.links import LinkTable
from mesh.net.sockets import (
    LINGER_MS,
    NOBLOCK,
    Context,
    Monitor,
    Watch,
    is_readable,
    new_listening_socket,
)

ROUTING_ID_BYTES: Final = 16
PROBES_MAX: Final = 8
PROBE_DELAY_S: Final = 0.01
PENDING_MAX: Final = 1024
_OWN_ADDRESSES: Final = frozenset(("local", "127.0.0.1", "::1"))
_WRONG_KEY: Final = 0x11000001  # ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
_EVENTS: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_DISCONNECTED


@dataclass(slots=True, eq=False)
class Inbound:
    """One link opened by a peer; `is_closed` once this side has no use for it."""

    link: LinkId
    routing_id: bytes
    descriptor: int
    address: str
    listener: "Listener"
    is_closed: bool = False
    loss: Loss | None = None

    def send(self, frames: Sequence[bytes]) -> None:
        """Hand two frames to the wire; a wire that cannot take them ends the link."""
        self.listener.send(self, frames)

    def close(self) -> None:
        """Close without an event; the peer is told."""
        self.listener.close_link(self)


class Listener:
    """One ROUTER: the main socket, or the door (`is_door`)."""

    def __init__(
        self,
        context: Context,
        watch: Watch,
        *,
        secret: bytes,
        is_door: bool,
        links: LinkTable["Inbound"],
        notify: Callable[["Listener"], None],
        note_refusal: Callable[[str], None],
        note_accepted: Callable[[int], None],
        drops: Counter[str],
        gauge: Gauge,
    ) -> None:
        self._watch = watch
        self._is_door = is_door
        self._links = links
        self._notify = notify
        self._note_refusal = note_refusal
        self._note_accepted = note_accepted
        self._drops = drops
        self._gauge = gauge
        self._by_routing_id: dict[bytes, Inbound] = {}
        self._by_descriptor: dict[int, Inbound] = {}
        self._suspects: dict[Inbound, int] = {}
        self._addresses: dict[int, str] = {}
        self._has_wrong_key = False
        self._is_closed = False
        self.socket = new_listening_socket(context, secret)
        self._monitor = Monitor(watch, self.socket, events=_EVENTS, report=self._on_event)
        watch.add(self.socket, self._on_signal)

    def bind(self, host: str, port: int | None) -> int:
        """Listen on a port, a free one for None, and return it.

        Raises:
            TransportError: taken, or not ours to bind; `__cause__` is the `zmq.ZMQError`.
        """
        endpoint = tcp_endpoint(host, 0)[:-1] + (str(port) if port is not None else "*")
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise TransportError(f"Cannot listen on {endpoint}: {error}.") from error
        bound = self.socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound, bytes)
        return int(bound.rstrip(b"\x00").rpartition(b":")[2])

    def drain(self, batch: Batch) -> bool:
        """Move what has arrived into `batch`; true when there is nothing left for now."""
        if self._is_closed:
            return True
        for _ in range(TURN_FRAMES_MAX):
            if batch.is_full:
                return False
            try:
                routing_id = self.socket.recv(NOBLOCK, copy=False)
            except zmq.Again:
                self._probe_suspects(batch)
                return True
            self._receive(routing_id, batch)
        return False

    def send(self, inbound: Inbound, frames: Sequence[bytes]) -> None:
        """Hand frames to the wire of one link."""
        if inbound.is_closed or inbound.loss is not None:
            return
        try:
            self.socket.send_multipart([inbound.routing_id, *frames], NOBLOCK)
            self._gauge.count_out(self, inbound.descriptor, frames)
        except zmq.Again:
            self._suspect(inbound, Loss.CONGESTED)
        except zmq.ZMQError:
            self._suspect(inbound, Loss.CLOSED)
        if is_readable(self.socket):
            self._notify(self)

    def close_link(self, inbound: Inbound) -> None:
        """Stop listening to one link and tell its peer."""
        if not inbound.is_closed:
            inbound.is_closed = True
            self._links.drop(inbound.link)
            self._say(inbound.routing_id, BYE)

    def close(self, batch: Batch | None = None) -> None:
        """Close the socket; the links it had are reported to `batch`."""
        self._is_closed = True
        for inbound in self._by_routing_id.values():
            if not inbound.is_closed:
                inbound.is_closed = True
                self._links.drop(inbound.link)
                if batch is not None:
                    batch.add_loss(inbound.link, Loss.CLOSED, inbound.address)
        self._watch.remove(self.socket)
        self._monitor.close()
        self.socket.close(linger=LINGER_MS)

    def _receive(self, routing_frame: zmq.Frame, batch: Batch) -> None:
        routing_id = routing_frame.bytes
        message = receive_rest(self.socket, self._drops)
        inbound = self._by_routing_id.get(routing_id)
        if not isinstance(message, tuple):
            return
        if inbound is None:
            inbound = self._welcome(routing_id, routing_frame)
        if inbound is None or inbound.is_closed:
            self._drops["closed_link"] += 1
            self._say(routing_id, BYE)
            return
        self._gauge.count(self, inbound.descriptor, message)
        batch.add_frames(inbound.link, message, is_door=self._is_door)

    def _welcome(self, routing_id: bytes, frame: zmq.Frame) -> Inbound | None:
        if len(routing_id) != ROUTING_ID_BYTES:
            self._drops["routing_id"] += 1
            return None
        link = self._links.next_link()
        if link is None or len(self._by_routing_id) >= PENDING_MAX:
            self._drops["links_max"] += 1
            return None
        descriptor = int(frame.get(zmq.SRCFD))
        address = plain_address(str(frame.get("Peer-Address")))
        if self._is_crowded(address):
            self._drops["links_per_address_max"] += 1
            return None
        inbound = Inbound(link, routing_id, descriptor, address, self)
        previous = self._by_descriptor.get(descriptor)
        if previous is not None:
            self._suspect(previous, Loss.CLOSED)
        self._by_routing_id[routing_id] = inbound
        self._by_descriptor[descriptor] = inbound
        self._links.put(link, inbound)
        return inbound

    def _is_crowded(self, address: str) -> bool:
        """Whether one other machine has its share of the links, so that it cannot take them all."""
        if address in _OWN_ADDRESSES:
            return False
        taken = sum(inbound.address == address for inbound in self._by_routing_id.values())
        return taken >= limits.links_per_address_max

    def _say(self, routing_id: bytes, sign: bytes) -> bool:
        """Send a sign; false when the peer is certainly gone."""
        try:
            self.socket.send_multipart([routing_id, sign], NOBLOCK)
        except zmq.Again:
            return True
        except zmq.ZMQError:
            return False
        if is_readable(self.socket):
            self._notify(self)
        return True

    def _on_signal(self) -> None:
        if not self._is_closed and is_readable(self.socket):
            self._notify(self)

    def _on_event(self, event: int, value: int) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._gauge.add(self, value, self._is_behind)
            self._note_accepted(value)
            self._note_address(value)
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            # The event names no descriptor; the one that follows does.
            self._has_wrong_key = value == _WRONG_KEY
        else:
            self._gauge.drop(self, value)
            address = self._addresses.pop(value, "")
            if self._is_door and self._has_wrong_key:
                self._note_refusal(address or "unknown")
            self._has_wrong_key = False
            inbound = self._by_descriptor.get(value)
            if inbound is not None:
                self._suspect(inbound, Loss.CLOSED)

    def _is_behind(self) -> bool:
        if self._is_closed or not is_readable(self.socket):
            return False
        self._notify(self)
        return True

    def _note_address(self, descriptor: int) -> None:
        """Remember who knocks: the key of a door is secret, so ZAP never sees a wrong one."""
        if not self._is_door or len(self._addresses) >= PENDING_MAX:
            return
        try:
            with plain_sockets.socket(fileno=plain_sockets.dup(descriptor)) as knocking:
                self._addresses[descriptor] = plain_address(str(knocking.getpeername()[0]))
        except OSError:
            return

    def _suspect(self, inbound: Inbound, loss: Loss) -> None:
        if loss is Loss.CONGESTED:
            inbound.loss = loss
        self._suspects[inbound] = 0
        self._notify(self)

    def _probe_suspects(self, batch: Batch) -> None:
        """Tell, now that nothing is left to read, which suspects are really gone."""
        if self._suspects and is_readable(self.socket):
            self._notify(self)
            return
        for inbound, attempts in tuple(self._suspects.items()):
            if self._by_routing_id.get(inbound.routing_id) is not inbound:
                del self._suspects[inbound]
            elif not self._say(inbound.routing_id, PROBE):
                self._forget(inbound, batch, Loss.CLOSED)
            elif inbound.loss is not None:
                self._report(inbound, batch, inbound.loss)
                del self._suspects[inbound]
            elif attempts >= PROBES_MAX:
                del self._suspects[inbound]
            else:
                self._suspects[inbound] = attempts + 1
                delay_s = PROBE_DELAY_S * 2**attempts
                self._watch.loop.call_later(delay_s, self._notify, self)

    def _forget(self, inbound: Inbound, batch: Batch, loss: Loss) -> None:
        del self._suspects[inbound]
        del self._by_routing_id[inbound.routing_id]
        if self._by_descriptor.get(inbound.descriptor) is inbound:
            del self._by_descriptor[inbound.descriptor]
        self._report(inbound, batch, inbound.loss or loss)

    def _report(self, inbound: Inbound, batch: Batch, loss: Loss) -> None:
        if not inbound.is_closed:
            inbound.is_closed = True
            self._links.drop(inbound.link)
            batch.add_loss(inbound.link, loss, inbound.address)
