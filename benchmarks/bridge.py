"""How soon the bridge answers its client and how soon it is gone, beside a bare server of the SDK.

    python -m benchmarks.bridge [--rounds N]

The two take turns within each round, in fresh processes; figures are medians over the rounds, with
the worst for endings, and ratios are medians of the ratios within a round. Ends are those of Claude
Code (SIGINT; 0.1 s later SIGTERM, then SIGKILL) and of clients that close standard input.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

_ROUNDS: Final = 7
_LARGE_BYTES: Final = 256 * 1024 * 1024
_HELLO: Final = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}


class Server:
    """One server process, spoken to as a client does."""

    def __init__(self, module: str, environ: dict[str, str]) -> None:
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._ids = 0

    def tell(self, method: str, params: dict[str, Any] | None = None, **keys: object) -> None:
        """Send one message."""
        message = {"jsonrpc": "2.0", "method": method, **keys, "params": params or {}}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send one request and return its answer."""
        self._ids += 1
        self.tell(method, params, id=self._ids)
        assert self._process.stdout is not None
        while True:
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
            if answer.get("id") == self._ids:
                return answer

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def begin_call(self, tool: str, **arguments: object) -> None:
        """Call a tool and do not wait."""
        self.tell("tools/call", {"name": tool, "arguments": arguments}, id="begun")

    def initialize(self) -> float:
        """Shake hands; return the seconds from the start to the answer."""
        self.ask("initialize", _HELLO)
        seconds = time.perf_counter() - self.started
        self.tell("notifications/initialized")
        return seconds

    def end(self, how: str) -> float:
        """End it by the name of a signal, or by the end of its input; return the seconds."""
        assert self._process.stdin is not None
        started = time.perf_counter()
        if how == "eof":
            self._process.stdin.close()
        else:
            self._process.send_signal(getattr(signal, how))
        self._process.wait()
        return time.perf_counter() - started

    def kill(self) -> None:
        """Make sure that it is gone."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()


def _ready(server: Server) -> None:
    server.initialize()
    server.call("register", instance_id="alice")


def _waiting(server: Server) -> None:
    _ready(server)
    server.begin_call("check", wait_s=60)
    server.ask("ping")


def _sharing(server: Server) -> None:
    _ready(server)
    server.begin_call("share_file", to_id="alice", filepath="large")
    server.ask("ping")
    time.sleep(0.1)


def _opening(server: Server) -> None:
    server.initialize()
    server.begin_call("status")
    time.sleep(0.15)


def _loading(server: Server) -> None:
    server.initialize()


_MOMENTS: Final[dict[str, Callable[[Server], None]]] = {
    "initialized": _loading,
    "opening its node": _opening,
    "registered": _ready,
    "in a waiting check": _waiting,
    "sharing 256 MiB": _sharing,
}


def measure(directory: Path, rounds: int) -> dict[str, Any]:
    """Return all figures."""
    (directory / "large").write_bytes(bytes(_LARGE_BYTES))
    starts: list[float] = []
    bare_starts: list[float] = []
    bare_ends: list[float] = []
    first_calls: list[float] = []
    ends: dict[str, list[float]] = {}
    for number in range(rounds):
        environ = _environ(directory / f"home-{number}")
        os.chdir(directory)
        for module, found in (("mcp_bridge", starts), ("benchmarks.bare_server", bare_starts)):
            server = Server(module, environ)
            try:
                found.append(server.initialize())
                if module == "mcp_bridge":
                    server.call("register", instance_id="alice")
                    first_calls.append(time.perf_counter() - server.started)
                else:
                    bare_ends.append(server.end("eof"))
            finally:
                server.kill()
        for moment, prepare in _MOMENTS.items():
            for how in ("SIGINT", "SIGTERM", "eof"):
                server = Server("mcp_bridge", environ)
                try:
                    prepare(server)
                    ends.setdefault(f"{moment}, {how}", []).append(server.end(how))
                finally:
                    server.kill()
    return {
        "initialize_ms": _ms(starts),
        "initialize_bare_ms": _ms(bare_starts),
        "initialize_to_bare": round(
            median(a / b for a, b in zip(starts, bare_starts, strict=True)), 3
        ),
        "registered_ms": _ms(first_calls),
        "bare_end_at_eof_ms": _ms(bare_ends),
        "end_ms": {label: _ms(times) for label, times in ends.items()},
        "end_worst_ms": round(max(max(times) for times in ends.values()) * 1000, 1),
    }


def _ms(times: list[float]) -> str:
    return f"{median(times) * 1000:.0f} (at most {max(times) * 1000:.0f})"


def _environ(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("IPC_", "CLAUDE"))}
    root = str(Path(__file__).parents[1])
    own = {"IPC_HOME": str(home), "IPC_MESH": "benchmark", "IPC_MDNS": "off", "IPC_PORT": "0"}
    return {**kept, **own, "PYTHONPATH": root, "IPC_SHARE_ROOTS": str(home.parent)}


def main() -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description="The bridge beside a bare server of the SDK.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ipc-") as directory:
        sys.stdout.write(json.dumps(measure(Path(directory), options.rounds), indent=2) + "\n")


if __name__ == "__main__":
    main()
