"""Notices when this machine gets other addresses: a cable, a Wi-Fi, a VPN, a lease that has ended.

Sockets bound once go on as if nothing had happened, and a link whose address is gone falls silent
without an end, so somebody has to look. Linux tells each change through a netlink socket, which
costs nothing while nothing changes; elsewhere the addresses are compared every few seconds.
Changes come in flocks (one address goes, another comes), so a change is told once it has settled.
"""

import asyncio
import contextlib
import logging
import socket
import sys
from types import TracebackType
from typing import Final, Self

from mesh import limits
from mesh.core.events import Moved
from mesh.net.addresses import LocalAddress, local_addresses, outward
from mesh.net.interface import News

SETTLE_S: Final = 0.4
NEWS_BYTES: Final = 64 * limits.KIB
_IPV4_ADDRESSES: Final = 0x10
_IPV6_ADDRESSES: Final = 0x100
_log = logging.getLogger(__name__)


class AddressWatch:
    """Reports `Moved` whenever others would have to reach this machine at other addresses."""

    def __init__(self, *, interval_s: float = limits.interface_scan_interval_s) -> None:
        self._interval_s = interval_s
        self._wake = asyncio.Event()
        self._told: socket.socket | None = None
        self._known: frozenset[LocalAddress] = frozenset()

    async def watch(self) -> list[News]:
        """Wait until the addresses are others than before."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._wake.wait()
            if self._wake.is_set():
                await asyncio.sleep(SETTLE_S)
            self._wake.clear()
            if await self._has_changed():
                return [Moved()]

    def rescan(self) -> None:
        """Compare now (the process was asleep)."""
        self._wake.set()

    async def __aenter__(self) -> Self:
        self._told = _open_netlink()
        if self._told is not None:
            asyncio.get_running_loop().add_reader(self._told.fileno(), self._hear)
            self._interval_s = max(self._interval_s, limits.interface_backstop_s)
        self._known = await self._find()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._told is not None:
            asyncio.get_running_loop().remove_reader(self._told.fileno())
            self._told.close()

    async def _has_changed(self) -> bool:
        try:
            found = await self._find()
        except OSError as error:  # No descriptor is left, or the system does not tell.
            _log.debug("Cannot read the addresses of this machine: %s.", error)
            return False
        is_changed = found != self._known
        self._known = found
        return is_changed

    async def _find(self) -> frozenset[LocalAddress]:
        loop = asyncio.get_running_loop()
        return frozenset(outward(await loop.run_in_executor(None, local_addresses)))

    def _hear(self) -> None:
        """Throw away what the kernel says: that it says something is enough."""
        assert self._told is not None
        # Too much was said at once (ENOBUFS): that is news as well.
        with contextlib.suppress(OSError):
            while self._told.recv(NEWS_BYTES):
                continue
        self._wake.set()


def _open_netlink() -> socket.socket | None:
    """Open a socket on which Linux tells of changed addresses; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        told = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    except OSError:
        return None
    try:
        told.bind((0, _IPV4_ADDRESSES | _IPV6_ADDRESSES))
    except OSError:  # Sandboxes forbid it.
        told.close()
        return None
    return told
