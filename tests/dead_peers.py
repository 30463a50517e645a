"""Dead peers: what a session costs that knows many addresses where nobody answers.

    python -m tests.dead_peers --count 1000 --kind void --minutes 3

Of the addresses, 250 are static peers and the others are sighted by discovery. Kinds: `refused`
(a machine is there and nobody listens), `absent` (no machine has the address), `void` (packets
vanish, as behind a firewall). In the end somebody comes, and is found as soon as ever. Needs Linux,
and network namespaces but for `refused`; the figures are of the session's own process.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.network.machines import Switch
from tests.processes.hosts import Mesh, Session, new_mesh
from tests.usage import Usage, usage_of

KINDS = ("refused", "absent", "void")
NETWORKS = {"refused": "127.7", "absent": "10.77", "void": "10.99"}
PORT = 9
STATIC_MAX = 250
LOOK_S = 0.25
FOUND_S_MAX = 10.0


@dataclass
class Cost:
    """What was used: the processor in each minute, in percent of a core, and the most of others."""

    percents: list[float] = field(default_factory=list)
    files: int = 0
    resident_mib: float = 0.0
    found_s: float = 0.0

    def note(self, used: Usage) -> None:
        self.files = max(self.files, used.files)
        self.resident_mib = max(self.resident_mib, used.resident_mib)

    def __str__(self) -> str:
        minutes = ", ".join(f"{percent:.2f}" for percent in self.percents)
        return (
            f"{minutes} % of a core minute by minute; at most {self.files} descriptors and "
            f"{self.resident_mib:.0f} MiB; a newcomer was found in {self.found_s:.2f} s"
        )


def addresses(kind: str, count: int) -> list[str]:
    """Return so many addresses of a kind."""
    network = NETWORKS[kind]
    return [f"{network}.{1 + n // 200}.{1 + n % 200}:{PORT}" for n in range(count)]


@contextmanager
def machine(kind: str) -> Iterator[tuple[str, ...]]:
    """Set up a machine from which the addresses are dead; yields what to put before a command."""
    if kind == "refused":
        yield ()
        return
    lan = Switch()
    try:
        lan.open()
        lan.add("a", ipv4="10.77.0.1", bits=16)
        lan.add_void("a", "10.99.0.0/16")
        yield lan.prefix("a")
    finally:
        lan.close()


async def know_dead(mesh: Mesh, kind: str, count: int, prefix: tuple[str, ...]) -> Session:
    """Start a session that knows so many dead addresses."""
    dead = addresses(kind, count)
    bind = "127.0.0.1" if kind == "refused" else None
    alice = await mesh.join("alice", peers=dead[:STATIC_MAX], bind=bind, prefix=prefix)
    await alice.call("sight", endpoints=[f"tcp://{place}" for place in dead[STATIC_MAX:]])
    return alice


async def cost_of(kind: str, count: int, *, minutes: int) -> Cost:
    """Let a session live with its dead peers for a while, then let somebody come."""
    cost = Cost()
    with machine(kind) as prefix:
        async with new_mesh() as mesh:
            alice = await know_dead(mesh, kind, count, prefix)
            for _ in range(minutes):
                before_s = usage_of(alice.pid).cpu_s
                for _ in range(round(60 / LOOK_S)):
                    await asyncio.sleep(LOOK_S)
                    cost.note(usage_of(alice.pid))
                cost.percents.append((usage_of(alice.pid).cpu_s - before_s) / 60 * 100)
            await mesh.join("bob", bind="127.0.0.1", prefix=prefix)
            cost.found_s = await alice.sees(FOUND_S_MAX, bob="live")
    return cost


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.dead_peers", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--kind", choices=KINDS, nargs="+", default=KINDS)
    parser.add_argument("--minutes", type=int, default=3)
    args = parser.parse_args()
    for kind in args.kind:
        cost = asyncio.run(cost_of(kind, args.count, minutes=args.minutes))
        print(f"{args.count} {kind}: {cost}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
