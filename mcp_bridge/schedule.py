"""The schedule of `auto_process`: at which times unread mail is to be brought up again."""

import math
import time
from datetime import UTC, datetime


class Schedule:
    """When mail is to be looked after; `every_minutes` 0 is never."""

    def __init__(self) -> None:
        self.every_minutes = 0
        self._started_at = 0.0
        self._done = 0

    def set(self, every_minutes: int) -> None:
        """Start anew, or stop with 0."""
        self.every_minutes = every_minutes
        self._started_at, self._done = time.monotonic(), 0

    @property
    def due_s(self) -> float | None:
        """Seconds until the next time that was not taken yet, 0 if it has come; None is never."""
        if not self.every_minutes:
            return None
        due_at = self._started_at + (self._done + 1) * self.every_minutes * 60
        return max(0.0, due_at - time.monotonic())

    def take(self) -> bool:
        """Return whether a time has come since the last one taken, and take it."""
        if self.due_s != 0:
            return False
        self._done = self._periods
        return True

    def next_at(self) -> str | None:
        """Return when the next time is, in ISO 8601."""
        if not self.every_minutes:
            return None
        due_at = self._started_at + (self._periods + 1) * self.every_minutes * 60
        moment = datetime.fromtimestamp(time.time() + due_at - time.monotonic(), UTC)
        return moment.isoformat(timespec="seconds")

    @property
    def _periods(self) -> int:
        return math.floor((time.monotonic() - self._started_at) / (self.every_minutes * 60))
