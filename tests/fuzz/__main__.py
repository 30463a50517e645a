"""`python -m tests.fuzz --inputs N`: N inputs over all decoders, N / 500 conversations with a node
and command lines, and N / 20000 database files.

Prints a line for each target: inputs, how many were taken, the slowest. A crash is printed with the
seed that makes it again, and ends the run with exit code 1.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mesh.errors import MeshError
from tests.fuzz.targets import OTHERS, QUICK, Databases

SLOW_S = 0.05
BATCH = 1000
Target = Callable[[random.Random], None]


@dataclass
class Score:
    """What became of one target's inputs."""

    inputs: int = 0
    taken: int = 0
    crashes: int = 0
    slowest_s: float = 0.0
    slowest_seed: int = 0
    total_s: float = 0.0


def run(target: Target, *, first: int, inputs: int, score: Score) -> None:
    """Feed inputs made from the seeds `first`, `first` + 1, ... in turn."""
    clock = time.thread_time
    for seed in range(first, first + inputs):
        chance = random.Random(seed)
        begun = clock()
        try:
            target(chance)
            score.taken += 1
        except MeshError:
            pass
        except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
            score.crashes += 1
            if score.crashes <= 3:
                print(f"crash: {name(target)} with seed {seed}")
                traceback.print_exc()
        took_s = clock() - begun
        score.total_s += took_s
        if took_s > score.slowest_s:
            score.slowest_s, score.slowest_seed = took_s, seed
    score.inputs += inputs


def name(target: Target) -> str:
    return getattr(target, "__name__", type(target).__name__)


def fuzz(targets: dict[Target, int], *, seed: int) -> dict[Target, Score]:
    """Run all targets in turn, each for its number of inputs."""
    scores = {target: Score() for target in targets}
    for target, inputs in targets.items():
        for first in range(0, inputs, BATCH):
            count = min(BATCH, inputs - first)
            run(target, first=seed + first, inputs=count, score=scores[target])
    return scores


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=[name(target) for target in (*QUICK, *OTHERS)])
    given = parser.parse_args()
    chosen = [t for t in QUICK if given.target in {None, name(t)}]
    others = [t for t in OTHERS if given.target in {None, name(t)}]
    with tempfile.TemporaryDirectory() as directory:
        targets: dict[Target, int] = {t: given.inputs // len(chosen) for t in chosen}
        targets |= dict.fromkeys(others, given.inputs // (1 if given.target else 500))
        if given.target is None:
            targets[Databases(Path(directory))] = max(1, given.inputs // 20_000)
        scores = fuzz(targets, seed=given.seed)
    for target, score in scores.items():
        print(
            f"{name(target):>14}: {score.inputs} inputs, {score.taken} taken, "
            f"{score.crashes} crashes, slowest {score.slowest_s * 1000:.2f} ms "
            f"(seed {score.slowest_seed}), {score.inputs / max(score.total_s, 1e-9):.0f}/s"
        )
    total = sum(score.inputs for score in scores.values())
    crashes = sum(score.crashes for score in scores.values())
    slowest = max((s.slowest_s for target, s in scores.items() if target in QUICK), default=0.0)
    print(f"{total} inputs, {crashes} crashes, slowest decoder input {slowest * 1000:.2f} ms")
    return 1 if crashes or slowest > SLOW_S else 0


if __name__ == "__main__":
    sys.exit(main())
