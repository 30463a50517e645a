"""`mesh status`: receipts and queues."""

from argparse import ArgumentParser, Namespace

from mesh.cli import render
from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.session import Visit, visit
from mesh.errors import MeshError


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", nargs="?", help="a message: where does it stand?")


async def _run(options: Namespace, console: Console) -> int:
    async def act(visit: Visit) -> int:
        if options.id is None:
            status = await visit.agent.status()
            await console.show(render.status_json(status), render.status_text(status))
            return Exit.DONE
        recipients = await visit.agent.receipt(options.id)
        if not recipients:
            raise MeshError(f"No message with the id {render.one_line(options.id)} was sent.")
        await console.show(
            render.receipt_json(options.id, recipients),
            render.receipt_text(options.id, recipients),
        )
        return Exit.DONE

    return await visit(options, act)


COMMAND = Command(
    name="status",
    summary="Show how the mailbox is doing, or where one sent message stands.",
    example="mesh status --as alice\nmesh status --as alice 5f0c1d7e9a3b4c2d8e6f7a1b0c9d8e7f",
    configure=_configure,
    run=_run,
)
