"""Examines who else can be seen and reached: by mDNS, by address, and by a node of our own."""

import asyncio
import os
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import mesh
from mesh import limits
from mesh.cli.doctor.finding import Finding, describe, fail, in_time, ok, warn
from mesh.cli.doctor.nodes import View
from mesh.cli.session import passing
from mesh.config import Config
from mesh.core.events import Sighted
from mesh.core.links import PROTOCOL_VERSION
from mesh.model import CurveKey
from mesh.net.addresses import split_tcp_endpoint, tcp_endpoint
from mesh.net.mdns import Mdns

BROWSE_S: Final = 1.8
VISIT_S: Final = 1.5
RESOLVE_S: Final = 0.8
DIAL_S: Final = 1.2
SIGHTINGS_MAX: Final = 32
PEERS_MAX: Final = 32
_FIREWALL: Final = (
    "Allow incoming TCP for Python in the firewall of that machine, and see that the network does "
    "not keep its members apart (guest Wi-Fi)."
)

Address = tuple[str, int]


async def browse(config: Config) -> list[tuple[CurveKey, tuple[str, ...]]]:
    """Listen to mDNS for a while and return the nodes of our mode that announce themselves."""
    seen: dict[CurveKey, tuple[str, ...]] = {}
    browser = Mdns(
        curve=CurveKey(os.urandom(32)),
        port=config.port or 1,
        hosts=[config.listen_host],
        version=PROTOCOL_VERSION,
        mode=config.mode[0],
        random=os.urandom,
        advertise=False,
    )
    async with browser:
        with suppress(TimeoutError):
            async with asyncio.timeout(BROWSE_S):
                while True:
                    for sighting in await browser.watch():
                        if isinstance(sighting, Sighted) and sighting.curve is not None:
                            seen[sighting.curve] = sighting.endpoints
    return list(seen.items())[:SIGHTINGS_MAX]


async def examine_mdns(config: Config, own: Collection[CurveKey]) -> list[Finding]:
    """Say who announces himself, and whether he can be reached; `own` are the keys of this host."""
    if not config.mdns:
        return []
    seen = await browse(config)
    others = [endpoints for curve, endpoints in seen if curve not in own]
    async with asyncio.TaskGroup() as group:
        dials = [group.create_task(_reach_any(endpoints)) for endpoints in others]
    found = [dial.result() for dial in dials]
    count = len(seen) - len(others)
    if count:
        found.append(ok("mdns", f"{count} of this host's {len(own)} nodes are seen."))
    elif own:
        text = "The nodes of this host announce themselves, but were not seen."
        mend = "Allow UDP port 5353 in this machine's firewall, or name others in IPC_PEERS."
        found.append(warn("mdns", text, mend))
    if not others and config.is_loopback_only:
        found.append(ok("mdns", "No other state directory of this machine was seen."))
    elif not others:
        mend = "Others are seen while they run, with the same mode, if the network lets multicast "
        found.append(ok("mdns", "No other host was seen.", f"{mend}pass; else set IPC_PEERS."))
    return found


async def _reach_any(endpoints: Sequence[str]) -> Finding:
    """Dial all addresses of one node at once; the first that answers will do."""
    addresses = [address for e in endpoints if (address := split_tcp_endpoint(e)) is not None]
    async with asyncio.TaskGroup() as group:
        dials = [group.create_task(_dial(address)) for address in addresses]
    for address, dial in zip(addresses, dials, strict=True):
        if not dial.result():
            return ok("reach", f"{tcp_endpoint(*address)} is seen by mDNS and answers.")
    reasons = {dial.result() for dial in dials}
    text = f"{', '.join(endpoints)} is seen by mDNS but does not answer ({', '.join(reasons)})."
    return warn("reach", text, _FIREWALL)


async def _dial(address: Address) -> str:
    """Open and close a TCP stream; return what went wrong, empty if nothing."""
    try:
        async with asyncio.timeout(DIAL_S):
            _, writer = await asyncio.open_connection(*address)
    except TimeoutError:
        return "timed out"
    except OSError as exc:
        return os.strerror(exc.errno) if exc.errno else str(exc)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return ""


async def resolve_peers(config: Config) -> dict[str, list[Address]]:
    """Return the addresses of each static peer, none for names that cannot be resolved in time."""
    peers = list(zip(config.peers, config.peer_addresses, strict=True))[:PEERS_MAX]
    async with asyncio.TaskGroup() as group:
        tasks = {text: group.create_task(_resolve(*address)) for text, address in peers}
    return {text: task.result() for text, task in tasks.items()}


async def _resolve(host: str, port: int) -> list[Address]:
    def look_up() -> list[Address]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(str(address[0]), port) for *_, address in found]

    try:
        found = await in_time(look_up, timeout_s=RESOLVE_S)
    except (OSError, UnicodeError):  # A TimeoutError, too.
        return []
    return list(dict.fromkeys(found))[: limits.endpoints_per_node_max]


async def examine_static(peers: dict[str, list[Address]]) -> list[Finding]:
    """Say which static peers can be reached."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_static(text, found)) for text, found in peers.items()]
    return [task.result() for task in tasks]


async def _static(text: str, addresses: Sequence[Address]) -> Finding:
    if not addresses:
        mend = "Mend the name in IPC_PEERS, or give the address instead."
        return warn("reach", f"The static peer {text} has no address: its name is unknown.", mend)
    async with asyncio.TaskGroup() as group:
        dials = [group.create_task(_dial(address)) for address in addresses]
    reasons = [dial.result() for dial in dials]
    if not all(reasons):
        address = addresses[reasons.index("")]
        return ok("reach", f"The static peer {text} answers at {tcp_endpoint(*address)}.")
    shown = ", ".join(dict.fromkeys(reasons))
    mend = f"Start a session there, check the port, and {_FIREWALL[0].lower()}{_FIREWALL[1:]}"
    return warn("reach", f"The static peer {text} does not answer ({shown}).", mend)


async def visit(
    config: Config, peers: dict[str, list[Address]], views: list[View]
) -> list[Finding]:
    """Be a node for a moment: does it start, and whom does it meet? Adds its view to `views`."""
    # Names are resolved already: a resolver that hangs must not keep the node from ending.
    addresses = [tcp_endpoint(*address) for found in peers.values() for address in found]
    numeric = tuple(endpoint.removeprefix("tcp://") for endpoint in addresses)
    found_peers = numeric[: limits.static_peers_max]
    trial = replace(passing(config), tends=False, peers=found_peers)
    try:
        async with mesh.open_session(trial) as session:
            await asyncio.sleep(VISIT_S)
            status = await session.status()
            views.append(View(status, session.roster(), session.reached()))
    except Exception as exc:  # noqa: BLE001 - whatever ends a node is what was looked for
        mend = "Mend what this and the other findings say; sessions would end in the same way."
        return [fail("start", f"No node can start here: {describe(exc)}.", mend)]
    count = status.peers.get("live", 0)
    text = f"A node starts, and met {count} other{'' if count == 1 else 's'} in {VISIT_S:g} s."
    return [ok("start", text)]
