"""How often something may be done: a burst, then at a steady rate."""

import time
from collections.abc import Callable


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
