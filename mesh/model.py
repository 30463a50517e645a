"""The nouns of the system as frozen values: agents, letters, cards, receipts.

Nothing here does anything; every layer above speaks in these words. A *letter* is the signed header
of a message; its *body* is opaque bytes that only the two ends understand. Durations are seconds,
times on the wire are ages, and wall-clock values (suffix `_ms`, Unix epoch) serve display only.
"""

import hashlib
import re
from dataclasses import field
from enum import Enum
from typing import Final, NewType

from mesh import limits
from mesh.errors import UsageError
from mesh.values import value

NodeId = NewType("NodeId", bytes)
"""16 random bytes: one life of one process."""
HostId = NewType("HostId", bytes)
"""16 random bytes: one state directory."""
MailboxKey = NewType("MailboxKey", bytes)
"""32 bytes: the Ed25519 public key of an agent."""
CurveKey = NewType("CurveKey", bytes)
"""32 bytes: the CURVE public key of a listening socket."""
MessageId = NewType("MessageId", bytes)
"""16 bytes that no other message has; the same for all recipients of a broadcast."""
Incarnation = NewType("Incarnation", bytes)
"""8 random bytes: one life of a mailbox's store."""
LinkId = NewType("LinkId", int)
"""Positive: dialled by this node. Negative: dialled by the peer. Never reused in a process."""

INVALID_NAME: Final = (
    "Invalid instance ID format. Use 1-32 alphanumeric characters, hyphens, or underscores."
)
RESERVED_NAMES: Final = frozenset({"system", "all", "everyone"})
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{6,32}\Z")


class Kind(Enum):
    """What a message is; fixed by its author."""

    DIRECT = "direct"
    BROADCAST = "broadcast"
    FILE = "file"
    COMMAND = "command"
    RENAMED = "renamed"


class State(Enum):
    """What is known of a message for one recipient; the words of the contract."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    SHOWN = "shown"
    REFUSED = "refused"
    EXPIRED = "expired"


class Why(Enum):
    """Why a message is queued, or why it was refused."""

    NONE = ""
    UNKNOWN_NAME = "unknown_name"
    AWAY = "away"
    UNREACHABLE = "unreachable"
    QUOTA = "quota"
    RECIPIENT_FULL = "recipient_full"
    PIN_CONFLICT = "pin_conflict"
    TOO_LARGE = "too_large"
    EXPIRED = "expired"
    UNKNOWN_RECIPIENT = "unknown_recipient"
    VERSION = "version"
    LOOP = "loop"
    SKIPPED = "skipped"
    DAMAGED = "damaged"


class Presence(Enum):
    """Whether an agent is there, from authenticated evidence only."""

    UNKNOWN = "unknown"
    LIVE = "live"
    SUSPECT = "suspect"
    AWAY = "away"


class Verified(Enum):
    """How the origin of a message was verified when it arrived."""

    PINNED = "pinned"
    FIRST_CONTACT = "first_contact"
    CHANGED = "changed"
    OPEN = "open"


@value
class Address:
    """Whom a user means: a name, perhaps with the beginning of a fingerprint."""

    name: str
    fingerprint_prefix: str = ""

    def __str__(self) -> str:
        return f"{self.name}#{self.fingerprint_prefix}" if self.fingerprint_prefix else self.name


@value
class FileRef:
    """A file that travels beside its letter: `digest` is its BLAKE2b-256."""

    digest: bytes
    bytes: int
    name: str


@value
class Letter:
    """The part of a message that its author signs.

    `recipient` is None and `sequence` 0 while nobody is known under the name; such a letter stays
    in the outbox. Sequences start at 1 and count per (author, incarnation, recipient). A letter
    with a `file` gets both only when the recipient has the whole file (PROTOCOL.md FILE-2).
    `encoded` is the letter as bytes, once it was encoded or decoded (see `mesh.wire.letters`).
    """

    message_id: MessageId
    kind: Kind
    author: MailboxKey
    author_name: str
    incarnation: Incarnation
    to: str
    recipient: MailboxKey | None
    sequence: int
    ttl_s: float
    created_ms: int
    reply_to: MessageId | None
    is_urgent: bool
    is_auto: bool
    chain: tuple[bytes, ...]
    body_digest: bytes
    body_bytes: int
    file: FileRef | None = None
    encoded: bytes | None = field(default=None, init=False, repr=False, compare=False)


@value
class Alias:
    """A former name of a mailbox: forwarded from `since_s` ago until `until_s` from now.

    `until_s` is negative once forwarding has ended; the record then only tells late mail, created
    in that time, where to go.
    """

    name: str
    since_s: float
    until_s: float


@value
class Profile:
    """What an agent tells the others about itself; display only.

    `wake` is what mail does to it, `place` the name of its directory and the branch there.
    """

    client: str = ""
    summary: str = ""
    wake: str = ""
    host: str = ""
    place: str = ""


@value
class Card:
    """A node's claim to hold a mailbox, signed with that mailbox's key for one link.

    `claim` grows by one each time the mailbox is taken, so of two cards with one key the higher
    claim is the truth. `is_live` is false while the mailbox is merely tended.
    """

    key: MailboxKey
    name: str
    incarnation: Incarnation
    claim: int
    is_live: bool
    claimed_s: float
    registered_ms: int
    profile: Profile
    aliases: tuple[Alias, ...] = ()

    def is_called(self, name: str) -> bool:
        """Whether the agent goes, or once went, by `name`."""
        return fold(name) in {fold(self.name), *(fold(alias.name) for alias in self.aliases)}


def fingerprint(key: MailboxKey) -> str:
    """Return the 32 hexadecimal characters by which people compare keys."""
    return hashlib.blake2b(key, digest_size=16, person=b"mesh1-finger").hexdigest()


def fold(name: str) -> str:
    """Return the form in which names are compared."""
    return name.lower()


def has_name_form(name: str) -> bool:
    """Tell whether `name` has the form of a name; reserved ones have it too."""
    return _NAME.match(name) is not None


def check_name(name: str) -> str:
    """Return `name` if it may be claimed.

    Raises:
        UsageError: malformed or reserved.
    """
    if not has_name_form(name):
        raise UsageError(INVALID_NAME)
    if fold(name) in RESERVED_NAMES:
        raise UsageError(f"The name {name} is reserved.")
    return name


def parse_address(text: str) -> Address:
    """Read `name` or `name#` followed by 6 or more characters of a fingerprint.

    Raises:
        UsageError: malformed.
    """
    name, mark, prefix = text.partition("#")
    check_name(name)
    if mark and not _FINGERPRINT.match(prefix.lower()):
        raise UsageError(
            f"Invalid address. After # come {limits.fingerprint_prefix_chars_min} to 32 "
            "hexadecimal characters of a fingerprint."
        )
    return Address(name, prefix.lower())
