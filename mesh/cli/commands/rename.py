"""`mesh rename`: another name for a mailbox."""

from argparse import ArgumentParser, Namespace

from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.session import Visit, visit


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("new", metavar="NEW", help="the new name")


async def _run(options: Namespace, console: Console) -> int:
    async def act(visit: Visit) -> int:
        await visit.look_around()
        old = visit.agent.name
        renamed = await visit.agent.rename(options.new)
        until = renamed.forwarding_until
        text = f"Renamed {old} to {renamed.name}"
        value = {
            "status": "ok",
            "message": text,
            "instance_id": renamed.name,
            "forwarding_until": until.isoformat(),
        }
        await console.show(value, f"{text}; {old} forwards until {until.astimezone():%H:%M:%S}")
        return Exit.DONE

    return await visit(options, act)


COMMAND = Command(
    name="rename",
    summary="Rename a mailbox; mail to the old name follows for two hours.",
    example="mesh rename --as alice alice-review",
    configure=_configure,
    run=_run,
)
