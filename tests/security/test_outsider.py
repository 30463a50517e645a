"""T1, T10: what somebody in the network without the secret can do. Attacks on real processes."""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest
import zmq
from nacl import bindings
from zmq.utils import z85

from mesh.wire.keys import curve_pair, derive
from tests.processes.hosts import SECRET, Mesh, Session, free_port
from tests.security.insider import Target, target
from tests.security.measure import delivery_s, report
from tests.usage import MIB, open_files, resident_bytes

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
ENDLESS_S = 3.0


def greeting(mechanism: bytes, *, as_server: int = 0) -> bytes:
    return GREETING + mechanism.ljust(20, b"\0") + bytes([as_server]) + bytes(31)


def call(to: Target) -> socket.socket:
    return socket.create_connection(to.address, timeout=5)


def push(to: Target, start: bytes, chunk: bytes, *, for_s: float, bytes_max: int) -> int:
    """Write `chunk` again and again until the other side hangs up; return the bytes taken."""
    sent = 0
    deadline = time.monotonic() + for_s
    with call(to) as line:
        line.settimeout(0.2)
        try:
            line.sendall(start)
            while time.monotonic() < deadline and sent < bytes_max:
                try:
                    sent += line.send(chunk)
                except TimeoutError:
                    continue
        except OSError:
            pass
    return sent


def flood_null(to: Target) -> int:
    """Speak NULL, then send short messages without end."""
    ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    return push(to, greeting(b"NULL") + ready, b"\x00\x01x" * 20_000, for_s=1, bytes_max=64 * MIB)


def endless_multipart(to: Target) -> int:
    """One message whose parts never end: limits of size and number do not see it."""
    ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    start = greeting(b"NULL") + ready
    return push(to, start, b"\x01\x00" * 30_000, for_s=ENDLESS_S, bytes_max=64 * MIB)


def endless_command(to: Target) -> int:
    """CURVE, and in place of the handshake a command of 8 GiB."""
    start = greeting(b"CURVE") + b"\x06" + struct.pack(">Q", 8 * 1024**3)
    return push(to, start, bytes(60_000), for_s=1, bytes_max=64 * MIB)


def huge_frame(to: Target) -> int:
    start = greeting(b"NULL") + b"\x02" + struct.pack(">Q", 8 * 1024**3)
    return push(to, start, bytes(60_000), for_s=1, bytes_max=64 * MIB)


def many_hellos(to: Target) -> int:
    """A CURVE handshake that begins over and over."""
    hello = b"\x04\xc8\x05HELLO\x01\x00" + bytes(72) + os.urandom(32 + 8 + 80)
    return push(to, greeting(b"CURVE"), hello * 200, for_s=1, bytes_max=16 * MIB)


def noise(to: Target) -> int:
    return push(to, b"", os.urandom(60_000), for_s=1, bytes_max=16 * MIB)


def true_hello(to: Target) -> bytes:
    """A CURVE hello that the server can open, as its key is no secret."""
    public, secret = bindings.crypto_box_keypair()
    number = bytes(8)
    box = bindings.crypto_box(bytes(64), b"CurveZMQHELLO---" + number, to.curve, secret)
    return b"\x04\xc8\x05HELLO\x01\x00" + bytes(72) + public + number + box


def meet(line: socket.socket, to: Target, stage: int) -> None:
    """Come as far as a stage: connected, part of a greeting, a greeting, a hello, its answer."""
    if stage:
        line.sendall(greeting(b"CURVE")[: 33 if stage == 1 else 64])
    if stage > 2:
        line.recv(64, socket.MSG_WAITALL)
        line.sendall(true_hello(to))
    if stage > 3:
        line.recv(170, socket.MSG_WAITALL)


def handshakes(to: Target) -> int:
    """As many CURVE handshakes as one thread can begin; each is left alone half-way."""
    deadline, begun = time.monotonic() + 1, 0
    with ExitStack() as lines:
        while time.monotonic() < deadline and begun < 200:
            try:
                line = lines.enter_context(call(to))
                line.settimeout(1)
                meet(line, to, 4)
            except OSError:
                continue
            begun += 1
    return begun


FLOODS = {
    flood.__name__: flood
    for flood in (
        *(endless_multipart, endless_command, many_hellos, handshakes),
        *(flood_null, huge_frame, noise),
    )
}
QUICK = {("main", "handshakes"), ("door", "endless_multipart"), ("door", "many_hellos")}
ATTACKS = [
    pytest.param(place, name, marks=() if (place, name) in QUICK else pytest.mark.long)
    for place in ("main", "door")
    for name in FLOODS
]


async def two_hosts(mesh: Mesh, place: str) -> tuple[Session, Session, Target]:
    """Bob, and alice of another host, linked by TCP; and the socket of bob's to attack."""
    door = free_port()
    bob = await mesh.join("bob", "h1", port=door)
    alice = await mesh.join("alice", "h2", peers=[f"127.0.0.1:{door}"])
    await alice.sees(bob="live")
    await delivery_s(alice, bob, "bob", "warm")
    to = target(mesh.home("h1"), bob.pid)
    return bob, alice, to if place == "main" else replace(to, endpoint=f"tcp://127.0.0.1:{door}")


@pytest.mark.parametrize(("place", "name"), ATTACKS)
async def test_a_flood_without_the_secret_costs_no_memory(
    mesh: Mesh, place, name, record_property, capsys
):
    bob, alice, to = await two_hosts(mesh, place)
    before = resident_bytes(bob.pid)
    attacks = [asyncio.to_thread(FLOODS[name], to) for _ in range(4)]
    running = asyncio.gather(*attacks)
    await asyncio.sleep(0.3)
    took_s = await delivery_s(alice, bob, "bob", "during it")
    taken = await running
    grown = resident_bytes(bob.pid) - before
    report(record_property, capsys, taken=sum(taken), grown_mib=grown / MIB, mail_s=took_s)
    assert took_s < 2
    assert grown < 32 * MIB


@pytest.mark.parametrize("place", [pytest.param("main", marks=pytest.mark.long), "door"])
async def test_a_thousand_half_open_connections(mesh: Mesh, place, record_property, capsys):
    """In every stage of a handshake; who has the secret gets in all the same."""
    bob, alice, to = await two_hosts(mesh, place)
    before, files_before = resident_bytes(bob.pid), open_files(bob.pid)
    with ExitStack() as lines:
        await asyncio.to_thread(_half_open, to, lines.enter_context, 5 if place == "main" else 3)
        took_s = await delivery_s(alice, bob, "bob", "during it")
        if place == "door":
            carol = await mesh.join("carol", "h3", peers=[to.endpoint.removeprefix("tcp://")])
            await carol.sees(10, bob="live")
        grown = resident_bytes(bob.pid) - before
        files = open_files(bob.pid) - files_before
    async with asyncio.timeout(10):
        while open_files(bob.pid) > files_before + 5:
            await asyncio.sleep(0.05)
    report(record_property, capsys, files=files, grown_mib=grown / MIB, mail_s=took_s)
    assert took_s < 2
    assert grown < 32 * MIB


def _half_open(to: Target, keep: Callable[[socket.socket], socket.socket], stages: int) -> None:
    for number in range(1000):
        line = keep(call(to))
        line.settimeout(2)
        meet(line, to, number % stages)


async def test_strangers_with_libzmq_deliver_nothing(mesh: Mesh, record_property, capsys):
    """NULL, PLAIN, CURVE with a wrong client key, with a wrong server key, of another mesh."""
    bob, alice = await mesh.join("bob"), await mesh.join("alice")
    await delivery_s(alice, bob, "bob", "warm")
    to = target(mesh.home("h1"), bob.pid)
    before = resident_bytes(bob.pid)
    stranger, other = curve_pair(os.urandom(32)), derive(SECRET, mesh="another").client
    member = derive(SECRET, mesh=mesh.settings["mesh"]).client
    wrong = curve_pair(os.urandom(32)).public
    outcomes = {}
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        for name, keys in {
            "null": None,
            "plain": "plain",
            "stranger": (stranger, to.curve),
            "other mesh": (other, to.curve),
            "wrong server": (member, wrong),
        }.items():
            outcomes[name] = await _knock(context, to, keys)
    finally:
        context.destroy(linger=0)
    took_s = await delivery_s(alice, bob, "bob", "afterwards")
    grown = resident_bytes(bob.pid) - before
    report(record_property, capsys, grown_mib=grown / MIB, mail_s=took_s, **outcomes)
    assert not any(outcomes.values())
    assert took_s < 2
    assert grown < 32 * MIB
    status = await bob.call("status")
    assert any("127.0.0.1" in problem for problem in status["problems"])


async def _knock(context, to: Target, keys) -> bool:
    """Whether a handshake ever succeeds; meanwhile all that fits is sent."""
    line = context.socket(zmq.DEALER)
    line.setsockopt(zmq.LINGER, 0)
    line.setsockopt(zmq.SNDTIMEO, 50)
    line.setsockopt(zmq.ROUTING_ID, os.urandom(16).replace(b"\0", b"1"))
    if keys == "plain":
        line.setsockopt(zmq.PLAIN_USERNAME, b"member")
        line.setsockopt(zmq.PLAIN_PASSWORD, SECRET.encode())
    elif keys is not None:
        pair, server = keys
        line.setsockopt(zmq.CURVE_PUBLICKEY, z85.encode(pair.public))
        line.setsockopt(zmq.CURVE_SECRETKEY, z85.encode(pair.secret))
        line.setsockopt(zmq.CURVE_SERVERKEY, z85.encode(server))
    monitor = line.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    line.connect(to.endpoint)
    for _ in range(500):
        try:
            line.send_multipart([os.urandom(47), os.urandom(1000)], zmq.NOBLOCK)
        except zmq.Again:
            break
    deadline = time.monotonic() + 0.5
    has_succeeded = False
    while time.monotonic() < deadline:
        has_succeeded = has_succeeded or bool(monitor.poll(0))
        has_succeeded = has_succeeded or bool(line.poll(0))
        await asyncio.sleep(0.01)
    line.disable_monitor()
    monitor.close(linger=0)
    line.close(linger=0)
    return has_succeeded


async def test_the_client_key_alone_without_the_mesh_key_delivers_nothing(mesh: Mesh):
    """T10: whoever coaxed the CURVE client key out of a member still cannot say hello."""
    bob = await mesh.join("bob")
    to = target(mesh.home("h1"))
    keys = derive(SECRET, mesh=mesh.settings["mesh"])
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        has_passed = await _knock(context, to, (keys.client, to.curve))
    finally:
        context.destroy(linger=0)
    assert has_passed
    assert [e["id"] for e in await bob.call("roster")] == ["bob"]
    assert (await bob.call("status"))["drops"]
