"""The clocks of the driver: the core's `now`, and whether this process has been asleep."""

import time
from pathlib import Path
from typing import Final

_SLEEP_S_MIN: Final = 5.0

now_s = time.monotonic
"""The core's clock: seconds, never backwards, meaningless outside this process."""


def wall_ms() -> int:
    """Return milliseconds since the Unix epoch, for display only."""
    return time.time_ns() // 1_000_000


class SleepWatch:
    """Notices that the process did not run for a while: suspended, stopped, or starved."""

    def __init__(self) -> None:
        self._awake_at = now_s()
        self._wall_ms = wall_ms()

    def has_slept(self, *, due_at: float | None) -> bool:
        """Whether the loop came back much later than it wanted (`due_at`), by either clock."""
        now, wall = now_s(), wall_ms()
        wanted = self._awake_at if due_at is None else max(due_at, self._awake_at)
        late_s = now - wanted if due_at is not None else 0.0
        jumped_s = (wall - self._wall_ms) / 1000 - (now - self._awake_at)
        self._awake_at, self._wall_ms = now, wall
        return late_s > _SLEEP_S_MIN or jumped_s > _SLEEP_S_MIN


class MachineClocks:
    """The clocks of this machine, as the stores want them."""

    def __init__(self) -> None:
        try:
            self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:
            self._boot_id = ""

    @property
    def boot_id(self) -> str:
        """Names this boot of the machine; empty where the system does not tell."""
        return self._boot_id

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch; may jump."""
        return wall_ms()

    def boot_s(self) -> float:
        """Return seconds since the machine started, sleep included where the system can."""
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if clock is None else time.clock_gettime(clock)
