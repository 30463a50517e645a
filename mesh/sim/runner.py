"""Runs many seeds, on several processors if asked, and sums up what they say."""

import gc
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mesh.sim.mutants import MUTANTS
from mesh.sim.scenario import Report, simulate

_CHUNK: Final = 8
jobs_max: Final = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """One run; what is None is drawn from the seed. `mutant` names a deliberate mistake."""

    seed: int
    nodes: int | None = None
    messages: int | None = None
    mutant: str = ""

    @property
    def replay(self) -> str:
        """The command that does the very same again."""
        words = ["mesh sim"]
        words += [f"--nodes {self.nodes}"] if self.nodes else []
        words += [f"--messages {self.messages}"] if self.messages else []
        words += [f"--mutant {self.mutant}"] if self.mutant else []
        return " ".join([*words, f"--seed {self.seed}"])


@dataclass(slots=True)
class Summary:
    """The sum of many reports."""

    seeds: int = 0
    failures: int = 0
    messages: int = 0
    checks: int = 0
    packets: int = 0
    virtual_s: float = 0.0
    recovered_s_max: float = 0.0
    injected: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)

    def add(self, report: Report) -> None:
        """Count one more run."""
        self.seeds += 1
        self.failures += 1 if report.failure else 0
        self.messages += report.messages
        self.checks += report.checks
        self.packets += report.packets
        self.virtual_s += report.virtual_s
        self.recovered_s_max = max(self.recovered_s_max, report.recovered_s)
        self.injected.update(report.injected)
        self.outcomes.update(report.outcomes)
        self.states.update(report.states)
        self.files.update(report.files)

    def to_json(self) -> dict[str, Any]:
        """Return the sum as plain JSON values."""
        values = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: dict(v) if isinstance(v, Counter) else v for name, v in values}


@dataclass(frozen=True, slots=True)
class Hits:
    """In how many of some seeds a mutant was caught, and where first."""

    mutant: str
    seeds: int
    caught: int
    first: int | None


def run(plan: Plan) -> Report:
    """Carry out one plan. Cycles of garbage wait until its end: looking for them takes longer."""
    tamper = MUTANTS[plan.mutant]() if plan.mutant else None
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return simulate(plan.seed, plan.nodes, messages=plan.messages, tamper=tamper)
    finally:
        gc.collect()
        if was_enabled:
            gc.enable()


def run_all(plans: Iterable[Plan], *, jobs: int = 1) -> Iterator[Report]:
    """Carry out all plans and yield their reports in order."""
    if jobs <= 1:
        gc.freeze()
        try:
            yield from map(run, plans)
        finally:
            gc.unfreeze()
        return
    # A frozen object is not looked at again: all modules are loaded by now.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(jobs, jobs_max), initializer=gc.freeze) as pool:
        yield from pool.imap(run, plans, chunksize=_CHUNK)


def hit_rates(seeds: range, *, jobs: int = 1) -> Iterator[Hits]:
    """Put each mutant into all seeds and yield how often it was caught."""
    for name in MUTANTS:
        reports = run_all([Plan(seed, mutant=name) for seed in seeds], jobs=jobs)
        caught = [report.seed for report in reports if report.failure]
        yield Hits(name, len(seeds), len(caught), caught[0] if caught else None)
