"""Lanes: pieces of files go by a second connection, and everything else goes on as before."""

from collections import Counter
from collections.abc import Sequence

import pytest

from mesh import limits
from mesh.core.effects import Dial, Effects
from mesh.core.events import LinkLost, Loss, PacketReceived
from mesh.driver.inbound import Inbound
from mesh.driver.lanes import FIRST_LANE
from mesh.driver.merge import Merged
from mesh.model import LinkId, MailboxKey
from mesh.net.interface import FramesReceived, TransportLost
from mesh.net.loopback import LoopbackNetwork
from mesh.packet import Chunk, Hello, Packet, Ping, Want, Welcome
from tests.driver.loop_nodes import LoopNode

OUT = LinkId(1)
INTO = LinkId(-1)
LANE_INTO = LinkId(-2)
ALICE, BOB = MailboxKey(b"a" * 32), MailboxKey(b"b" * 32)
DIGEST = b"d" * 32


def chunk(offset: int = 0) -> Chunk:
    return Chunk(ALICE, BOB, DIGEST, offset, b"a piece")


def want(length: int = limits.chunk_bytes_max) -> Want:
    return Want(BOB, ALICE, DIGEST, 0, length)


class End:
    """One node of a pair, with what it takes in."""

    def __init__(self, name: str, network: LoopbackNetwork) -> None:
        self.node = LoopNode(name, network)
        self.refused: list[LinkId] = []
        self.drops: Counter[str] = Counter()
        self.inbound = Inbound(
            self.node.ciphers, self.node.outbound.lanes, refuse=self.refuse, drops=self.drops
        )
        self.connections: list[LinkId] = []

    def refuse(self, link: LinkId) -> None:
        self.refused.append(link)
        self.node.transport.close_link(link)

    async def send(self, link: LinkId, *packets: Packet) -> None:
        await self.step(packets=tuple((link, packet) for packet in packets))

    async def step(self, **effects: object) -> None:
        merged = Merged()
        merged.add(Effects(**effects))  # type: ignore[arg-type]
        for link in merged.closes:
            self.inbound.drop(link)
        await self.node.outbound.at_once(merged)

    async def taken(self) -> list[PacketReceived | LinkLost]:
        """Return what has arrived for the core; `connections` tells by which ones."""
        events = await self.node.transport.receive()
        self.connections = [event.link for event in events]
        for event in events:
            self.inbound.put(event, 0.0)
        return list(self.inbound.take(0.0))

    def forge(self, connection: LinkId, link: LinkId, *packets: Packet) -> None:
        """Send by any connection what is sealed for a link."""
        encoded = self.node.ciphers.encode(link, packets)
        self.node.transport.send(connection, self.node.ciphers.envelope(link, encoded))


class Pair:
    """Two linked nodes: `a` has dialled `b`."""

    def __init__(self) -> None:
        self.network = LoopbackNetwork()
        self.a = End("a", self.network)
        self.b = End("b", self.network)

    async def __aenter__(self) -> "Pair":
        for end in (self.a, self.b):
            await end.node.transport.__aenter__()
        await self.a.step(dials=(Dial(OUT, "loop://b", self.b.node.transport.curve, None),))
        (hello,) = await self.b.taken()
        assert isinstance(hello, PacketReceived)
        assert isinstance(hello.packet, Hello)
        await self.b.send(INTO, Welcome(hello.packet.greeting))
        await self.a.taken()
        return self

    async def __aexit__(self, *_: object) -> None:
        for end in (self.a, self.b):
            await end.node.transport.__aexit__(None, None, None)
            await end.node.stores.__aexit__(None, None, None)

    def dial_again(self) -> LinkId:
        """Open one more connection, by hand."""
        connection = LinkId(77)
        transport = self.a.node.transport
        transport.dial(connection, endpoint="loop://b", curve=self.b.node.transport.curve)
        return connection


@pytest.fixture
async def pair():
    async with Pair() as made:
        yield made


def received(link: LinkId, *packets: Packet) -> list[PacketReceived]:
    return [PacketReceived(link, packet) for packet in packets]


async def test_pieces_of_who_dialled_come_by_a_lane_of_its_own_and_count_as_the_links(pair):
    """PROTOCOL.md LANE-1 and LANE-2."""
    await pair.a.send(OUT, chunk(0), Ping(1))
    assert set(await by_connection(pair.b)) == {(INTO, Ping(1)), (LANE_INTO, chunk(0))}
    await pair.a.send(OUT, chunk(7))
    assert await by_connection(pair.b) == [(LANE_INTO, chunk(7))]


async def by_connection(end: End) -> list[tuple[LinkId, Packet]]:
    """Return which packets have arrived by which connection; all of them count as the link's."""
    events = await end.taken()
    assert {event.link for event in events} == {INTO if end.node.name == "b" else OUT}
    packets = [event.packet for event in events if isinstance(event, PacketReceived)]
    return list(zip(end.connections, packets, strict=True))


async def test_requests_take_the_lane_on_the_side_that_dialled_only(pair):
    """PROTOCOL.md LANE-3."""
    for packet in (want(), chunk(0)):  # Not up to this side: both go by the link.
        await pair.b.send(INTO, packet)
        assert await by_connection(pair.a) == [(OUT, packet)]
    await pair.a.send(OUT, want(), want(0))
    assert set(await by_connection(pair.b)) == {(LANE_INTO, want()), (INTO, want(0))}
    await pair.b.send(INTO, want(), chunk(7))
    found = await by_connection(pair.a)
    assert [packet for connection, packet in found if connection == OUT] == [want()]
    assert [packet for connection, packet in found if connection != OUT] == [chunk(7)]


async def test_what_is_no_piece_is_not_taken_from_a_lane(pair):
    """PROTOCOL.md LANE-3."""
    lane = pair.dial_again()
    pair.a.forge(lane, OUT, Ping(1), want(), Ping(2))
    assert await pair.b.taken() == received(INTO, want())
    assert pair.b.drops == {"lane": 2}
    assert pair.b.refused == []


async def test_a_link_has_one_lane(pair):
    """PROTOCOL.md LANE-2."""
    await pair.a.send(OUT, chunk(0))
    await pair.b.taken()
    second = pair.dial_again()
    pair.a.forge(second, OUT, chunk(7))
    assert await pair.b.taken() == []
    assert pair.b.refused == [LinkId(-3)]
    await pair.a.send(OUT, chunk(7))
    assert await pair.b.taken() == received(INTO, chunk(7))


async def test_who_was_dialled_cannot_be_given_a_lane(pair):
    """PROTOCOL.md LANE-2: only the side that dialled opens one."""
    connection = LinkId(77)
    transport = pair.b.node.transport
    transport.dial(connection, endpoint="loop://a", curve=pair.a.node.transport.curve)
    pair.b.forge(connection, INTO, chunk(0))
    assert await pair.a.taken() == []
    assert pair.a.refused == [LinkId(-1)]


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_connection_that_holds_no_key_of_a_link_is_no_lane(pair, is_known):
    """PROTOCOL.md LANE-2."""
    connection = pair.dial_again()
    header, sealed = pair.a.node.ciphers.envelope(OUT, pair.a.node.ciphers.encode(OUT, [chunk(0)]))
    other = header if is_known else header[:7] + bytes(8) + header[15:]
    pair.a.node.transport.send(connection, (other, bytes(len(sealed))))
    assert await pair.b.taken() == []
    assert pair.b.refused == [LANE_INTO]
    assert pair.b.drops == {"SignatureError": 1}
    await pair.a.send(OUT, Ping(1))
    assert PacketReceived(INTO, Ping(1)) in await pair.b.taken()


async def test_a_lane_that_is_lost_leaves_its_link_which_takes_the_pieces(pair):
    """PROTOCOL.md LANE-4."""
    await pair.a.send(OUT, chunk(0))
    await pair.b.taken()
    pair.b.node.transport.close_link(LANE_INTO)
    assert await pair.a.taken() == []
    pair.b.inbound.put(TransportLost(LANE_INTO, Loss.CLOSED), 0.0)
    assert list(pair.b.inbound.take(0.0)) == []
    await pair.a.send(OUT, chunk(7))
    assert await by_connection(pair.b) == [(INTO, chunk(7))]
    await pair.b.send(INTO, chunk(9))
    assert await by_connection(pair.a) == [(OUT, chunk(9))]


async def test_pieces_go_by_the_link_if_no_lane_can_be_dialled(pair):
    """PROTOCOL.md LANE-1 and LANE-4."""
    del pair.network.listening["loop://b"]
    await pair.a.send(OUT, chunk(0))
    assert await pair.a.taken() == []
    await pair.a.send(OUT, chunk(7))
    assert await by_connection(pair.b) == [(INTO, chunk(7))]
    pair.network.listening["loop://b"] = pair.b.node.transport


@pytest.mark.parametrize("who", ["a", "b"])
async def test_a_lane_ends_with_its_link(pair, who):
    """PROTOCOL.md LANE-4."""
    await pair.a.send(OUT, chunk(0))
    await pair.b.taken()
    closing, other = (pair.a, pair.b) if who == "a" else (pair.b, pair.a)
    link, far = (OUT, INTO) if who == "a" else (INTO, OUT)
    await closing.step(closes=(link,))
    assert await other.taken() == [LinkLost(far, Loss.CLOSED)]
    assert len(other.connections) == 2
    assert not any(map(closing.node.ciphers.knows, all_connections()))
    assert not any(map(other.node.ciphers.knows, all_connections()))


async def test_what_a_lane_brought_is_forgotten_with_its_link(pair):
    await pair.a.send(OUT, chunk(0))
    await pair.b.taken()
    await pair.a.send(OUT, chunk(7))
    for event in await pair.b.node.transport.receive():
        assert isinstance(event, FramesReceived)
        pair.b.inbound.put(event, 0.0)
    await pair.b.step(closes=(INTO,))
    assert list(pair.b.inbound.take(0.0)) == []
    assert pair.b.inbound.next_turn(0.0) is None
    assert pair.b.drops == {}


def all_connections() -> Sequence[LinkId]:
    return [OUT, INTO, LANE_INTO, LinkId(FIRST_LANE)]
