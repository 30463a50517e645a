"""How much mail a mailbox keeps and sends at once; the simulator makes it scarce."""

from dataclasses import dataclass
from typing import Final

from mesh import limits


@dataclass(frozen=True, slots=True)
class Bounds:
    """Letters and bytes: sent and not acknowledged, owed, and received but not read."""

    window_letters: int = limits.window_letters_max
    window_bytes: int = limits.window_bytes_max
    outbox_letters: int = limits.outbox_letters_max
    outbox_bytes: int = limits.outbox_bytes_max
    inbox_letters_per_author: int = limits.inbox_letters_per_author_max
    inbox_bytes_per_author: int = limits.inbox_bytes_per_author_max
    inbox_letters: int = limits.inbox_letters_max
    inbox_bytes: int = limits.inbox_bytes_max


BOUNDS: Final = Bounds()
