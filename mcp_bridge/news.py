"""What the model has been told of its mail, so that it is told once, by one way.

The inbox on disk is the truth: a message is unread until it was shown whole, and reading, showing
and marking it happen under one lock (`showing`), so that no two ways show the same message. What
was only told of (a beginning pushed, a count) stays unread and is not told again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

import mesh
from mcp_bridge.schedule import Schedule
from mcp_bridge.turn import Turn
from mesh import limits

Wants: TypeAlias = "Callable[[mesh.Message], bool]"
_look_bytes_max: Final = 4 * limits.MIB


class News:
    """The state of one session's news."""

    def __init__(self) -> None:
        self.showing = asyncio.Lock()
        """Held from reading unread mail until what was shown of it is marked."""
        self.changed = asyncio.Event()
        """Set when there may be something to tell."""
        self.schedule = Schedule()
        self.acts = 0
        """How often the model was seen to act."""
        self.turn = Turn()
        self._waits: list[Wants] = []
        self._last_row = 0
        self._told: set[int] = set()

    @contextmanager
    def waiting(self, wants: Wants) -> Iterator[None]:
        """Keep mail that `wants` says yes to for a call that waits for it."""
        self._waits.append(wants)
        try:
            yield
        finally:
            self._waits.remove(wants)
            self.changed.set()

    def acted(self) -> None:
        """Note that the model acts, by which it has seen what was pushed before."""
        self.acts += 1
        self.changed.set()

    def forget(self) -> None:
        """Begin anew: the mailbox was opened again."""
        self._last_row, self._told = 0, set()

    async def untold(self, agent: mesh.Agent) -> list[mesh.Message]:
        """Return unread mail of which nothing was told, but what a waiting call wants.

        Not always all of it: ask again after `tell`. `showing` must be held until then.
        """
        while True:
            page = await agent.read(
                peek=True, after_row=self._last_row, body_bytes_max=_look_bytes_max
            )
            self._skip(page.messages)
            fresh = [m for m in page.messages if not (self._is_told(m) or self._is_wanted(m))]
            if fresh or not page.remaining or self._last_row < page.messages[-1].row:
                return fresh

    def tell(self, messages: Iterable[mesh.Message]) -> None:
        """Note that the model was told of these messages."""
        self._told |= {message.row for message in messages}

    def _skip(self, messages: Sequence[mesh.Message]) -> None:
        """Go on after the first messages, as far as they were all told of."""
        for message in messages:
            if message.row not in self._told:
                return
            self._last_row = message.row
            self._told.discard(message.row)

    def _is_told(self, message: mesh.Message) -> bool:
        return message.row <= self._last_row or message.row in self._told

    def _is_wanted(self, message: mesh.Message) -> bool:
        return any(wants(message) for wants in self._waits)
