"""ZeroMQ sockets with the options this mesh needs, and their place in the event loop.

Sockets are watched by file descriptor, not through `zmq.asyncio`, which is five times slower. The
descriptor is edge-triggered in effect: it is readable once when something changed, and any call on
the socket may eat that signal. Therefore every callback asks the socket itself (`is_readable`), a
reader goes on until it is told there is nothing left, and a sender asks again after each send.
"""

import asyncio
import contextlib
import struct
from collections.abc import Callable
from typing import Final

import zmq
from zmq.utils import z85

from mesh import limits
from mesh.errors import TransportError

try:
    import resource
except ImportError:  # Windows has no such limit.
    resource = None  # type: ignore[assignment]  # Absent on Windows only.

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

NOBLOCK: Final = int(zmq.NOBLOCK)
ZAP_DOMAIN: Final = b"mesh"
FILES_WANTED: Final = 8192
FILES_PER_LINK: Final = 4
DIALLED_MIN: Final = 8
SOCKETS_MAX: Final = 4096
HANDSHAKE_MS: Final = 5000
HEARTBEAT_MS: Final = 10_000
HEARTBEAT_TIMEOUT_MS: Final = 25_000
HEARTBEAT_TTL_MS: Final = 30_000
BACKLOG: Final = 256
LINGER_MS: Final = 50
POLL_DELAY_S: Final = 0.01
MONITOR_TURN_MAX: Final = 64

HANDSHAKE_EVENTS: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_ZAP_ENFORCE_DOMAIN: Final = 93
_EVENT_HEAD: Final = struct.Struct("=HI")


def new_context() -> Context:
    """Make a context whose end never waits for unsent frames.

    Raises:
        TransportError: this libzmq was built without CURVE.
    """
    if not zmq.has("curve"):
        raise TransportError("This build of ZeroMQ lacks CURVE; install pyzmq from a wheel.")
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
    context.set(zmq.BLOCKY, 0)
    return context


def raise_file_limit() -> int:
    """Raise the soft limit of open files as far as this node can need and the system allows.

    Returns the limit that holds now.
    """
    if resource is None:
        return FILES_WANTED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return FILES_WANTED if soft == resource.RLIM_INFINITY else soft


def dialled_max(files_max: int) -> int:
    """Return how many links may be dialled, so that half of the files are left for all else.

    That is links that others open, databases, and what the program around this node does.
    """
    return min(limits.links_max, max(DIALLED_MIN, files_max // 2 // FILES_PER_LINK))


def public_key(secret: bytes) -> bytes:
    """Return the CURVE public key of a 32-byte secret key."""
    return z85.decode(zmq.curve_public(z85.encode(secret)))


def new_listening_socket(context: Context, secret: bytes) -> Socket:
    """Make an unbound ROUTER that speaks CURVE only and asks ZAP about every client."""
    socket = context.socket(zmq.ROUTER)
    _set_common(socket)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    # With this a missing ZAP handler refuses everybody; the default is to let everybody in.
    socket.setsockopt(_ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
    socket.setsockopt(zmq.BACKLOG, BACKLOG)
    return socket


def new_dialling_socket(context: Context, *, routing_id: bytes) -> Socket:
    """Make an unconnected DEALER that connects once and queues until its handshake is done."""
    socket = context.socket(zmq.DEALER)
    _set_common(socket)
    socket.setsockopt(zmq.ROUTING_ID, routing_id)
    socket.setsockopt(zmq.IMMEDIATE, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, int(limits.connect_timeout_s * 1000))
    return socket


def set_client_keys(socket: Socket, *, server: bytes, secret: bytes, public: bytes) -> None:
    """Make a dialling socket speak CURVE to the server that has the key `server`."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, server)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)


def _set_common(socket: Socket) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, limits.link_frames_out_max)
    socket.setsockopt(zmq.RCVHWM, limits.link_frames_in_max)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.frame_bytes_max + limits.KIB)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TTL_MS)
    socket.setsockopt(zmq.IPV6, 1)


def is_readable(socket: Socket) -> bool:
    """Ask the socket itself; this also resets its file descriptor."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)


class Watch:
    """Calls back when a socket may have something to say.

    Where the loop cannot watch descriptors (the proactor loop of Windows) it polls instead.
    """

    def __init__(self, *, is_polling: bool = False) -> None:
        self.loop = asyncio.get_running_loop()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._is_polling = is_polling
        self._timer: asyncio.TimerHandle | None = None

    def add(self, socket: Socket, callback: Callable[[], None]) -> None:
        """Watch a socket; `callback` also runs once soon, as a signal may have passed already."""
        number = socket.fileno()
        self._callbacks[number] = callback
        if not self._is_polling:
            try:
                self.loop.add_reader(number, callback)
            except NotImplementedError:
                self._is_polling = True
        if self._is_polling and self._timer is None:
            self._timer = self.loop.call_later(POLL_DELAY_S, self._poll)
        self.loop.call_soon(self._call, number, callback)

    def remove(self, socket: Socket) -> None:
        """Forget a socket; to be called before it is closed."""
        number = socket.fileno()
        if self._callbacks.pop(number, None) is not None and not self._is_polling:
            self.loop.remove_reader(number)

    def close(self) -> None:
        """Forget all sockets."""
        for number in self._callbacks:
            if not self._is_polling:
                self.loop.remove_reader(number)
        self._callbacks.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _call(self, number: int, callback: Callable[[], None]) -> None:
        if self._callbacks.get(number) is callback:
            callback()

    def _poll(self) -> None:
        for number, callback in tuple(self._callbacks.items()):
            self._call(number, callback)
        self._timer = self.loop.call_later(POLL_DELAY_S, self._poll) if self._callbacks else None


class Monitor:
    """Reports the events of one socket as (event, value)."""

    def __init__(
        self, watch: Watch, socket: Socket, *, events: int, report: Callable[[int, int], None]
    ) -> None:
        self._watch = watch
        self._socket = socket
        self._report = report
        address = f"inproc://monitor-{id(self)}"
        socket.monitor(address, events)
        self._pair = socket.context.socket(zmq.PAIR)
        self._pair.setsockopt(zmq.LINGER, 0)
        # A bound here would block ZeroMQ's I/O thread, and with it every link, not the stranger.
        self._pair.setsockopt(zmq.RCVHWM, 0)
        self._pair.connect(address)
        self._is_closed = False
        watch.add(self._pair, self.read)

    def read(self) -> None:
        """Report what has happened; goes on in the next turn of the loop when it was much."""
        for _ in range(MONITOR_TURN_MAX):
            if self._is_closed:
                return
            try:
                head = self._pair.recv(NOBLOCK)
                self._pair.recv(NOBLOCK)
            except zmq.Again:
                return
            event, value = _EVENT_HEAD.unpack(head)
            self._report(event, value)
        self._watch.loop.call_soon(self.read)

    def close(self) -> None:
        """Stop reporting; to be called before the socket is closed."""
        if not self._is_closed:
            self._is_closed = True
            self._watch.remove(self._pair)
            self._socket.disable_monitor()
            self._pair.close()
