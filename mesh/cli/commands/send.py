"""`mesh send`: one message to one agent."""

from argparse import ArgumentParser, Namespace

from mesh.cli import arguments, render
from mesh.cli.command import Command
from mesh.cli.console import Console
from mesh.cli.delivery import outcome
from mesh.cli.session import Visit, visit


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("to", metavar="TO", help="a name, or name#fingerprint")
    parser.add_argument("content", metavar="TEXT")
    parser.add_argument(
        "--data", type=arguments.json_value, metavar="JSON", help="a JSON value to go with it"
    )
    parser.add_argument("--reply-to", metavar="ID", help="the message that this one answers")
    parser.add_argument(
        "--ttl-s", type=arguments.lifetime, metavar="N", help="give up after N seconds"
    )
    parser.add_argument("--urgent", action="store_true", help="mark it as urgent")
    parser.add_argument(
        "--wait", type=arguments.seconds, metavar="S", help="wait until delivered; 3 if it was not"
    )


async def _run(options: Namespace, console: Console) -> int:
    async def act(visit: Visit) -> int:
        receipt = await visit.agent.send(
            options.to,
            options.content,
            data=options.data,
            reply_to=options.reply_to,
            ttl_s=options.ttl_s,
            urgent=options.urgent,
        )
        code = await outcome(visit, receipt, wait_s=options.wait)
        value = render.sent_json(options.to, receipt)
        await console.show(value, f"{value['message']}  id {receipt.id}")
        return code

    return await visit(options, act)


COMMAND = Command(
    name="send",
    summary="Send a message; it is accepted for good when the command returns 0.",
    example='mesh send --as alice bob "the build is green" --data \'{"commit": "1f3a"}\' --wait 5',
    configure=_configure,
    run=_run,
)
