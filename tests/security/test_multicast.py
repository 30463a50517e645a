"""mDNS as hostile input: own packets on the loopback, against nodes that have found each other."""

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import zeroconf
from zeroconf import const

from mesh import limits
from mesh.net.mdns import SERVICE
from tests.processes.hosts import Mesh, Session
from tests.security.measure import delivery_s, report
from tests.security.test_insider import _remote_addresses
from tests.usage import MIB, resident_bytes

GROUP = ("224.0.0.251", 5353)
CLASS = const._CLASS_IN | const._CLASS_UNIQUE


@contextmanager
def multicast() -> Iterator[socket.socket]:
    """A socket that hears and says what a responder on the loopback would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ear.bind(("", 5353))
        here = socket.inet_aton("127.0.0.1")
        group = struct.pack("4s4s", socket.inet_aton(GROUP[0]), here)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        ear.setblocking(False)
        yield ear


def records(
    name: str, *, host: str, address: str, port: int, key: bytes, ttl: int = 120
) -> list[zeroconf.DNSRecord]:
    """All that a node says of itself; with a ttl of 0, its goodbye."""
    text = b"".join(
        bytes((len(field),)) + field for field in (b"v=1", b"m=s", b"k=" + key.hex().encode())
    )
    return [
        zeroconf.DNSPointer(SERVICE, const._TYPE_PTR, const._CLASS_IN, ttl, name),
        zeroconf.DNSService(name, const._TYPE_SRV, CLASS, ttl, 0, 0, port, host),
        zeroconf.DNSText(name, const._TYPE_TXT, CLASS, ttl, text),
        zeroconf.DNSAddress(host, const._TYPE_A, CLASS, ttl, socket.inet_aton(address)),
    ]


def say(ear: socket.socket, some: list[zeroconf.DNSRecord]) -> None:
    out = zeroconf.DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    for record in some:
        out.add_answer_at_time(record, 0)
    for packet in out.packets():
        with suppress(BlockingIOError):
            ear.sendto(packet, GROUP)


async def overheard(ear: socket.socket, number: int) -> set[str]:
    """The service names of the first `number` nodes that are heard."""
    loop, names = asyncio.get_running_loop(), set[str]()
    say_question(ear)
    async with asyncio.timeout(10):
        while len(names) < number:
            packet = zeroconf.DNSIncoming(await loop.sock_recv(ear, 9000))
            if packet.valid:
                names |= {a.alias for a in packet.answers() if isinstance(a, zeroconf.DNSPointer)}
    return names


def say_question(ear: socket.socket) -> None:
    out = zeroconf.DNSOutgoing(const._FLAGS_QR_QUERY)
    out.add_question(zeroconf.DNSQuestion(SERVICE, const._TYPE_PTR, const._CLASS_IN))
    for packet in out.packets():
        ear.sendto(packet, GROUP)


@pytest.fixture
async def pair(mesh: Mesh) -> tuple[Session, Session]:
    """Two nodes of two hosts that have found each other by multicast."""
    mesh.settings["mdns"] = True
    bob, alice = await mesh.join("bob", "h1"), await mesh.join("alice", "h2")
    await alice.sees(10, bob="live")
    await bob.sees(10, alice="live")
    await delivery_s(alice, bob, "bob", "warm")
    return bob, alice


async def test_goodbyes_that_others_say_change_nothing(pair):
    bob, alice = pair
    with multicast() as ear:
        names = await overheard(ear, 2)
        for _ in range(50):
            for name in names:
                key = os.urandom(32)
                say(
                    ear, records(name, host="x.local.", address="127.0.0.1", port=9, key=key, ttl=0)
                )
            await asyncio.sleep(0.01)
    for sender, recipient, name in ((alice, bob, "bob"), (bob, alice, "alice")):
        assert await delivery_s(sender, recipient, name, "still here") < 2
        await sender.sees(1, **{name: "live"})


async def test_records_that_point_elsewhere_lead_no_mail_there(pair):
    """Members dial whom the records name, find no member, and keep their links."""
    bob, alice = pair
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                heard.append(await reader.read(1000))
        writer.close()

    trap = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = trap.sockets[0].getsockname()[1]
    key = os.urandom(32)
    async with trap:
        with multicast() as ear:
            names = await overheard(ear, 2)
            for _ in range(20):
                for name in names:
                    say(
                        ear, records(name, host="y.local.", address="127.0.0.1", port=port, key=key)
                    )
                await asyncio.sleep(0.05)
            async with asyncio.timeout(10):
                while not heard:
                    await asyncio.sleep(0.05)
        assert await delivery_s(alice, bob, "bob", "to bob himself") < 2
        assert await delivery_s(bob, alice, "alice", "to alice herself") < 2
    # What came was the beginning of a handshake that ends with the wrong key; and not often.
    assert all(data.startswith(b"\xff") and len(data) <= 64 for data in heard if data)
    assert len(heard) <= 20


async def test_a_flood_of_records_is_bounded_work(pair, record_property, capsys):
    """Thousands of invented nodes, some at addresses of others; and packets that are none."""
    bob, alice = pair
    before = resident_bytes(bob.pid)
    slowest, loop = 0.0, asyncio.get_running_loop()
    addresses = ("127.0.0.1", "198.51.100.7", "8.8.8.8", "224.0.0.251", "0.0.0.0")
    with multicast() as ear:
        begun, sent = loop.time(), 0
        while loop.time() - begun < 3:
            for _ in range(20):
                name, host = f"{os.urandom(8).hex()}.{SERVICE}", f"{os.urandom(8).hex()}.local."
                address = addresses[sent % len(addresses)]
                say(ear, records(name, host=host, address=address, port=9, key=os.urandom(32)))
                with suppress(BlockingIOError):
                    ear.sendto(os.urandom(100), GROUP)
                sent += 1
            slowest = max(slowest, await delivery_s(alice, bob, "bob", f"{sent}"))
        dialled = _remote_addresses(bob.pid)
    grown = resident_bytes(bob.pid) - before
    report(record_property, capsys, records=sent, grown_mib=grown / MIB, slowest_s=slowest)
    assert slowest < 2
    assert grown < 32 * MIB
    assert dialled <= {"127.0.0.1", "0.0.0.0"}
    assert limits.sighting_candidates_max < sent
    await bob.sees(1, alice="live")


async def test_packets_that_make_no_sense_end_nothing(pair):
    bob, alice = pair
    loop = b"\xc0\x0c"
    header = struct.pack(">6H", 0, const._FLAGS_QR_RESPONSE, 0, 5, 0, 0)
    nonsense = [
        b"",
        header[:11],
        header + loop * 50,
        header + b"\x3f" * 200,
        struct.pack(">6H", 0, const._FLAGS_QR_RESPONSE, 65535, 65535, 65535, 65535) + loop,
        *[header + os.urandom(n) for n in range(1, 1400, 50)],
    ]
    with multicast() as ear:
        for packet in nonsense * 20:
            with suppress(BlockingIOError):
                ear.sendto(packet, GROUP)
    assert await delivery_s(alice, bob, "bob", "unimpressed") < 2
    assert await delivery_s(bob, alice, "alice", "so am I") < 2
