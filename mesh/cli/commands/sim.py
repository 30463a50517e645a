"""`mesh sim`: the protocol on a virtual network with seeded faults."""

import asyncio
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.sim.mutants import MUTANTS
from mesh.sim.runner import Hits, Plan, Summary, hit_rates, jobs_max, run_all
from mesh.sim.scenario import Report, messages_max, nodes_max, segment_nodes

_SEEDS_MAX = 10_000_000


def _configure(parser: ArgumentParser) -> None:
    drawn = "(default: drawn from the seed)"
    nodes_help = f"agents; beyond {segment_nodes} in networks of so many, not linked {drawn}"
    parser.add_argument("--nodes", type=_whole(1, nodes_max), metavar="N", help=nodes_help)
    parser.add_argument(
        "--messages", type=_whole(1, messages_max), metavar="M", help=f"messages to send {drawn}"
    )
    parser.add_argument(
        "--seed", type=_whole(0, 2**63), metavar="S", default=0, help="where all chance comes from"
    )
    parser.add_argument(
        "--seeds",
        type=_whole(1, _SEEDS_MAX),
        metavar="K",
        default=1,
        help="run K seeds, from S on",
    )
    parser.add_argument(
        "--jobs", type=_whole(1, jobs_max), metavar="J", default=1, help="processes to use"
    )
    parser.add_argument(
        "--mutant",
        choices=sorted(MUTANTS),
        metavar="NAME",
        default="",
        help=f"put a deliberate mistake in, to see it caught: {', '.join(sorted(MUTANTS))}",
    )
    parser.add_argument(
        "--mutants",
        action="store_true",
        help="put in every deliberate mistake in turn and say how often each is caught",
    )


async def _run(options: Namespace, console: Console) -> int:
    first = options.seed
    if options.mutants:
        seeds = range(first, first + options.seeds)
        return await _run_mutants(hit_rates(seeds, jobs=options.jobs), console)
    plans = [
        Plan(seed, options.nodes, options.messages, options.mutant)
        for seed in range(first, first + options.seeds)
    ]
    summary = Summary()
    reports = run_all(plans, jobs=options.jobs)
    for plan in plans:
        report = await asyncio.to_thread(next, reports)
        summary.add(report)
        await _show(plan, report, console, is_alone=len(plans) == 1)
    if len(plans) > 1:
        text = "\n".join(_summary_lines(summary, f"{summary.seeds} seeds from {first}"))
        await console.show(
            {"summary": True, **_status(summary.failures), **summary.to_json()}, text
        )
    return Exit.FAILED if summary.failures else Exit.DONE


async def _run_mutants(rates: Iterator[Hits], console: Console) -> int:
    missed = 0
    while (hits := await asyncio.to_thread(next, rates, None)) is not None:
        missed += 0 if hits.caught else 1
        where = f", first in {hits.first}" if hits.caught else ""
        text = f"{hits.mutant}: caught in {hits.caught} of {hits.seeds} seeds{where}"
        await console.show({**_status(0 if hits.caught else 1), **asdict(hits)}, text)
    text = f"{len(MUTANTS) - missed} of {len(MUTANTS)} caught"
    summary = {"summary": True, "mutants": len(MUTANTS), "missed": missed}
    await console.show({**summary, **_status(missed)}, text)
    return Exit.FAILED if missed else Exit.DONE


async def _show(plan: Plan, report: Report, console: Console, *, is_alone: bool) -> None:
    value = {**_status(1 if report.failure else 0), **report.to_json(), "replay": plan.replay}
    lines: list[str] = []
    if is_alone:
        summary = Summary()
        summary.add(report)
        title = f"seed {report.seed}, {report.nodes} agents on {report.hosts} hosts"
        lines += _summary_lines(summary, title)
        lines.append(f"history: {report.digest}")
    if report.failure:
        value |= {"code": "failed", "message": f"{report.failure}; replay: {plan.replay}"}
        lines += [f"FAILED  seed {report.seed}: {report.failure}", f"replay: {plan.replay}"]
    await console.show(value, "\n".join(lines))


def _status(failures: int) -> dict[str, Any]:
    return {"status": "error" if failures else "ok"}


def _summary_lines(summary: Summary, title: str) -> list[str]:
    lines = [
        f"{title}: {summary.messages} messages, {summary.packets} packets, "
        f"{summary.virtual_s:.0f} s of virtual time",
        f"injected: {_counted(summary.injected) or 'nothing'}",
        f"sends: {_counted(summary.outcomes)}",
        f"letters: {_counted(summary.states)}",
    ]
    if summary.failures:
        return [*lines, f"broken: {summary.failures} of {summary.seeds}"]
    return [
        *lines,
        f"held: {summary.checks} checks (no loss, no duplicate, no phantom, unaltered, in order, "
        "receipts true)",
        f"settled: at most {summary.recovered_s_max:.0f} s after everything was mended",
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text[:20]) <= highest:
            raise ArgumentTypeError(f"a whole number from {lowest} to {highest}, not {text!r}")
        return int(text)

    return read


COMMAND = Command(
    name="sim",
    summary="Run the protocol on a virtual network with seeded faults.",
    example="mesh sim --nodes 5 --seed 7\nmesh sim --seed 1 --seeds 1000 --jobs 2\n"
    "mesh sim --mutants --seeds 300",
    configure=_configure,
    run=_run,
)
