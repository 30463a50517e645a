"""Where a node looks for others, beside the registry of its own host."""

import os
from contextlib import AsyncExitStack

from mesh.config import Config
from mesh.core.links import PROTOCOL_VERSION
from mesh.net.address_watch import AddressWatch
from mesh.net.interface import Discovery
from mesh.net.mdns import Mdns
from mesh.net.static import StaticPeers
from mesh.net.zmq_transport import ZmqTransport


async def enter_sources(
    stack: AsyncExitStack, config: Config, transport: ZmqTransport
) -> list[Discovery]:
    """Start the sources that the settings ask for; `stack` ends them."""
    sources: list[Discovery] = []
    if config.peer_addresses:
        sources.append(await stack.enter_async_context(StaticPeers(config.peer_addresses)))
    if config.mdns:
        mdns = Mdns(
            curve=transport.curve,
            port=transport.port,
            hosts=[config.listen_host],
            version=PROTOCOL_VERSION,
            mode=config.mode[0],
            random=os.urandom,
            advertise=config.advertises,
        )
        sources.append(await stack.enter_async_context(mdns))
    if not transport.is_loopback_only:
        sources.append(await stack.enter_async_context(AddressWatch()))
    return sources
