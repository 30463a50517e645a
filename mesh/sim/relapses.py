"""How long a simulated process leaves a disk alone whose commits keep failing."""

from typing import Final

from mesh.model import MailboxKey

pause_s_max: Final = 5.0


class Relapses:
    """Counts, by mailbox, the failures that follow each other closely."""

    def __init__(self) -> None:
        self._failures: dict[MailboxKey, tuple[int, float]] = {}

    def pause_s(self, key: MailboxKey, now: float) -> float:
        """Note a failure and return the pause before the mailbox is opened again: 0 at first."""
        failures, failed_at = self._failures.get(key, (0, -pause_s_max))
        failures = failures + 1 if now < failed_at + 2 * pause_s_max else 0
        self._failures[key] = (failures, now)
        return min(pause_s_max, 0.1 * 2.0**failures) if failures else 0.0
