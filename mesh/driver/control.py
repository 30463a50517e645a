"""The control endpoint: how other processes of this user act through this node's session.

It is not part of the mesh protocol and never leaves the host. A command (`mesh send --as alice`
while alice's session runs) opens one stream, writes one JSON line and reads the answer:

    -> {"token": "...", "op": "read", "args": {...}}
    <- {"item": ...}          any number of times, for operations that give many values
    <- {"ok": ...}            or {"error": {"type", "code", "message", ...}}; always the last line

The endpoint is a Unix socket (0600) in the host's private `run` directory; where there are none, or
where the path is too long for one, it is a port of 127.0.0.1. The token, which only the node's
0600 entry in the registry tells, is asked for in both cases.

A peer that closes its stream cancels its operation: a reading call that nobody waits for any more
must not go on. At `control_links_max` streams, newcomers wait in the operating system's backlog.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeGuard

from mesh import errors, limits
from mesh.driver.results import JsonObject
from mesh.errors import (
    MalformedError,
    MeshError,
    PeerError,
    RateLimitError,
    TransportError,
    UnconfirmedError,
)

WRONG_TOKEN: Final = "wrong_token"  # noqa: S105 - a code, not a token
"""The code that answers whoever looks for another node, or for one that is about to end."""

_NOT_US: Final = {"type": "", "code": WRONG_TOKEN, "message": "This is another session."}
# Operations that may wait long and change nothing by being cut off; the others are brief.
_PATIENT: Final = frozenset(("read", "wait", "ask", "share_command"))
_LOOPBACK: Final = "127.0.0.1"
# A Unix socket refuses whoever comes when this is full, instead of letting them wait.
_BACKLOG: Final = 1024
_ACCEPT_PAUSE_S: Final = 0.2

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation gives: one value, after any number of items."""

    value: Any
    items: Sequence[Any] = ()


Dispatch = Callable[[str, JsonObject], Awaitable[Answer]]
"""Performs the operation of that name; raises `MeshError` for what the caller should hear."""


def encode_line(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return `value` as one line of ASCII."""
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def decode_line(line: bytes) -> JsonObject:
    """Read one line.

    Raises:
        MalformedError: not a complete JSON object.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise MalformedError("not a line of JSON") from exc
    if not line.endswith(b"\n") or not isinstance(value, dict):
        raise MalformedError("not a complete JSON object")
    return value


def describe_error(error: MeshError) -> JsonObject:
    """Return an error as JSON values, so that the other side can raise it again."""
    value: JsonObject = {
        "type": type(error).__name__,
        "code": error.code,
        "message": str(error),
    }
    match error:
        case RateLimitError():
            value["retry_after_s"] = error.retry_after_s
        case UnconfirmedError():
            value["message_id"] = error.message_id
        case _:
            pass
    return value


def rebuild_error(value: JsonObject) -> MeshError:
    """Return the error that `describe_error` described: same class, else the first of its code."""
    message = str(value.get("message", ""))
    match value:
        case {"type": "RateLimitError"}:
            return RateLimitError(message, retry_after_s=float(value.get("retry_after_s", 0)))
        case {"type": "UnconfirmedError"}:
            return UnconfirmedError(message, message_id=str(value.get("message_id", "")))
        case _:
            pass
    known = [kind for kind in vars(errors).values() if _is_plain_error(kind)]
    for kind in known:
        if kind.__name__ == value.get("type"):
            return kind(message)
    for kind in known:
        if kind.code == value.get("code"):
            return kind(message)
    return MeshError(message)


def _is_plain_error(value: object) -> TypeGuard[type[MeshError]]:
    """Whether `value` is an error class that is made from its message alone."""
    return (
        isinstance(value, type)
        and issubclass(value, MeshError)
        and not issubclass(value, RateLimitError | UnconfirmedError)
    )


class ControlServer:
    """Listens at the control endpoint from `__aenter__` on; `serve` answers until cancelled."""

    def __init__(self, path: Path, token: str, dispatch: Dispatch) -> None:
        self._path = path
        self._token = token.encode()
        self._dispatch = dispatch
        self._socket: socket.socket | None = None
        self._endpoint = ""
        self._slots = asyncio.Semaphore(limits.control_links_max)
        self._accepted: set[socket.socket] = set()
        self._is_finishing = False
        self._brief = 0
        self._settled = asyncio.Event()
        self._settled.set()

    @property
    def endpoint(self) -> str:
        """Where to reach us: the path of a Unix socket, or `tcp://127.0.0.1:port`."""
        return self._endpoint

    async def __aenter__(self) -> Self:
        """Bind and listen.

        Raises:
            TransportError: cannot bind.
        """
        try:
            self._socket, self._endpoint = _listen(self._path)
        except OSError as exc:
            raise TransportError(f"Cannot listen at {self._path}: {exc.strerror}") from exc
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._socket is not None
        self._socket.close()
        for link in self._accepted:  # Their tasks were cancelled before they began.
            link.close()
        if self._endpoint == str(self._path):
            self._path.unlink(missing_ok=True)

    async def serve(self) -> None:
        """Answer everybody until cancelled. Run it in the node's task group."""
        assert self._socket is not None
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                try:
                    link = await _accept(self._socket)
                except OSError as exc:
                    # Out of descriptors, or the peer has already left: neither must stop the node.
                    self._slots.release()
                    _logger.warning("control endpoint cannot accept: %s", exc)
                    await asyncio.sleep(_ACCEPT_PAUSE_S)
                    continue
                self._accepted.add(link)
                group.create_task(self._converse(link))

    async def finish(self, timeout_s: float) -> None:
        """Begin nothing more, and give what was begun a moment to be answered.

        Call it before ending the node: a change that is cut off leaves its caller in doubt.
        """
        self._is_finishing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()

    async def _converse(self, link: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(
                sock=link, limit=limits.control_line_bytes_max
            )
        except OSError:
            link.close()
            self._slots.release()
            return
        finally:
            self._accepted.discard(link)
        try:
            await self._answer(reader, writer)
        except (PeerError, OSError, TimeoutError) as exc:
            _logger.debug("control stream dropped: %s", exc)
        finally:
            self._slots.release()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(limits.control_request_timeout_s):
            try:
                request = decode_line(await reader.readline())
            except ValueError as exc:
                raise MalformedError("a line over its limit") from exc
        if self._is_finishing:
            writer.write(encode_line({"error": _NOT_US}))
            return
        is_brief = request.get("op") not in _PATIENT
        self._count(is_brief)
        try:
            for line in await self._perform_unless_closed(reader, request):
                writer.write(line)
                async with asyncio.timeout(limits.control_answer_timeout_s):
                    await writer.drain()
        finally:
            self._count(-is_brief)

    def _count(self, difference: int) -> None:
        self._brief += difference
        if self._brief:
            self._settled.clear()
        else:
            self._settled.set()

    async def _perform_unless_closed(
        self, reader: asyncio.StreamReader, request: JsonObject
    ) -> list[bytes]:
        """Perform the request; return nothing if the peer closed the stream meanwhile."""
        lines: list[bytes] = []
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._perform(request, lines))
            watch = group.create_task(_cancel_at_end(reader, work))
            work.add_done_callback(lambda _: watch.cancel())
        return lines

    async def _perform(self, request: JsonObject, lines: list[bytes]) -> None:
        token, op, args = request.get("token"), request.get("op"), request.get("args", {})
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self._token):
            lines.append(encode_line({"error": _NOT_US}))
            return
        try:
            if not isinstance(op, str) or not isinstance(args, dict):
                raise MalformedError("not a request")
            answer = await self._dispatch(op, args)
        except MeshError as exc:
            lines.append(encode_line({"error": describe_error(exc)}))
            return
        lines.extend(encode_line({"item": item}) for item in answer.items)
        lines.append(encode_line({"ok": answer.value}))


async def _accept(listener: socket.socket) -> socket.socket:
    """Wait for a stream. `loop.sock_accept` would lose one that comes as it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return listener.accept()[0]
        except BlockingIOError:
            waiting = asyncio.Event()
            loop.add_reader(listener, waiting.set)
            try:
                await waiting.wait()
            finally:
                loop.remove_reader(listener)


async def _cancel_at_end(reader: asyncio.StreamReader, work: asyncio.Task[None]) -> None:
    """Cancel `work` once the peer has closed its stream; nothing else is expected from it."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(limits.KIB):
            pass
    work.cancel()


def _listen(path: Path) -> tuple[socket.socket, str]:
    if not hasattr(socket, "AF_UNIX") or len(bytes(path)) > limits.control_path_bytes_max:
        link = socket.create_server((_LOOPBACK, 0), backlog=_BACKLOG)
        endpoint = f"tcp://{_LOOPBACK}:{link.getsockname()[1]}"
    else:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        endpoint = str(path)
        try:
            link.bind(endpoint)
            path.chmod(0o600)  # Before listening: nobody can have connected yet.
            link.listen(_BACKLOG)
        except OSError:
            link.close()
            raise
    link.setblocking(False)  # noqa: FBT003 - its only form
    return link, endpoint
