"""What a step asks the store to make durable; all changes of a step belong to one transaction."""

from mesh.core.snapshot import OutboxEntry, Pin, RememberedPeer, ShownLetter
from mesh.model import Alias, Incarnation, Letter, MailboxKey, MessageId, State, Verified, Why
from mesh.values import value


@value
class PutOutbox:
    """Add letters with one common body: one of a direct message, many of a broadcast."""

    entries: tuple[OutboxEntry, ...]
    body: bytes


@value
class ReserveSequences:
    """Never again give out sequences up to `up_to` for `recipient` after a restart.

    Letters may leave before they are committed, so a crash must not lead to a sequence being used
    twice; the snapshot's `next_sequences` holds `up_to + 1`. Gaps in a stream are harmless.
    """

    recipient: MailboxKey
    up_to: int


@value
class BindOutbox:
    """Give a waiting letter its recipient and sequence, or let one with a file wait for another.

    From now on it is not narrowed to a fingerprint any more.
    """

    row: int
    letter: Letter


@value
class MarkSent:
    """These letters may have left this host; written before they leave."""

    rows: tuple[int, ...]


@value
class SettleOutbox:
    """End a queued letter as delivered, refused or expired. Settled rows are left alone."""

    row: int
    state: State
    why: Why = Why.NONE


@value
class SettleShown:
    """The recipient's reader has seen it; turns `delivered` (or `queued`) into `shown`.

    `row` names the letter if it was settled as delivered not long ago, else it is 0.
    """

    recipient: MailboxKey
    message_id: MessageId
    row: int = 0


@value
class PutInbox:
    """Add a letter and move its stream's watermark to its sequence.

    `skipped_from` is the first sequence the author gave up directly before it (0: none); the range
    up to this letter is remembered as refused with `SKIPPED`.
    """

    letter: Letter
    body: bytes
    verified: Verified
    skipped_from: int = 0


@value
class Refuse:
    """Remember sequences `first..last` as refused and move the watermark to `last`."""

    author: MailboxKey
    incarnation: Incarnation
    first: int
    last: int
    why: Why


@value
class MarkShown:
    """Inbox letters that were handed to the reader; each is named by its stream and sequence."""

    letters: tuple[ShownLetter, ...]


@value
class MarkTold:
    """Their author has recorded that these were shown."""

    letters: tuple[ShownLetter, ...]


@value
class PutPin:
    """Remember or replace the key of a name (the pin's name is kept as typed)."""

    pin: Pin


@value
class PutName:
    """Rename this mailbox; `alias` forwards the old name from now on."""

    name: str
    alias: Alias


@value
class PutPeer:
    """Remember where a node was reached."""

    peer: RememberedPeer


Change = (
    PutOutbox
    | ReserveSequences
    | BindOutbox
    | MarkSent
    | SettleOutbox
    | SettleShown
    | PutInbox
    | Refuse
    | MarkShown
    | MarkTold
    | PutPin
    | PutName
    | PutPeer
)
