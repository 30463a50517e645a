"""An agent and a session in memory, for what acts through them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mesh.config import Config
from mesh.driver.results import Message, Page, Recipient, Renamed, RosterEntry, Status
from mesh.errors import MeshError

TOKEN = "t" * 32
TIME = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def letter(number: int, content: str = "hello", **changes: object) -> Message:
    message = Message(
        id=f"{number:032x}",
        sender="bob",
        fingerprint="ab" * 16,
        verified="pinned",
        to="alice",
        time=TIME,
        content=content,
        data=None,
        reply_to=None,
        urgent=False,
        kind="direct",
        row=number,
    )
    return replace(message, **changes)


class DoubleReceipt:
    def __init__(self, to: str, **facts: object) -> None:
        self.id = "1" * 32
        self.recipients: list[Recipient] = [Recipient(to=to, state="queued", why="away")]
        self.name, self.bytes, self.blake2b = "notes.md", 3, "cd" * 32
        self.returncode, self.truncated = 0, False
        self.arrived = asyncio.Event()

    async def wait(self, state: str, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self.arrived.wait()
        except TimeoutError:
            return False
        self.recipients = [replace(self.recipients[0], state=state, why="", at=TIME)]
        return True


class DoubleAgent:
    """An agent in memory: keeps what it was asked to do."""

    name = "alice"
    fingerprint = "ef" * 16
    mode = "open"

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.inbox: list[Message] = []
        self.shown: list[str] = []
        self.last: DoubleReceipt | None = None
        self.error: MeshError | None = None
        self.is_waiting = asyncio.Event()
        self.was_cancelled = asyncio.Event()
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.arrives = False
        self.page_max = 1000
        self.hold_marks = False
        self.state = "delivered"
        self.reply: Message | None = letter(9, "yes", reply_to="1" * 32)
        self.answers_at_once = False

    @property
    def unread(self) -> int:
        return len(self.inbox)

    def _note(self, *call: object) -> DoubleReceipt:
        if self.error:
            raise self.error
        self.calls.append(call)
        self.last = DoubleReceipt(str(call[1]))
        if self.arrives:
            self.last.arrived.set()
        return self.last

    async def send(self, to, content, **options) -> DoubleReceipt:
        self.is_waiting.set()
        await self.may_send.wait()
        if self.answers_at_once:
            self.inbox.append(self.reply)
        return self._note("send", to, content, options)

    async def broadcast(self, content, **options) -> DoubleReceipt:
        return self._note("broadcast", "everyone", content, options)

    async def read(self, *, wait_s=0, limit=None, peek=False, **filters) -> Page:
        assert peek, "only the other side knows what it has shown"
        if wait_s and not self.inbox:
            self.is_waiting.set()
            try:
                await asyncio.sleep(wait_s)
            except asyncio.CancelledError:
                self.was_cancelled.set()
                raise
        chosen = tuple(self.inbox[: min(limit or self.page_max, self.page_max)])
        return Page(chosen, len(self.inbox) - len(chosen))

    async def mark_shown(self, messages) -> None:
        if self.hold_marks:
            await asyncio.Event().wait()
        gone = {message.id for message in messages}
        self.shown += sorted(gone)
        self.inbox = [message for message in self.inbox if message.id not in gone]

    async def ask(self, to, content, *, data=None, timeout_s) -> Message:
        self._note("ask", to, content, data, timeout_s)
        if self.reply is None:
            raise TimeoutError
        return self.reply

    async def rename(self, new) -> Renamed:
        self._note("rename", new)
        return Renamed(new, TIME)

    async def share_file(self, to, path, description="", *, on_progress=None) -> DoubleReceipt:
        return self._note("share_file", to, path, description)

    async def share_command(self, to, command, description="", *, cwd=None) -> DoubleReceipt:
        return self._note("share_command", to, command, description, cwd)

    async def receipt(self, message_id) -> Sequence[Recipient]:
        return [Recipient(to="bob", state=self.state, at=TIME)]

    async def status(self) -> Status:
        return Status("alice", self.fingerprint, "open", "default", {}, {}, {}, "off", ("ipc://x",))

    async def trust(self, name, fingerprint) -> None:
        self._note("trust", name, fingerprint)

    async def save_text(self, message) -> Path:
        return Path(f"/files/{message.id}")


class DoubleSession:
    mode = "open"

    def __init__(self, home: Path, agent: DoubleAgent | None) -> None:
        self.agent = agent
        self.config = Config(home=home)

    def roster(self) -> Sequence[RosterEntry]:
        facts = ("alice", "alice", "live", "here", "", "", "ef" * 16, "open", *4 * ("",))
        return [RosterEntry(*facts, you=True)]

    async def status(self) -> Status:
        assert self.agent
        return await self.agent.status()


async def refuse_release(name: str) -> bool:
    return name == "tended"
