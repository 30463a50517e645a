"""What a node costs that does nothing: CPU time, wake-ups, memory; and what starting one takes.

Read from /proc, so it needs Linux. The time is user and system together, of all threads.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import mesh

_STARTS: Final = 7
_SETTLE_S: Final = 3.0
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class _Usage:
    at: float
    cpu_s: float
    wake_ups: int


def measure(directory: Path, *, seconds: float) -> dict[str, object]:
    """Return all figures; takes about three times `seconds`."""
    if not Path("/proc/self/schedstat").exists():
        return {"skipped": "needs /proc"}
    found: dict[str, object] = {}
    for number, mdns in ((1, False), (2, False), (2, True)):
        label = f"{number}_node{'s linked' if number > 1 else ''}{', mdns' if mdns else ''}"
        home = directory / f"idle-{number}-{mdns}"
        found[label] = _idle(home, number=number, mdns=mdns, seconds=seconds)
    found["start"] = _starts(directory)
    return found


def _idle(home: Path, *, number: int, mdns: bool, seconds: float) -> dict[str, float]:
    """Let `number` nodes live side by side; return the figures of the first."""
    command = [sys.executable, "-m", "benchmarks.idle", str(home), str(number), str(mdns)]
    nodes = [
        subprocess.Popen([*command, f"node{i}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for i in range(number)
    ]
    try:
        for node in nodes:
            assert node.stdout is not None
            if not node.stdout.readline():
                raise RuntimeError("a node did not start")
        time.sleep(_SETTLE_S)
        before = _usage(nodes[0].pid)
        time.sleep(seconds)
        after = _usage(nodes[0].pid)
        memory = _memory(nodes[0].pid)
    finally:
        for node in nodes:
            node.communicate()
    passed = after.at - before.at
    return {
        "cpu_percent_of_a_core": round(100 * (after.cpu_s - before.cpu_s) / passed, 4),
        "wake_ups_per_s": round((after.wake_ups - before.wake_ups) / passed, 2),
        "resident_mib": memory,
        "seconds": round(passed, 1),
    }


def _usage(pid: int) -> _Usage:
    """Sum up all threads: nanoseconds on a core, and how often they began to run."""
    cpu_ns = turns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        spent, _, count = (task / "schedstat").read_text().split()
        cpu_ns += int(spent)
        turns += int(count)
    return _Usage(time.monotonic(), cpu_ns / 1e9, turns)


def _memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return round(kib / _KIB, 1)


def _starts(directory: Path) -> dict[str, float]:
    """Time whole processes, in turns: nothing, the import, the import and a join."""
    programs = {
        "python": "pass",
        "import": "import mesh; mesh.join",
        "join": _JOIN.format(home=str(directory / "start")),
    }
    # Compiled code is kept, as it is for every installed program; the first turn fills the cache.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(directory / "compiled")
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(1 + _STARTS):
        for name, program in programs.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, env=environment)
            times[name].append(time.perf_counter() - started)
    middle = {name: median(values[1:]) for name, values in times.items()}
    return {
        "python_pass_ms": round(1000 * middle["python"], 1),
        "import_ms": round(1000 * middle["import"], 1),
        "import_join_ms": round(1000 * middle["join"], 1),
        "import_ratio_to_python": round(middle["import"] / middle["python"], 2),
        "import_join_ratio_to_python": round(middle["join"] / middle["python"], 2),
    }


_JOIN: Final = """
import asyncio, mesh, os
from pathlib import Path
async def main():
    config = mesh.Config(home=Path({home!r}), mesh="idle", mdns=False, bind="127.0.0.1", port=0,
                         secret="a-secret-that-is-long-enough-for-this")
    async with mesh.join("one", config):
        os._exit(0)  # Ending is not part of it.
asyncio.run(main())
"""


async def _live(home: Path, name: str, *, number: int, mdns: bool) -> None:
    config = mesh.Config(
        home=home,
        mesh="idle",
        secret="a-secret-that-is-long-enough-for-this",
        port=0,
        mdns=mdns,
        bind="127.0.0.1",
    )
    async with mesh.join(name, config) as agent:
        while sum(entry.state == "live" for entry in agent.roster()) < number:
            await asyncio.sleep(0.05)
        print(json.dumps({"ready": name}), flush=True)
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin, end.set)
        await end.wait()
        loop.remove_reader(sys.stdin)


if __name__ == "__main__":
    asyncio.run(
        _live(Path(sys.argv[1]), sys.argv[4], number=int(sys.argv[2]), mdns=sys.argv[3] == "True")
    )
