"""`mesh files`: what has been received as files, and where it lies."""

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from mesh import limits
from mesh.cli import arguments, render
from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.session import Visit, visit
from mesh.driver.results import Message

_TICK = timedelta(milliseconds=1)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--from", dest="sender", metavar="X", help="only from this agent")
    parser.add_argument("--since", type=arguments.moment, metavar="T", help="only after T")


async def _run(options: Namespace, console: Console) -> int:
    async def act(visit: Visit) -> int:
        count = 0
        async for message in _history(visit, options.sender, options.since):
            found = _file(message)
            if found is not None:
                await console.show(found, _text(found))
                count += 1
        if not count:
            await console.note("No files")
        return Exit.DONE if count else Exit.NOTHING

    return await visit(options, act)


async def _history(visit: Visit, sender: str | None, since: str | None) -> AsyncIterator[Message]:
    """Yield all that was ever received, the oldest first; marks nothing."""
    seen: set[str] = set()
    while True:
        page = await visit.agent.read(
            sender=sender,
            since=since,
            limit=limits.check_messages_max,
            wait_s=0,
            peek=True,
            history=True,
            search=None,
        )
        news = [message for message in page.messages if message.id not in seen]
        for message in news:
            seen.add(message.id)
            yield message
        if not news or not page.remaining:
            return
        since = (news[-1].time - _TICK).isoformat()


def _file(message: Message) -> dict[str, Any] | None:
    data = message.data
    if not isinstance(data, dict) or message.kind != "file" or "path" not in data:
        return None
    path = str(data["path"])
    return {
        "id": message.id,
        "from": message.sender,
        "time": message.time.isoformat(),
        "name": data.get("name"),
        "bytes": data.get("bytes"),
        "blake2b": data.get("blake2b"),
        "path": path,
        "is_there": Path(path).is_file(),
    }


def _text(found: dict[str, Any]) -> str:
    place = found["path"] if found["is_there"] else "(no longer there)"
    name = render.one_line(str(found["name"]))
    return f"{found['time']}  {found['from']}  {name}  {found['bytes']} bytes  {place}"


COMMAND = Command(
    name="files",
    summary="List the files that were received, oldest first; returns 4 when there are none.",
    example="mesh files --as bob\nmesh files --as bob --from alice --json",
    configure=_configure,
    run=_run,
)
