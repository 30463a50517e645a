"""Multicast DNS: who else is on this network, as a hint to dial and nothing more.

The service record carries a random name, a random host label, and in TXT the protocol version, the
mode and the CURVE key; no names, paths or anything by which a machine could be followed.
Everything heard is untrusted: anybody on the network can announce, redirect and withdraw at will.
So candidates are capped, looked up at a bounded rate, withdrawals are ignored, and only private
addresses are reported.

zeroconf binds its sockets once; on a `rescan` it is therefore told of interfaces that have changed.
Everything runs in one supervised task: multicast may be missing or break at any time, which costs
one line in the log and a retry, never the node.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

import zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mesh import limits
from mesh.core.events import Sighted, Source
from mesh.model import CurveKey
from mesh.net.addresses import (
    LOOPBACK,
    WILDCARDS,
    is_dialable,
    local_addresses,
    multicast_interfaces,
    nearest_first,
    published_hosts,
    tcp_endpoint,
)
from mesh.net.interface import News

SERVICE: Final = "_claude-ipc._tcp.local."
LABEL_BYTES: Final = 8
LOOKUP_MS: Final = 1500
LOOKUPS_AT_ONCE_MAX: Final = 16
LOOKUP_INTERVAL_S: Final = 5.0
CANDIDATE_AGE_S: Final = 60.0
GOODBYE_S: Final = 0.05
RETRY_S_MIN: Final = 2.0
RETRY_S_MAX: Final = 300.0
Interfaces = list[str | int | tuple[tuple[str, int, int], int]]
"""As zeroconf wants them: IPv4 addresses and numbers of interfaces."""
_KEY: Final = re.compile(rb"[0-9a-f]{64}\Z")
# Wide on purpose: whatever zeroconf trips over on a strange network, the node lives on without it.
_ERRORS: Final = (
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    zeroconf.Error,
)
_log = logging.getLogger(__name__)
# It prints a traceback for each interface without a route; what matters we report ourselves.
logging.getLogger("zeroconf").setLevel(logging.CRITICAL)


class _NetworkChangedError(OSError):
    """From loopback only to a real network or back: other sockets are needed."""


class Mdns:
    """Announces one node (unless `advertise` is false) and reports others of the same mode.

    `hosts` are the addresses the main socket is bound to, `port` its TCP port.
    """

    def __init__(
        self,
        *,
        curve: CurveKey,
        port: int,
        hosts: Sequence[str],
        version: int,
        mode: str,
        random: Callable[[int], bytes],
        advertise: bool = True,
    ) -> None:
        self._curve = curve
        self._port = port
        self._hosts = tuple(hosts)
        self._version = str(version).encode()
        self._mode = mode.encode()
        self._advertise = advertise
        self._name = f"{random(LABEL_BYTES).hex()}.{SERVICE}"
        self._server = f"{random(LABEL_BYTES).hex()}.local."
        self._is_loopback = False
        self._version_used = zeroconf.IPVersion.All
        self._news: list[News] = []
        self._wake = asyncio.Event()
        self._look = asyncio.Event()
        self._moved = asyncio.Event()
        self._due: dict[str, float] = {}
        self._looked_at: dict[str, float] = {}
        self._has_warned = False
        self._tasks = asyncio.TaskGroup()
        self._supervisor: asyncio.Task[None] | None = None

    async def watch(self) -> list[News]:
        """Wait for sightings and return them."""
        while not self._news:
            self._wake.clear()
            await self._wake.wait()
        news, self._news = self._news, []
        return news

    def rescan(self) -> None:
        """Follow changed interfaces, and look all candidates up again where that was long ago."""
        now = asyncio.get_running_loop().time()
        for name, looked_at in self._looked_at.items():
            self._due[name] = max(now, looked_at + LOOKUP_INTERVAL_S)
        self._look.set()
        self._moved.set()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._supervisor = self._tasks.create_task(self._supervise())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._supervisor is not None
        self._supervisor.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _supervise(self) -> None:
        """Run for ever; after trouble start anew, ever more rarely."""
        retry_s = RETRY_S_MIN
        while True:
            try:
                await self._run()
            except* _NetworkChangedError:
                retry_s = RETRY_S_MIN
            except* _ERRORS as trouble:
                level = logging.DEBUG if self._has_warned else logging.WARNING
                self._has_warned = True
                _log.log(level, "No multicast discovery for now: %s.", trouble.exceptions[0])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry_s):
                    await self._moved.wait()
            retry_s = min(retry_s * 2, RETRY_S_MAX)

    async def _run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            self._moved.clear()
            responder = self._open()
            stack.push_async_callback(_close, responder)
            await responder.zeroconf.async_wait_for_start()
            browser = AsyncServiceBrowser(responder.zeroconf, SERVICE, handlers=[self._on_change])
            stack.push_async_callback(browser.async_cancel)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look_up_due(responder))
                group.create_task(self._keep(responder))

    def _open(self) -> AsyncZeroconf:
        """Open on as many interfaces as the machine allows.

        Raises:
            OSError: not even loopback can do multicast.
        """
        self._is_loopback = self._published_hosts_are_loopback()
        loopback: Interfaces = [LOOPBACK]
        attempts = [(loopback, zeroconf.IPVersion.V4Only)]
        if not self._is_loopback:
            v4, v6 = multicast_interfaces(local_addresses())
            attempts.insert(0, ([*v4], zeroconf.IPVersion.V4Only))
            attempts.insert(0, ([*v4, *v6], zeroconf.IPVersion.All))
        trouble: Exception = OSError("no usable interface")
        for interfaces, version in attempts:
            try:
                self._version_used = version
                return AsyncZeroconf(interfaces=interfaces, ip_version=version)
            except _ERRORS as error:
                trouble = error
        raise OSError(str(trouble)) from trouble

    def _interfaces(self) -> Interfaces:
        v4, v6 = multicast_interfaces(local_addresses())
        return [*v4, *v6] if self._version_used == zeroconf.IPVersion.All else [*v4]

    async def _keep(self, responder: AsyncZeroconf) -> None:
        """Announce this node and follow the interfaces as they come and go."""
        hosts = self._published_hosts()
        if self._advertise:
            await responder.async_register_service(
                self._service(hosts), cooperating_responders=True
            )
        while True:
            await self._moved.wait()
            self._moved.clear()
            current = self._published_hosts()
            if current == hosts:
                continue
            hosts = current
            if self._is_loopback != self._published_hosts_are_loopback():
                raise _NetworkChangedError
            await responder.async_update_interfaces(self._interfaces())
            if self._advertise:
                await responder.async_update_service(self._service(hosts))

    @property
    def _is_wildcard(self) -> bool:
        return any(host in WILDCARDS for host in self._hosts)

    def _published_hosts(self) -> tuple[str, ...]:
        return published_hosts(local_addresses()) if self._is_wildcard else self._hosts

    def _published_hosts_are_loopback(self) -> bool:
        return all(host in {LOOPBACK, "::1"} for host in self._published_hosts())

    def _service(self, hosts: Sequence[str]) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE,
            self._name,
            port=self._port,
            properties={"v": self._version, "m": self._mode, "k": self._curve.hex()},
            server=self._server,
            parsed_addresses=[host.partition("%")[0] for host in hosts],
        )

    def _on_change(
        self,
        zeroconf: zeroconf.Zeroconf,  # noqa: ARG002  (zeroconf calls by these names)
        service_type: str,  # noqa: ARG002
        name: str,
        state_change: zeroconf.ServiceStateChange,
    ) -> None:
        """Note a candidate; one that says goodbye may be lying, or lied about."""
        if state_change.name == "Removed" or name == self._name:
            return
        now = asyncio.get_running_loop().time()
        looked_at = self._looked_at.get(name)
        if looked_at is None and not self._has_room(now):
            return
        self._due[name] = now if looked_at is None else max(now, looked_at + LOOKUP_INTERVAL_S)
        self._looked_at.setdefault(name, now - LOOKUP_INTERVAL_S)
        self._look.set()

    def _has_room(self, now: float) -> bool:
        """Keep the candidates within their bound; old ones give way, a flood does not push."""
        if len(self._looked_at) < limits.sighting_candidates_max:
            return True
        oldest = min(self._looked_at, key=self._looked_at.__getitem__)
        if now - self._looked_at[oldest] < CANDIDATE_AGE_S:
            return False
        del self._looked_at[oldest]
        self._due.pop(oldest, None)
        return True

    async def _look_up_due(self, responder: AsyncZeroconf) -> None:
        """Look candidates up as they fall due, a few at once."""
        loop = asyncio.get_running_loop()
        while True:
            self._look.clear()
            now = loop.time()
            names = [name for name, due in self._due.items() if due <= now]
            names = names[:LOOKUPS_AT_ONCE_MAX]
            for name in names:
                del self._due[name]
                self._looked_at[name] = now
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(self._look_up(responder, name))
            if not names:
                delay_s = min(self._due.values()) - now if self._due else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._look.wait()

    async def _look_up(self, responder: AsyncZeroconf, name: str) -> None:
        try:
            service = AsyncServiceInfo(SERVICE, name)
            is_found = await service.async_request(responder.zeroconf, LOOKUP_MS)
        except (ValueError, zeroconf.Error):
            return
        sighting = self._sighting(service) if is_found else None
        if sighting is not None:
            self._news.append(sighting)
            self._wake.set()

    def _sighting(self, service: AsyncServiceInfo) -> Sighted | None:
        """Check everything a stranger may have put into a record."""
        fields = service.properties
        key = fields.get(b"k") or b""
        if fields.get(b"v") != self._version or fields.get(b"m") != self._mode:
            return None
        if not _KEY.match(key) or service.port is None or not 0 < service.port < 65536:
            return None
        curve = CurveKey(bytes.fromhex(key.decode()))
        hosts = [
            host
            for host in service.parsed_scoped_addresses()
            if is_dialable(host, is_loopback_allowed=self._is_loopback)
        ]
        nearest = nearest_first(dict.fromkeys(hosts), local_addresses())
        endpoints = tuple(tcp_endpoint(host, service.port) for host in nearest)
        if curve == self._curve or not endpoints:
            return None
        return Sighted(Source.MDNS, curve, endpoints[: limits.endpoints_per_node_max])


async def _close(responder: AsyncZeroconf) -> None:
    """Say goodbye once, not three times over half a second: nobody relies on it."""
    try:
        with contextlib.suppress(TimeoutError, *_ERRORS):
            async with asyncio.timeout(GOODBYE_S):
                await responder.async_unregister_all_services()
    finally:  # Before Python 3.11.4 a timeout in a cancelled task ends in CancelledError.
        with contextlib.suppress(*_ERRORS):
            await responder.async_close()
