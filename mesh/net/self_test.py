"""Proof, at every start, that our own socket refuses strangers.

CURVE without a working ZAP handler lets everybody in, and nothing would ever look wrong. So before
the node tells anybody where it listens, two strangers try: one with a random CURVE key, one
without any.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import zmq

from mesh.errors import TransportError
from mesh.net.sockets import (
    HANDSHAKE_EVENTS,
    Context,
    Monitor,
    Watch,
    new_dialling_socket,
    public_key,
    set_client_keys,
)
from mesh.net.zap import Gate

TIMEOUT_S: Final = 10.0
_EVENTS: Final = HANDSHAKE_EVENTS | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED


class _Stranger:
    """One attempt to get in; `outcome` is the first monitor event that says how it went."""

    def __init__(
        self, context: Context, watch: Watch, *, endpoint: str, keys: tuple[bytes, bytes] | None
    ) -> None:
        self.outcome = 0
        self._over = asyncio.Event()
        self._socket = new_dialling_socket(context, routing_id=b"stranger")
        if keys is not None:
            server, secret = keys
            set_client_keys(self._socket, server=server, secret=secret, public=public_key(secret))
        self._monitor = Monitor(watch, self._socket, events=_EVENTS, report=self._on_event)
        self._socket.connect(endpoint)

    async def wait(self) -> int:
        await self._over.wait()
        return self.outcome

    def close(self) -> None:
        self._monitor.close()
        self._socket.close()

    def _on_event(self, event: int, _value: int) -> None:
        if not self.outcome:
            self.outcome = event
            self._over.set()


async def refuse_strangers(
    context: Context,
    watch: Watch,
    gate: Gate,
    *,
    endpoint: str,
    server: bytes,
    random: Callable[[int], bytes],
) -> None:
    """Attack the socket at `endpoint`; takes a few milliseconds.

    Raises:
        TransportError: a stranger got in, or it cannot be told.
    """
    secret = random(32)
    gate.stranger = public_key(secret)
    keyed = _Stranger(context, watch, endpoint=endpoint, keys=(server, secret))
    plain = _Stranger(context, watch, endpoint=endpoint, keys=None)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            keyed_outcome, plain_outcome = await keyed.wait(), await plain.wait()
    except TimeoutError as error:
        raise TransportError("The start-up test of the link encryption got no answer.") from error
    finally:
        keyed.close()
        plain.close()
    if keyed_outcome == zmq.EVENT_CLOSED:
        raise TransportError(
            f"This machine cannot reach itself at {endpoint}: switch its loopback interface on "
            "(`ip link set lo up`), or let its firewall pass it."
        )
    if keyed_outcome != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        raise TransportError("The link encryption does not refuse strangers; not starting.")
    if plain_outcome not in (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_DISCONNECTED):
        raise TransportError("The listening socket does not refuse plain text; not starting.")
