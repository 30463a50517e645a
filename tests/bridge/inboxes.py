"""The inbox socket of a Claude Code session, with the limits that the real one has."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mcp_bridge.line import InboxSocket
from mcp_bridge.rates import Bucket

TOKEN = "0123456789abcdef0123456789abcdef"
LINE_CHARS_MAX = 1_048_576
HELD_MAX = 50
SAME_S = 30.0


class FakeInbox:
    """Takes texts: an idle session shows each at once, a busy one when `act` is called.

    What is over a limit is dropped without a word, as the real one does; `dropped` has it.
    """

    def __init__(self, path: Path, *, is_busy: bool = False) -> None:
        self.path = path
        self.is_busy = is_busy
        self.shown: list[str] = []
        self.held: list[str] = []
        self.dropped: list[str] = []
        self.changed = asyncio.Event()
        self._bucket = Bucket(burst=30, per_s=0.5)
        self._taken_at: dict[str, float] = {}

    @property
    def line(self) -> InboxSocket:
        return InboxSocket(str(self.path), TOKEN)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._link, self.path, limit=2 * LINE_CHARS_MAX)
        try:
            yield
        finally:
            server.close()
            self.path.unlink(missing_ok=True)

    def act(self) -> None:
        """Let the model see what is held."""
        self.shown += self.held
        self.held.clear()

    async def text(self, number: int) -> str:
        """Return the text shown as that one, waiting for it."""
        while len(self.shown) < number:
            self.changed.clear()
            await self.changed.wait()
        return self.shown[number - 1]

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_known = False
        while line := await reader.readline():
            value = json.loads(line)
            if value["type"] == "auth":
                is_known = value["token"] == TOKEN
            elif value["type"] == "user" and is_known:
                assert set(value) == {"type", "message"}
                assert value["message"]["role"] == "user"
                self._take(value["message"]["content"], len(line.decode()))
        writer.close()
        self.changed.set()

    def _take(self, text: str, chars: int) -> None:
        now = asyncio.get_running_loop().time()
        is_same = now - self._taken_at.get(text, -SAME_S) < SAME_S
        is_full = chars > LINE_CHARS_MAX or len(self.held) >= HELD_MAX
        if is_same or is_full or self._bucket.delay_s:
            self.dropped.append(text)
            return
        self._bucket.take()
        self._taken_at[text] = now
        (self.held if self.is_busy else self.shown).append(text)
