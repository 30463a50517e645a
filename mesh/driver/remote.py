"""An agent of another process of this host, used through that process's control endpoint.

`RemoteAgent` has the methods of `Agent` and gives the same values and errors. Each call is one
stream; ending the call (cancelling it) closes the stream, and the other process stops the work.

A session may end at any moment. A call that certainly did nothing, or that may be done again, then
raises `SessionGoneError`: look for the holder of the mailbox again. A call that may have changed
something raises `UnconfirmedError` and must not simply be repeated.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mesh import limits
from mesh.driver.control import (
    WRONG_TOKEN,
    Answer,
    decode_line,
    encode_line,
    rebuild_error,
)
from mesh.driver.results import (
    JsonObject,
    Message,
    Page,
    Recipient,
    Renamed,
    RosterEntry,
    Status,
)
from mesh.driver.surface import read_bytes_max
from mesh.driver.transfers import Progress
from mesh.errors import MalformedError, TransportError, UnconfirmedError

_GONE: Final = "The session that was asked has ended."
_UNCERTAIN: Final = "The session ended while it was asked; it may have done it. See mesh status."
_SILENT: Final = "The session that holds this mailbox does not answer; its process may be stopped."


class SessionGoneError(TransportError):
    """The session at that endpoint has ended, and nothing was done that must not be done again."""

    code = "session_gone"


@dataclass(frozen=True, slots=True)
class ControlPoint:
    """Where a node is asked, and with which token. Asks; knows nothing of what is asked."""

    endpoint: str
    token: str

    async def ask(
        self, op: str, args: JsonObject, *, wait_s: float = 0.0, is_repeatable: bool = True
    ) -> Answer:
        """Have one operation performed that may itself take `wait_s`.

        Raises:
            SessionGoneError: nobody is there any more.
            UnconfirmedError: it is unknown whether it was done (unless `is_repeatable`).
            MeshError: what the operation raised.
        """
        try:
            reader, writer = await self._open()
        except OSError as exc:
            raise SessionGoneError(_GONE) from exc
        try:
            async with asyncio.timeout(wait_s + limits.control_answer_timeout_s):
                writer.write(encode_line({"token": self.token, "op": op, "args": args}))
                await writer.drain()
                return await _read_answer(reader)
        except TimeoutError as exc:
            if is_repeatable:
                raise TransportError(_SILENT) from exc
            raise UnconfirmedError(_SILENT, message_id="") from exc
        except (OSError, MalformedError) as exc:
            if is_repeatable:
                raise SessionGoneError(_GONE) from exc
            raise UnconfirmedError(_UNCERTAIN, message_id="") from exc
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        limit = limits.control_line_bytes_max
        if self.endpoint.startswith("tcp://"):
            host, _, port = self.endpoint.removeprefix("tcp://").rpartition(":")
            return await asyncio.open_connection(host, int(port), limit=limit)
        return await asyncio.open_unix_connection(self.endpoint, limit=limit)


class RemoteReceipt:
    """What the sender knows of a message; `wait` brings `recipients` up to date."""

    def __init__(self, point: ControlPoint, value: JsonObject) -> None:
        self._point = point
        self._value = value

    @property
    def id(self) -> str:
        """32 hexadecimal characters."""
        return str(self._value["id"])

    @property
    def recipients(self) -> list[Recipient]:
        """Where the message stands with each recipient, when last asked."""
        return [Recipient.from_json(value) for value in self._value["recipients"]]

    @property
    def state(self) -> str:
        """The state for the only recipient."""
        return self.recipients[0].state if self.recipients else ""

    async def wait(self, state: str, timeout_s: float) -> bool:
        """Wait until every recipient has got that far; false when time is up or it never will."""
        args = {"id": self.id, "state": state, "timeout_s": timeout_s}
        answer = await self._point.ask("wait", args, wait_s=timeout_s)
        self._value = {**self._value, **answer.value}
        return bool(answer.value["reached"])


class RemoteFileReceipt(RemoteReceipt):
    """The receipt of a shared file."""

    @property
    def name(self) -> str:
        """The name of the file, without directories."""
        return str(self._value["name"])

    @property
    def bytes(self) -> int:
        """Its size."""
        return int(self._value["bytes"])

    @property
    def blake2b(self) -> str:
        """Its BLAKE2b digest in hexadecimal characters."""
        return str(self._value["blake2b"])


class RemoteCommandReceipt(RemoteReceipt):
    """The receipt of a shared command."""

    @property
    def returncode(self) -> int | None:
        """What the command returned; None if it was ended."""
        code = self._value["returncode"]
        return None if code is None else int(code)

    @property
    def truncated(self) -> bool:
        """Whether its output was cut."""
        return bool(self._value["truncated"])


class RemoteAgent:
    """The agent of the session at `point`; made by `connect`.

    `unread` counts the mail that was waiting when we connected; `is_passing` is true when the
    session belongs to a command that ends by itself.
    """

    def __init__(self, point: ControlPoint, identity: JsonObject) -> None:
        self._point = point
        self.name: str = identity["instance_id"]
        self.fingerprint: str = identity["fingerprint"]
        self.mode: str = identity["mode"]
        self.mesh: str = identity["mesh"]
        self.is_passing: bool = identity["is_passing"]
        self.unread: int = identity["unread"]

    async def send(
        self,
        to: str,
        content: str,
        *,
        data: Any = None,  # noqa: ANN401 - any JSON value
        reply_to: str | None = None,
        ttl_s: float | None = None,
        urgent: bool = False,
        caused_by: Sequence[str] = (),
    ) -> RemoteReceipt:
        """Send a message; durable when it returns."""
        args = {"to": to, "content": content, "data": data, "reply_to": reply_to}
        options = {"ttl_s": ttl_s, "urgent": urgent, "caused_by": list(caused_by)}
        answer = await self._point.ask("send", {**args, **options}, is_repeatable=False)
        return RemoteReceipt(self._point, answer.value)

    async def send_many(
        self, messages: Iterable[tuple[str, str] | tuple[str, str, Any]]
    ) -> list[RemoteReceipt]:
        """Send messages one after the other; each is (to, content) or (to, content, data)."""
        return [
            await self.send(message[0], message[1], data=message[2] if len(message) > 2 else None)
            for message in messages
        ]

    async def broadcast(
        self,
        content: str,
        *,
        data: Any = None,  # noqa: ANN401 - any JSON value
        ttl_s: float | None = None,
        caused_by: Sequence[str] = (),
    ) -> RemoteReceipt:
        """Send a message to everybody seen within the last day."""
        args = {"content": content, "data": data, "ttl_s": ttl_s, "caused_by": list(caused_by)}
        answer = await self._point.ask("broadcast", args, is_repeatable=False)
        return RemoteReceipt(self._point, answer.value)

    async def read(
        self,
        *,
        sender: str | None = None,
        since: str | None = None,
        limit: int | None = None,
        wait_s: float = 0,
        peek: bool = False,
        history: bool = False,
        search: str | None = None,
        body_bytes_max: int = read_bytes_max,
    ) -> Page:
        """Read mail, and mark it shown once all of it has arrived here (unless peek, history)."""
        args = {"sender": sender, "since": since, "limit": limit, "wait_s": wait_s}
        options = {"history": history, "search": search, "body_bytes_max": body_bytes_max}
        answer = await self._point.ask("read", {**args, **options}, wait_s=wait_s)
        page = Page.from_json({"messages": answer.items, **answer.value})
        if not (peek or history):
            await self.mark_shown(page.messages)
        return page

    async def check(
        self,
        *,
        sender: str | None = None,
        since: str | None = None,
        limit: int | None = None,
        wait_s: float = 0,
        peek: bool = False,
        history: bool = False,
        search: str | None = None,
    ) -> list[Message]:
        """Read mail; like `read`, without the number of what is left."""
        page = await self.read(
            sender=sender,
            since=since,
            limit=limit,
            wait_s=wait_s,
            peek=peek,
            history=history,
            search=search,
        )
        return list(page.messages)

    async def mark_shown(self, messages: Iterable[Message]) -> None:
        """Remember that these were shown to their reader."""
        values = [replace(message, content="", data=None).to_json() for message in messages]
        if values:
            await self._point.ask("mark_shown", {"messages": values})

    async def messages(self) -> AsyncIterator[Message]:
        """Yield unread mail, then what arrives; each is shown when the next is asked for."""
        while True:
            page = await self.read(limit=1, wait_s=limits.control_answer_timeout_s, peek=True)
            for message in page.messages:
                yield message
                await self.mark_shown([message])

    async def ask(
        self,
        to: str,
        content: str,
        *,
        data: Any = None,  # noqa: ANN401 - any JSON value
        timeout_s: float,
    ) -> Message:
        """Send and wait for the reply.

        Raises:
            TimeoutError: no reply came in time.
        """
        args = {"to": to, "content": content, "data": data, "timeout_s": timeout_s}
        answer = await self._point.ask("ask", args, wait_s=timeout_s, is_repeatable=False)
        if answer.value is None:
            raise TimeoutError
        return Message.from_json(answer.value)

    async def rename(self, new: str) -> Renamed:
        """Take another name; the old one forwards for a while."""
        answer = await self._point.ask("rename", {"new": new}, is_repeatable=False)
        renamed = Renamed.from_json(answer.value)
        self.name = renamed.name
        return renamed

    async def share_file(
        self,
        to: str,
        path: Path | str,
        description: str = "",
        *,
        on_progress: Progress | None = None,
    ) -> RemoteFileReceipt:
        """Share a file; a relative path counts from the working directory of this process.

        The session sends it, so `on_progress` is told nothing.
        """
        del on_progress
        absolute = str(Path(path).absolute())
        args = {"to": to, "path": absolute, "description": description}
        answer = await self._point.ask("share_file", args, is_repeatable=False)
        return RemoteFileReceipt(self._point, answer.value)

    async def share_command(
        self, to: str, command: str, description: str = "", *, cwd: Path | str | None = None
    ) -> RemoteCommandReceipt:
        """Run a command in `cwd` (the working directory of this process) and share its output."""
        directory = str(Path(cwd or Path.cwd()).absolute())
        args = {"to": to, "command": command, "description": description, "cwd": directory}
        answer = await self._point.ask(
            "share_command", args, wait_s=limits.command_timeout_s, is_repeatable=False
        )
        return RemoteCommandReceipt(self._point, answer.value)

    async def roster(self) -> list[RosterEntry]:
        """Return who is known; `you` is the session's own agent."""
        answer = await self._point.ask("roster", {})
        return [RosterEntry.from_json(value) for value in answer.items]

    async def status(self) -> Status:
        """Return how the session and its mesh are doing."""
        return Status.from_json((await self._point.ask("status", {})).value)

    async def receipt(self, message_id: str) -> list[Recipient]:
        """Return where a message stands with each recipient."""
        answer = await self._point.ask("receipt", {"id": message_id})
        return [Recipient.from_json(value) for value in answer.items]

    async def trust(self, name: str, fingerprint: str) -> None:
        """Accept a key for a name."""
        await self._point.ask("trust", {"name": name, "fingerprint": fingerprint})

    async def save_text(self, message: Message) -> Path:
        """Write the whole content to a file of the mailbox and return its path."""
        answer = await self._point.ask("save_text", {"message": message.to_json()})
        return Path(answer.value["path"])


async def connect(endpoint: str, token: str) -> RemoteAgent | None:
    """Return the agent of the session at `endpoint`; None if it has no agent (or none yet).

    Raises:
        SessionGoneError: nobody is there any more.
        TransportError: its process does not answer.
    """
    point = ControlPoint(endpoint, token)
    identity = (await point.ask("identify", {})).value
    return RemoteAgent(point, identity) if identity["instance_id"] else None


async def local_roster(endpoint: str, token: str) -> list[RosterEntry]:
    """Return who is known to the node at `endpoint`, whether it has an agent or not.

    Raises:
        SessionGoneError: nobody is there any more.
        TransportError: its process does not answer.
    """
    answer = await ControlPoint(endpoint, token).ask("roster", {})
    return [RosterEntry.from_json(value) for value in answer.items]


async def release(endpoint: str, token: str, name: str) -> bool:
    """Ask the node at `endpoint` to give up a mailbox that it tends; false if it does not."""
    answer = await ControlPoint(endpoint, token).ask("release", {"name": name})
    return bool(answer.value["released"])


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    items: list[Any] = []
    while True:
        try:
            line = decode_line(await reader.readline())
        except ValueError as exc:
            raise MalformedError("a line over its limit") from exc
        if "item" in line:
            items.append(line["item"])
        elif "error" in line:
            if line["error"].get("code") == WRONG_TOKEN:
                raise SessionGoneError(_GONE)
            raise rebuild_error(line["error"])
        else:
            return Answer(line.get("ok"), items)
