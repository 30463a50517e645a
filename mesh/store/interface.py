"""What every store of a mailbox offers; the contract suite in `tests/store` runs on each."""

from collections.abc import Sequence
from typing import Protocol

from mesh.core.changes import Change
from mesh.core.snapshot import MailboxSnapshot, ShownLetter
from mesh.model import Letter, MailboxKey, MessageId, State, Verified, Why
from mesh.values import value


@value
class StoredLetter:
    """A letter of the outbox with its body, verified against its digest when read."""

    row: int
    letter: Letter
    body: bytes


@value
class InboxMessage:
    """A message of the inbox, verified against its digest when read."""

    row: int
    letter: Letter
    body: bytes
    received_ms: int
    is_shown: bool
    verified: Verified


@value
class InboxQuery:
    """Which messages to read, oldest first.

    `author_names` are folded names; `since_ms` keeps mail created after it; `after_row` keeps what
    came into the inbox after that message; `message_id` keeps that one; `words` must all occur
    (without case) in the searchable text; `limit` bounds the number of messages,
    `body_bytes_max` the bodies read in one call (at least one message is returned).
    """

    unread_only: bool = True
    author_name: str = ""
    since_ms: int | None = None
    after_row: int = 0
    message_id: MessageId | None = None
    words: tuple[str, ...] = ()
    limit: int = 1000
    body_bytes_max: int = 32 * 1024 * 1024


@value
class InboxPage:
    """What a query found; `remaining` counts the matching messages that did not fit."""

    messages: tuple[InboxMessage, ...]
    remaining: int


@value
class StoredReceipt:
    """The state of one outgoing message for one recipient."""

    message_id: MessageId
    to: str
    recipient: MailboxKey | None
    state: State
    why: Why
    changed_ms: int


@value
class Counts:
    """How much lies in a mailbox."""

    unread: int
    history: int
    queued: int


class Store(Protocol):
    """One mailbox on one disk, used from one thread. Every method may raise `StoreError`."""

    @property
    def is_failed(self) -> bool:
        """Whether a commit failed or damage has shown: close the store and open it again."""
        ...

    def snapshot(self) -> MailboxSnapshot:
        """Read everything the core needs; letters that fail their digest are set aside."""
        ...

    def commit(self, changes: Sequence[Change]) -> None:
        """Make all changes durable in one transaction, or none of them.

        Raises:
            DiskFullError: nothing was written.
            StoreError: it is unknown whether it was written; reopen before going on.
        """
        ...

    def letters(self, rows: Sequence[int]) -> list[StoredLetter]:
        """Return queued letters with their bodies, in the order asked for, as far as there."""
        ...

    def read(self, query: InboxQuery) -> InboxPage:
        """Return messages of the inbox, oldest first; reading changes nothing."""
        ...

    def recent(self, after_row: int, *, limit: int) -> list[InboxMessage] | None:
        """Return the oldest unread messages after a row from memory; None: `read` must be used."""
        ...

    def shown_letters(self, rows: Sequence[int]) -> list[ShownLetter]:
        """Return those of these inbox rows that are still unread, as the core wants them."""
        ...

    def receipts(
        self, message_id: MessageId | None = None, *, limit: int = 100
    ) -> list[StoredReceipt]:
        """Return all receipts of one message, or the newest ones up to `limit`."""
        ...

    def counts(self) -> Counts:
        """Count messages."""
        ...

    def close(self) -> None:
        """Release the files; idempotent."""
        ...
