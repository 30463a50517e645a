"""Files through the mesh against a plain ZeroMQ copy: `python -m benchmarks.files [--mib 256]`.

Each round copies the same file between two processes over the same kind of socket: by bare
pyzmq (read, send, receive, write, fsync; no digest, journal or acks; without and with the CURVE
encryption that every link of the mesh has) and by the mesh. The
mesh is measured from the accepted message to its ack (`transfer`) and from the call (`whole`, which
has the copy into the spool in it); once between two state directories of this machine, where the
recipient reads the author's spooled copy itself (`near`), and once over the link, as between
machines (`link`). Memory is each process's own peak. The latency is that of short messages to the
same agent, one every 20 ms, while nothing else happens and, of a second file, from the call to the
end of its transfer.

Before each copy, memory for three times as much is used and freed: on a virtual machine, pages that
its host does not give yet, or took back seconds ago, cost ten times what is measured here.

With `--tcp` all of it goes over TCP on the loopback, and only the link is measured. On a loopback
of its own that is slowed down to a network's speed it says how the two compare on a LAN:

    unshare -n sh -c 'ip link set lo up; tc qdisc add dev lo root tbf rate 1gbit burst 256kb \\
        latency 50ms; python -m benchmarks.files --tcp'
"""

import argparse
import asyncio
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq

import mesh
from mesh.sharing import near

CHUNK_BYTES = 256 * 1024
PIPE_CHUNKS = 16
SERVER_SECRET = b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
WAIT_S = 120.0
PAUSE_S = 0.02
FILES = ("file.bin", "other.bin")
PLAIN_PORT = 47_991
DOOR_PORT = 47_992


def main() -> int:
    """Run the rounds, or one side of one; return the exit code."""
    wanted = _arguments()
    if wanted.tcp:
        os.environ["FILES_OVER_TCP"] = "1"
    place = Path(wanted.place) if wanted.place else None
    if wanted.role:
        assert place is not None
        _ROLES[wanted.role](place)
        return 0
    with tempfile.TemporaryDirectory(prefix="mesh-files-", dir=wanted.directory) as directory:
        report = _measure(Path(directory), mib=wanted.mib, rounds=wanted.rounds)
    print(json.dumps(report, indent=2))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files", description=__doc__)
    parser.add_argument("--mib", type=int, default=256, help="size of the file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", help="a directory on the disk to be measured")
    parser.add_argument("--tcp", action="store_true", help="over TCP on the loopback")
    parser.add_argument("--role", choices=sorted(_ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(place: Path, *, mib: int, rounds: int) -> dict[str, Any]:
    shared = place / "shared"
    shared.mkdir()
    for name in FILES:
        _make_file(shared / name, mib)
    found = []
    for _ in range(rounds):
        one = _round(place, mib)
        print(json.dumps(one), file=sys.stderr, flush=True)
        found.append(one)
    median = {key: round(statistics.median(one[key] for one in found), 2) for key in found[0]}
    return {"mib": mib, "rounds": rounds, **median, **_ratios(found)}


def _round(place: Path, mib: int) -> dict[str, Any]:
    plain_s = _pair(place, "plain_receiver", "plain_sender")["receiver"]["seconds"]
    curve_s = _pair(place, "curve_receiver", "curve_sender")["receiver"]["seconds"]
    one = {"plain_mib_s": mib / plain_s, "curve_mib_s": mib / curve_s}
    for way in _ways():
        sides = _pair(place, f"{way}_receiver", f"{way}_sender")
        facts = {k: mib / v for k, v in sides["sender"]["rates"].items()}
        facts |= sides["sender"]["facts"]
        facts |= {"receiver_peak_mib": sides["receiver"]["peak_mib"]}
        one |= {f"{way}_{key}": value for key, value in facts.items()}
    return one


def _make_file(path: Path, mib: int) -> None:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())


def _use_memory(path: Path) -> None:
    """Write three times as much as there is in a file, and let go of it.

    What is written next takes that memory again; and what others have left to write is not to be
    paid for then.
    """
    with tempfile.TemporaryFile(dir=path.parent, buffering=0) as file:
        for _ in range(3 * path.stat().st_size // CHUNK_BYTES):
            file.write(bytes(CHUNK_BYTES))
    os.sync()


def _is_tcp() -> bool:
    """Whether everything goes over TCP; the processes of one run inherit it."""
    return "FILES_OVER_TCP" in os.environ


def _ways() -> tuple[str, ...]:
    return ("link",) if _is_tcp() else ("near", "link")


def _ratios(found: list[dict[str, Any]]) -> dict[str, float]:
    """Return the medians of what each round compares."""
    pairs = [
        (f"{way}_{part}_to_{other}", f"{way}_{part}_mib_s", f"{other}_mib_s")
        for way in _ways()
        for part in ("transfer", "whole")
        for other in ("plain", "curve")
    ]
    pairs += [(f"{way}_busy_to_idle", f"{way}_busy_ms", f"{way}_idle_ms") for way in _ways()]
    return {
        name: round(statistics.median(one[above] / one[below] for one in found), 3)
        for name, above, below in pairs
    }


def _pair(place: Path, receiver: str, sender: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=place) as own:
        command = [sys.executable, "-m", "benchmarks.files", "--place", own, "--role"]
        processes = {
            name: subprocess.Popen([*command, role], stdout=subprocess.PIPE, text=True)
            for name, role in (("receiver", receiver), ("sender", sender))
        }
        outputs = {name: one.communicate(timeout=WAIT_S)[0] for name, one in processes.items()}
    return {name: json.loads(output) for name, output in outputs.items()}


# A plain copy.


def _plain_sender(place: Path, *, is_curve: bool = False) -> None:
    with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        socket.set(zmq.SNDHWM, PIPE_CHUNKS)
        if is_curve:
            public, secret = zmq.curve_keypair()
            _set_keys(socket, public, secret)
            socket.set(zmq.CURVE_SERVERKEY, zmq.curve_public(SERVER_SECRET))
        socket.connect(_plain_endpoint(place))
        path = _shared(place) / FILES[0]
        _use_memory(path)
        socket.send(b"begin")
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                socket.send(chunk)
        socket.send(b"")
        socket.recv()
    print("{}")


def _plain_receiver(place: Path, *, is_curve: bool = False) -> None:
    with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        socket.set(zmq.RCVHWM, PIPE_CHUNKS)
        if is_curve:
            socket.set(zmq.CURVE_SERVER, 1)
            _set_keys(socket, zmq.curve_public(SERVER_SECRET), SERVER_SECRET)
        socket.bind(_plain_endpoint(place))
        socket.recv()
        begin = time.perf_counter()
        with (place / "copy.bin").open("wb", buffering=0) as file:
            while chunk := socket.recv():
                file.write(chunk)
            os.fsync(file.fileno())
        seconds = time.perf_counter() - begin
        socket.send(b"")
        print(json.dumps({"seconds": seconds}), flush=True)


def _plain_endpoint(place: Path) -> str:
    return f"tcp://127.0.0.1:{PLAIN_PORT}" if _is_tcp() else f"ipc://{place}/plain.sock"


def _set_keys(socket: "zmq.Socket[bytes]", public: bytes, secret: bytes) -> None:
    socket.set(zmq.CURVE_PUBLICKEY, public)
    socket.set(zmq.CURVE_SECRETKEY, secret)


def _curve_sender(place: Path) -> None:
    _plain_sender(place, is_curve=True)


def _curve_receiver(place: Path) -> None:
    _plain_receiver(place, is_curve=True)


# Through the mesh.


def _config(place: Path, name: str) -> mesh.Config:
    """Both are of one host, or of two that meet at the door of one of them."""
    common = mesh.Config(home=place / "home", port=0, mdns=False, share_roots=(_shared(place),))
    if not _is_tcp():
        return common
    is_host = name == "bob"
    return dataclasses.replace(
        common,
        home=place / name,
        secret="one for both of them",
        bind="127.0.0.1",
        port=DOOR_PORT if is_host else 0,
        peers=() if is_host else (f"127.0.0.1:{DOOR_PORT}",),
    )


def _shared(place: Path) -> Path:
    return place.parent / "shared"


def _near_sender(place: Path) -> None:
    print(json.dumps(asyncio.run(_send(place))))


async def _send(place: Path) -> dict[str, Any]:
    async with asyncio.timeout(WAIT_S), mesh.join("alice", _config(place, "alice")) as alice:
        first = await alice.send("bob", "begin")
        assert await first.wait("delivered", 30)
        await _latencies(alice, 30)
        idle = await _latencies(alice, 100, pause_s=PAUSE_S)
        before_mib = _peak_mib()
        first_path, second_path = (_shared(place) / name for name in FILES)
        await asyncio.to_thread(_use_memory, first_path)
        rates = await _share(alice, first_path)
        await asyncio.to_thread(_use_memory, second_path)
        busy: list[float] = []
        async with asyncio.TaskGroup() as group:
            mail = group.create_task(_talk(alice, busy))
            await _share(alice, second_path)
            mail.cancel()
        last = await alice.send("bob", "end")
        assert await last.wait("delivered", 30)
    busy.sort()
    return {
        "rates": rates,
        "facts": {
            "sender_peak_mib": _peak_mib(),
            "sender_peak_before_mib": before_mib,
            "idle_ms": statistics.median(idle) * 1e3,
            "busy_ms": statistics.median(busy) * 1e3,
            "busy_p95_ms": busy[int(len(busy) * 0.95)] * 1e3,
            "busy_messages": len(busy),
        },
    }


async def _share(alice: mesh.Agent, path: Path) -> dict[str, float]:
    """Share a file and wait for its ack; return how long that took."""
    begin = time.perf_counter()
    shared = await alice.share_file("bob", path)
    accepted = time.perf_counter()
    assert await shared.wait("delivered", WAIT_S)
    end = time.perf_counter()
    return {"transfer_mib_s": end - accepted, "whole_mib_s": end - begin}


async def _latencies(alice: mesh.Agent, count: int, *, pause_s: float = 0) -> list[float]:
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        receipt = await alice.send("bob", "how long does this take?")
        assert await receipt.wait("delivered", 30)
        found.append(time.perf_counter() - begin)
        await asyncio.sleep(pause_s)
    return found


async def _talk(alice: mesh.Agent, found: list[float]) -> None:
    while True:
        found += await _latencies(alice, 1, pause_s=PAUSE_S)


def _near_receiver(place: Path) -> None:
    print(json.dumps({"peak_mib": asyncio.run(_receive(place))}))


def _link_sender(place: Path) -> None:
    _be_elsewhere()
    _near_sender(place)


def _link_receiver(place: Path) -> None:
    _be_elsewhere()
    _near_receiver(place)


def _be_elsewhere() -> None:
    """Let this process not know its machine, as if the other one ran on another."""
    near.own_machine_key = lambda: None


async def _receive(place: Path) -> float:
    async with asyncio.timeout(WAIT_S), mesh.join("bob", _config(place, "bob")) as bob:
        async for message in bob.messages():
            if message.content == "end":
                break
    return _peak_mib()


def _peak_mib() -> float:
    """Return this process's peak of resident memory; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(peaks[0]) / 1024 if peaks else 0.0


_ROLES = {
    "curve_sender": _curve_sender,
    "curve_receiver": _curve_receiver,
    "plain_sender": _plain_sender,
    "plain_receiver": _plain_receiver,
    "near_sender": _near_sender,
    "near_receiver": _near_receiver,
    "link_sender": _link_sender,
    "link_receiver": _link_receiver,
}

if __name__ == "__main__":
    sys.exit(main())
