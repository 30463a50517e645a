"""What a command is, and the exit codes that all commands share."""

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum

from mesh.cli.console import Console


class Exit(IntEnum):
    """Exit codes; the contract fixes 0 to 5, 130 is what shells expect after Ctrl-C."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_DELIVERED = 3
    NOTHING = 4
    REFUSED = 5
    INTERRUPTED = 130


def no_arguments(_: ArgumentParser) -> None:
    """Add no arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of `mesh`.

    `run` gets the parsed options and prints by the console; it returns the exit code and may raise
    any `MeshError`. `takes_rest`: what follows `--` is not parsed and arrives as `options.rest`.
    Every command has the options `--json`, `--as` (`options.as_name`), `--open` and `--verbose`.
    """

    name: str
    summary: str
    example: str
    run: Callable[[Namespace, Console], Awaitable[int]]
    configure: Callable[[ArgumentParser], None] = no_arguments
    takes_rest: bool = False
