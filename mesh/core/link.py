"""One link: the handshake that comes before everything else, as one table.

    dialler:   DIALLING --welcome--> UP
    acceptor:  (hello) GREETED --announce--> UP

A packet that the table does not allow ends the link (PROTOCOL.md LINK-5).
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mesh.model import Card, LinkId, MailboxKey
from mesh.packet import Greeting


class LinkState(Enum):
    """How far a link has come."""

    DIALLING = "dialling"
    GREETED = "greeted"
    UP = "up"
    CLOSED = "closed"


class LinkSignal(Enum):
    """What moves a link on."""

    WELCOME = "welcome"
    ANNOUNCE = "announce"
    TRAFFIC = "traffic"
    LOST = "lost"


TABLE: Final[dict[tuple[LinkState, LinkSignal], LinkState]] = {
    (LinkState.DIALLING, LinkSignal.WELCOME): LinkState.UP,
    (LinkState.DIALLING, LinkSignal.LOST): LinkState.CLOSED,
    (LinkState.GREETED, LinkSignal.ANNOUNCE): LinkState.UP,
    (LinkState.GREETED, LinkSignal.LOST): LinkState.CLOSED,
    (LinkState.UP, LinkSignal.ANNOUNCE): LinkState.UP,
    (LinkState.UP, LinkSignal.TRAFFIC): LinkState.UP,
    (LinkState.UP, LinkSignal.LOST): LinkState.CLOSED,
}

SELF_LINK: Final = LinkId(0)
"""Packets to mailboxes that this very node holds; the driver feeds them back."""


@dataclass(slots=True)
class Link:
    """State of one link. `opened_at` and `heard_at` are on the core's clock."""

    id: LinkId
    state: LinkState
    opened_at: float
    heard_at: float
    target: str = ""
    greeting: Greeting | None = None
    cards: dict[MailboxKey, Card] = field(default_factory=dict)
    has_announced: bool = False
    hints_ignored_until: float = 0.0

    @property
    def is_dialled(self) -> bool:
        """Whether this node opened the link."""
        return self.id > 0

    def move(self, signal: LinkSignal) -> bool:
        """Advance by the table; False when the table does not allow `signal` now."""
        state = TABLE.get((self.state, signal))
        if state is None:
            return False
        self.state = state
        return True
