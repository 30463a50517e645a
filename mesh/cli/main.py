"""The entry of `mesh`: finds the commands, reads the arguments, turns what happens into exit codes.

Programs that pass `--json` get every outcome as one JSON object a line, wrong usage included.
"""

import argparse
import asyncio
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, Never

from mesh.cli import commands
from mesh.cli.command import Command, Exit
from mesh.cli.console import Console, OutputError
from mesh.errors import (
    MeshError,
    NameInUseError,
    PolicyError,
    QuotaError,
    RateLimitError,
    UsageError,
)

_DESCRIPTION: Final = "A brokerless mesh through which AI coding sessions talk to each other."
_CODES: Final[tuple[tuple[type[MeshError], Exit], ...]] = (
    (PolicyError, Exit.REFUSED),
    (NameInUseError, Exit.FAILED),
    (RateLimitError, Exit.FAILED),
    (QuotaError, Exit.FAILED),
    (UsageError, Exit.USAGE),
    (MeshError, Exit.FAILED),
)


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage as an error instead of ending the process."""

    def error(self, message: str) -> Never:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `arguments` default to those of the process."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(is_json="--json" in words[: _end_of_options(words)])
    try:
        return asyncio.run(perform(words, console))
    except BrokenPipeError:
        # The interpreter flushes standard output at exit and must not fail again.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - not a path of ours
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return Exit.FAILED
    except OutputError as exc:
        sys.stderr.write(f"mesh: standard output cannot be written: {exc}\n")
        return Exit.FAILED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


async def perform(words: Sequence[str], console: Console) -> int:
    """Run the command that the words say and return its exit code; errors are printed.

    Raises:
        BrokenPipeError: nobody reads what we print.
        OutputError: it cannot be written.
    """
    try:
        options = _parse(words)
        _configure_logging(is_verbose=options.verbose)
        command: Command = options.command
        return await command.run(options, console)
    except MeshError as exc:
        return await _report(exc, console)
    except ExceptionGroup as group:
        errors = list(_leaves(group))
        for error in errors:
            if isinstance(error, BrokenPipeError | OutputError):
                raise error from group
        if not all(isinstance(error, MeshError) for error in errors):
            raise
        return await _report(errors[0], console)


def _configure_logging(*, is_verbose: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if is_verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )


async def _report(error: Exception, console: Console) -> int:
    assert isinstance(error, MeshError)
    await console.error(error)
    return next(code for kind, code in _CODES if isinstance(error, kind))


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def find_commands() -> list[Command]:
    """Return the commands of all modules in `mesh.cli.commands`, by name."""
    names = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    modules = [importlib.import_module(f"{commands.__name__}.{name}") for name in names]
    return sorted((module.COMMAND for module in modules), key=lambda command: command.name)


def _end_of_options(words: Sequence[str]) -> int:
    return words.index("--") if "--" in words else len(words)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the arguments.

    Raises:
        UsageError: they are wrong.
    """
    found = find_commands()
    cut = _end_of_options(words)
    takes_rest = {command.name for command in found if command.takes_rest}
    rest: Sequence[str] = ()
    if takes_rest.intersection(words[:cut]):
        words, rest = words[:cut], words[cut + 1 :]
    parser = build_parser(found)
    options = parser.parse_args(words)
    if options.command is None:
        raise UsageError(f"Say which command: {', '.join(command.name for command in found)}")
    options.rest = rest
    return options


def build_parser(found: Sequence[Command]) -> argparse.ArgumentParser:
    """Return the parser of these commands; shared options may stand before or after the name."""
    parser = _Parser(
        prog="mesh",
        description=_DESCRIPTION,
        epilog="Each command has --help with an example.",
        allow_abbrev=False,
    )
    _add_shared(parser, is_top=True)
    parser.set_defaults(command=None)
    choices = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)
    for command in found:
        chosen = choices.add_parser(
            command.name,
            help=command.summary,
            description=command.summary,
            epilog=f"example:\n{_indented(command.example)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_shared(chosen, is_top=False)
        command.configure(chosen)
        chosen.set_defaults(command=command)
    return parser


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def _add_shared(parser: argparse.ArgumentParser, *, is_top: bool) -> None:
    """Add the options of all commands; below the top an absent option keeps what stood before."""

    absent: Final[Any] = {"default": argparse.SUPPRESS}
    flag: Final[Any] = {"default": False} if is_top else absent
    text: Final[Any] = {"default": None} if is_top else absent
    parser.add_argument("--json", action="store_true", help="print JSON lines only", **flag)
    parser.add_argument(
        "--as",
        dest="as_name",
        metavar="NAME",
        help="the mailbox to act for (default: $IPC_INSTANCE_ID)",
        **text,
    )
    parser.add_argument(
        "--open",
        dest="is_open_allowed",
        action="store_true",
        help="open mode is meant, though this state directory has been used with a secret",
        **flag,
    )
    parser.add_argument("--verbose", action="store_true", help="log more, to stderr", **flag)


if __name__ == "__main__":
    sys.exit(main())
