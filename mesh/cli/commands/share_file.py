"""`mesh share-file`: send a file."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mesh import limits
from mesh.cli import arguments, render
from mesh.cli.command import Command
from mesh.cli.console import Console
from mesh.cli.delivery import outcome
from mesh.cli.progress import Bar
from mesh.cli.session import Visit, settle_s, visit
from mesh.driver.surface import FileReceiptSurface


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("to", metavar="TO", help="a name, or name#fingerprint")
    parser.add_argument("path", metavar="PATH", type=Path)
    parser.add_argument("--description", default="", metavar="TEXT", help="what it is")
    parser.add_argument(
        "--wait", type=arguments.seconds, metavar="S", help="wait until delivered; 3 if it was not"
    )


async def _run(options: Namespace, console: Console) -> int:
    path = options.path.absolute()

    async def act(visit: Visit) -> int:
        bar = Bar(is_silent=console.is_json)
        shared = await visit.agent.share_file(
            options.to, path, options.description, on_progress=bar
        )
        try:
            if options.wait is None:
                await _stay_while_it_moves(shared, bar)
            code = await outcome(visit, shared, wait_s=options.wait)
        finally:
            bar.end()
        facts = {"name": shared.name, "bytes": shared.bytes, "blake2b": shared.blake2b}
        value = {**render.sent_json(options.to, shared), **facts}
        await console.show(
            value, f"{value['message']}: {shared.name}, {shared.bytes} bytes  id {shared.id}"
        )
        return code

    return await visit(options, act)


async def _stay_while_it_moves(shared: FileReceiptSurface, bar: Bar) -> None:
    """A large file takes a while, and this process may be the only one that sends it."""
    before = 0
    while shared.bytes > limits.file_bytes_max:
        is_over = await shared.wait("delivered", settle_s)
        if is_over or bar.reached == before:
            return
        before = bar.reached


COMMAND = Command(
    name="share-file",
    summary="Send a file from a directory that may be shared ($IPC_SHARE_ROOTS).",
    example="mesh share-file --as alice bob notes.md --description 'what we agreed'",
    configure=_configure,
    run=_run,
)
