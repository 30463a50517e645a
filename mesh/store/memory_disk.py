"""What a `MemoryStore` leaves behind: the state that survives a crash."""

from dataclasses import dataclass, field
from enum import Enum

from mesh.core.snapshot import Pin, RememberedPeer, StreamIn, StreamKey
from mesh.model import Alias, Incarnation, Letter, MailboxKey, MessageId, State, Verified, Why
from mesh.store.clocks import Instant


class Fault(Enum):
    """How the next commit fails: for want of space, unwritten, or written but reported failed."""

    FULL = "full"
    LOST = "lost"
    UNCERTAIN = "uncertain"


@dataclass(slots=True)
class OutboxRow:
    """A letter owed or settled."""

    letter: Letter
    body: bytes
    deadline_s: float
    to_prefix: str
    was_sent: bool
    changed_s: float
    changed_ms: int
    state: State = State.QUEUED
    why: Why = Why.NONE


@dataclass(slots=True)
class InboxRow:
    """A message received."""

    letter: Letter
    body: bytes
    verified: Verified
    received_ms: int
    changed_s: float
    is_shown: bool = False
    is_told: bool = False


@dataclass(slots=True)
class MemoryDisk:
    """What survives a crash. Set `fault` to make the next commit fail."""

    key: MailboxKey
    name: str
    mesh: str
    incarnation: Incarnation
    registered_ms: int = 0
    claim: int = 0
    next_row: int = 1
    next_inbox_row: int = 1
    last: Instant | None = None
    renamed_s: float | None = None
    fault: Fault | None = None
    outbox: dict[int, OutboxRow] = field(default_factory=dict)
    inbox: dict[int, InboxRow] = field(default_factory=dict)
    streams_in: dict[StreamKey, StreamIn] = field(default_factory=dict)
    next_sequences: dict[MailboxKey, int] = field(default_factory=dict)
    pins: dict[str, Pin] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    peers: dict[tuple[str, ...], RememberedPeer] = field(default_factory=dict)
    rows_by_id: dict[MessageId, list[int]] = field(default_factory=dict)
    inbox_by_stream: dict[tuple[MailboxKey, Incarnation, int], int] = field(default_factory=dict)
