"""Second connections beside links, for the pieces of files: mail does not wait behind them.

Whoever dialled a link dials its lane, the same way, when a piece is first to be asked for or sent.
There is no greeting: all on a lane is sealed under the keys of its link, and by their id the other
end knows whose it is (PROTOCOL.md LANE-1 to LANE-4). The core knows nothing of lanes; what comes by
one came over its link. One that is lost is not opened again: pieces go over the link from then on.
"""

from collections.abc import Sequence
from itertools import count
from typing import Final

from mesh.core.effects import Dial
from mesh.driver.ciphers import Ciphers
from mesh.errors import PeerError
from mesh.model import LinkId
from mesh.net.interface import Transport
from mesh.packet import Chunk, Packet, Want
from mesh.wire import frames

FIRST_LANE: Final = 1 << 32
"""Lanes are numbered from here on, links from 1."""


class Lanes:
    """The lanes of all links, at most one each."""

    def __init__(self, transport: Transport, ciphers: Ciphers) -> None:
        self._transport = transport
        self._ciphers = ciphers
        self._dials: dict[LinkId, Dial] = {}
        self._lanes: dict[LinkId, LinkId] = {}
        self._links: dict[LinkId, LinkId] = {}
        self._numbers = count(FIRST_LANE)

    def dialled(self, dial: Dial) -> None:
        """Remember how a link was dialled."""
        self._dials[dial.link] = dial

    def connection_for(self, link: LinkId, packet: Packet) -> LinkId:
        """Return by which connection of an open link a packet is to go.

        Requests go by the lane on one side only, so that they never overtake each other: whoever
        dialled has the lane from the first of them on, the other end may get it later.
        """
        match packet:
            case Chunk():
                return self._lane(link)
            case Want(length=length) if length and link in self._dials:
                return self._lane(link)
        return link

    def admit(self, connection: LinkId, parts: Sequence[bytes]) -> None:
        """Let an unknown connection be the lane of the link under whose keys it begins to speak."""
        try:
            link = self._ciphers.link_of(frames.peek_key_id(parts))
        except PeerError:
            return
        if link is not None and link not in self._dials and link not in self._lanes:
            self._pair(link, connection)

    def is_lane(self, connection: LinkId) -> bool:
        """Whether a connection is a lane."""
        return connection in self._links

    def link_of(self, connection: LinkId) -> LinkId:
        """Return whose lane a connection is; a link is its own."""
        return self._links.get(connection, connection)

    def end(self, connection: LinkId) -> LinkId | None:
        """Forget a connection that has ended. With a link its lane ends, which is returned."""
        link = self._links.pop(connection, None)
        if link is not None:
            self._lanes[link] = link
            self._ciphers.drop(connection)
            return None
        self._dials.pop(connection, None)
        lane = self._lanes.pop(connection, connection)
        if lane == connection:
            return None
        del self._links[lane]
        self._ciphers.drop(lane)
        self._transport.close_link(lane)
        return lane

    def _lane(self, link: LinkId) -> LinkId:
        """Return the lane of a link, opened if that is up to us; the link itself if it has none."""
        dial = self._dials.get(link)
        if dial is not None and link not in self._lanes:
            lane = LinkId(next(self._numbers))
            self._transport.dial(lane, endpoint=dial.endpoint, curve=dial.curve)
            self._pair(link, lane)
        return self._lanes.get(link, link)

    def _pair(self, link: LinkId, lane: LinkId) -> None:
        self._lanes[link] = lane
        self._links[lane] = link
        self._ciphers.share(link, lane)
