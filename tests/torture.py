"""Torture: real processes send numbered messages while they are killed, stopped and restarted.

    python -m tests.torture --messages 100000 --kills 2000 --seed 1

Two hosts, some senders and receivers on each, which tend each other's mail while one is dead. Every
sender writes to every receiver; the seed draws who is hit next and how: by SIGKILL, by SIGSTOP for
a while, or by a restart in peace. `--hands` are hit at once.

In the end each inbox must hold exactly what was accepted, once and in the order sent. A message
whose sender was killed before it heard an answer may be there or not, but at its place.
"""

import argparse
import asyncio
import itertools
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.processes.hosts import Mesh, Session, WorkerError, free_port, new_mesh
from tests.processes.nursery import Nursery

BATCH_MAX = 20
PAUSE_S_MAX = 0.1
QUIET_S = 60.0
CALM_S = 1.5
JOIN_S = 60.0
REPORT_EVERY = 200


@dataclass(frozen=True)
class Plan:
    """What is done: `messages` in all or more, `kills` by SIGKILL besides gentler faults."""

    seed: int
    messages: int
    kills: int
    senders: int = 2
    receivers: int = 2
    hands: int = 1


@dataclass
class Verdict:
    """What was found. `problems` is empty when all held."""

    accepted: int = 0
    doubtful: int = 0
    received: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Actor:
    """An agent that comes back under its name whatever happens to its process."""

    def __init__(self, mesh: Mesh, name: str, host: str, settings: dict[str, Any]) -> None:
        self.name = name
        self._mesh = mesh
        self._host = host
        self._settings = settings
        self._is_there = asyncio.Event()
        self._busy = asyncio.Lock()
        self.session: Session

    async def start(self) -> None:
        async with asyncio.timeout(JOIN_S):
            session = await self._mesh.open(self._host, **self._settings)
            while True:
                try:
                    await session.call("register", limit_s=JOIN_S, name=self.name)
                    break
                except WorkerError as exc:  # Whoever tends its mailbox may be stopped just now.
                    if exc.code != "name_in_use":
                        raise
        self.session = session
        self._is_there.set()

    async def there(self) -> Session:
        await self._is_there.wait()
        return self.session

    async def kill(self, pause_s: float) -> None:
        async with self._busy:
            self._is_there.clear()
            await self.session.kill()
            await asyncio.sleep(pause_s)
            await self.start()

    async def restart(self, pause_s: float) -> None:
        async with self._busy:
            self._is_there.clear()
            await self.session.close()
            await asyncio.sleep(pause_s)
            await self.start()

    async def stop(self, pause_s: float) -> None:
        async with self._busy:
            self.session.signal(signal.SIGSTOP)
            await asyncio.sleep(pause_s)
            self.session.signal(signal.SIGCONT)


class Torture:
    """One run."""

    def __init__(self, mesh: Mesh, plan: Plan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)
        self.verdict = Verdict()
        doors = {host: free_port() for host in ("h1", "h2")}
        others = {"h1": "h2", "h2": "h1"}

        def actor(name: str, number: int) -> Actor:
            host = ("h1", "h2")[number % 2]
            peers = [f"127.0.0.1:{doors[others[host]]}"]
            return Actor(mesh, name, host, {"port": doors[host], "peers": peers})

        self._senders = [actor(f"sender{n}", n) for n in range(plan.senders)]
        self._receivers = [actor(f"receiver{n}", n + 1) for n in range(plan.receivers)]
        self._is_calm = False
        self._sent: dict[tuple[str, str], list[tuple[int, bool]]] = {}
        self._inboxes: dict[str, list[tuple[str, int]]] = {}

    async def run(self) -> Verdict:
        begun = time.monotonic()
        actors = [*self._senders, *self._receivers]
        async with asyncio.TaskGroup() as group:
            for actor in actors:
                group.create_task(actor.start())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hit_all(actors))
            for sender in self._senders:
                group.create_task(self._send(sender))
        async with asyncio.TaskGroup() as group:
            for receiver in self._receivers:
                group.create_task(self._collect(receiver))
        self._compare()
        self.verdict.seconds = time.monotonic() - begun
        return self.verdict

    async def _send(self, sender: Actor) -> None:
        """Send this sender's share, and on while there are faults, in batches drawn by the seed."""
        draw = random.Random(f"{self._plan.seed} {sender.name}")
        left = self._plan.messages // len(self._senders)
        number = 0
        while left > 0 or not self._is_calm:
            receiver = draw.choice(self._receivers).name
            log = self._sent.setdefault((sender.name, receiver), [])
            count = draw.randint(1, BATCH_MAX)
            numbers = list(range(number, number + count))
            number, left = number + count, left - count
            texts = [f"{sender.name} {n}" for n in numbers]
            session = await sender.there()
            try:
                await session.call("send_many", to=receiver, contents=texts, limit_s=60)
                is_accepted = True
            except ConnectionError:
                is_accepted = False
            log += [(n, is_accepted) for n in numbers]
            await asyncio.sleep(draw.uniform(0, PAUSE_S_MAX))

    async def _hit_all(self, actors: list[Actor]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.hands):
                group.create_task(self._hit(actors))
        self._is_calm = True

    async def _hit(self, actors: list[Actor]) -> None:
        """Hit one actor after the other."""
        faults = self.verdict.faults
        while faults["kill"] < self._plan.kills:
            actor = self._random.choice(actors)
            fault = self._random.choices(("kill", "stop", "restart"), (8, 1, 1))[0]
            pause_s = self._random.uniform(0, 0.8)
            faults[fault] += 1
            await getattr(actor, fault)(pause_s)
            if not sum(faults.values()) % REPORT_EVERY:
                print(f"{dict(faults)}", file=sys.stderr, flush=True)
            await asyncio.sleep(self._random.uniform(0, 0.4))

    async def _collect(self, receiver: Actor) -> None:
        """Take everything out of an inbox, until nothing has come for long or all is there."""
        wanted = sum(
            is_accepted
            for (_, to), log in self._sent.items()
            for _, is_accepted in log
            if to == receiver.name
        )
        inbox = self._inboxes.setdefault(receiver.name, [])
        session = await receiver.there()
        while True:
            wait_s = QUIET_S if len(inbox) < wanted else CALM_S
            found = await session.call("check", wait_s=wait_s, limit_s=wait_s + 30)
            if not found:
                return
            for message in found:
                author, _, number = message["content"].partition(" ")
                inbox.append((author, int(number)))

    def _compare(self) -> None:
        for (author, to), log in self._sent.items():
            found = [number for name, number in self._inboxes[to] if name == author]
            accepted = {number for number, is_accepted in log if is_accepted}
            self.verdict.accepted += len(accepted)
            self.verdict.doubtful += len(log) - len(accepted)
            self.verdict.received += len(found)
            problems = {
                "lost": sorted(accepted - set(found)),
                "doubled": sorted(n for n, count in Counter(found).items() if count > 1),
                "reordered": [b for a, b in itertools.pairwise(found) if b < a],
                "invented": sorted(set(found) - {number for number, _ in log}),
            }
            for what, numbers in problems.items():
                if numbers:
                    text = f"{author} to {to}: {what} {len(numbers)}: {numbers[:10]}"
                    self.verdict.problems.append(text)


async def torture(plan: Plan) -> Verdict:
    """Run one plan on a mesh of its own."""
    async with Nursery() as nursery, new_mesh() as mesh:
        mesh.nursery = nursery
        return await Torture(mesh, plan).run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="run so many seeds, one by one")
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--receivers", type=int, default=2)
    parser.add_argument("--hands", type=int, default=1, help="how many are hit at once")
    args = parser.parse_args()
    is_good = True
    for seed in range(args.seed, args.seed + args.seeds):
        plan = Plan(seed, args.messages, args.kills, args.senders, args.receivers, args.hands)
        verdict = asyncio.run(torture(plan))
        is_good = is_good and not verdict.problems
        faults = ", ".join(f"{count} {what}" for what, count in sorted(verdict.faults.items()))
        print(
            f"seed {seed}: {verdict.accepted} accepted, {verdict.doubtful} in doubt, "
            f"{verdict.received} received, {faults}, {verdict.seconds:.1f} s: "
            + ("held" if not verdict.problems else "; ".join(verdict.problems)),
            flush=True,
        )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
