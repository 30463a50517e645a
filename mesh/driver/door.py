"""The well-known port of a host: one of its nodes keeps it, the next one takes it over."""

import asyncio
import logging
from typing import Final

from mesh.errors import TransportError
from mesh.net.interface import Transport

_RETRY_S: Final = 5.0
_log = logging.getLogger(__name__)


class Door:
    """Opens the door of `transport` at `host:port` as soon as nobody else has that port."""

    def __init__(self, transport: Transport, *, host: str, port: int) -> None:
        self._transport = transport
        self._host = host
        self._port = port

    async def keep(self) -> None:
        """Try until the door is open, then return; it stays open until the transport ends."""
        while True:
            try:
                is_open = self._transport.open_door(self._port, self._host)
            except TransportError as exc:
                _log.warning("cannot listen on port %d: %s", self._port, exc)
                return
            if is_open:
                return
            await asyncio.sleep(_RETRY_S)
