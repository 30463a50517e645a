"""Addresses of this machine, and which addresses are fit to be published or dialled.

Peers and mDNS name addresses as they like, so `is_dialable` is the gate: private, shared and
link-local ranges only, never multicast, unspecified or public ones. Names are never resolved here:
ZeroMQ would do it on its one I/O thread and stall every link.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import ifaddr

from mesh import limits

WILDCARDS: Final = frozenset({"*", "0.0.0.0", "::"})  # noqa: S104 - recognised, not bound
LOOPBACK: Final = "127.0.0.1"
_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")
_VIRTUAL: Final = re.compile(
    r"docker|br-|veth|virbr|vmnet|vboxnet|lxcbr|lxdbr|incusbr|podman|cni|flannel|cali|vEthernet",
    re.IGNORECASE,
)
_TCP: Final = re.compile(r"tcp://(?:\[([^\]]+)\]|([^:\[\]]+)):([0-9]{1,5})\Z")


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """One address of one interface; `scope` is set for link-local IPv6.

    The first `prefix` bits name its network; `index` numbers the interface.
    """

    host: str
    interface: str
    scope: str = ""
    prefix: int = 0
    index: int = 0

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_virtual(self) -> bool:
        """Whether its interface most likely leads to containers or guests of this machine."""
        return _VIRTUAL.match(self.interface) is not None

    @property
    def is_scoped(self) -> bool:
        address = ipaddress.ip_address(self.host)
        return address.version == 6 and address.is_link_local


def local_addresses() -> tuple[LocalAddress, ...]:
    """Return all addresses of this machine. Takes about a millisecond."""
    found: list[LocalAddress] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            host, _flow, scope = (ip.ip, 0, 0) if isinstance(ip.ip, str) else ip.ip
            name, prefix = adapter.nice_name, ip.network_prefix
            index = adapter.index or 0
            found.append(LocalAddress(host, name, str(scope) if scope else "", prefix, index))
    return tuple(found)


def outward(addresses: Iterable[LocalAddress]) -> list[LocalAddress]:
    """Return those of our addresses by which others may reach us.

    Link-local IPv6 is of use only when there is nothing better, loopback when there is nothing.
    """
    usable = [a for a in addresses if not ipaddress.ip_address(a.host).is_unspecified]
    best = [a for a in usable if not a.is_loopback and not a.is_scoped]
    linked = [a for a in usable if a.is_scoped]
    return best or linked or [a for a in usable if a.is_loopback]


def published_hosts(addresses: Sequence[LocalAddress]) -> tuple[str, ...]:
    """Return what a node bound to all interfaces tells others, IPv4 first.

    Networks that live within this machine come last: with many interfaces not all can be told.
    """
    ordered = sorted(
        outward(addresses),
        key=lambda a: (a.is_virtual, ipaddress.ip_address(a.host).version),
    )
    hosts = dict.fromkeys(f"{a.host}%{a.scope}" if a.scope else a.host for a in ordered)
    return tuple(hosts)[: limits.endpoints_per_node_max - 2] or (LOOPBACK,)


def multicast_interfaces(addresses: Sequence[LocalAddress]) -> tuple[list[str], list[int]]:
    """Return where multicast is to be used: IPv4 addresses, and numbers of interfaces with IPv6.

    Linux lets a socket join a group on 20 interfaces only, so networks that live within this
    machine come last and are left out if there are many.
    """
    ordered = sorted(addresses, key=lambda a: a.is_virtual)
    v4 = dict.fromkeys(a.host for a in ordered if ":" not in a.host)
    v6 = dict.fromkeys(a.index for a in ordered if ":" in a.host and a.index)
    return list(v4)[: limits.multicast_interfaces_max], list(v6)[: limits.multicast_interfaces_max]


def nearest_first(hosts: Iterable[str], addresses: Sequence[LocalAddress]) -> list[str]:
    """Sort the addresses of another node: those of a network that we are in come first.

    Those that are our own come last: most likely both machines have a network of that number to
    themselves (Docker's), and we would meet ourselves.
    """
    own = {ipaddress.ip_address(a.host) for a in addresses}
    networks = [
        ipaddress.ip_network((a.host, a.prefix), strict=False)
        for a in addresses
        if a.prefix and not a.is_virtual
    ]

    def distance(host: str) -> int:
        address = ipaddress.ip_address(host.partition("%")[0])
        if address in own:
            return 2
        return 0 if any(address in network for network in networks) else 1

    return sorted(hosts, key=distance)


def tcp_endpoint(host: str, port: int) -> str:
    """Return `tcp://host:port`, with brackets where IPv6 needs them."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def split_tcp_endpoint(endpoint: str) -> tuple[str, int] | None:
    """Return host and port if `endpoint` is `tcp://` with a numeric host, else None."""
    match = _TCP.match(endpoint)
    if match is None:
        return None
    host, port = match[1] or match[2], int(match[3])
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return (host, port) if 0 < port < 65536 else None


def is_dialable(host: str, *, is_loopback_allowed: bool) -> bool:
    """Tell whether an address that somebody claimed to have may be dialled at all."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return False
    if address.is_multicast or address.is_unspecified:
        return False
    if address.is_loopback:
        return is_loopback_allowed
    if isinstance(address, ipaddress.IPv6Address) and address.is_link_local:
        return address.scope_id is not None
    return address.is_private or address.is_link_local or address in _SHARED


def is_on_loopback(endpoints: Iterable[str]) -> bool:
    """Tell whether a node that listens at `endpoints` is met on the loopback and nowhere else."""
    hosts = [found[0] for found in map(split_tcp_endpoint, endpoints) if found is not None]
    return bool(hosts) and all(ipaddress.ip_address(host).is_loopback for host in hosts)


def told_by_member(endpoint: str, *, is_loopback_allowed: bool) -> bool:
    """Tell whether an endpoint may be dialled only because a member named it.

    Paths of this file system may not, nor names, nor public addresses, nor the loopback where this
    node is not met there itself: nobody shall point a node at services of its own machine.
    """
    found = split_tcp_endpoint(endpoint)
    return found is not None and is_dialable(found[0], is_loopback_allowed=is_loopback_allowed)


def plain_address(text: str) -> str:
    """Return an observed address without the IPv4-in-IPv6 prefix; local sockets are `local`."""
    if not text or text.startswith("localhost:"):
        return "local"
    return text.removeprefix("::ffff:")
