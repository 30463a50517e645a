"""What every transport must do, run on each of them."""

import pytest
from net_support import connect, pair, receive, receive_frames, receive_loss, two

from mesh.core.events import Loss
from mesh.net.interface import FramesReceived, TransportLost

pytestmark = pytest.mark.parametrize("kind", ["loopback", "tcp", "ipc", "polling"])


async def test_frames_travel_both_ways_over_one_dialled_link(kind):
    async with pair(kind) as (a, b):
        link = await connect(b, a)
        assert link < 0
        a.send(link, [b"head", b"back"])
        assert await receive_frames(b) == FramesReceived(1, (b"head", b"back"))


async def test_frames_keep_their_order(kind):
    async with pair(kind) as (a, b):
        await connect(b, a)
        for number in range(1000):
            b.send(1, [b"head", str(number).encode()])
        events = await receive(a, 1000)
        assert [int(event.frames[1]) for event in events] == list(range(1000))


async def test_a_frame_of_two_mebibytes_arrives_whole(kind):
    async with pair(kind) as (a, b):
        await connect(b, a)
        body = bytes(range(256)) * 8192
        b.send(1, [b"head", body])
        assert (await receive_frames(a)).frames == (b"head", body)


async def test_empty_second_frame_arrives(kind):
    async with pair(kind) as (a, b):
        await connect(b, a)
        b.send(1, [b"head", b""])
        assert (await receive_frames(a)).frames == (b"head", b"")


async def test_closing_a_dialled_link_is_seen_by_the_peer_only(kind):
    async with pair(kind) as (a, b):
        link = await connect(b, a)
        b.close_link(1)
        lost = await receive_loss(a)
        assert (lost.link, lost.loss) == (link, Loss.CLOSED)
        await connect(b, a, link=2)


async def test_closing_an_inbound_link_is_seen_by_the_peer_only(kind):
    async with pair(kind) as (a, b):
        link = await connect(b, a)
        a.close_link(link)
        lost = await receive_loss(b)
        assert (lost.link, lost.loss) == (1, Loss.CLOSED)
        assert await connect(b, a, link=2) != link


async def test_frames_before_a_loss_are_received_first(kind):
    async with pair(kind) as (a, b):
        await connect(b, a)
        for _ in range(3):
            b.send(1, [b"head", b"last words"])
        b.close_link(1)
        events = await receive(a, 4)
        assert [type(event) for event in events] == [FramesReceived] * 3 + [TransportLost]


async def test_unknown_links_are_ignored(kind):
    async with pair(kind) as (a, b):
        for link in (7, -7):
            a.send(link, [b"head", b"body"])
            a.close_link(link)
        await connect(b, a)


async def test_wrong_server_key_is_unreachable(kind):
    async with pair(kind) as (a, b):
        b.dial(1, endpoint=a.endpoints[0], curve=b"x" * 32)
        b.send(1, [b"head", b"body"])
        assert (await receive_loss(b)).loss is Loss.UNREACHABLE


async def test_nobody_listening_is_unreachable(kind):
    async with pair(kind) as (a, b):
        endpoint = a.endpoints[0] + "1" if kind != "tcp" else "tcp://127.0.0.1:1"
        b.dial(1, endpoint=endpoint, curve=a.curve)
        assert await receive_loss(b) == TransportLost(1, Loss.UNREACHABLE, endpoint)


async def test_an_endpoint_that_is_none_is_unreachable(kind):
    async with pair(kind) as (a, b):
        for link, endpoint in enumerate(
            ["inproc://zeromq.zap.01", "tcp://localhost:5", "tcp://*:5", "ipc://@x", "", "tcp://"],
            1,
        ):
            b.dial(link, endpoint=endpoint, curve=a.curve)
            assert await receive_loss(b) == TransportLost(link, Loss.UNREACHABLE, endpoint)


async def test_the_end_of_a_transport_is_seen_by_its_peers(kind):
    with two(kind) as (a, b):
        async with a:
            async with b:
                link = await connect(b, a)
            lost = await receive_loss(a)
            assert (lost.link, lost.loss) == (link, Loss.CLOSED)
