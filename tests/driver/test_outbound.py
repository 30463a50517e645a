"""What leaves the node: packets share envelopes, letters share packets, each within its limit."""

import os
from collections.abc import Sequence

import pytest

from mesh import limits
from mesh.core.changes import PutOutbox
from mesh.core.effects import Dial, Effects, Transmission
from mesh.core.link import SELF_LINK
from mesh.core.snapshot import OutboxEntry
from mesh.driver.merge import Merged
from mesh.model import LinkId, MailboxKey
from mesh.net.interface import FramesReceived
from mesh.net.loopback import LoopbackNetwork
from mesh.packet import Announce, Hello, Mail, Packet, Ping, Welcome
from mesh.wire.letters import body_digest
from tests.driver.loop_nodes import LoopNode
from tests.store.samples import BOB, OWN, outgoing

LINK = LinkId(1)


class Pair:
    """Two nodes that are not run: what one sends, the other opens by hand."""

    def __init__(self) -> None:
        network = LoopbackNetwork()
        self.a = LoopNode("a", network)
        self.b = LoopNode("b", network)

    async def __aenter__(self) -> "Pair":
        for node in (self.a, self.b):
            await node.transport.__aenter__()
            node.stores.add(node.key, node.open())
        await self.send(dials=(Dial(LINK, "loop://b", self.b.transport.curve, None),))
        ((hello,),) = await self.opened()
        assert isinstance(hello, Hello)
        merged = Merged()
        merged.add(Effects(packets=((LinkId(-1), Welcome(hello.greeting)),)))
        await self.b.outbound.at_once(merged)
        (event,) = await self.a.transport.receive()
        self.a.ciphers.open(LINK, event.frames, is_door=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in (self.a, self.b):
            await node.transport.__aexit__(None, None, None)
            await node.stores.__aexit__(None, None, None)

    async def send(self, *, failed: Sequence[MailboxKey] = (), **effects) -> None:
        merged = Merged()
        merged.add(Effects(**effects))
        await self.a.outbound.at_once(merged)
        await self.a.outbound.after_commit(merged, failed)

    async def opened(self) -> list[list[Packet]]:
        """Return the packets of each envelope that has arrived."""
        return [
            self.b.ciphers.open(event.link, event.frames, is_door=event.is_door)[0]
            for event in await self.b.transport.receive()
            if isinstance(event, FramesReceived)
        ]

    def put(self, *bodies: bytes) -> PutOutbox:
        """Letters of a's mailbox, of which only the first body counts."""
        (body, *_) = bodies
        letter = outgoing(1, author=self.a.key, body_digest=body_digest(body), body_bytes=len(body))
        return PutOutbox((OutboxEntry(1, letter, 60.0),), body)


@pytest.fixture
async def pair():
    async with Pair() as made:
        yield made


def letters(key: MailboxKey, *rows: int) -> Transmission:
    return Transmission(LINK, key, tuple((row, row - 1, 1.5) for row in rows))


async def commit(pair: Pair, bodies: Sequence[bytes]) -> None:
    changes = []
    for row, body in enumerate(bodies, start=1):
        letter = outgoing(
            row, author=pair.a.key, body_digest=body_digest(body), body_bytes=len(body)
        )
        changes.append(PutOutbox((OutboxEntry(row, letter, 60.0),), body))
    assert await pair.a.stores.commit({pair.a.key: changes}) == {}


async def test_packets_of_one_tick_share_an_envelope(pair):
    await pair.send(packets=((LINK, Ping(1)), (LINK, Announce(())), (LINK, Ping(2))))
    assert await pair.opened() == [[Ping(1), Announce(()), Ping(2)]]


async def test_envelope_holds_no_more_packets_than_allowed(pair):
    count = limits.packets_per_envelope_max + 3
    await pair.send(packets=tuple((LINK, Ping(number)) for number in range(count)))
    assert [len(packets) for packets in await pair.opened()] == [count - 3, 3]


async def test_stored_letters_are_sent_in_order_with_what_comes_before(pair):
    await commit(pair, [b"one", b"two"])
    await pair.send(transmissions=(letters(pair.a.key, 1), letters(pair.a.key, 2)))
    (((mail,),)) = await pair.opened()
    assert isinstance(mail, Mail)
    assert [(i.letter.sequence, i.previous, i.age_s, i.body) for i in mail.items] == [
        (1, 0, 1.5, b"one"),
        (2, 1, 1.5, b"two"),
    ]


async def test_fresh_letter_is_sent_without_asking_the_disk(pair):
    put = pair.put(b"fresh")
    await pair.send(changes=((pair.a.key, put),), transmissions=(letters(pair.a.key, 1),))
    ((mail,),) = await pair.opened()
    assert [item.body for item in mail.items] == [b"fresh"]
    assert not pair.a.disk.outbox


async def test_letters_whose_commit_failed_do_not_leave_after_it(pair):
    put = pair.put(b"fresh")
    waiting = {"transmissions_after": (letters(pair.a.key, 1),)}
    acks = ((LINK, pair.a.key, Ping(1)), (LINK, BOB, Ping(2)))
    await pair.send(failed=[pair.a.key], changes=((pair.a.key, put),), acks=acks, **waiting)
    assert await pair.opened() == [[Ping(2)]]


async def test_letter_that_the_disk_no_longer_has_is_left_out(pair):
    await commit(pair, [b"one"])
    await pair.send(transmissions=(letters(pair.a.key, 1, 7),))
    ((mail,),) = await pair.opened()
    assert [item.letter.sequence for item in mail.items] == [1]


async def test_nothing_is_sent_for_a_mailbox_that_is_not_held(pair):
    await pair.send(transmissions=(letters(OWN, 1),), packets=((LINK, Ping(1)),))
    assert await pair.opened() == [[Ping(1)]]


async def test_large_letters_do_not_share_a_packet_beyond_its_limit(pair):
    bodies = [os.urandom(limits.batch_bytes_max // 2) for _ in range(3)]
    await commit(pair, bodies)
    await pair.send(transmissions=(letters(pair.a.key, 1, 2, 3),))
    found = [packet for packets in await pair.opened() for packet in packets]
    assert [[item.body for item in mail.items] for mail in found] == [bodies[:2], bodies[2:]]


async def test_packets_to_oneself_are_looped_and_handed_out_once(pair):
    await pair.send(packets=((SELF_LINK, Ping(1)),))
    assert pair.a.outbound.take_looped() == [Ping(1)]
    assert pair.a.outbound.take_looped() == []


async def test_packets_for_a_link_that_is_not_open_are_dropped(pair):
    await pair.send(packets=((LinkId(99), Ping(1)), (LINK, Ping(2))))
    assert await pair.opened() == [[Ping(2)]]


async def test_closed_link_forgets_its_keys_and_is_closed_at_the_transport(pair):
    await pair.send(closes=(LINK,))
    assert not pair.a.ciphers.is_open(LINK)
    (lost,) = await pair.b.transport.receive()
    assert lost.link == LinkId(-1)


async def test_a_link_that_was_lost_before_its_hello_was_answered_gets_nothing(pair):
    """The end of a link is known to the ciphers at once, to the core with the next event."""
    lost = LinkId(-7)
    welcome = Welcome(pair.a.outbound._own_greeting(expected=None))
    await pair.send(packets=((lost, welcome), (lost, Announce(()))))
    await pair.send(packets=((LINK, Ping(1)),))
    assert await pair.opened() == [[Ping(1)]]
