"""`mesh check`: read mail."""

from argparse import ArgumentParser, Namespace

from mesh import limits
from mesh.cli import arguments, render
from mesh.cli.command import Command, Exit
from mesh.cli.console import Console
from mesh.cli.session import Visit, look_around_s, visit
from mesh.driver.results import Page


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--wait", type=arguments.seconds, default=0.0, metavar="S", help="wait for mail"
    )
    parser.add_argument("--peek", action="store_true", help="leave it unread")
    parser.add_argument("--from", dest="sender", metavar="X", help="only from this agent")
    parser.add_argument("--since", type=arguments.moment, metavar="T", help="only mail after T")
    parser.add_argument("--history", action="store_true", help="mail that was shown, too")
    parser.add_argument("--search", metavar="WORDS", help="only mail with all these words")
    parser.add_argument("--limit", type=arguments.count, metavar="N", help="at most N messages")


class _Reading:
    """One `check`: remembers what it has printed, in case its session ends and it begins anew."""

    def __init__(self, options: Namespace, console: Console) -> None:
        self._options = options
        self._console = console
        self._printed: set[str] = set()

    async def act(self, visit: Visit) -> int:
        """Print page after page, marking each as shown after it has left this process."""
        is_last = False
        while not is_last:
            page = await self._read(visit)
            news = await self._print(page)
            if self._options.peek or self._options.history:
                is_last = True
                if page.remaining:
                    await self._console.note(f"{page.remaining} more; narrow it with --since")
            else:
                await visit.agent.mark_shown(page.messages)
                is_last = not news or not page.remaining or self._left == 0
        if self._printed:
            return Exit.DONE
        await self._console.note("No new messages")
        return Exit.NOTHING

    @property
    def _left(self) -> int:
        return (self._options.limit or limits.check_messages_max) - len(self._printed)

    async def _read(self, visit: Visit) -> Page:
        options = self._options
        return await visit.agent.read(
            sender=options.sender,
            since=options.since,
            limit=max(self._left, 1),
            wait_s=0 if self._printed else self._wait_s(visit),
            peek=True,
            history=options.history,
            search=options.search,
        )

    def _wait_s(self, visit: Visit) -> float:
        """A node that has just started gives mail that waits elsewhere a moment to come in."""
        options = self._options
        if options.history or not visit.is_own_node:
            return float(options.wait)
        return float(max(options.wait, look_around_s))

    async def _print(self, page: Page) -> int:
        news = [message for message in page.messages if message.id not in self._printed]
        for message in news:
            await self._console.show(render.message_json(message), render.message_text(message))
            self._printed.add(message.id)
        return len(news)


async def _run(options: Namespace, console: Console) -> int:
    return await visit(options, _Reading(options, console).act)


COMMAND = Command(
    name="check",
    summary="Read mail, oldest first; returns 4 when there is none.",
    example="mesh check --as bob --wait 30\nmesh check --as bob --history --search 'build green'",
    configure=_configure,
    run=_run,
)
