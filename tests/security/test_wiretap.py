"""T7, T9: what a listener on the wire learns, and what it can do with what it kept."""

import asyncio
import os
import socket
import struct
import time

from mesh.wire.keys import derive
from tests.processes.hosts import SECRET, Mesh, contents, free_port
from tests.security.wiretap import Wiretap

TEXT = "the-launch-code-is-4711"


def traces(mesh: Mesh) -> dict[str, bytes]:
    """Everything that must not be seen on the wire, in the forms in which it might be."""
    keys = derive(SECRET, mesh=mesh.settings["mesh"])
    words = {
        "secret": SECRET,
        "text": TEXT,
        "sender": "alice-the-sender",
        "recipient": "bob-the-reader",
        "home": str(mesh.directory),
        "host name": socket.gethostname(),
        "user": "root" if os.getuid() == 0 else os.environ.get("USER", "nobody-at-all"),
        "mesh": mesh.settings["mesh"],
        "summary": "snes-project",
    }
    # Shorter ones occur in any random bytes.
    found = {name: word.encode() for name, word in words.items() if len(word) >= 4}
    found |= {f"{name} reversed": word[::-1] for name, word in list(found.items())}
    found |= {
        "client secret": keys.client.secret,
        "client key": keys.client.public,
        "door secret": keys.door.secret,
        "door key": keys.door.public,
        "frame key": keys.aead,
        "key id": keys.key_id,
        "magic": b"MESH\x01",
    }
    return found


def assert_no_trace(mesh: Mesh, heard: bytes) -> None:
    for name, trace in traces(mesh).items():
        assert trace not in heard, name
        assert trace.hex().encode() not in heard, name


async def test_a_listener_hears_neither_text_nor_name_nor_key(mesh: Mesh):
    door = free_port()
    bob = await mesh.join("bob-the-reader", "h1", port=door)
    async with Wiretap(("127.0.0.1", door)) as tap:
        alice = await mesh.join("alice-the-sender", "h2", peers=[f"127.0.0.1:{tap.port}"])
        await alice.sees(**{"bob-the-reader": "live"})
        await alice.call("send", to="bob-the-reader", content=TEXT * 50, data={"path": TEXT})
        assert contents(await bob.call("collect", count=1, timeout_s=5)) == [TEXT * 50]
        await bob.call("send", to="alice-the-sender", content=TEXT)
        assert contents(await alice.call("collect", count=1, timeout_s=5)) == [TEXT]
        heard = tap.heard
    assert len(heard) > 1500
    assert_no_trace(mesh, heard)


async def test_recorded_connections_replayed_change_nothing(mesh: Mesh):
    """At once, after a restart of the reader, to its sender, and with the directions swapped."""
    door = free_port()
    bob = await mesh.join("bob", "h1", port=door)
    async with Wiretap(("127.0.0.1", door)) as tap:
        alice_door = free_port()
        peers = [f"127.0.0.1:{tap.port}"]
        alice = await mesh.join("alice", "h2", peers=peers, port=alice_door)
        await alice.sees(bob="live")
        sent = await alice.call("send", to="bob", content="once")
        await bob.call("collect", count=1, timeout_s=5)
        await alice.call("wait", id_=sent["id"], state="shown", timeout_s=5)
        recorded = [bytes(stream) for stream in tap.streams]
        for port in (door, alice_door):
            await asyncio.to_thread(_replay, recorded, port)
        await bob.kill()
        bob = await mesh.join("bob", "h1", port=door)
        await asyncio.to_thread(_replay, recorded, door)
        assert await bob.call("check") == []
        assert len(await bob.call("check", history=True)) == 1
        assert await alice.call("check", history=True) == []
        await alice.sees(15, bob="live")


def _replay(streams: list[bytes], port: int) -> None:
    for stream in streams:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as line:
            line.settimeout(0.1)
            try:
                # In the pieces in which libzmq's handshake expects them, then all of it.
                for start, end in ((0, 10), (10, 64), (64, len(stream))):
                    line.sendall(stream[start:end])
                    time.sleep(0.02)
                while line.recv(65536):
                    pass
            except OSError:
                continue


async def test_multicast_says_where_but_not_who(mesh: Mesh):
    mesh.settings["mdns"] = True
    heard: list[bytes] = []
    with _multicast_ear() as ear:
        loop = asyncio.get_running_loop()
        listening = loop.create_task(_listen(ear, heard))
        alice = await mesh.join("alice-the-sender", "h1")
        bob = await mesh.join("bob-the-reader", "h2")
        await alice.sees(**{"bob-the-reader": "live"})
        await alice.call("send", to="bob-the-reader", content=TEXT)
        await bob.call("collect", count=1, timeout_s=5)
        await alice.close()
        await asyncio.sleep(0.3)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    packets = b"\n".join(heard)
    assert b"_claude-ipc" in packets
    assert_no_trace(mesh, packets)


def _multicast_ear() -> socket.socket:
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    ear.bind(("", 5353))
    group = struct.pack("4s4s", socket.inet_aton("224.0.0.251"), socket.inet_aton("127.0.0.1"))
    ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    ear.setblocking(False)
    return ear


async def _listen(ear: socket.socket, heard: list[bytes]) -> None:
    while True:
        heard.append(await asyncio.get_running_loop().sock_recv(ear, 65536))
