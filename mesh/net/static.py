"""Static peers: the addresses a person wrote down.

Names are resolved here, off the loop, because ZeroMQ would resolve them on its I/O thread and
stall all links; they are resolved again every half minute, since laptops move. What stands behind
an address is unknown until its door has welcomed us, hence sightings without a key.
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from mesh import limits
from mesh.core.events import Sighted, Source
from mesh.net.addresses import tcp_endpoint
from mesh.net.interface import News

_log = logging.getLogger(__name__)


class StaticPeers:
    """Reports each (host, port) at once and again after every `interval_s`."""

    def __init__(
        self,
        peers: Sequence[tuple[str, int]],
        *,
        interval_s: float = limits.resolve_interval_s,
    ) -> None:
        self._peers = tuple(peers)
        self._interval_s = interval_s
        self._wake = asyncio.Event()
        self._wake.set()
        self._unresolved: set[str] = set()

    async def watch(self) -> list[News]:
        """Wait for the next round and return one sighting for each peer that has an address."""
        while True:
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            sightings: list[News] = []
            for host, port in self._peers:
                hosts = await self._resolve(host, port)
                endpoints = tuple(tcp_endpoint(found, port) for found in hosts)
                if endpoints:
                    sightings.append(Sighted(Source.STATIC, None, endpoints))
            if sightings:
                return sightings

    def rescan(self) -> None:
        """Report all peers again now."""
        self._wake.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    async def _resolve(self, host: str, port: int) -> tuple[str, ...]:
        """Return numeric addresses; none, logged once, while the name cannot be resolved."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            return (host,)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            if host not in self._unresolved:
                self._unresolved.add(host)
                _log.warning("Cannot resolve the peer %s: %s.", host, error)
            return ()
        self._unresolved.discard(host)
        hosts = dict.fromkeys(str(address[0]) for *_, address in found)
        return tuple(hosts)[: limits.endpoints_per_node_max]
