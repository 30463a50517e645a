"""Measure everything and print it: `python -m benchmarks.run [--quick] [--json FILE]`."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import compare, idle, machine


def main() -> int:
    """Run what was asked for; return the exit code."""
    wanted = _arguments()
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", dir=wanted.directory) as place:
        directory = Path(place)
        report: dict[str, Any] = {"machine": machine.facts(directory)}
        print(json.dumps(report["machine"], indent=2), flush=True)
        if not wanted.idle_only:
            plan = compare.QUICK if wanted.quick else compare.FULL
            report["compare"] = {}
            for size in compare.BODIES:
                done = []
                for one in compare.rounds(plan, size, directory):
                    done.append(one)
                    rates = ", ".join(f"{n} {f.messages_per_s:,.0f}/s" for n, f in one.items())
                    print(f"{size} B, round {len(done)} of {plan.rounds}: {rates}", file=sys.stderr)
                report["compare"][str(size)] = compare.summary(done)
            _print_comparison(report["compare"])
        if not wanted.compare_only:
            report["idle"] = idle.measure(directory, seconds=5.0 if wanted.quick else 20.0)
            print(json.dumps(report["idle"], indent=2))
    if wanted.json:
        Path(wanted.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages and rounds")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    parser.add_argument("--directory", help="a directory on the disk to be measured")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--idle-only", action="store_true", help="leave out the comparison")
    only.add_argument("--compare-only", action="store_true", help="leave out what idling costs")
    return parser.parse_args()


def _print_comparison(report: dict[str, Any]) -> None:
    for size, found in report.items():
        others = found["mesh_ratio_to"]
        low, high = found["mesh_messages_per_s_range"]
        print(f"\n{size} B, medians of {found['rounds']} rounds (mesh {low:,} to {high:,}/s)")
        names = list(found["median"])
        print(f"{'':22}" + "".join(f"{n:>12}" for n in [*names, *(f"/{o}" for o in others)]))
        for figure in found["median"]["mesh"]:
            raw = "".join(f"{found['median'][name][figure]:>12,.0f}" for name in names)
            ratios = "".join(f"{others[other][figure]:>11.3f}x" for other in others)
            print(f"{figure:22}{raw}{ratios}")


if __name__ == "__main__":
    sys.exit(main())
