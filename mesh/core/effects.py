"""What a step asks of its driver, in an order that must be kept.

1. `dials`, `closes`, `packets` and `transmissions` may happen at once, while 2 is still running;
2. `changes` are committed, one transaction a mailbox;
3. only then `acks`, `answers`, `arrivals` and `receipts` may leave; if the commit failed, none of
   that mailbox's may.
`files` follow the commit, too, one after the other; their answers come back as events.
Letters whose `MarkSent` is among the changes wait for 2 as well (`transmissions_after`).
"""

from dataclasses import dataclass, field
from typing import Final

from mesh.core.changes import Change
from mesh.core.events import Token
from mesh.core.filework import FileTask
from mesh.model import (
    CurveKey,
    Letter,
    LinkId,
    MailboxKey,
    MessageId,
    NodeId,
    State,
    Verified,
    Why,
)
from mesh.packet import Packet
from mesh.values import value


@value
class Dial:
    """Open a link. `curve` None: the peer's door, whose key follows from the secret.

    The driver sends a `Hello` with `expected` as soon as the link can carry it.
    """

    link: LinkId
    endpoint: str
    curve: CurveKey | None
    expected: NodeId | None


@value
class Transmission:
    """Send letters of one author over a link: (row, previous, age in seconds) each, in order."""

    link: LinkId
    mailbox: MailboxKey
    letters: tuple[tuple[int, int, float], ...]


@value
class RecipientState:
    """Where a message stands with one recipient. `forwarded_from` is the former name used.

    `is_changed`: the name has another key than the one pinned for it, whose agent is away.
    """

    to: str
    key: MailboxKey | None
    state: State
    why: Why = Why.NONE
    forwarded_from: str = ""
    is_changed: bool = False


@value
class Accepted:
    """Messages are durable. Where each stands with each recipient is the same for all."""

    token: Token
    mailbox: MailboxKey
    message_ids: tuple[MessageId, ...]
    recipients: tuple[RecipientState, ...]


@value
class Done:
    """A request other than a message was carried out."""

    token: Token
    mailbox: MailboxKey


@value
class Denied:
    """A request was turned down; nothing was done. `code` is a word of the contract."""

    token: Token
    code: str
    message: str
    retry_after_s: float = 0.0


Answer = Accepted | Done | Denied


@value
class Arrival:
    """A letter has entered an inbox."""

    mailbox: MailboxKey
    letter: Letter
    body: bytes
    verified: Verified


@value
class Receipt:
    """A message's state has changed for one recipient."""

    mailbox: MailboxKey
    message_id: MessageId
    recipient: MailboxKey | None
    state: State
    why: Why = Why.NONE


class Severity:
    """How loudly a notice is logged."""

    DEBUG: Final = 10
    INFO: Final = 20
    WARNING: Final = 30


@value
class Notice:
    """A fact for the log; `roster_changed` tells the driver that peers look different now."""

    severity: int
    text: str


@value
class Effects:
    """Everything one step wants; see the module's text for the order."""

    dials: tuple[Dial, ...] = ()
    closes: tuple[LinkId, ...] = ()
    packets: tuple[tuple[LinkId, Packet], ...] = ()
    transmissions: tuple[Transmission, ...] = ()
    changes: tuple[tuple[MailboxKey, Change], ...] = ()
    transmissions_after: tuple[Transmission, ...] = ()
    acks: tuple[tuple[LinkId, MailboxKey, Packet], ...] = ()
    answers: tuple[Answer, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    notices: tuple[Notice, ...] = ()
    roster_changed: bool = False
    files: tuple[FileTask, ...] = ()


@dataclass(slots=True)
class EffectsDraft:
    """Collects effects while a step runs."""

    dials: list[Dial] = field(default_factory=list)
    closes: list[LinkId] = field(default_factory=list)
    packets: list[tuple[LinkId, Packet]] = field(default_factory=list)
    transmissions: list[Transmission] = field(default_factory=list)
    changes: list[tuple[MailboxKey, Change]] = field(default_factory=list)
    transmissions_after: list[Transmission] = field(default_factory=list)
    acks: list[tuple[LinkId, MailboxKey, Packet]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    roster_changed: bool = False
    files: list[FileTask] = field(default_factory=list)

    def freeze(self) -> Effects:
        """Return what was collected."""
        return Effects(
            dials=tuple(self.dials),
            closes=tuple(self.closes),
            packets=tuple(self.packets),
            transmissions=tuple(self.transmissions),
            changes=tuple(self.changes),
            transmissions_after=tuple(self.transmissions_after),
            acks=tuple(self.acks),
            answers=tuple(self.answers),
            arrivals=tuple(self.arrivals),
            receipts=tuple(self.receipts),
            notices=tuple(self.notices),
            roster_changed=self.roster_changed,
            files=tuple(self.files),
        )
