"""Messages without end: whoever sends one is cut off, and nobody else."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq
from net_support import CLIENT, connect, keys, new_zmq, receive, receive_frames, receive_loss

from mesh import limits
from mesh.core.events import Loss
from mesh.net import gauge
from mesh.net.sockets import public_key, set_client_keys

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what came in")

PART = os.urandom(limits.MIB)


@contextmanager
def endless(line: zmq.Socket[bytes], *start: bytes) -> Iterator[None]:
    """Send one message of far more parts than anybody may keep, as fast as they go."""
    parts = 20 * gauge.PENDING_BYTES_MAX // len(PART)

    def send() -> None:
        for part in start:
            line.send(part, zmq.SNDMORE)
        for _ in range(parts):
            line.send(PART, zmq.SNDMORE, copy=False)
        line.send(b"the end")

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()


async def _cut(transport) -> None:
    async with asyncio.timeout(20):
        while not transport.drops["endless"]:
            await asyncio.sleep(0.01)


async def test_a_dialler_whose_message_does_not_end_is_cut_off_and_others_are_not():
    async with new_zmq() as a, new_zmq() as b:
        with zmq.Context() as context, context.socket(zmq.DEALER) as line:
            line.setsockopt(zmq.LINGER, 0)
            line.setsockopt(zmq.ROUTING_ID, b"m" * 16)
            set_client_keys(line, server=a.curve, secret=CLIENT, public=public_key(CLIENT))
            line.connect(a.endpoints[0])
            await connect(b, a)
            with endless(line):
                await _cut(a)
            b.send(1, [b"head", b"still here"])
            (event,) = await receive(a)
            assert event.frames == (b"head", b"still here")
            assert a.drops["endless"] == 1


async def test_a_listener_whose_message_does_not_end_is_cut_off():
    async with new_zmq() as b:
        own = keys()
        with zmq.Context() as context, context.socket(zmq.ROUTER) as line:
            line.setsockopt(zmq.LINGER, 0)
            line.setsockopt(zmq.CURVE_SERVER, 1)
            line.setsockopt(zmq.CURVE_SECRETKEY, own.server_secret)
            port = line.bind_to_random_port("tcp://127.0.0.1")
            b.dial(1, endpoint=f"tcp://127.0.0.1:{port}", curve=public_key(own.server_secret))
            b.send(1, [b"head", b"first"])
            routing_id, *_ = await asyncio.to_thread(line.recv_multipart)
            with endless(line, routing_id):
                await _cut(b)
            lost = await receive_loss(b)
            assert (lost.link, lost.loss) == (1, Loss.CLOSED)


async def test_a_slow_reader_of_many_large_messages_loses_none():
    body = os.urandom(2 * limits.MIB)
    number = 3 * gauge.PENDING_BYTES_MAX // len(body)
    assert number < limits.link_frames_in_max
    async with new_zmq() as a, new_zmq() as b:
        await connect(b, a)
        for _ in range(number):
            b.send(1, [b"head", body])
        await asyncio.sleep(3 * gauge.INTERVAL_S)
        events = await receive(a, number)
        assert [event.frames for event in events] == number * [(b"head", body)]
        assert a.drops["endless"] == 0


async def test_who_does_not_read_is_cut_off_and_loses_the_link(monkeypatch):
    monkeypatch.setattr(gauge, "UNSENT_BYTES_MAX", 16 * limits.MIB)
    async with new_zmq() as a:
        with zmq.Context() as context, context.socket(zmq.DEALER) as line:
            line.setsockopt(zmq.LINGER, 0)
            line.setsockopt(zmq.RCVHWM, 1)
            line.setsockopt(zmq.RCVBUF, 65536)
            line.setsockopt(zmq.RECONNECT_IVL, -1)
            line.setsockopt(zmq.ROUTING_ID, b"m" * 16)
            set_client_keys(line, server=a.curve, secret=CLIENT, public=public_key(CLIENT))
            line.connect(a.endpoints[0])
            line.send_multipart([b"head", b"first"])
            event = await receive_frames(a)
            for _ in range(64):
                a.send(event.link, [b"head", PART])
            lost = await receive_loss(a)
            assert (lost.link, lost.loss) == (event.link, Loss.CLOSED)
            assert a.drops["unread"] == 1


async def test_a_reader_of_more_than_may_wait_is_not_cut_off(monkeypatch):
    monkeypatch.setattr(gauge, "UNSENT_BYTES_MAX", 16 * limits.MIB)
    async with new_zmq() as a, new_zmq() as b:
        await connect(b, a)
        for _ in range(4):
            for _ in range(12):
                b.send(1, [b"head", PART])
            await receive(a, 12)
            await asyncio.sleep(gauge.INTERVAL_S)
        assert b.drops["unread"] == a.drops["endless"] == 0


async def test_small_messages_save_nothing_up_for_a_large_one():
    async with new_zmq() as a, new_zmq() as b:
        await connect(b, a)
        for number in range(20):
            for _ in range(limits.link_frames_in_max // 2):
                b.send(1, [b"", b""])
            await receive(a, limits.link_frames_in_max // 2)
            if number % 10 == 9:
                await asyncio.sleep(2 * gauge.INTERVAL_S)
        (connection,) = a._started.gauge._connections.values()
        with gauge._borrowed(next(iter(a._started.gauge._connections))[1]) as line:
            info = line.getsockopt(6, gauge._TCP_INFO, gauge._ACKED_AND_RECEIVED.size)
        _, received = gauge._ACKED_AND_RECEIVED.unpack(info)
        assert connection.delivered <= received
