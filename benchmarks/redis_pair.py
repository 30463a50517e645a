"""Redis streams with `appendfsync always`, the usual durable queue, on a Unix socket of its own.

The sender pipelines XADD; the receiver reads as a consumer group and acknowledges each batch, which
redis writes to disk as well. One by one, "accepted" is an XADD that returned and "delivered" the
moment at which the receiver had read it (both processes have the same clock): nobody tells the
sender, so this leaves out the way back that the mesh's figure has in it.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.pairs import Figures, Link, Settings, figures

_WARM_UP: Final = 200
_PIPELINE: Final = 1000
_STREAM: Final = "mail"
_GROUP: Final = "readers"
_START_S: Final = 10.0


def is_there() -> bool:
    """Whether the server and its Python client are installed."""
    return shutil.which("redis-server") is not None and find_spec("redis") is not None


@contextmanager
def server(directory: Path) -> Iterator[None]:
    """Run a server of our own in `directory`."""
    command = ["redis-server", "--port", "0", "--unixsocket", str(_socket(directory))]
    command += ["--dir", str(directory), "--save", "", "--appendonly", "yes"]
    command += ["--appendfsync", "always", "--daemonize", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + _START_S
            while not _socket(directory).exists() and time.monotonic() < until:
                time.sleep(0.02)
            yield
        finally:
            process.terminate()


def receive(link: Link, settings: Settings) -> None:
    """Read and acknowledge everything; tell when each message of the one-by-one part came."""
    client = _client(settings)
    client.xgroup_create(_STREAM, _GROUP, id="0", mkstream=True)
    link.send("ready")
    for _ in range(_WARM_UP + 2 * settings.pings):
        _take(client, 1)
        link.send(time.monotonic_ns())
    count = 0
    while count < settings.messages:
        count += _take(client, _PIPELINE)
    link.send("consumed")
    link.recv()


def send(link: Link, settings: Settings) -> Figures:
    """Send one by one, then pipelined."""
    client, body = _client(settings), b"x" * settings.body_bytes
    link.recv()
    for _ in range(_WARM_UP):
        _ping(client, link, body)
    busy = [_ping(client, link, body) for _ in range(settings.pings)]
    paced = []
    for _ in range(settings.pings):
        time.sleep(settings.pause_s)
        paced.append(_ping(client, link, body))
    started = time.perf_counter()
    for _ in range(0, settings.messages, _PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for _ in range(_PIPELINE):
            pipeline.xadd(_STREAM, {"body": body})
        pipeline.execute()
    link.recv()
    rate = settings.messages / (time.perf_counter() - started)
    link.send("end")
    return figures(rate, busy=busy, paced=paced)


def _ping(client: Any, link: Link, body: bytes) -> tuple[float, float]:  # noqa: ANN401
    started = time.monotonic_ns()
    client.xadd(_STREAM, {"body": body})
    accepted = time.monotonic_ns()
    delivered = max(accepted, link.recv())
    return ((accepted - started) / 1e9, (delivered - started) / 1e9)


def _take(client: Any, count: int) -> int:  # noqa: ANN401
    ((_, entries),) = client.xreadgroup(_GROUP, "one", {_STREAM: ">"}, count=count, block=0)
    client.xack(_STREAM, _GROUP, *[entry for entry, _ in entries])
    return len(entries)


def _client(settings: Settings) -> Any:  # noqa: ANN401 - its types are not needed here
    import redis  # installed for this benchmark only

    return redis.Redis(unix_socket_path=str(_socket(settings.directory)), protocol=2)


def _socket(directory: Path) -> Path:
    return directory / "redis.sock"
