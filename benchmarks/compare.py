"""How fast is the mesh beside raw pyzmq and redis: throughput with a window, latency without.

Machines are noisy, so the subjects take turns (A B C A B C ...) and each figure is the median of
all rounds; ratios are medians of the ratios within a round.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import mesh_pair, pyzmq_pair, redis_pair
from benchmarks.pairs import Figures, Settings, as_json, measure

BODIES: Final = (100, 1024)
WINDOW: Final = 1024
PAUSE_S: Final = 0.01
_NAMES: Final = tuple(field.name for field in fields(Figures))

Round = dict[str, Figures]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. `messages` is per run of a durable subject; raw pyzmq gets ten times."""

    rounds: int
    messages: int
    pings: int


QUICK: Final = Plan(rounds=2, messages=10_000, pings=100)
FULL: Final = Plan(rounds=5, messages=20_000, pings=200)


def subjects() -> tuple[str, ...]:
    """Return what can be measured here."""
    return ("mesh", "pyzmq", *(("redis",) if redis_pair.is_there() else ()))


def rounds(plan: Plan, body_bytes: int, directory: Path) -> Iterator[Round]:
    """Measure every subject once in each round."""
    for _ in range(plan.rounds):
        yield {name: _run(name, plan, body_bytes, directory) for name in subjects()}


def summary(done: list[Round]) -> dict[str, object]:
    """Return the medians of each subject and those of the mesh's ratios to the others."""
    medians = {
        name: as_json(Figures(*(median(getattr(one[name], f) for one in done) for f in _NAMES)))
        for name in done[0]
    }
    ratios = {
        other: {
            f: round(median(getattr(one["mesh"], f) / getattr(one[other], f) for one in done), 4)
            for f in _NAMES
        }
        for other in done[0]
        if other != "mesh"
    }
    spread = [min(one["mesh"].messages_per_s for one in done)]
    spread.append(max(one["mesh"].messages_per_s for one in done))
    return {
        "rounds": len(done),
        "median": medians,
        "mesh_ratio_to": ratios,
        "mesh_messages_per_s_range": [round(one) for one in spread],
    }


def _run(name: str, plan: Plan, body_bytes: int, directory: Path) -> Figures:
    factor = 10 if name == "pyzmq" else 1
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(dir=directory))
        settings = Settings(
            directory=Path(place),
            body_bytes=body_bytes,
            messages=factor * plan.messages,
            window=WINDOW,
            pings=plan.pings,
            pause_s=PAUSE_S,
        )
        match name:
            case "mesh":
                return measure(mesh_pair.receive, mesh_pair.send, settings)
            case "pyzmq":
                return measure(pyzmq_pair.receive, pyzmq_pair.send, settings)
            case _:
                stack.enter_context(redis_pair.server(settings.directory))
                return measure(redis_pair.receive, redis_pair.send, settings)
