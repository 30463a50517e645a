"""Whose clock differs from ours, as their mail shows: each letter says when it was written.

A letter also says how old it is, by clocks that only measure durations. Date and age together tell
what time it is for its author; what is left between that and our time is the difference of the
clocks, and the moment it took to come here. Nothing depends on it but what people are told.
"""

from typing import Final

from mesh.model import MailboxKey
from mesh.packet import Mail

SKEW_S_MIN: Final = 60.0
AGE_S_MAX: Final = 60.0
AUTHORS_MAX: Final = 64


class Skews:
    """Remembers the authors whose clocks are off, as of their latest letter."""

    def __init__(self) -> None:
        self._off: dict[MailboxKey, tuple[str, float]] = {}

    def note(self, mail: Mail, wall_ms: int) -> None:
        """Compare the latest letter of a packet that is genuine with our time."""
        item = mail.items[-1]
        if item.age_s > AGE_S_MAX:  # It may have slept, or its host's clock been set meanwhile.
            return
        ahead_s = item.letter.created_ms / 1000 + item.age_s - wall_ms / 1000
        if abs(ahead_s) < SKEW_S_MIN:
            self._off.pop(mail.author, None)
        elif mail.author in self._off or len(self._off) < AUTHORS_MAX:
            self._off[mail.author] = (item.letter.author_name, ahead_s)

    @property
    def problems(self) -> tuple[str, ...]:
        """Say whose clock is off, a sentence each."""
        return tuple(
            f"The clock of {name}'s machine is {_span(ahead_s)} "
            f"{'ahead of' if ahead_s > 0 else 'behind'} ours"
            for name, ahead_s in self._off.values()
        )


def _span(seconds: float) -> str:
    minutes = abs(seconds) / 60
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
