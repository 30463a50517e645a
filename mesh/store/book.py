"""What a store keeps in memory about its rows: read at open, true as long as commits are."""

from dataclasses import dataclass, field

from mesh.core.snapshot import StreamIn, StreamKey
from mesh.model import MailboxKey


@dataclass(slots=True)
class Book:
    """Counts, next numbers and streams. `body_of_row` knows queued letters with shared bodies."""

    next_inbox_row: int = 1
    next_body_id: int = 1
    queued: int = 0
    unread: int = 0
    history: int = 0
    streams_in: dict[StreamKey, StreamIn] = field(default_factory=dict)
    next_sequences: dict[MailboxKey, int] = field(default_factory=dict)
    body_of_row: dict[int, int] = field(default_factory=dict)
    rows_of_body: dict[int, int] = field(default_factory=dict)
