"""What can happen to a node. The driver turns I/O into these; nothing else enters the core."""

from enum import Enum
from typing import NewType

from mesh.core.filework import FileEvent
from mesh.core.snapshot import MailboxSnapshot, ShownLetter
from mesh.model import (
    Address,
    CurveKey,
    FileRef,
    Kind,
    LinkId,
    MailboxKey,
    MessageId,
    NodeId,
    Profile,
)
from mesh.packet import Packet
from mesh.values import value

Token = NewType("Token", int)
"""Names a request of the application; the answer carries it back."""


class Source(Enum):
    """Where a sighting comes from."""

    REGISTRY = "registry"
    MDNS = "mdns"
    STATIC = "static"
    EXCHANGE = "exchange"
    REMEMBERED = "remembered"


class Loss(Enum):
    """Why a link ended, as far as the transport knows."""

    CLOSED = "closed"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    CONGESTED = "congested"


@value
class Sighted:
    """Discovery saw a node. `curve` is None for a static peer: it is met at its door.

    `is_older` tells whether that node was there before us, and so cannot have seen us yet; None if
    nobody can know.
    """

    source: Source
    curve: CurveKey | None
    endpoints: tuple[str, ...]
    node: NodeId | None = None
    is_older: bool | None = None


@value
class LocalNodes:
    """All live nodes of this host, exactly; any other node that was of this host is gone."""

    nodes: tuple[NodeId, ...]


@value
class PacketReceived:
    """A verified packet. On a link's first packet (`Hello`) the link is new."""

    link: LinkId
    packet: Packet


@value
class LinkLost:
    """A link is gone, or could not be opened."""

    link: LinkId
    loss: Loss


@value
class MailboxTaken:
    """This node now holds a mailbox: for its own agent (`is_live`) or tending it."""

    snapshot: MailboxSnapshot
    is_live: bool
    profile: Profile


@value
class MailboxReleased:
    """This node no longer holds a mailbox."""

    key: MailboxKey


@value
class ProfileChanged:
    """An agent tells something else about itself."""

    key: MailboxKey
    profile: Profile


@value
class Draft:
    """The content of a message, before it has recipients."""

    message_id: MessageId
    kind: Kind
    body: bytes
    body_digest: bytes
    created_ms: int
    ttl_s: float
    reply_to: MessageId | None = None
    is_urgent: bool = False
    is_auto: bool = False
    chain: tuple[bytes, ...] = ()
    file: FileRef | None = None


@value
class Submit:
    """An agent sends messages to one recipient, in this order; all are accepted, or none."""

    token: Token
    mailbox: MailboxKey
    to: Address
    drafts: tuple[Draft, ...]


@value
class Broadcast:
    """An agent sends a message to everybody seen within the last day."""

    token: Token
    mailbox: MailboxKey
    draft: Draft


@value
class Shown:
    """Inbox letters were handed to their reader; without a token nobody waits for the answer."""

    token: Token | None
    mailbox: MailboxKey
    letters: tuple[ShownLetter, ...]


@value
class Rename:
    """An agent takes another name; the driver has made sure it is free on this host."""

    token: Token
    mailbox: MailboxKey
    name: str
    draft: Draft


@value
class Trust:
    """A person accepts a key for a name; mail waiting under that name is bound to it."""

    token: Token
    mailbox: MailboxKey
    to: Address


@value
class Resumed:
    """The process was asleep: nobody can be blamed for silence."""


@value
class Moved:
    """This machine has other addresses now: links may be dead though nothing says so."""


@value
class Stopping:
    """The node is about to end: say goodbye."""


@value
class Timeout:
    """The deadline named by `Node.next_deadline` has come."""


Event = (
    Sighted
    | LocalNodes
    | PacketReceived
    | LinkLost
    | MailboxTaken
    | MailboxReleased
    | ProfileChanged
    | Submit
    | Broadcast
    | Shown
    | Rename
    | Trust
    | Resumed
    | Moved
    | Stopping
    | Timeout
    | FileEvent
)
