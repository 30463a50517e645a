"""An agent of this process: the Python API for sending, reading and everything between."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mesh import limits
from mesh.core.events import Broadcast, ProfileChanged, Trust
from mesh.driver import contents, sharer
from mesh.driver.bell import Ear
from mesh.driver.contents import Options
from mesh.driver.desk import Outcome
from mesh.driver.handle import BATCH_LETTERS, MailboxHandle, NodeSurface
from mesh.driver.receipt import Receipt, SharedCommand, SharedFile
from mesh.driver.results import Message, Page, Recipient, Renamed, RosterEntry, Status
from mesh.driver.transfers import Progress
from mesh.errors import UsageError
from mesh.model import (
    Kind,
    MailboxKey,
    Profile,
    check_name,
    fingerprint,
    fold,
    parse_address,
)
from mesh.store.interface import InboxQuery


class Agent:
    """One agent. All methods raise `MeshError` subclasses; texts name the argument at fault."""

    def __init__(self, node: NodeSurface, key: MailboxKey) -> None:
        self._node = node
        self._key = key
        self._box = MailboxHandle(node, key)

    @property
    def name(self) -> str:
        """The agent's name, as typed."""
        return self._node.mailbox(self._key).name

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal characters that identify the agent's key."""
        return fingerprint(self._key)

    @property
    def mode(self) -> str:
        """`open` or `secret`."""
        return self._node.config.mode

    @property
    def mesh(self) -> str:
        """The name of the mesh."""
        return self._node.config.mesh

    @property
    def unread(self) -> int:
        """How many messages have not been shown yet."""
        return self._node.mailbox(self._key).inbox.unread_letters

    # Sending.

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
    ) -> Receipt:
        """Send a message to `name` or `name#fingerprint`; durable when this returns.

        `caused_by` names the messages that led to it when no person had a turn in between: such
        automatic messages are refused after so many hops (`chain_hops_max`).

        Raises:
            UsageError: an argument is malformed or over its limit; nothing was accepted.
            QuotaError, DiskFullError, StoreError: nothing was accepted.
            UnconfirmedError: it is unknown whether it was accepted; look up its `message_id`.
        """
        options = Options(
            reply_to, ttl_s, urgent, bool(caused_by), await self._box.chain_after(caused_by)
        )
        return await self._box.submit(self._start(to, content, data, options, kind=Kind.DIRECT))

    async def send_many(
        self, messages: Iterable[tuple[str, str] | tuple[str, str, Any]]
    ) -> list[Receipt]:
        """Send many messages, each (to, content) or (to, content, data), in order.

        Durable when this returns. An error ends it: what came before is accepted.
        """
        receipts: list[Receipt] = []
        waiting: list[asyncio.Future[Outcome]] = []
        letters = 0
        for to, drafts in contents.grouped(messages):
            waiting.append(self._box.request(self._box.direct(to, *drafts)))
            letters += len(drafts)
            if letters >= BATCH_LETTERS:
                for future in waiting:
                    receipts += await asyncio.shield(future)
                waiting, letters = [], 0
        for future in waiting:
            receipts += await asyncio.shield(future)
        return receipts

    async def broadcast(
        self,
        content: str,
        *,
        data: Any = None,  # noqa: ANN401 - any JSON value
        ttl_s: float | None = None,
        caused_by: Sequence[str] = (),
    ) -> Receipt:
        """Send a message to every agent seen within the last day; the receipt names them."""
        options = Options(
            ttl_s=ttl_s, is_auto=bool(caused_by), chain=await self._box.chain_after(caused_by)
        )
        made = contents.draft(content, data, options, kind=Kind.BROADCAST)
        future = self._box.request(lambda token: Broadcast(token, self._key, made))
        return await self._box.submit(future)

    async def ask(
        self,
        to: str,
        content: str,
        *,
        data: Any = None,  # noqa: ANN401 - any JSON value
        timeout_s: float,
    ) -> Message:
        """Send a message and wait for the first reply to it, which is then marked shown.

        Raises:
            TimeoutError: no reply came in time; the question stays sent, a late reply unread.
        """
        receipt = await self.send(to, content, data=data)
        reply = await self.await_reply(receipt.id, timeout_s=timeout_s)
        if reply is None:
            raise TimeoutError
        await self.mark_shown([reply])
        return reply

    async def await_reply(self, message_id: str, *, timeout_s: float) -> Message | None:
        """Return the first unread reply to a message of ours, still unread; None if none came."""
        with self._node.desk.arrival_bell(self._key).listen() as ear:
            try:
                async with asyncio.timeout(timeout_s):
                    seen_row = 0
                    while True:
                        page = await self.read(peek=True, after_row=seen_row)
                        for message in page.messages:
                            if message.reply_to == message_id:
                                return message
                            seen_row = message.row
                        if not page.remaining:
                            await ear.wait()
            except TimeoutError:
                return None

    async def share_file(
        self,
        to: str,
        path: Path | str,
        description: str = "",
        *,
        on_progress: Progress | None = None,
    ) -> SharedFile:
        """Send a file from inside the allowed roots; durable when this returns.

        Larger ones are copied aside first and streamed beside the mail; `on_progress` is then told
        how many bytes of how many the recipient has asked for.

        Raises:
            PolicyError: outside the roots, or a credential file.
            UsageError: missing, not a regular file, or too large.
            DiskFullError: no room for the copy; nothing was accepted.
        """
        return await sharer.share_file(self._box, to, path, description, on_progress)

    async def share_command(
        self, to: str, command: str, description: str = "", *, cwd: Path | str | None = None
    ) -> SharedCommand:
        """Run a command on this machine, as policy allows, and send what it printed.

        Raises:
            PolicyError: policy forbids it; nothing was run.
            UsageError: no such program, or malformed.
        """
        place = Path(cwd) if cwd else Path.cwd()
        return await sharer.share_command(self._box, to, command, description, place)

    # Reading.

    async def check(
        self,
        *,
        sender: str | None = None,
        since: str | datetime | None = None,
        limit: int | None = None,
        wait_s: float = 0,
        peek: bool = False,
        history: bool = False,
        search: str | None = None,
    ) -> list[Message]:
        """Return unread messages, whole and oldest first, and mark them shown.

        `peek` leaves them unread; `history` returns shown ones, too, and marks nothing; `since`
        keeps mail made after it; `search` wants all its words; `wait_s` waits for the first.
        """
        page = await self.read(
            sender=sender,
            since=since,
            limit=limit,
            wait_s=wait_s,
            peek=peek,
            history=history,
            search=search,
            body_bytes_max=limits.outbox_bytes_max,
        )
        return list(page.messages)

    async def read(
        self,
        *,
        sender: str | None = None,
        since: str | datetime | None = None,
        limit: int | None = None,
        wait_s: float = 0,
        peek: bool = False,
        history: bool = False,
        search: str | None = None,
        after_row: int = 0,
        body_bytes_max: int = 32 * limits.MIB,
    ) -> Page:
        """Read as `check` does, bounded by `body_bytes_max`; the page says how much is left.

        `after_row` leaves out messages up to that `row`.
        """
        query = InboxQuery(
            unread_only=not history,
            author_name=fold(parse_address(sender).name) if sender else "",
            since_ms=contents.parse_since(since) if since else None,
            after_row=after_row,
            words=tuple((search or "").split()),
            limit=contents.check_limit(limit),
            body_bytes_max=body_bytes_max,
        )
        with self._node.desk.arrival_bell(self._key).listen() as ear:
            try:
                async with asyncio.timeout(contents.check_wait(wait_s) or None):
                    while not (page := await self._box.page(query)).messages and wait_s > 0:
                        await ear.wait()
            except TimeoutError:
                page = Page((), 0)
        if not peek and not history:
            await self.mark_shown(page.messages)
        return page

    def arrivals(self) -> Ear:
        """Begin to listen: between enter and exit, `wait` returns for mail that has arrived."""
        return self._node.desk.arrival_bell(self._key).listen()

    async def mark_shown(self, messages: Iterable[Message]) -> None:
        """Mark messages as shown; their authors are told."""
        rows = [message.row for message in messages if not message.is_read]
        if not rows:
            return
        letters = await self._node.stores.use(self._key, lambda s: s.shown_letters(rows))
        if letters:
            await self._box.mark(letters)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield unread messages, then each that arrives; shown once the next is asked for."""
        with self._node.desk.arrival_bell(self._key).listen() as ear:
            last_row = 0
            while True:
                batch = await self._box.unread_batch(last_row)
                if not batch:
                    await ear.wait()
                for message, letter in batch:
                    yield message
                    last_row = message.row
                    self._box.mark_soon(letter)

    async def save_text(self, message: Message) -> Path:
        """Write a message's whole content to a private file of this mailbox; return its path."""
        directory = self._node.files_of(self._key)
        return await asyncio.to_thread(contents.save_text, directory, message)

    # Everything else.

    async def receipt(self, message_id: str) -> list[Recipient]:
        """Return what the disk says of a message, for each of its recipients.

        Raises:
            UsageError: no message of this agent has that id.
        """
        wanted = contents.message_id(message_id, "id")
        stored = await self._node.stores.use(self._key, lambda s: s.receipts(wanted))
        if not stored:
            raise UsageError(f"There is no message with the id {message_id} in the outbox.")
        return [
            Recipient(
                to=entry.to,
                state=entry.state.value,
                why=self._node.why(self._key, entry).value,
                at=datetime.fromtimestamp(entry.changed_ms / 1000, UTC),
                fingerprint=fingerprint(entry.recipient) if entry.recipient else "",
            )
            for entry in stored
        ]

    async def status(self) -> Status:
        """Return how this agent and its mesh are doing."""
        return await self._node.status(self._key)

    def roster(self) -> list[RosterEntry]:
        """Return every agent known."""
        return self._node.roster(self._key)

    async def rename(self, new: str) -> Renamed:
        """Take another name; the old one forwards for two hours.

        Raises:
            RateLimitError: renamed within the last hour.
            NameInUseError: somebody has that name.
        """
        await self._node.rename(self._key, check_name(new))
        until = datetime.now(UTC) + timedelta(seconds=limits.alias_s)
        return Renamed(self.name, until)

    async def fingerprints_of_host(self) -> frozenset[str]:
        """Return the fingerprints of this host's own agents: whoever else may join, not as them."""
        return frozenset(map(fingerprint, await self._node.keys_of_host()))

    async def trust(self, name: str, fingerprint: str) -> None:
        """Accept the key whose fingerprint begins so for a name; waiting mail follows it."""
        address = parse_address(f"{name}#{fingerprint}")
        await self._box.request(lambda token: Trust(token, self._key, address))

    def describe(self, profile: Profile) -> None:
        """Tell the others something else about this agent."""
        self._node.post(ProfileChanged(self._key, profile))

    # Inside.

    def _start(
        self,
        to: str,
        content: str,
        data: Any,  # noqa: ANN401 - any JSON value
        options: Options,
        *,
        kind: Kind,
    ) -> asyncio.Future[Outcome]:
        made = contents.draft(content, data, options, kind=kind)
        return self._box.request(self._box.direct(to, made))
