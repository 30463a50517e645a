"""`mesh broadcast`: one message to everybody."""

from argparse import ArgumentParser, Namespace

from mesh.cli import arguments, render
from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.delivery import outcome
from mesh.cli.session import Visit, visit


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("content", metavar="TEXT")
    parser.add_argument(
        "--data", type=arguments.json_value, metavar="JSON", help="a JSON value to go with it"
    )
    parser.add_argument(
        "--ttl-s", type=arguments.lifetime, metavar="N", help="give up after N seconds"
    )


async def _run(options: Namespace, console: Console) -> int:
    async def act(visit: Visit) -> int:
        await visit.look_around()
        receipt = await visit.agent.broadcast(
            options.content, data=options.data, ttl_s=options.ttl_s
        )
        await outcome(visit, receipt, wait_s=None)
        value = render.broadcast_json(receipt)
        await console.show(value, f"{value['message']}  id {receipt.id}")
        return Exit.DONE

    return await visit(options, act)


COMMAND = Command(
    name="broadcast",
    summary="Send a message to everybody seen within the last day.",
    example='mesh broadcast --as alice "phase 1 is done"',
    configure=_configure,
    run=_run,
)
