"""One mailbox as its agent uses it: requests to the core, pages from the store."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from mesh.config import Config
from mesh.core.events import Draft, Event, Shown, Submit, Token
from mesh.core.mailbox import Mailbox
from mesh.core.snapshot import ShownLetter
from mesh.driver import contents
from mesh.driver.desk import Desk, Outcome
from mesh.driver.receipt import Receipt
from mesh.driver.results import Message, Page, RosterEntry, Status
from mesh.driver.stores import Stores
from mesh.driver.transfers import Transfers
from mesh.model import MailboxKey, MessageId, Why, parse_address
from mesh.store.interface import InboxMessage, InboxQuery, Store, StoredReceipt

BATCH_LETTERS = 256
"""How many messages are accepted or read at once."""


class NodeSurface(Protocol):
    """What an agent needs of its node."""

    desk: Desk
    stores: Stores
    transfers: Transfers
    config: Config

    def post(self, event: Event) -> None: ...
    def mailbox(self, key: MailboxKey) -> Mailbox: ...
    def why(self, key: MailboxKey, entry: StoredReceipt) -> Why: ...
    def files_of(self, key: MailboxKey) -> Path: ...
    def roster(self, own: MailboxKey | None) -> list[RosterEntry]: ...
    async def keys_of_host(self) -> frozenset[MailboxKey]: ...
    async def settle(self) -> None: ...
    async def status(self, own: MailboxKey | None) -> Status: ...
    async def rename(self, key: MailboxKey, name: str) -> None: ...


class MailboxHandle:
    """Requests and reads for one mailbox of a node."""

    def __init__(self, node: NodeSurface, key: MailboxKey) -> None:
        self.node = node
        self.key = key
        self._is_marking = False

    async def chain_after(self, causes: Iterable[str]) -> tuple[bytes, ...]:
        """Return the hops of an automatic message: the longest way to it from what caused it."""
        ids = [contents.message_id(cause, "caused_by") for cause in causes]
        if not ids:
            return ()

        def read(store: Store) -> tuple[bytes, ...]:
            chains = [_chain_of(store, message_id) for message_id in ids]
            return max(chains, key=len, default=())

        return await self.node.stores.use(self.key, read)

    def direct(self, to: str, *drafts: Draft) -> Callable[[Token], Event]:
        """Return what makes the event that sends drafts to one recipient."""
        address = parse_address(to)
        return lambda token: Submit(token, self.key, address, drafts)

    def request(self, make: Callable[[Token], Event]) -> asyncio.Future[Outcome]:
        """Ask the core for something; the future ends with its answer."""
        self.node.mailbox(self.key)
        return self.node.desk.request(self.node.post, make)

    async def submit(self, future: asyncio.Future[Outcome]) -> Receipt:
        """Wait until a message is accepted; cancelling the wait does not take it back."""
        (receipt,) = await asyncio.shield(future)
        return receipt

    def mark(self, letters: Sequence[ShownLetter]) -> asyncio.Future[Outcome]:
        """Have letters marked as shown."""
        return self.request(lambda token: Shown(token, self.key, tuple(letters)))

    async def page(self, query: InboxQuery) -> Page:
        """Read messages as their reader sees them, after what was marked before."""
        if self._is_marking:
            self._is_marking = False
            self.node.desk.mark_seen(self.node.post)
            await self.node.settle()
        name, files = self.node.mailbox(self.key).name, self.node.files_of(self.key)

        def read(store: Store) -> Page:
            found = store.read(query)
            return Page(
                tuple(contents.to_message(m, own_name=name, files=files) for m in found.messages),
                found.remaining,
            )

        return await self.node.stores.use(self.key, read)

    def mark_soon(self, letter: ShownLetter) -> None:
        """Have a letter marked as shown, together with others that are read in the same turn."""
        self.node.desk.mark_soon(self.node.post, self.key, letter)
        self._is_marking = True

    async def unread_batch(self, after_row: int) -> list[tuple[Message, ShownLetter]]:
        """Read the oldest unread messages after a row, each with the name by which it is marked.

        What has just arrived is still in memory; only what has files to put somewhere, or is not
        there any more, needs the store's thread.
        """
        name, files = self.node.mailbox(self.key).name, self.node.files_of(self.key)

        def shape(messages: Iterable[InboxMessage]) -> list[tuple[Message, ShownLetter]]:
            return [
                (contents.to_message(m, own_name=name, files=files), _shown(m)) for m in messages
            ]

        stores = self.node.stores
        recent = stores.recent(self.key, after_row, limit=BATCH_LETTERS)
        if recent is not None and not any(contents.may_have_file(m) for m in recent):
            return shape(recent)
        query = InboxQuery(after_row=after_row, limit=BATCH_LETTERS)
        return await stores.use(self.key, lambda store: shape(store.read(query).messages))


def _chain_of(store: Store, message_id: MessageId) -> tuple[bytes, ...]:
    query = InboxQuery(unread_only=False, message_id=message_id, limit=1)
    page = store.read(query)
    return (*(page.messages[0].letter.chain if page.messages else ()), message_id)


def _shown(message: InboxMessage) -> ShownLetter:
    letter = message.letter
    return ShownLetter(
        letter.author,
        letter.incarnation,
        letter.sequence,
        letter.message_id,
        letter.body_bytes,
    )
