"""Raw pyzmq as the yardstick: DEALER to ROUTER over TCP, acknowledged, nothing kept or sealed.

The receiver answers every message (one number, echoed); the sender keeps the window. It polls and
drains as a sane program would. What it lacks is everything else: disks, keys, signatures, names.
"""

import time

import zmq

from benchmarks.pairs import Figures, Link, Settings, figures

_WARM_UP = 200


def receive(link: Link, settings: Settings) -> None:
    """Acknowledge everything until the sender is done."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.set_hwm(0)
        link.send(socket.bind_to_random_port("tcp://127.0.0.1"))
        expected = _WARM_UP + 2 * settings.pings + settings.messages
        for _ in range(expected):
            peer, number, _ = socket.recv_multipart()
            socket.send_multipart((peer, number))
        link.recv()


def send(link: Link, settings: Settings) -> Figures:
    """Send one by one, then with a full window."""
    body = b"x" * settings.body_bytes
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set_hwm(0)
        socket.connect(f"tcp://127.0.0.1:{link.recv()}")
        for _ in range(_WARM_UP):
            _ping(socket, body)
        busy = [_ping(socket, body) for _ in range(settings.pings)]
        paced = []
        for _ in range(settings.pings):
            time.sleep(settings.pause_s)
            paced.append(_ping(socket, body))
        rate = _blast(socket, body, settings)
    link.send("end")
    return figures(rate, busy=busy, paced=paced)


def _blast(socket: "zmq.Socket[bytes]", body: bytes, settings: Settings) -> float:
    started = time.perf_counter()
    sent = acked = 0
    while acked < settings.messages:
        while sent < settings.messages and sent - acked < settings.window:
            socket.send_multipart((sent.to_bytes(8, "big"), body))
            sent += 1
        acked = 1 + int.from_bytes(socket.recv(), "big")
        while socket.poll(0):
            acked = 1 + int.from_bytes(socket.recv(), "big")
    return settings.messages / (time.perf_counter() - started)


def _ping(socket: "zmq.Socket[bytes]", body: bytes) -> tuple[float, float]:
    started = time.perf_counter()
    socket.send_multipart((bytes(8), body))
    accepted = time.perf_counter()
    socket.recv()
    return (accepted - started, time.perf_counter() - started)
