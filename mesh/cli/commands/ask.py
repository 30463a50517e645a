"""`mesh ask`: send a message and wait for the reply."""

import asyncio
from argparse import ArgumentParser, Namespace
from typing import Final

from mesh.cli import arguments, render
from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.session import Visit, visit
from mesh.driver.results import Message
from mesh.errors import UnconfirmedError

_LOOK_INTERVAL_S: Final = 0.1


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("to", metavar="TO", help="a name, or name#fingerprint")
    parser.add_argument("content", metavar="TEXT")
    parser.add_argument(
        "--data", type=arguments.json_value, metavar="JSON", help="a JSON value to go with it"
    )
    parser.add_argument(
        "--wait", type=arguments.seconds, default=30.0, metavar="S", help="for how long (30)"
    )


class _Question:
    """One `ask`: remembers that it was sent, in case its session ends while it waits."""

    def __init__(self, options: Namespace, console: Console) -> None:
        self._options = options
        self._console = console
        self._id = ""
        self._deadline = 0.0
        self._is_printed = False

    async def act(self, visit: Visit) -> int:
        """Send once, then look for the reply; it is marked shown after it was printed."""
        if not self._id:
            options = self._options
            receipt = await visit.agent.send(options.to, options.content, data=options.data)
            self._id = receipt.id
            self._deadline = asyncio.get_running_loop().time() + options.wait
        while True:
            page = await visit.agent.read(peek=True)
            reply = next((m for m in page.messages if m.reply_to == self._id), None)
            if reply is not None:
                await self._print(reply)
                await visit.agent.mark_shown([reply])
                return Exit.DONE
            if asyncio.get_running_loop().time() >= self._deadline:
                return await self._give_up(visit)
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _print(self, reply: Message) -> None:
        if not self._is_printed:
            await self._console.show(render.message_json(reply), render.message_text(reply))
            self._is_printed = True

    async def _give_up(self, visit: Visit) -> int:
        """Say that no reply came; the question stays sent, and a late reply unread."""
        states = {recipient.state for recipient in await visit.agent.receipt(self._id)}
        text = f"No reply within {self._options.wait:g} s; the question is {', '.join(states)}."
        await self._console.error(UnconfirmedError(text, message_id=self._id))
        if states <= {"delivered", "shown"}:
            return Exit.NOTHING
        return Exit.FAILED if states & {"refused", "expired"} else Exit.NOT_DELIVERED


async def _run(options: Namespace, console: Console) -> int:
    return await visit(options, _Question(options, console).act)


COMMAND = Command(
    name="ask",
    summary="Send a message and wait for the reply.",
    example='mesh ask --as alice bob "are you ready?" --wait 30',
    configure=_configure,
    run=_run,
)
