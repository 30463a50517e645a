"""Counts how long a mailbox has existed, whatever happens to the wall clock.

Every deadline in a store is a number of seconds on this *elapsed clock*. While the store is open,
and between two openings within one boot of the machine, it follows a clock that counts sleep but
cannot be set. Across a boot only the wall clock is left: its difference counts, but never less than
zero and never more than `absence_s_max`, so that a wrong date can neither revive nor expire mail.
"""

import json
from dataclasses import dataclass
from typing import Final, Protocol

absence_s_max: Final = 48 * 3600.0


class Clocks(Protocol):
    """The clocks of this machine."""

    def wall_ms(self) -> int:
        """Return the Unix time in milliseconds; may jump either way."""
        ...

    def boot_s(self) -> float:
        """Return seconds since the machine started, sleep included; never goes back."""
        ...

    @property
    def boot_id(self) -> str:
        """Name this boot of the machine; empty if unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Instant:
    """The elapsed clock together with what the machine's clocks showed then."""

    elapsed_s: float
    wall_ms: int
    boot_s: float
    boot_id: str

    def encode(self) -> str:
        """Return the text that is kept in the database."""
        return json.dumps([self.elapsed_s, self.wall_ms, self.boot_s, self.boot_id])

    @classmethod
    def decode(cls, text: str) -> "Instant":
        """Read what `encode` wrote."""
        elapsed_s, wall_ms, boot_s, boot_id = json.loads(text)
        return cls(float(elapsed_s), int(wall_ms), float(boot_s), str(boot_id))


class ElapsedClock:
    """Continues the elapsed clock from the last instant that was stored."""

    def __init__(self, clocks: Clocks, last: Instant | None) -> None:
        self._clocks = clocks
        self._start_boot_s = clocks.boot_s()
        self._start_s = 0.0 if last is None else last.elapsed_s + self._absence_s(last)

    def now_s(self) -> float:
        """Return how long the mailbox has existed."""
        return self._start_s + max(0.0, self._clocks.boot_s() - self._start_boot_s)

    def wall_ms(self) -> int:
        """Return the wall clock, for display only."""
        return self._clocks.wall_ms()

    def instant(self) -> Instant:
        """Return what must be stored to continue from here."""
        clocks = self._clocks
        return Instant(self.now_s(), clocks.wall_ms(), clocks.boot_s(), clocks.boot_id)

    def _absence_s(self, last: Instant) -> float:
        if last.boot_id and last.boot_id == self._clocks.boot_id:
            return max(0.0, self._start_boot_s - last.boot_s)
        wall_s = (self._clocks.wall_ms() - last.wall_ms) / 1000
        return min(max(0.0, wall_s), absence_s_max)
