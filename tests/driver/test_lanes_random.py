"""Whatever happens to connections, what is sent arrives once, and counts as its link's."""

import asyncio
import random

import pytest

from mesh.core.effects import Dial
from mesh.core.events import LinkLost, Loss, PacketReceived
from mesh.model import LinkId
from mesh.net.interface import TransportLost
from mesh.net.loopback import LoopbackNetwork
from mesh.packet import Hello, Packet, Ping, Want, Welcome
from tests.driver.test_lanes import End, chunk, want

STEPS = 120
LINKS_MAX = 3


def kind_of(packet: Packet) -> tuple[type, bool]:
    return (type(packet), isinstance(packet, Want) and packet.length > 0)


class World:
    """Two nodes: `a` dials `b` again and again, and connections of all kinds come and go."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        network = LoopbackNetwork()
        self.a = End("a", network)
        self.b = End("b", network)
        self.links: dict[LinkId, LinkId] = {}
        self.seen: set[LinkId] = set()
        self.numbers = iter(range(1, 1 << 20))
        self.tokens = iter(range(1, 1 << 20))

    async def pump(self, end: End) -> list[PacketReceived | LinkLost]:
        """Let one node take in all that has arrived."""
        found: list[PacketReceived | LinkLost] = []
        while True:
            try:
                async with asyncio.timeout(0):
                    events = await end.node.transport.receive()
            except TimeoutError:
                return found
            for event in events:
                self.seen.add(event.link)
                end.inbound.put(event, 0.0)
            found += end.inbound.take(0.0)

    async def dial(self) -> None:
        link = LinkId(next(self.numbers))
        dial = Dial(link, "loop://b", self.b.node.transport.curve, None)
        await self.a.step(dials=(dial,))
        (event,) = await self.pump(self.b)
        assert isinstance(event, PacketReceived)
        assert isinstance(event.packet, Hello)
        await self.b.send(event.link, Welcome(event.packet.greeting))
        assert len(await self.pump(self.a)) == 1
        self.links[link] = event.link
        self.seen |= {link, event.link}

    async def send(self) -> None:
        """Some packets over one link, by either end: all arrive, and none twice."""
        out, into = self.random.choice(list(self.links.items()))
        is_back = self.random.random() < 0.5
        end, link = (self.b, into) if is_back else (self.a, out)
        other, far = (self.a, out) if is_back else (self.b, into)
        packets = [self.draw() for _ in range(self.random.randint(1, 4))]
        await end.send(link, *packets)
        events = await self.pump(other)
        assert {event.link for event in events} == {far}
        arrived = [event.packet for event in events if isinstance(event, PacketReceived)]
        assert sorted(map(repr, arrived)) == sorted(map(repr, packets))
        for kind in set(map(kind_of, packets)):  # In order, as far as it matters.
            assert [p for p in arrived if kind_of(p) == kind] == [
                p for p in packets if kind_of(p) == kind
            ]

    def draw(self) -> Packet:
        token = next(self.tokens)
        return self.random.choice([Ping(token), chunk(token), want(token), want(0)])

    async def lose(self) -> None:
        """A connection breaks: of a link, of a lane, or of neither."""
        end, other = self.random.sample([self.a, self.b], 2)
        known = [link for link in self.seen if end.node.ciphers.knows(link)]
        connection = self.random.choice(known)
        end.node.transport.close_link(connection)
        end.inbound.put(TransportLost(connection, Loss.CLOSED), 0.0)
        lost = [*end.inbound.take(0.0), *await self.pump(other), *await self.pump(end)]
        is_link = connection in self.links or connection in self.links.values()
        assert all(isinstance(event, LinkLost) for event in lost)
        assert len(lost) == (2 if is_link else 0)
        if is_link:
            self.forget(connection)

    async def close(self) -> None:
        """One end has no use for a link."""
        end, other = self.random.sample([self.a, self.b], 2)
        out, into = self.random.choice(list(self.links.items()))
        link, far = (out, into) if end is self.a else (into, out)
        await end.step(closes=(link,))
        assert await self.pump(other) == [LinkLost(far, Loss.CLOSED)]
        assert await self.pump(end) == []
        self.forget(link)

    def forget(self, one: LinkId) -> None:
        self.links = {out: into for out, into in self.links.items() if one not in (out, into)}

    async def knock(self) -> None:
        """A stranger among the members holds no key of a link."""
        connection = LinkId(next(self.numbers))
        transport = self.a.node.transport
        transport.dial(connection, endpoint="loop://b", curve=self.b.node.transport.curve)
        transport.send(connection, (b"MESH\1\2\0" + self.random.randbytes(40), bytes(64)))
        refused = len(self.b.refused)
        assert await self.pump(self.b) == []
        assert len(self.b.refused) == refused + 1
        assert await self.pump(self.a) == [LinkLost(connection, Loss.CLOSED)]

    async def run(self) -> None:
        for _ in range(STEPS):
            steps = [self.knock]
            if len(self.links) < LINKS_MAX:
                steps.append(self.dial)
            if self.links:
                steps += [self.send] * 6 + [self.lose, self.close]
            await self.random.choice(steps)()
        while self.links:
            await self.close()
        for end in (self.a, self.b):
            assert not any(map(end.node.ciphers.knows, self.seen))
            assert not any(map(end.node.outbound.lanes.is_lane, self.seen))
            assert set(end.drops) <= {"SignatureError"}


@pytest.mark.parametrize("seed", range(20))
async def test_everything_arrives_once_and_nothing_remains(seed):
    world = World(seed)
    for end in (world.a, world.b):
        await end.node.transport.__aenter__()
    await world.run()
    for end in (world.a, world.b):
        await end.node.transport.__aexit__(None, None, None)
        await end.node.stores.__aexit__(None, None, None)
