"""The transport over ZeroMQ: one listening socket, perhaps a door, and a socket per dialled link.

Frames are pulled, never pushed: the event loop only notes which sockets have something (`_ready`),
and `receive` takes a bounded batch from them in turn. A node that is busy therefore stops reading,
and TCP tells its peers. Nothing received here is trusted or even looked at; that is the wire
layer's work.

What it does not do: redial, decide who is a member beyond holding the mesh key, or promise that
anything arrives.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import zmq

from mesh import limits
from mesh.core.events import Loss
from mesh.errors import TransportError
from mesh.model import CurveKey, LinkId
from mesh.net.addresses import (
    LOOPBACK,
    WILDCARDS,
    tcp_endpoint,
)
from mesh.net.batch import Batch
from mesh.net.dialled import Dialled, Target, is_endpoint
from mesh.net.gauge import Gauge
from mesh.net.interface import TransportEvent
from mesh.net.links import LinkTable
from mesh.net.listener import ROUTING_ID_BYTES, Inbound, Listener
from mesh.net.places import Places
from mesh.net.self_test import refuse_strangers
from mesh.net.sockets import (
    Context,
    Watch,
    dialled_max,
    new_context,
    public_key,
    raise_file_limit,
)
from mesh.net.zap import Gate

ADDRESSES_AGE_S_MAX: Final = 5.0
GATHER_ROUNDS_MAX: Final = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keys:
    """All CURVE keys of a node, 32 raw bytes each.

    `clients` are (secret, public): the first is used for dialling, the publics of all are let in.
    `server_secret` is the node's own, `door_secret` follows from the mesh secret.
    """

    clients: Sequence[tuple[bytes, bytes]]
    server_secret: bytes
    door_secret: bytes


@dataclass(slots=True)
class _Running:
    """What exists only between enter and exit."""

    context: Context
    watch: Watch
    gate: Gate
    gauge: Gauge
    main: Listener
    places: Places
    door: Listener | None = None


class ZmqTransport:
    """Implements `Transport`; to be entered once and used by one task."""

    def __init__(
        self,
        keys: Keys,
        *,
        bind: Sequence[str] | str,
        ipc_path: Path | None,
        random: Callable[[int], bytes],
        is_polling: bool = False,
    ) -> None:
        self._keys = keys
        self._hosts = (bind,) if isinstance(bind, str) else tuple(bind)
        self._ipc_path = ipc_path
        self._random = random
        self._is_polling = is_polling
        self._curve = CurveKey(public_key(keys.server_secret))
        self._door_curve = CurveKey(public_key(keys.door_secret))
        self._running: _Running | None = None
        self._door_port = 0
        self._published: tuple[str, ...] = ()
        self._published_at = -ADDRESSES_AGE_S_MAX
        self._dialled: dict[LinkId, Dialled] = {}
        self._dialled_max = 0
        self._inbound: LinkTable[Inbound] = LinkTable()
        self._ready: dict[Dialled | Listener, None] = {}
        self._kept = Batch()
        self._wake = asyncio.Event()
        self.drops: Counter[str] = Counter()

    @property
    def curve(self) -> CurveKey:
        """The public key of the main listening socket."""
        return self._curve

    @property
    def door_curve(self) -> CurveKey:
        """The public key of every door of this mesh."""
        return self._door_curve

    @property
    def port(self) -> int:
        """The TCP port of the main socket (of its first address)."""
        return self._started.places.bound[0][1]

    @property
    def is_loopback_only(self) -> bool:
        """Whether no other machine can reach the main socket."""
        return all(host in {LOOPBACK, "::1"} for host, _ in self._started.places.bound)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where the main socket listens: ipc first, then TCP, at most 5 s old."""
        now = self._started.watch.loop.time()
        if now - self._published_at >= ADDRESSES_AGE_S_MAX:
            self.find_endpoints()
        return self._published

    def find_endpoints(self) -> None:
        """Look up at once where the main socket listens: the addresses may have changed."""
        self._published_at = self._started.watch.loop.time()
        try:
            self._published = self._started.places.find()
        except OSError as error:  # No descriptor is left: what was true a moment ago will do.
            _log.debug("Cannot read the addresses of this machine: %s.", error)

    @property
    def door_port(self) -> int:
        """The well-known port while this transport listens there, else 0."""
        return self._door_port

    def refusals(self) -> Mapping[str, int]:
        """How often each address was refused for not holding our secret."""
        return self._started.gate.refusals

    def accept_only(self, publics: Iterable[bytes]) -> None:
        """Let only these client keys in from now on; links that are up stay."""
        self._started.gate.accept(publics)

    def open_door(self, port: int, host: str) -> bool:
        """Listen on the well-known port; false when it is taken.

        Raises:
            TransportError: the port may not be bound for another reason.
        """
        running = self._started
        assert running.door is None, "the door is open already"
        door = self._new_listener(
            running.context,
            running.watch,
            running.gate,
            running.gauge,
            self._keys.door_secret,
            is_door=True,
        )
        try:
            door.bind(host, port)
        except TransportError as error:
            door.close()
            cause = error.__cause__
            if isinstance(cause, zmq.ZMQError) and cause.errno == zmq.EADDRINUSE:
                return False
            raise
        running.door, self._door_port = door, port
        return True

    def close_door(self) -> None:
        """Stop listening on the well-known port; links that came by it are lost."""
        running = self._started
        if running.door is not None:
            running.door.close(self._kept)
            running.door, self._door_port = None, 0
            self._wake.set()

    def dial(self, link: LinkId, *, endpoint: str, curve: CurveKey | None) -> None:
        """Open a link; failure arrives as `TransportLost`."""
        assert link > 0
        assert link not in self._dialled
        running = self._started
        if not is_endpoint(endpoint) or len(self._dialled) >= self._dialled_max:
            self._lose(link, endpoint)
            return
        secret, public = self._keys.clients[0]
        target = Target(
            endpoint=endpoint,
            server=self._door_curve if curve is None else curve,
            secret=secret,
            public=public,
            is_door=curve is None,
        )
        try:
            self._dialled[link] = Dialled(
                running.context,
                running.watch,
                link=link,
                target=target,
                routing_id=self._new_routing_id(),
                notify=self._note_ready,
                drops=self.drops,
                gauge=running.gauge,
            )
        except zmq.ZMQError as error:
            _log.warning("Cannot dial %s: %s.", endpoint, error)
            self._lose(link, endpoint)

    def send(self, link: LinkId, frames: Sequence[bytes]) -> None:
        """Hand two frames to the wire; unknown links are ignored."""
        assert len(frames) == limits.frame_parts
        channel = self._dialled.get(link) if link > 0 else self._inbound.get(link)
        if channel is not None:
            channel.send(frames)

    def close_link(self, link: LinkId) -> None:
        """Close a link without an event; unknown links are ignored."""
        channel = self._dialled.pop(link, None) if link > 0 else self._inbound.get(link)
        if channel is not None:
            channel.close()

    async def receive(self) -> list[TransportEvent]:
        """Wait until something happened and return all of it, within `limits.tick_*_max`."""
        while True:
            self._wake.clear()
            events = self._gather()
            if events:
                return events
            if self._ready:
                await asyncio.sleep(0)
            else:
                await self._wake.wait()

    async def __aenter__(self) -> Self:
        files_max = raise_file_limit()
        self._dialled_max = dialled_max(files_max)
        with contextlib.ExitStack() as undo:
            context = new_context()
            undo.callback(context.destroy, linger=0)
            watch = Watch(is_polling=self._is_polling)
            undo.callback(watch.close)
            gate = Gate(context, watch, [public for _, public in self._keys.clients])
            gauge = Gauge(watch, self.drops)
            undo.callback(gauge.close)
            main = self._new_listener(context, watch, gate, gauge, self._keys.server_secret)
            undo.callback(main.close)
            places = Places(self._hosts, self._ipc_path, files_max=files_max)
            places.bind(main)
            host, port = places.bound[0]
            endpoint = tcp_endpoint(LOOPBACK if host in WILDCARDS else host, port)
            await refuse_strangers(
                context, watch, gate, endpoint=endpoint, server=self._curve, random=self._random
            )
            self._running = _Running(context, watch, gate, gauge, main, places)
            undo.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = self._started
        for dialled in self._dialled.values():
            dialled.close()
        self.close_door()
        running.main.close()
        running.gate.close()
        running.gauge.close()
        running.watch.close()
        running.context.destroy(linger=0)
        running.places.close()
        self._running = None

    @property
    def _started(self) -> _Running:
        assert self._running is not None, "the transport is not entered"
        return self._running

    def _new_listener(
        self,
        context: Context,
        watch: Watch,
        gate: Gate,
        gauge: Gauge,
        secret: bytes,
        *,
        is_door: bool = False,
    ) -> Listener:
        return Listener(
            context,
            watch,
            secret=secret,
            is_door=is_door,
            links=self._inbound,
            notify=self._note_ready,
            note_refusal=gate.note_refusal,
            note_accepted=self._note_accepted,
            drops=self.drops,
            gauge=gauge,
        )

    def _note_accepted(self, descriptor: int) -> None:
        running = self._running
        if running is not None and running.places.is_too_full(descriptor):
            _log.warning("Too many are knocking: the local socket is closed, TCP stays open.")
            running.places.leave_ipc(running.main)
            self.find_endpoints()

    def _gather(self) -> list[TransportEvent]:
        batch, self._kept = self._kept, Batch()
        for _ in range(GATHER_ROUNDS_MAX):
            for reader in tuple(self._ready):
                if batch.is_full:
                    return batch.events
                # Taken out first: while it is drained it may well ask to be drained again.
                del self._ready[reader]
                if not reader.drain(batch):
                    self._ready[reader] = None
                elif isinstance(reader, Dialled) and reader.is_over:
                    self._dialled.pop(reader.link, None)
        return batch.events

    def _note_ready(self, reader: Dialled | Listener) -> None:
        self._ready[reader] = None
        self._wake.set()

    def _lose(self, link: LinkId, endpoint: str) -> None:
        self._kept.add_loss(link, Loss.UNREACHABLE, endpoint)
        self._wake.set()

    def _new_routing_id(self) -> bytes:
        """Random, and never with the leading zero that marks ids which ZeroMQ makes up itself."""
        return b"m" + self._random(ROUTING_ID_BYTES - 1)
