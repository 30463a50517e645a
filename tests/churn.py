"""Churn: one session stays while others come and go; nothing of them may remain with it.

    unshare -n sh -c 'ip link set lo up; python -m tests.churn --minutes 60'

Guests are of three kinds: on the host of the one that stays (found through the registry), on
another host that dials its door, and on a third one that is found by multicast. Each sees the one
that stays, sends it a message, and leaves, in peace or by SIGKILL. Between the guests, with nobody
there, the descriptors, tasks, objects and memory of the one that stays are counted; the first count
is taken after a warm-up, and the last must be no higher than it but for some slack: of those that
crashed a node keeps what may bring them back (2,048 candidates, 256 ranges of each stream, and what
multicast said of them, for 75 minutes), about 2 KiB a guest.

Without a network namespace of its own it meets whoever else uses multicast on the loopback.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.processes.hosts import Mesh, Session, WorkerError, free_port, new_mesh
from tests.processes.nursery import Nursery
from tests.usage import usage_of

KEEPER = "keeper"
KINDS = ("near", "door", "mdns")
SEE_S = 30.0
CALL_S = 120.0
SETTLE_S = 3.0
WARM_UP_ROUNDS = 10
FILES_SLACK = 4
FILES_PER_MAILBOX = 3  # Those of guests of its host are tended, or not yet.
TASKS_SLACK = 4
MEMORY_SLACK_MIB = 16.0


@dataclass(frozen=True)
class Plan:
    """How long, and how many guests are there at once; the seed draws who is killed."""

    seed: int
    seconds: float
    at_once: int = 2
    pause_s: float = 2.0
    sample_s: float = 60.0


@dataclass(frozen=True)
class Sample:
    """What the one that stays has, while nobody else is there."""

    at_s: float
    guests: int
    files: int
    tasks: int
    objects: Counter[str]
    resident_mib: float
    cpu_s: float

    def __str__(self) -> str:
        return (
            f"{self.at_s:6.0f} s, {self.guests} guests: {self.files} descriptors, "
            f"{self.tasks} tasks, {self.objects.total()} objects, {self.resident_mib:.1f} MiB, "
            f"{self.cpu_s:.1f} s of CPU"
        )


@dataclass
class Verdict:
    """What was counted. `problems` is empty when nothing remained."""

    samples: list[Sample] = field(default_factory=list)
    guests: int = 0
    killed: int = 0
    waits: int = 0
    problems: list[str] = field(default_factory=list)


class Churn:
    """One run."""

    def __init__(self, mesh: Mesh, plan: Plan) -> None:
        self._mesh = mesh
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._door = free_port()
        self._begun = time.monotonic()
        self.verdict = Verdict()

    async def run(self) -> Verdict:
        """Let rounds of guests come and go until the time is up."""
        keeper = await self._mesh.join(KEEPER, "home", port=self._door, mdns=True)
        rounds, due_s = 0, 0.0
        while True:
            async with asyncio.TaskGroup() as group:
                for number in range(self._plan.at_once):
                    for kind in KINDS:
                        group.create_task(self._visit(keeper, kind, number))
            rounds += 1
            is_over = self._now_s() > self._plan.seconds and rounds > WARM_UP_ROUNDS
            if is_over or (rounds >= WARM_UP_ROUNDS and self._now_s() >= due_s):
                due_s = self._now_s() + self._plan.sample_s
                await self._count(keeper)
            if is_over:
                break
            await asyncio.sleep(self._plan.pause_s)
        self._compare()
        return self.verdict

    async def _visit(self, keeper: Session, kind: str, number: int) -> None:
        """Come, see the one that stays, be read, go."""
        name = f"{kind}{number}"
        peers = [f"127.0.0.1:{self._door}"] if kind == "door" else []
        host = "home" if kind == "near" else name
        guest = await self._join(name, host, peers=peers, mdns=kind == "mdns")
        await guest.sees(SEE_S, **{KEEPER: "live"})
        text = f"{name} was here"
        sent = await guest.call("send", limit_s=CALL_S, to=KEEPER, content=text)
        async with asyncio.timeout(SEE_S):
            while not await keeper.call("check", sender=name):
                await asyncio.sleep(0.05)
        done = await guest.call("wait", id_=sent["id"], state="delivered", timeout_s=SEE_S)
        if not done["reached"]:
            self.verdict.problems.append(f"{name} heard no ack")
        self.verdict.guests += 1
        if self._random.random() < 0.5:
            self.verdict.killed += 1
            await guest.kill()
        else:
            await guest.close()
        self._mesh.sessions.remove(guest)

    async def _join(self, name: str, host: str, **changes: Any) -> Session:
        """Start a session; whoever tends its mailbox may be too busy at first to let go of it."""
        session = await self._mesh.open(host, **changes)
        while True:
            try:
                await session.call("register", limit_s=CALL_S, name=name)
            except WorkerError as error:
                if error.code != "name_in_use":
                    raise
                self.verdict.waits += 1
            else:
                return session

    async def _count(self, keeper: Session) -> None:
        """Wait until nobody is live, then count."""
        async with asyncio.timeout(120):
            while (await keeper.call("status"))["peers"] != {"live": 0, "suspect": 0}:
                await asyncio.sleep(0.2)
        await asyncio.sleep(SETTLE_S)
        inside = await keeper.call("inside")
        used = usage_of(keeper.pid)
        sample = Sample(
            at_s=self._now_s(),
            guests=self.verdict.guests,
            files=used.files,
            tasks=inside["tasks"],
            objects=Counter(inside["objects"]),
            resident_mib=used.resident_mib,
            cpu_s=used.cpu_s,
        )
        self.verdict.samples.append(sample)
        print(sample, flush=True)

    def _compare(self) -> None:
        files_slack = FILES_SLACK + FILES_PER_MAILBOX * self._plan.at_once
        first, last = self.verdict.samples[0], self.verdict.samples[-1]
        for what, before, after, slack in (
            ("descriptors", first.files, last.files, files_slack),
            ("tasks", first.tasks, last.tasks, TASKS_SLACK),
            ("MiB", first.resident_mib, last.resident_mib, MEMORY_SLACK_MIB),
        ):
            if after > before + slack:
                self.verdict.problems.append(f"{what} grew from {before:.0f} to {after:.0f}")

    def _now_s(self) -> float:
        return time.monotonic() - self._begun


async def churn(plan: Plan) -> Verdict:
    """Run one plan on a mesh of its own."""
    async with Nursery() as nursery, new_mesh() as mesh:
        mesh.nursery = nursery
        return await Churn(mesh, plan).run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.churn", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2, help="guests of each kind at a time")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between the rounds")
    args = parser.parse_args()
    plan = Plan(args.seed, args.minutes * 60, at_once=args.at_once, pause_s=args.pause)
    verdict = asyncio.run(churn(plan))
    grown = verdict.samples[-1].objects - verdict.samples[0].objects
    print("grown most:", ", ".join(f"{count} {kind}" for kind, count in grown.most_common(12)))
    held = "nothing remained" if not verdict.problems else "; ".join(verdict.problems)
    print(
        f"{verdict.guests} guests, {verdict.killed} of them killed, "
        f"{verdict.waits} had to ask twice for their names: {held}"
    )
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
