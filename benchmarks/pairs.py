"""Two processes and what they tell each other: the frame in which every subject is measured.

A subject is a module with two functions, `receive(link, settings)` and `send(link, settings)`. Each
runs in a fresh process; `link` is a pipe to the other one, for synchronising only (its cost is
outside of everything measured). `send` returns the figures.
"""

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

_LIMIT_S: Final = 120.0
_END_S: Final = 10.0

Link = Connection


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure. `directory` is an empty one on the disk to be measured."""

    directory: Path
    body_bytes: int
    messages: int
    window: int
    pings: int
    pause_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of one subject gave; times in microseconds."""

    messages_per_s: float
    accepted_p50: float
    accepted_p99: float
    delivered_p50: float
    delivered_p99: float
    paced_accepted_p50: float
    paced_delivered_p50: float


Side = Callable[[Link, Settings], Figures | None]


def measure(receive: Side, send: Side, settings: Settings) -> Figures:
    """Run both sides in processes of their own and return what the sender measured.

    Raises:
        RuntimeError: one of them failed; the text has its traceback.
    """
    context = multiprocessing.get_context("spawn")
    for_receiver, for_sender = context.Pipe()
    results, report = context.Pipe(duplex=False)
    processes = [
        context.Process(target=_run, args=(receive, for_receiver, report, settings)),
        context.Process(target=_run, args=(send, for_sender, report, settings)),
    ]
    for process in processes:
        process.start()
    try:
        return _await_figures(results)
    finally:
        for process in processes:
            process.join(_END_S)
            if process.is_alive():
                process.kill()
                process.join()


def figures(
    messages_per_s: float,
    *,
    busy: Sequence[tuple[float, float]],
    paced: Sequence[tuple[float, float]],
) -> Figures:
    """Sum up times in seconds, each (accepted, delivered)."""
    accepted, delivered = ([one[i] * 1e6 for one in busy] for i in (0, 1))
    return Figures(
        messages_per_s=messages_per_s,
        accepted_p50=quantile(accepted, 0.5),
        accepted_p99=quantile(accepted, 0.99),
        delivered_p50=quantile(delivered, 0.5),
        delivered_p99=quantile(delivered, 0.99),
        paced_accepted_p50=quantile([one[0] * 1e6 for one in paced], 0.5),
        paced_delivered_p50=quantile([one[1] * 1e6 for one in paced], 0.5),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of all values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def as_json(one: Figures) -> dict[str, float]:
    """Return figures as JSON has them."""
    return {name: round(value, 1) for name, value in asdict(one).items()}


def _await_figures(results: Link) -> Figures:
    for _ in range(2):
        if not results.poll(_LIMIT_S):
            raise RuntimeError("a side did not end in time")
        outcome = results.recv()
        if isinstance(outcome, Figures):
            return outcome
        if outcome is not None:
            raise RuntimeError(outcome)
    raise RuntimeError("the sender measured nothing")


def _run(side: Side, link: Link, report: Link, settings: Settings) -> None:
    try:
        report.send(side(link, settings))
    except BaseException:
        report.send(traceback.format_exc())
        raise
