"""How often something may be done: a burst, then at a steady rate."""

import math
import time
from collections.abc import Callable
from typing import Final

import mesh

send_burst: Final = 500
sends_per_s: Final = 10.0
broadcast_burst: Final = 5
broadcasts_per_s: Final = 1.0


class Bucket:
    """Holds up to `burst` turns and gets `per_s` new ones a second; `clock` gives seconds."""

    def __init__(
        self, *, burst: int, per_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._turns = float(burst)
        self._counted_at = clock()

    @property
    def delay_s(self) -> float:
        """Seconds until a turn can be taken; 0 if now."""
        self._count()
        return max(0.0, (1 - self._turns) / self._per_s)

    def take(self) -> None:
        """Use up one turn."""
        self._count()
        self._turns -= 1

    def _count(self) -> None:
        now = self._clock()
        grown = self._turns + (now - self._counted_at) * self._per_s
        self._turns, self._counted_at = min(float(self._burst), grown), now


class Limits:
    """How much one session may send: no model needs that much, but a loop of two does."""

    def __init__(self) -> None:
        self._sends = Bucket(burst=send_burst, per_s=sends_per_s)
        self._broadcasts = Bucket(burst=broadcast_burst, per_s=broadcasts_per_s)

    def send(self) -> None:
        """Count a message; raises RateLimitError, which says when there is room again."""
        _take(self._sends, "send")

    def broadcast(self) -> None:
        """Count a broadcast; raises RateLimitError, which says when there is room again."""
        _take(self._broadcasts, "broadcast")


def _take(bucket: Bucket, verb: str) -> None:
    delay_s = bucket.delay_s
    if delay_s:
        seconds = math.ceil(delay_s)
        raise mesh.RateLimitError(
            f"Rate limit: can {verb} again in {seconds} second{'s' * (seconds > 1)}",
            retry_after_s=delay_s,
        )
    bucket.take()
