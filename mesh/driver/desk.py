"""Where requests of agents meet the ticks: tokens out, answers, arrivals and receipts back."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

from mesh.core.effects import Accepted, Answer, Arrival, Denied, Done
from mesh.core.effects import Receipt as ReceiptFact
from mesh.core.events import Event, Shown, Token
from mesh.core.snapshot import ShownLetter
from mesh.driver.bell import Bell
from mesh.driver.receipt import Receipt
from mesh.errors import (
    MeshError,
    NameInUseError,
    QuotaError,
    RateLimitError,
    StoreError,
    UnconfirmedError,
    UsageError,
)
from mesh.model import MailboxKey, MessageId

Post = Callable[[Event], None]
"""Hands an event to the core."""

Outcome = list[Receipt]
"""What a request gives: the receipts of its messages, none for other requests."""


class Desk:
    """Implements the engine's `Listener` for the agents of one node."""

    def __init__(
        self,
        *,
        on_link_lost: Callable[[], None],
        on_host_changed: Callable[[], None],
        on_moved: Callable[[], None],
    ) -> None:
        self.roster_bell = Bell()
        self._on_link_lost = on_link_lost
        self._on_host_changed = on_host_changed
        self._on_moved = on_moved
        self._tokens = itertools.count(1)
        self._closed: MeshError | None = None
        self._open: dict[Token, asyncio.Future[Outcome]] = {}
        self._followed: WeakValueDictionary[tuple[MailboxKey, MessageId], Receipt] = (
            WeakValueDictionary()
        )
        self._arrival_bells: dict[MailboxKey, Bell] = {}
        self._seen: dict[MailboxKey, list[ShownLetter]] = {}

    def arrival_bell(self, key: MailboxKey) -> Bell:
        """Return the bell that rings when mail for a mailbox arrives."""
        return self._arrival_bells.setdefault(key, Bell())

    def request(self, post: Post, make: Callable[[Token], Event]) -> "asyncio.Future[Outcome]":
        """Post an event that will be answered; the future ends with its answer.

        Cancelling whoever waits for it does not undo the request.

        Raises:
            MeshError: the node has ended.
        """
        if self._closed is not None:
            raise self._closed
        token = Token(next(self._tokens))
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._open[token] = future
        post(make(token))
        return future

    def mark_soon(self, post: Post, key: MailboxKey, letter: ShownLetter) -> None:
        """Have a letter marked as shown, together with others that are read in the same turn."""
        if not self._seen:
            asyncio.get_running_loop().call_soon(self.mark_seen, post)
        self._seen.setdefault(key, []).append(letter)

    def mark_seen(self, post: Post) -> None:
        """Have marked what was read and is not yet."""
        seen, self._seen = self._seen, {}
        for key, letters in seen.items():
            post(Shown(None, key, tuple(letters)))

    def close(self, error: MeshError) -> None:
        """Fail everything that is still open, and wake who waits: the node has ended."""
        self._closed = error
        for future in self._open.values():
            if not future.done():
                future.set_exception(error)
                future.exception()
        self._open.clear()
        for bell in (self.roster_bell, *self._arrival_bells.values()):
            bell.ring()

    # What the engine calls.

    def answered(self, answer: Answer, error: StoreError | None) -> None:
        """End a request."""
        future = self._open.pop(answer.token, None)
        if future is None or future.done():
            return
        match answer:
            case Denied():
                future.set_exception(_denial(answer))
            case _ if error is not None:
                future.set_exception(error)
            case Accepted():
                future.set_result([self._follow(answer, one) for one in answer.message_ids])
            case Done():
                future.set_result([])

    def uncertain(self, answer: Accepted, error: StoreError) -> None:
        """End a request of which nobody can say whether it was carried out."""
        future = self._open.pop(answer.token, None)
        if future is not None and not future.done():
            message_id = answer.message_ids[0].hex()
            more = f" (and {count} more)" if (count := len(answer.message_ids) - 1) else ""
            text = f"It is unknown whether the message {message_id}{more} was accepted: {error}"
            future.set_exception(UnconfirmedError(text, message_id=message_id))

    def _follow(self, answer: Accepted, message_id: MessageId) -> Receipt:
        receipt = Receipt(message_id.hex(), answer.recipients)
        self._followed[(answer.mailbox, message_id)] = receipt
        return receipt

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Wake whoever waits for mail."""
        for key in {arrival.mailbox for arrival in arrivals}:
            self.arrival_bell(key).ring()

    def receipts(self, receipts: Iterable[ReceiptFact]) -> None:
        """Move the receipts on that somebody still holds."""
        for fact in receipts:
            receipt = self._followed.get((fact.mailbox, fact.message_id))
            if receipt is not None:
                receipt.update(fact.recipient, fact.state, fact.why)

    def roster_changed(self) -> None:
        """Wake whoever waits for somebody to appear."""
        self.roster_bell.ring()

    def link_lost(self) -> None:
        """Ask the registry who is still alive."""
        self._on_link_lost()

    def host_changed(self) -> None:
        """Look for mailboxes without a holder."""
        self._on_host_changed()

    def moved(self) -> None:
        """Look for everybody again, and tell others where we are now."""
        self._on_moved()


def _denial(answer: Denied) -> MeshError:
    match answer.code:
        case "rate_limited":
            return RateLimitError(answer.message, retry_after_s=answer.retry_after_s)
        case "name_in_use":
            return NameInUseError(answer.message)
        case "quota":
            return QuotaError(answer.message)
        case "storage":
            return StoreError(answer.message)
        case _:
            return UsageError(answer.message)
