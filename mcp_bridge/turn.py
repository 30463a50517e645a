"""Whether the model acts by itself: who was shown what since a person last had a turn.

A push can wake a model without any person, and so can the answer that it sends wake another, and so
on. What is sent in such a turn is flagged `auto` and named after the messages that caused it; their
hops are counted along with it, so that a ring of sessions stops however many there are.

Only hooks can tell that a person has spoken. Without them a turn counts as the person's own again
once nothing has been pushed for a while.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

turn_s: Final = 600.0
_causes_max: Final = 256


class Turn:
    """The turn of one session; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._woken_at: float | None = None
        self._latest: list[str] = []
        self._shown: deque[str] = deque(maxlen=_causes_max)

    def woken(self, ids: Iterable[str] = ()) -> None:
        """Note that something was pushed: messages, or word of some that wait."""
        self._woken_at = self._clock()
        self._latest = []
        self.shown(ids)

    def shown(self, ids: Iterable[str]) -> None:
        """Note that messages were put before the model, in whatever way."""
        if self.is_automatic:
            self._latest += ids
            self._shown.extend(self._latest)
            self._latest = self._latest[-_causes_max:]

    def begun_by_person(self) -> None:
        """Note that a person has a turn: nothing before caused what is sent from now on."""
        self._woken_at = None
        self._latest = []
        self._shown.clear()

    @property
    def is_automatic(self) -> bool:
        """Whether a push may have begun it."""
        return self._woken_at is not None and self._clock() - self._woken_at < turn_s

    def causes(self, reply_to: str | None) -> tuple[str, ...]:
        """Return the messages that led to one sent now; none if a person did."""
        if reply_to is not None and reply_to in self._shown:
            return (reply_to,)
        return tuple(self._latest) if self.is_automatic else ()
