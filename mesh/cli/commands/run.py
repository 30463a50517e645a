"""`mesh run`: a standalone peer that prints its mail."""

import asyncio
import signal
import socket
from argparse import ArgumentParser, Namespace

import mesh
from mesh.cli import render
from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.session import own_name, read_config, wait_for_passing, warn
from mesh.driver.surface import AgentSurface
from mesh.model import Profile


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--summary", default="", metavar="TEXT", help="what the others see of it")


async def _run(options: Namespace, console: Console) -> int:
    config = read_config(options)
    name = own_name(config)
    await warn(config, console)
    await wait_for_passing(config, name)
    profile = Profile(
        client="mesh run", summary=options.summary, wake="prints", host=socket.gethostname()
    )
    stop = _stop_signal()
    async with mesh.join(name, config, profile=profile) as agent:
        status = await agent.status()
        ready = {"event": "ready", **status.to_json(), "queued": agent.unread}
        await console.show(ready, f"{render.status_heading(status)} is ready; Ctrl-C ends it")
        async with asyncio.TaskGroup() as group:
            printing = group.create_task(_print_mail(agent, console))
            await stop.wait()
            printing.cancel()
    return Exit.DONE


def _stop_signal() -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets; a second one ends the process."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    previous: dict[signal.Signals, object] = {}

    def on_signal(*_: object) -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what `signal` gave us
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, on_signal)
    return stop


async def _print_mail(agent: AgentSurface, console: Console) -> None:
    async for message in agent.messages():
        value = {"event": "message", **render.message_json(message)}
        await console.show(value, render.message_text(message))


COMMAND = Command(
    name="run",
    summary="Stay on the mesh as a peer and print each message that arrives.",
    example="mesh run --as bob\nmesh run --as bob --json",
    configure=_configure,
    run=_run,
)
