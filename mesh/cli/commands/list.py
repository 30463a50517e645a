"""`mesh list`: who is there."""

import asyncio
from argparse import Namespace
from dataclasses import replace

import mesh
from mesh.cli import render
from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.session import look_around_s, passing, read_config, roster_of_host
from mesh.config import Config
from mesh.driver.results import RosterEntry
from mesh.model import fold


async def _run(options: Namespace, console: Console) -> int:
    config = read_config(options)
    found = await roster_of_host(config)
    if found is None:
        found = await _look(config)
    own = fold(config.instance_id or "")
    # The node that was asked calls its own agent "you"; whoever runs this command may be another.
    entries = [replace(entry, you=entry.you and fold(entry.id) == own) for entry in found]
    if console.is_json:
        for entry in entries:
            await console.show(entry.to_json(), "")
    elif entries:
        await console.note(render.roster_text(entries))
    else:
        await console.note("Nobody is here.")
    return Exit.DONE


async def _look(config: Config) -> list[RosterEntry]:
    """Look for others as a node without an agent."""
    async with mesh.open_session(passing(config)) as session:
        await asyncio.sleep(look_around_s)
        return list(session.roster())


COMMAND = Command(
    name="list",
    summary="List the agents of the mesh.",
    example="mesh list\nmesh list --json",
    run=_run,
)
