"""What is special to real sockets: strangers, doors, floods, the death of a peer."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import zmq
from net_support import (
    CLIENT,
    TIMEOUT_S,
    connect,
    keys,
    new_zmq,
    private_directory,
    receive,
    receive_frames,
    receive_loss,
)

from mesh import limits
from mesh.core.events import Loss
from mesh.errors import TransportError
from mesh.net.batch import Batch
from mesh.net.interface import FramesReceived, TransportLost
from mesh.net.sockets import public_key, set_client_keys
from mesh.net.zap import Gate


@contextlib.contextmanager
def raw_dealer(endpoint, *, server=None, client=CLIENT, routing_id=b"m" * 16):
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.IPV6, 1)
        if routing_id:
            dealer.setsockopt(zmq.ROUTING_ID, routing_id)
        if server:
            set_client_keys(dealer, server=server, secret=client, public=public_key(client))
        dealer.connect(endpoint)
        yield dealer


async def test_another_secret_is_rejected_and_both_sides_know_the_address():
    async with new_zmq() as a, new_zmq(keys=keys(client=os.urandom(32))) as b:
        b.dial(1, endpoint=a.endpoints[0], curve=a.curve)
        b.send(1, [b"head", b"body"])
        lost = await receive_loss(b)
        assert (lost.loss, lost.address) == (Loss.REJECTED, a.endpoints[0])
        assert a.refusals() == {"127.0.0.1": 1}


async def test_a_door_of_another_secret_is_rejected_and_counted():
    other = keys(client=os.urandom(32), door=os.urandom(32))
    async with new_zmq() as a, new_zmq(keys=other) as b:
        port = free_port()
        assert a.open_door(port, "127.0.0.1")
        b.dial(1, endpoint=f"tcp://127.0.0.1:{port}", curve=None)
        assert (await receive_loss(b)).loss is Loss.REJECTED
        async with asyncio.timeout(TIMEOUT_S):
            while not a.refusals():
                await asyncio.sleep(0)
        # A slow loop may find the caller gone before it could be asked who it was.
        assert a.refusals() in ({"127.0.0.1": 1}, {"unknown": 1})


async def test_a_previous_secret_is_let_in_until_it_is_withdrawn():
    old = os.urandom(32)
    both = keys()
    both = type(both)([*both.clients, (old, public_key(old))], both.server_secret, both.door_secret)
    async with new_zmq(keys=both) as a, new_zmq(keys=keys(client=old)) as b:
        await connect(b, a)
        a.accept_only([public_key(CLIENT)])
        b.dial(2, endpoint=a.endpoints[0], curve=a.curve)
        assert (await receive_loss(b)).loss is Loss.REJECTED


async def test_strangers_get_nothing_through_while_members_do():
    async with new_zmq() as a, new_zmq() as b:
        host, port = "127.0.0.1", a.port
        with (
            raw_dealer(a.endpoints[0]) as plain,
            raw_dealer(a.endpoints[0], server=b"x" * 32) as wrong_server,
            raw_dealer(a.endpoints[0], server=a.curve, client=os.urandom(32)) as wrong_client,
            socket.create_connection((host, port)) as garbage,
            socket.create_connection((host, port)),
        ):
            garbage.sendall(os.urandom(4096))
            for stranger in (plain, wrong_server, wrong_client):
                # A stranger that was thrown out already has nowhere to put it.
                with contextlib.suppress(zmq.Again):
                    stranger.send_multipart([b"head", b"evil"], zmq.NOBLOCK)
            await connect(b, a)
            async with asyncio.timeout(TIMEOUT_S):
                while not a.refusals():
                    await asyncio.sleep(0)
            b.send(1, [b"head", b"good"])
            assert (await receive_frames(a)).frames == (b"head", b"good")
        assert not a.drops


async def test_endless_multipart_of_a_stranger_costs_no_memory():
    async with new_zmq() as a:
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
        ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
        sent = await asyncio.to_thread(flood, a.port, greeting + ready, b"\x01\x00" * 32768)
        # What went out lies in socket buffers of the system; the node itself took none of it.
        assert sent < 32 * limits.MIB
        assert not a.drops


def flood(port, head, more):
    sent = 0
    with socket.create_connection(("127.0.0.1", port)) as stranger, contextlib.suppress(OSError):
        stranger.settimeout(TIMEOUT_S)
        stranger.sendall(head)
        while sent < 64 * limits.MIB:
            sent += stranger.send(more)
    return sent


@pytest.mark.parametrize("frames", [[b"1", b"2", b"3"], [b"only"], [b"x"] * 500])
async def test_messages_of_other_than_two_frames_are_dropped_and_counted(frames):
    async with new_zmq() as a:
        with raw_dealer(a.endpoints[0], server=a.curve) as dealer:
            dealer.send_multipart(frames)
            dealer.send_multipart([b"head", b"body"])
            assert (await receive_frames(a)).frames == (b"head", b"body")
            assert a.drops == {"parts": 1}


async def test_a_probe_is_swallowed():
    async with new_zmq() as a:
        with raw_dealer(a.endpoints[0], server=a.curve) as dealer:
            dealer.send(b"")
            dealer.send_multipart([b"head", b"body"])
            assert (await receive_frames(a)).frames == (b"head", b"body")
            assert not a.drops


async def test_a_routing_id_of_another_length_is_dropped_and_counted():
    async with new_zmq() as a, new_zmq() as b:
        with raw_dealer(a.endpoints[0], server=a.curve, routing_id=b"fred") as dealer:
            dealer.send_multipart([b"head", b"body"])
            await connect(b, a)
            async with asyncio.timeout(TIMEOUT_S):
                while not a.drops:
                    b.send(1, [b"head", b"more"])
                    await receive(a)
            assert a.drops["routing_id"] == 1


async def test_links_beyond_the_bound_are_told_to_go(monkeypatch):
    monkeypatch.setattr(limits, "links_max", 2)
    async with new_zmq() as a, new_zmq() as b, new_zmq() as c:
        await connect(b, a, 1)
        await connect(b, a, 2)
        c.dial(3, endpoint=a.endpoints[0], curve=a.curve)
        c.send(3, [b"head", b"body"])
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(a.receive())
            assert (await receive_loss(c)).loss is Loss.CLOSED
            reading.cancel()
        assert a.drops["links_max"] == 1


async def test_a_link_that_cannot_take_more_is_congested(monkeypatch):
    monkeypatch.setattr(limits, "link_frames_out_max", 4)
    async with new_zmq() as a, new_zmq() as b:
        b.dial(1, endpoint=a.endpoints[0], curve=a.curve)
        for _ in range(6):
            b.send(1, [b"head", b"body"])
        events = await receive(b)
        assert [event.loss for event in events] == [Loss.CONGESTED]


async def test_an_inbound_link_that_cannot_take_more_is_congested_and_its_peer_told(monkeypatch):
    monkeypatch.setattr(limits, "link_frames_out_max", 4)
    monkeypatch.setattr(limits, "link_frames_in_max", 4)
    async with new_zmq() as a, new_zmq() as b:
        link = await connect(b, a)
        for _ in range(200):
            a.send(link, [b"head", bytes(256 * limits.KIB)])
        lost = await receive_loss(a)
        assert (lost.link, lost.loss) == (link, Loss.CONGESTED)
        b.send(1, [b"head", b"still there?"])
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(a.receive())
            async with asyncio.timeout(TIMEOUT_S):
                while not any(isinstance(event, TransportLost) for event in await b.receive()):
                    pass
            reading.cancel()
        assert a.drops == {"closed_link": 1}


async def test_the_door_carries_links_and_is_taken_once():
    async with new_zmq() as a, new_zmq() as b:
        port = free_port()
        assert a.open_door(port, "127.0.0.1")
        assert not b.open_door(port, "127.0.0.1")
        b.dial(1, endpoint=f"tcp://127.0.0.1:{port}", curve=None)
        b.send(1, [b"head", b"knock"])
        event = await receive_frames(a)
        assert event == FramesReceived(-1, (b"head", b"knock"), is_door=True)
        a.send(event.link, [b"head", b"come in"])
        assert (await receive_frames(b)).frames == (b"head", b"come in")
        a.close_door()
        assert (await receive_loss(a)).link == event.link
        assert (await receive_loss(b)).loss is Loss.CLOSED
        async with asyncio.timeout(TIMEOUT_S):
            while not b.open_door(port, "127.0.0.1"):
                await asyncio.sleep(0)


async def test_a_gate_that_lets_everybody_in_stops_the_start(monkeypatch):
    monkeypatch.setattr(Gate, "_is_member", lambda self, request: True)
    with pytest.raises(TransportError, match="does not refuse strangers"):
        async with new_zmq():
            pass


async def test_an_address_that_is_not_ours_stops_the_start():
    with pytest.raises(TransportError, match="Cannot listen"):
        async with new_zmq(bind="198.51.100.7"):
            pass


async def test_a_socket_where_others_can_enter_is_not_made():
    with private_directory() as run:
        run.chmod(0o755)
        async with new_zmq(run) as a:
            assert [endpoint[:4] for endpoint in a.endpoints] == ["tcp:"]


async def test_the_local_socket_comes_first_and_is_removed_at_the_end():
    with private_directory() as run:
        async with new_zmq(run, bind="*") as a:
            assert a.endpoints[0] == f"ipc://{run}/a.sock"
            assert a.endpoints[1].startswith("tcp://")
            assert (run / "a.sock").exists()
        assert not (run / "a.sock").exists()


async def test_start_and_stop_leave_no_descriptors_behind():
    async def once():
        async with new_zmq() as a, new_zmq() as b:
            await connect(b, a)

    await once()
    before = count_descriptors()
    for _ in range(3):
        await once()
    assert count_descriptors() <= before


def count_descriptors():
    place = Path("/proc/self/fd")
    return len(list(place.iterdir())) if place.exists() else 0


PEER = """
import asyncio, sys
from net_support import new_zmq
async def main():
    async with new_zmq() as b:
        b.dial(1, endpoint=sys.argv[1], curve=bytes.fromhex(sys.argv[2]))
        b.send(1, [b"head", b"alive"])
        b.send(1, [b"head", b"last words"])
        while True:
            await b.receive()
asyncio.run(main())
"""


async def test_a_killed_peer_is_noticed_at_once():
    path = os.pathsep.join(["tests/net", ".", os.environ.get("PYTHONPATH", "")])
    async with new_zmq() as a:
        peer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PEER, a.endpoints[0], a.curve.hex()),
            env=os.environ | {"PYTHONPATH": path},
        )
        events = await receive(a, 2)
        assert [event.frames[1] for event in events] == [b"alive", b"last words"]
        started_s = asyncio.get_running_loop().time()
        peer.send_signal(signal.SIGKILL)
        assert (await receive_loss(a)).loss is Loss.CLOSED
        assert asyncio.get_running_loop().time() - started_s < 1
        await peer.wait()


def test_a_batch_is_bounded_in_bytes():
    batch = Batch()
    batch.add_frames(1, (b"", bytes(limits.tick_bytes_max)), is_door=False)
    assert batch.is_full


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
