"""Which addresses somebody else may make this node dial.

Members and mDNS name endpoints as they like. What a member tells is dialled only where it is a
numeric address of a private network: not a name, not a public address, not a path of this file
system, and loopback only where this node itself is met there. So nobody can point a node at the
services of its own machine or of the internet.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")
_TCP: Final = re.compile(r"tcp://(?:\[([^\]]+)\]|([^:\[\]]+)):([0-9]{1,5})\Z")


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


def is_on_loopback(endpoints: Sequence[str]) -> bool:
    """Tell whether a node that listens at `endpoints` is met on the loopback."""
    hosts = [found[0] for found in map(split_tcp_endpoint, endpoints) if found is not None]
    return any(ipaddress.ip_address(host).is_loopback for host in hosts)


def told_by_member(endpoints: Sequence[str], *, is_loopback_allowed: bool) -> tuple[str, ...]:
    """Return those of `endpoints` that may be dialled because a member named them."""
    return tuple(
        endpoint
        for endpoint in endpoints
        if (found := split_tcp_endpoint(endpoint)) is not None
        and is_dialable(found[0], is_loopback_allowed=is_loopback_allowed)
    )
