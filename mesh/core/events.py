"""What can happen to a node. The driver turns I/O into these; nothing else enters the core."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class LocalNodes:
    """All live nodes of this host, exactly; any other node that was of this host is gone."""

    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class PacketReceived:
    """A verified packet. On a link's first packet (`Hello`) the link is new."""

    link: LinkId
    packet: Packet


@dataclass(frozen=True, slots=True)
class LinkLost:
    """A link is gone, or could not be opened."""

    link: LinkId
    loss: Loss


@dataclass(frozen=True, slots=True)
class MailboxTaken:
    """This node now holds a mailbox: for its own agent (`is_live`) or tending it."""

    snapshot: MailboxSnapshot
    is_live: bool
    profile: Profile


@dataclass(frozen=True, slots=True)
class MailboxReleased:
    """This node no longer holds a mailbox."""

    key: MailboxKey


@dataclass(frozen=True, slots=True)
class ProfileChanged:
    """An agent tells something else about itself."""

    key: MailboxKey
    profile: Profile


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Submit:
    """An agent sends messages to one recipient, in this order; all are accepted, or none."""

    token: Token
    mailbox: MailboxKey
    to: Address
    drafts: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """An agent sends a message to everybody seen within the last day."""

    token: Token
    mailbox: MailboxKey
    draft: Draft


@dataclass(frozen=True, slots=True)
class Shown:
    """Inbox letters were handed to their reader; without a token nobody waits for the answer."""

    token: Token | None
    mailbox: MailboxKey
    letters: tuple[ShownLetter, ...]


@dataclass(frozen=True, slots=True)
class Rename:
    """An agent takes another name; the driver has made sure it is free on this host."""

    token: Token
    mailbox: MailboxKey
    name: str
    draft: Draft


@dataclass(frozen=True, slots=True)
class Trust:
    """A person accepts a key for a name; mail waiting under that name is bound to it."""

    token: Token
    mailbox: MailboxKey
    to: Address


@dataclass(frozen=True, slots=True)
class Resumed:
    """The process was asleep: nobody can be blamed for silence."""


@dataclass(frozen=True, slots=True)
class Moved:
    """This machine has other addresses now: links may be dead though nothing says so."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The node is about to end: say goodbye."""


@dataclass(frozen=True, slots=True)
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
