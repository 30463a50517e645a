"""What the core remembers of a mailbox, as the store hands it over when the mailbox is taken."""

from collections.abc import Mapping
from dataclasses import field

from mesh.model import Alias, CurveKey, Incarnation, Letter, MailboxKey, MessageId, Why
from mesh.values import value

StreamKey = tuple[MailboxKey, Incarnation]
"""Author and incarnation: names one incoming stream of a mailbox."""


@value
class OutboxEntry:
    """One letter owed to one recipient. `row` names it in the store and never repeats.

    `remaining_s` counts down to expiry from the moment the entry was read or made.
    `to_prefix` narrows an unresolved name to keys whose fingerprint begins so.
    `was_sent` is true once the letter may have left this host.
    """

    row: int
    letter: Letter
    remaining_s: float
    to_prefix: str = ""
    was_sent: bool = False


@value
class RefusedRange:
    """Sequences `first..last` of an incoming stream that are certainly not in the inbox."""

    first: int
    last: int
    why: Why


@value
class StreamIn:
    """Everything up to `watermark` is decided; `known_from` is the first sequence remembered."""

    watermark: int
    refused: tuple[RefusedRange, ...] = ()
    known_from: int = 1


@value
class Pin:
    """A key remembered for a name; `is_trusted` once a person has confirmed it."""

    name: str
    key: MailboxKey
    is_trusted: bool = False


@value
class Unread:
    """How much of one author's mail has not been shown yet."""

    letters: int
    body_bytes: int


@value
class ShownLetter:
    """A letter that was shown to its reader, as the author will hear of it."""

    author: MailboxKey
    incarnation: Incarnation
    sequence: int
    message_id: MessageId
    body_bytes: int


@value
class RememberedPeer:
    """Where a node of the mesh was last reached; its curve key may be outdated by now."""

    endpoints: tuple[str, ...]
    curve: CurveKey | None
    age_s: float


@value
class MailboxSnapshot:
    """All state of one mailbox that decisions depend on. Names in `pins` are folded.

    `first_sequence` begins streams that are not in `next_sequences`; it is above 1 after a damaged
    database was salvaged, so that no sequence of a forgotten stream is used twice.
    """

    key: MailboxKey
    name: str
    incarnation: Incarnation
    claim: int
    registered_ms: int
    next_row: int = 1
    outbox: tuple[OutboxEntry, ...] = ()
    first_sequence: int = 1
    next_sequences: Mapping[MailboxKey, int] = field(default_factory=dict)
    streams_in: Mapping[StreamKey, StreamIn] = field(default_factory=dict)
    pins: Mapping[str, Pin] = field(default_factory=dict)
    aliases: tuple[Alias, ...] = ()
    unread: Mapping[MailboxKey, Unread] = field(default_factory=dict)
    untold: tuple[ShownLetter, ...] = ()
    renamed_s: float | None = None
    remembered: tuple[RememberedPeer, ...] = ()
