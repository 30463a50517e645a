"""Examines multicast, on which discovery in a LAN relies, interface by interface.

Each probe sends to a group and port of its own and hears itself, so that mDNS is left alone. That
shows whether this machine lets multicast out and in; what switches, access points and the firewalls
of others do with it shows only in whether others are seen.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

from mesh.cli.doctor.finding import Finding, in_time, ok, warn
from mesh.config import Config
from mesh.net.addresses import LocalAddress, local_addresses

GROUP_V4: Final = "239.255.76.60"
GROUP_V6: Final = "ff12::76:60"
ECHO_S: Final = 0.6
INTERFACES_MAX: Final = 24
_MEND: Final = (
    "Allow multicast (mDNS is UDP port 5353) in this machine's firewall or VPN, or name the other "
    "machines in IPC_PEERS."
)


async def examine_multicast(config: Config | None) -> list[Finding]:
    """Send and receive on each interface that a node would use."""
    addresses = await in_time(local_addresses, timeout_s=1.0)
    is_loopback = config is not None and config.is_loopback_only
    if config is not None and not config.mdns:
        return [ok("multicast", "Not used (IPC_MDNS=off); others are found by IPC_PEERS.")]
    chosen = choose(addresses, is_loopback=is_loopback)
    if not chosen:
        text = "This machine has no network but itself."
        return [warn("multicast", text, "Connect it to reach others; sessions here work without.")]
    return list(await _probe_all(chosen[:INTERFACES_MAX]))


def choose(addresses: Sequence[LocalAddress], *, is_loopback: bool) -> list[LocalAddress]:
    """Return one address for each interface, IPv4 where it has one, else link-local IPv6."""
    usable = [a for a in addresses if a.is_loopback == is_loopback]
    chosen = {a.interface: a for a in reversed(usable) if ":" not in a.host}
    for address in usable:
        if address.scope and address.is_scoped:
            chosen.setdefault(address.interface, address)
    return sorted(chosen.values(), key=lambda address: address.interface)


async def _probe_all(addresses: Sequence[LocalAddress]) -> list[Finding]:
    async with asyncio.TaskGroup() as group:
        probes = [group.create_task(_probe(address)) for address in addresses]
    return [probe.result() for probe in probes]


async def _probe(address: LocalAddress) -> Finding:
    where = f"{address.interface} ({address.host})"
    try:
        await in_time(lambda: hear_oneself(address), timeout_s=2 * ECHO_S)
    except TimeoutError:
        return warn("multicast", f"{where}: sent, but it did not come back.", _MEND)
    except OSError as exc:
        return warn("multicast", f"{where}: {exc.strerror or exc}.", _MEND)
    return ok("multicast", f"{where}: sent and received.")


def hear_oneself(address: LocalAddress) -> None:
    """Send one datagram to a group by this interface and wait for it.

    Raises:
        TimeoutError: it did not arrive.
        OSError: it cannot be sent.
    """
    is_v6 = ":" in address.host
    with socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(ECHO_S)
        link.bind(("", 0))
        port = link.getsockname()[1]
        target: tuple[str, int] | tuple[str, int, int, int]
        if is_v6:
            target = (GROUP_V6, port, 0, _join_v6(link, int(address.scope)))
        else:
            target = (GROUP_V4, port)
            _join_v4(link, address.host)
        word = os.urandom(16)
        link.sendto(word, target)
        while link.recv(64) != word:
            continue


def _join_v4(link: socket.socket, host: str) -> None:
    own = socket.inet_aton(host)
    link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
    link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
    link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    group = socket.inet_aton(GROUP_V4)
    link.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + own)


def _join_v6(link: socket.socket, interface: int) -> int:
    link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface)
    link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
    link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
    group = socket.inet_pton(socket.AF_INET6, GROUP_V6)
    joined = group + struct.pack("@I", interface)
    link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joined)
    return interface
