"""The typed units that two nodes exchange, without their signatures.

`mesh.wire.packets` turns them into bytes and back: it adds and verifies signatures, so a packet
that reaches the core is already proven to come from the keys it names. Its rules are numbered in
`PROTOCOL.md`.
"""

from dataclasses import dataclass
from enum import Enum

from mesh.model import (
    Card,
    CurveKey,
    FileRef,
    HostId,
    Incarnation,
    Letter,
    MailboxKey,
    MessageId,
    NodeId,
    Why,
)


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who opens or answers a link; `expected` is the node it believes to be talking to.

    `door` is the port of its host's door while this node keeps it, else 0.
    """

    version: int
    node: NodeId
    host: HostId
    curve: CurveKey
    endpoints: tuple[str, ...]
    expected: NodeId | None = None
    door: int = 0


@dataclass(frozen=True, slots=True)
class Hello:
    """First packet of the dialling side."""

    greeting: Greeting


@dataclass(frozen=True, slots=True)
class Welcome:
    """Answer to a hello; both sides now share the link key."""

    greeting: Greeting


@dataclass(frozen=True, slots=True)
class Announce:
    """All mailboxes the sending node holds now, each card signed for this link."""

    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class MailItem:
    """One letter on its way.

    `previous` is the sequence of the unsettled letter before it in its stream, else 0.
    """

    letter: Letter
    previous: int
    age_s: float
    body: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """Letters of one author, covered by one signature."""

    author: MailboxKey
    items: tuple[MailItem, ...]


class Verdict(Enum):
    """What became of a letter at its recipient."""

    DELIVERED = 1
    SHOWN = 2
    REFUSED = 3
    LATER = 4


@dataclass(frozen=True, slots=True)
class AckItem:
    """The verdict on one letter; `why` explains `REFUSED` and `LATER`."""

    sequence: int
    message_id: MessageId
    verdict: Verdict
    why: Why = Why.NONE


@dataclass(frozen=True, slots=True)
class Ack:
    """Verdicts of one recipient on letters of one author, signed by the recipient."""

    recipient: MailboxKey
    author: MailboxKey
    incarnation: Incarnation
    items: tuple[AckItem, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """A letter came out of order: the recipient holds everything up to `watermark`."""

    recipient: MailboxKey
    author: MailboxKey
    incarnation: Incarnation
    watermark: int


@dataclass(frozen=True, slots=True)
class Noted:
    """The author has recorded these `SHOWN` verdicts."""

    author: MailboxKey
    recipient: MailboxKey
    message_ids: tuple[MessageId, ...]


@dataclass(frozen=True, slots=True)
class Hint:
    """Where another node may be found; a reason to dial, never a proof."""

    curve: CurveKey
    endpoints: tuple[str, ...]
    age_s: float


@dataclass(frozen=True, slots=True)
class Peers:
    """Nodes the sender is linked to."""

    hints: tuple[Hint, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a pong with the same token."""

    token: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a ping."""

    token: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The sender is about to end."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The author has a file for the recipient; signed by the author.

    `place` is where its copy lies, legible only on the same machine and to the same user.
    """

    author: MailboxKey
    recipient: MailboxKey
    file: FileRef
    place: bytes = b""


@dataclass(frozen=True, slots=True)
class Want:
    """The recipient asks for a piece of an offered file."""

    recipient: MailboxKey
    author: MailboxKey
    digest: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file, as it was asked for."""

    author: MailboxKey
    recipient: MailboxKey
    digest: bytes
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Have:
    """The recipient has the whole file, verified and durable; signed by the recipient."""

    recipient: MailboxKey
    author: MailboxKey
    digest: bytes


@dataclass(frozen=True, slots=True)
class Decline:
    """The recipient does not take a file, now or ever, as `why` says; signed by the recipient."""

    recipient: MailboxKey
    author: MailboxKey
    digest: bytes
    why: Why


FilePacket = Offer | Want | Chunk | Have | Decline

Packet = (
    Hello
    | Welcome
    | Announce
    | Mail
    | Ack
    | Gap
    | Noted
    | Peers
    | Ping
    | Pong
    | Leave
    | Offer
    | Want
    | Chunk
    | Have
    | Decline
)
