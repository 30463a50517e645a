"""What the sender of a message knows of it so far; grows while the node lives."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from mesh.core import effects
from mesh.driver.results import Recipient
from mesh.model import MailboxKey, State, Why, fingerprint

_RANK: Final = {
    State.QUEUED: 0,
    State.DELIVERED: 1,
    State.SHOWN: 2,
    State.REFUSED: -1,
    State.EXPIRED: -1,
}


class Receipt:
    """The receipt of one message. `id` is 32 hexadecimal characters.

    It follows the message only while the node that sent it runs; `Agent.receipt` reads what the
    disk says at any later time.
    """

    def __init__(self, message_id: str, states: tuple[effects.RecipientState, ...]) -> None:
        self.id = message_id
        self._states = {(s.key, s.to): s for s in states}
        self._at: dict[tuple[MailboxKey | None, str], datetime] = {}
        # Made by the first who waits: most receipts are never waited for twice, many not at all.
        self._changed: asyncio.Event | None = None

    @property
    def recipients(self) -> list[Recipient]:
        """Where the message stands with each recipient."""
        return [
            Recipient(
                to=state.to,
                state=state.state.value,
                why=state.why.value,
                at=self._at.get(key),
                fingerprint=fingerprint(state.key) if state.key else "",
                forwarded_from=state.forwarded_from,
                is_changed=state.is_changed,
            )
            for key, state in self._states.items()
        ]

    @property
    def state(self) -> str:
        """The state of the only recipient, or the least advanced of all."""
        states = [s.state for s in self._states.values()]
        return min(states, key=_RANK.__getitem__, default=State.QUEUED).value

    def update(self, recipient: MailboxKey | None, state: State, why: Why) -> None:
        """Take note that the message has moved on for one recipient."""
        key = self._key_of(recipient)
        if key is None:
            return
        old = self._states[key]
        self._states[key] = replace(old, key=recipient or old.key, state=state, why=why)
        self._at[key] = datetime.now(UTC)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait(self, state: str, timeout_s: float) -> bool:
        """Wait until every recipient has got as far as `state`.

        Returns False when time is up, or as soon as one recipient never will.
        """
        wanted = _RANK[State(state)]
        outcome = self._outcome(wanted)
        if outcome is not None:
            return outcome
        try:
            async with asyncio.timeout(timeout_s):
                while outcome is None:
                    if self._changed is None:
                        self._changed = asyncio.Event()
                    await self._changed.wait()
                    outcome = self._outcome(wanted)
        except TimeoutError:
            return False
        return outcome

    def _outcome(self, wanted: int) -> bool | None:
        """Whether every recipient has got as far as `wanted`; None while that is open."""
        lowest = min([_RANK[s.state] for s in self._states.values()], default=wanted)
        if lowest >= wanted:
            return True
        return False if lowest < 0 else None

    def _key_of(self, recipient: MailboxKey | None) -> tuple[MailboxKey | None, str] | None:
        """A letter that waited for its recipient is still listed without a key."""
        without = None
        for key in self._states:
            if key[0] == recipient:
                return key
            if key[0] is None and without is None:
                without = key
        return without


class SharedFile:
    """The receipt of a shared file, with what was shared: name, size in bytes, BLAKE2b-256."""

    def __init__(self, receipt: Receipt, *, name: str, size: int, blake2b: str) -> None:
        self._receipt = receipt
        self.id = receipt.id
        self.name = name
        self.bytes = size
        self.blake2b = blake2b

    @property
    def recipients(self) -> list[Recipient]:
        """Where the file stands with its recipient."""
        return self._receipt.recipients

    @property
    def state(self) -> str:
        """The state of the message that carries the file."""
        return self._receipt.state

    async def wait(self, state: str, timeout_s: float) -> bool:
        """Wait as for any message."""
        return await self._receipt.wait(state, timeout_s)


class SharedCommand:
    """The receipt of a shared command, with how it ended; `returncode` None: it was killed."""

    def __init__(self, receipt: Receipt, *, returncode: int | None, truncated: bool) -> None:
        self._receipt = receipt
        self.id = receipt.id
        self.returncode = returncode
        self.truncated = truncated

    @property
    def recipients(self) -> list[Recipient]:
        """Where the result stands with its recipient."""
        return self._receipt.recipients

    @property
    def state(self) -> str:
        """The state of the message that carries the result."""
        return self._receipt.state

    async def wait(self, state: str, timeout_s: float) -> bool:
        """Wait as for any message."""
        return await self._receipt.wait(state, timeout_s)
