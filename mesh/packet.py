"""The typed units that two nodes exchange, without their signatures.

`mesh.wire.packets` turns them into bytes and back: it adds and verifies signatures, so a packet
that reaches the core is already proven to come from the keys it names. Its rules are numbered in
`PROTOCOL.md`.
"""

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
from mesh.values import value


@value
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


@value
class Hello:
    """First packet of the dialling side."""

    greeting: Greeting


@value
class Welcome:
    """Answer to a hello; both sides now share the link key."""

    greeting: Greeting


@value
class Announce:
    """All mailboxes the sending node holds now, each card signed for this link."""

    cards: tuple[Card, ...]


@value
class MailItem:
    """One letter on its way.

    `previous` is the sequence of the unsettled letter before it in its stream, else 0.
    """

    letter: Letter
    previous: int
    age_s: float
    body: bytes


@value
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


@value
class AckItem:
    """The verdict on one letter; `why` explains `REFUSED` and `LATER`."""

    sequence: int
    message_id: MessageId
    verdict: Verdict
    why: Why = Why.NONE


@value
class Ack:
    """Verdicts of one recipient on letters of one author, signed by the recipient."""

    recipient: MailboxKey
    author: MailboxKey
    incarnation: Incarnation
    items: tuple[AckItem, ...]


@value
class Gap:
    """A letter came out of order: the recipient holds everything up to `watermark`."""

    recipient: MailboxKey
    author: MailboxKey
    incarnation: Incarnation
    watermark: int


@value
class Noted:
    """The author has recorded these `SHOWN` verdicts."""

    author: MailboxKey
    recipient: MailboxKey
    message_ids: tuple[MessageId, ...]


@value
class Hint:
    """Where another node may be found; a reason to dial, never a proof."""

    curve: CurveKey
    endpoints: tuple[str, ...]
    age_s: float


@value
class Peers:
    """Nodes the sender is linked to."""

    hints: tuple[Hint, ...]


@value
class Ping:
    """Asks for a pong with the same token."""

    token: int


@value
class Pong:
    """Answers a ping."""

    token: int


@value
class Leave:
    """The sender is about to end."""


@value
class Offer:
    """The author has a file for the recipient; signed by the author.

    `place` is where its copy lies, legible only on the same machine and to the same user.
    """

    author: MailboxKey
    recipient: MailboxKey
    file: FileRef
    place: bytes = b""


@value
class Want:
    """The recipient asks for a piece of an offered file.

    Of no bytes, it asks for nothing and tells how far a recipient that copies has come.
    """

    recipient: MailboxKey
    author: MailboxKey
    digest: bytes
    offset: int
    length: int


@value
class Chunk:
    """A piece of a file, as it was asked for."""

    author: MailboxKey
    recipient: MailboxKey
    digest: bytes
    offset: int
    data: bytes


@value
class Have:
    """The recipient has the whole file, verified and durable; signed by the recipient."""

    recipient: MailboxKey
    author: MailboxKey
    digest: bytes


@value
class Decline:
    """The recipient does not take a file, now or ever, as `why` says; signed by the recipient."""

    recipient: MailboxKey
    author: MailboxKey
    digest: bytes
    why: Why


@value
class Spooling:
    """The author is copying a file for the recipient into its spool, `bytes` of it so far.

    `place` is where, legible only on the same machine and to the same user; who can read it may
    begin to verify the file. Nothing is promised by it.
    """

    author: MailboxKey
    recipient: MailboxKey
    place: bytes
    bytes: int


FilePacket = Offer | Want | Chunk | Have | Decline | Spooling

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
    | Spooling
)
