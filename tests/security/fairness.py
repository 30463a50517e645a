"""How much longer all others wait while one member floods: `python -m tests.security.fairness`.

A member that speaks the wire by hand writes to bob in packets of 100 letters, at a given rate;
alice writes to bob all the while, one message after the other, and waits for each to be delivered.
Quiet and flooded spells take turns, so that the machine is the same for both; what counts is the
ratio.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import mesh
from tests.processes.hosts import REPOSITORY, SECRET, Mesh, new_mesh
from tests.security.insider import Insider, target
from tests.security.test_insider import dialled, key_of
from tests.usage import MIB, resident_bytes

LETTERS = 100
PAUSE_S = 0.005
CUTS = {"p50": 49, "p90": 89, "p99": 98}


async def flood(home: Path, pid: int, name: str, *, rate: float, seconds: float) -> None:
    """Write as a member to bob, `rate` letters a second; print how many went."""
    loop = asyncio.get_running_loop()
    with Insider(SECRET, name) as insider:
        line = await dialled(insider, target(home, pid))
        print("flooding", flush=True)
        to, begun, sequence = key_of(line, "bob"), loop.time(), 0
        while (passed_s := loop.time() - begun) < seconds:
            if sequence >= rate * passed_s:
                await line.hear(0.001)
                continue
            letters = [
                insider.letter(to, sequence + n, "flood " * 20) for n in range(1, LETTERS + 1)
            ]
            await line.send(insider.mail(letters, previous=sequence))
            sequence += LETTERS
        print(json.dumps({"sent": sequence}))


async def latencies(alice: mesh.Agent, *, seconds: float) -> list[float]:
    """Send one after the other and wait for each to be on bob's disk."""
    found, deadline = [], time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        begun = time.perf_counter()
        receipt = await alice.send("bob", "honest")
        assert await receipt.wait("delivered", timeout_s=30)
        found.append(time.perf_counter() - begun)
        await asyncio.sleep(PAUSE_S)
    return found


@dataclass
class Spells:
    """What was measured in all rounds."""

    quiet: list[float] = field(default_factory=list)
    flooded: list[float] = field(default_factory=list)
    sent: int = 0
    grown_mib: float = 0.0


async def measure(spells: Spells, group: Mesh, *, seconds: float, rate: float) -> None:
    """One round: a quiet spell, and a flooded one."""
    bob = await group.join("bob", "h1")
    home, name = group.home("h1"), str(group.settings["mesh"])
    config = mesh.Config(home=home, secret=SECRET, mesh=name, port=0, mdns=False, bind="127.0.0.1")
    async with mesh.join("alice", config) as alice:
        await latencies(alice, seconds=1)
        spells.quiet += await latencies(alice, seconds=seconds)
        before = resident_bytes(bob.pid)
        flooding = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.security.fairness", "--flood", str(bob.pid)),
            *("--home", str(home), "--mesh", name),
            *("--rate", str(rate), "--seconds", str(seconds + 1)),
            stdout=asyncio.subprocess.PIPE,
            cwd=REPOSITORY,
        )
        assert flooding.stdout is not None
        assert await flooding.stdout.readline() == b"flooding\n"
        spells.flooded += await latencies(alice, seconds=seconds)
        said, _ = await flooding.communicate()
        spells.sent += json.loads(said)["sent"]
        grown_mib = (resident_bytes(bob.pid) - before) / MIB
        spells.grown_mib = max(spells.grown_mib, grown_mib)


def _figures(found: list[float]) -> dict[str, float]:
    cuts = quantiles(found, n=100)
    return {name: round(cuts[at] * 1000, 2) for name, at in CUTS.items()}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flood", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--mesh", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        await flood(
            options.home, options.flood, options.mesh, rate=options.rate, seconds=options.seconds
        )
        return
    spells = Spells()
    for _ in range(options.rounds):
        async with new_mesh() as group:
            await measure(spells, group, seconds=options.seconds, rate=options.rate)
    quiet, flooded = _figures(spells.quiet), _figures(spells.flooded)
    found = {
        "flooded_per_s": round(spells.sent / options.rounds / (options.seconds + 1)),
        "messages": {"quiet": len(spells.quiet), "flooded": len(spells.flooded)},
        "quiet_ms": quiet,
        "flooded_ms": flooded,
        "ratio": {name: round(flooded[name] / figure, 2) for name, figure in quiet.items()},
        "grown_mib": round(spells.grown_mib, 1),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    os.environ.pop("IPC_SHARED_SECRET", None)
    asyncio.run(main())
