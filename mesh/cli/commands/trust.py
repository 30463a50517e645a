"""`mesh trust`: accept a changed key."""

from argparse import ArgumentParser, Namespace

from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.session import Visit, mailboxes, read_config, visit_as
from mesh.errors import UsageError
from mesh.model import check_name


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("fingerprint", metavar="FINGERPRINT", help="6 or more of its characters")


async def _run(options: Namespace, console: Console) -> int:
    config = read_config(options)
    name, fingerprint = check_name(options.name), options.fingerprint.lower()
    owners = [config.instance_id] if config.instance_id else mailboxes(config)
    if not owners:
        raise UsageError("This host has no mailbox yet; nobody has been met who could be trusted.")

    async def act(visit: Visit) -> None:
        await visit.look_around()
        await visit.agent.trust(name, fingerprint)

    for owner in owners:
        await visit_as(config, check_name(owner), act)
    text = f"{', '.join(owners)}: {name} is now the one with the fingerprint {fingerprint}"
    value = {"status": "ok", "message": text, "name": name, "fingerprint": fingerprint}
    await console.show({**value, "mailboxes": owners}, text)
    return Exit.DONE


COMMAND = Command(
    name="trust",
    summary="Accept another key for a name: in one mailbox (--as), else in all of this host.",
    example="mesh trust bob 5f0c1d7e9a3b",
    configure=_configure,
    run=_run,
)
