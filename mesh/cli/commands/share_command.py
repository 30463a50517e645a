"""`mesh share-command`: run a command and send its output."""

import shlex
from argparse import ArgumentParser, Namespace
from pathlib import Path

from mesh.cli import arguments, render
from mesh.cli.command import Command
from mesh.cli.console import Console
from mesh.cli.delivery import outcome
from mesh.cli.session import Visit, visit
from mesh.errors import UsageError


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("to", metavar="TO", help="a name, or name#fingerprint")
    parser.add_argument("words", metavar="-- COMMAND", nargs="*", help="the command line")
    parser.add_argument("--description", default="", metavar="TEXT", help="what it shows")
    parser.add_argument(
        "--wait", type=arguments.seconds, metavar="S", help="wait until delivered; 3 if it was not"
    )


async def _run(options: Namespace, console: Console) -> int:
    words = [*options.words, *options.rest]
    if not words:
        raise UsageError("Say which command, after --.")
    # One word is a whole command line: mesh share-command bob "git status --short".
    line = words[0] if len(words) == 1 else shlex.join(words)

    async def act(visit: Visit) -> int:
        shared = await visit.agent.share_command(
            options.to, line, options.description, cwd=Path.cwd()
        )
        code = await outcome(visit, shared, wait_s=options.wait)
        facts = {"returncode": shared.returncode, "truncated": shared.truncated}
        value = {**render.sent_json(options.to, shared), **facts}
        await console.show(
            value, f"{value['message']}: it returned {shared.returncode}  id {shared.id}"
        )
        return code

    return await visit(options, act)


COMMAND = Command(
    name="share-command",
    summary="Run an allowed command ($IPC_SHARE_COMMAND) and send its output.",
    example="mesh share-command --as alice bob -- git log --oneline -5",
    configure=_configure,
    run=_run,
    takes_rest=True,
)
