"""Simulate with compiled code: the core and the simulator as they are, turned into C by mypyc.

    python -m tests.compiled --seed 1 --seeds 200000 --jobs 2

A copy of the package is compiled beside this checkout (a C compiler and setuptools are needed) and
runs two to three times as many seeds. It is believed only if its histories are those of the plain
code: the first `--compare` seeds are run by both, and one that differs ends the run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
COMPILED: Final = (
    "core",
    "sim",
    "model.py",
    "packet.py",
    "limits.py",
    "errors.py",
    "store/streams.py",
)
NOT_COPIED: Final = ("net", "driver", "cli", "sharing", "sqlite.py", "*.pyi")
NOT_COMPILED: Final = frozenset({"__init__.py", "tamper.py"})
_DATACLASS: Final = "from dataclasses import dataclass"
_SETUP: Final = """
from setuptools import setup
from mypyc.build import mypycify
import sys
files = sys.argv.pop().split(",")
setup(name="compiled-mesh", packages=[], ext_modules=mypycify(files, opt_level="2"))
"""
_RUN: Final = """
import sys
from mesh.core import node
from mesh.sim.runner import Plan, run_all
first, last, digests = map(int, sys.argv[1:])
assert digests or node.__file__.endswith(".so"), node.__file__
if __name__ == "__main__":
    bad = done = messages = checks = 0
    for report in run_all((Plan(seed) for seed in range(first, last)), jobs=1):
        done, messages, checks = done + 1, messages + report.messages, checks + report.checks
        if digests:
            print(report.seed, report.digest, report.failure, flush=True)
        elif report.failure:
            bad += 1
            print(f"seed {report.seed}: {report.failure}", flush=True)
        if not digests and done % 5000 == 0:
            print(f"{done} seeds, {bad} broken", file=sys.stderr, flush=True)
    if not digests:
        print(f"{done} seeds from {first}, {messages} messages, {checks} checks, {bad} broken")
    sys.exit(1 if bad else 0)
"""


def build(place: Path) -> None:
    """Copy the package and compile what is simulated."""
    ignored = shutil.ignore_patterns("*.pyc", *NOT_COPIED)
    shutil.copytree(REPOSITORY / "mesh", place / "mesh", ignore=ignored)
    # Importing a module must not import the driver, which is not compiled.
    (place / "mesh" / "__init__.py").write_text("")
    for path in (place / "mesh").rglob("*.py"):  # The compiler knows dataclasses only by name.
        text = path.read_text().replace("from mesh.values import value", _DATACLASS)
        path.write_text(text.replace("@value", "@dataclass(frozen=True)"))
    (place / "setup.py").write_text(_SETUP)
    (place / "run.py").write_text(_RUN)
    files: list[str] = []
    for name in COMPILED:
        at = place / "mesh" / name
        found = [at] if at.is_file() else sorted(at.rglob("*.py"))
        files += [str(f.relative_to(place)) for f in found if f.name not in NOT_COMPILED]
    python = [_uv(), "run", "--no-project", "--python", sys.executable]
    tools = ["--with", "setuptools", "--with", f"mypy=={version('mypy')}"]
    subprocess.run(
        [*python, *tools, "setup.py", "build_ext", "--inplace", ",".join(files)],
        cwd=place,
        check=True,
    )


def _uv() -> str:
    """Return the path of uv: that of the one which runs us, or one that is installed."""
    found = os.environ.get("UV") or shutil.which("uv")
    assert found, "uv is needed: pip install uv"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compiled", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--compare", type=int, default=100, metavar="K")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compiled") as name:
        place = Path(name)
        build(place)

        def digests(path: Path) -> str:
            seeds = (str(args.seed), str(args.seed + args.compare), "1")
            command = [sys.executable, str(place / "run.py"), *seeds]
            environment = {"PYTHONPATH": str(path)}
            return subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, check=True, text=True
            ).stdout

        if digests(place) != digests(REPOSITORY):
            print("The compiled code does not do the same as the plain one.")
            return 1
        print(f"{args.compare} histories are the same, compiled and plain.", flush=True)
        return _run(place, first=args.seed, seeds=args.seeds, jobs=args.jobs)


def _run(place: Path, *, first: int, seeds: int, jobs: int) -> int:
    """Run the seeds in processes of their own: compiled plans cannot be sent between processes."""
    cuts = [first + seeds * job // jobs for job in range(jobs + 1)]
    running = [
        subprocess.Popen(
            [sys.executable, "run.py", str(begin), str(end), "0"],
            cwd=place,
            env={"PYTHONPATH": str(place)},
        )
        for begin, end in pairwise(cuts)
    ]
    return max(process.wait() for process in running)


if __name__ == "__main__":
    sys.exit(main())
