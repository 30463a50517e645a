"""Letters one mailbox owes: a stream for each recipient, and those whose recipient is unknown.

A stream sends in order within a window and goes back to its oldest unsettled letter whenever the
link changes, a gap is reported or no ack comes (PROTOCOL.md OUT-1 to OUT-8). Every transmitted
letter names the unsettled letter before it, so the recipient never takes one out of order.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from mesh import limits
from mesh.core.bounds import BOUNDS, Bounds
from mesh.core.changes import BindOutbox, Change, MarkSent, ReserveSequences
from mesh.core.effects import Transmission
from mesh.core.snapshot import OutboxEntry
from mesh.model import Letter, LinkId, MailboxKey, MessageId, Why, fold, parse_address


@dataclass(slots=True)
class Owed:
    """One letter owed. `expires_at` is on the core's clock.

    `held_back` says why the recipient does not take its file for now.
    """

    row: int
    letter: Letter
    expires_at: float
    to_prefix: str = ""
    was_sent: bool = False
    held_back: Why = Why.NONE

    def age_s(self, now: float) -> float:
        """Return how long ago the letter was made, as far as its time to live counts."""
        return max(0.0, self.letter.ttl_s - (self.expires_at - now))

    def entry(self, now: float) -> OutboxEntry:
        """Return the form in which the store keeps it."""
        remaining_s = self.expires_at - now
        return OutboxEntry(self.row, self.letter, remaining_s, self.to_prefix, self.was_sent)


@dataclass(slots=True)
class Stream:
    """Letters to one recipient. `inflight` went out over `link`; `unsent` follow, both in order."""

    recipient: MailboxKey
    next_sequence: int
    reserved_up_to: int
    owed: dict[int, Owed] = field(default_factory=dict)
    inflight: dict[int, Owed] = field(default_factory=dict)
    inflight_bytes: int = 0
    unsent: deque[Owed] = field(default_factory=deque)
    link: LinkId | None = None
    paused_until: float = 0.0
    paused_why: Why = Why.RECIPIENT_FULL
    gaps_ignored_until: float = 0.0
    ack_timeout_s: float = limits.ack_timeout_s
    bounds: Bounds = BOUNDS

    def add(self, owed: Owed) -> None:
        """Append the newest letter of this stream."""
        self.owed[owed.letter.sequence] = owed
        self.unsent.append(owed)

    def settle(self, sequence: int) -> Owed | None:
        """Take a letter out, whatever became of it; None if it is not owed."""
        owed = self.owed.pop(sequence, None)
        if owed is not None and self.inflight.pop(sequence, None) is not None:
            self.inflight_bytes -= owed.letter.body_bytes
        return owed

    def go_back(self) -> None:
        """Forget what was transmitted; the next pump starts with the oldest letter."""
        self.unsent = deque(self.owed.values())
        self.inflight.clear()
        self.inflight_bytes = 0

    def pause(self, now: float, why: Why) -> None:
        """Send nothing for a while; only whom the recipient does not trust is told so."""
        self.paused_until = now + limits.later_delay_s
        is_distrusted = why is Why.PIN_CONFLICT
        self.paused_why = Why.PIN_CONFLICT if is_distrusted else Why.RECIPIENT_FULL

    def connect(self, link: LinkId | None) -> bool:
        """Use another link from now on; False if it is the one in use."""
        if link == self.link:
            return False
        self.link = link
        self.paused_until = 0.0
        self.ack_timeout_s = limits.ack_timeout_s
        self.go_back()
        return True

    def next_batch(self) -> list[tuple[Owed, int]]:
        """Move letters that fit the window from `unsent` to `inflight`, each with its previous."""
        batch: list[tuple[Owed, int]] = []
        previous = next(reversed(self.inflight)) if self.inflight else 0
        while self.unsent and len(self.inflight) < self.bounds.window_letters:
            owed = self.unsent[0]
            sequence = owed.letter.sequence
            if self.owed.get(sequence) is not owed:
                self.unsent.popleft()
                continue
            size = owed.letter.body_bytes
            if self.inflight and self.inflight_bytes + size > self.bounds.window_bytes:
                break
            self.unsent.popleft()
            batch.append((owed, previous))
            self.inflight[sequence] = owed
            self.inflight_bytes += size
            previous = sequence
        return batch


@dataclass(frozen=True, slots=True)
class Pumped:
    """What may leave at once, what only after its `MarkSent` is durable, and what to write."""

    at_once: tuple[Transmission, ...]
    after: tuple[Transmission, ...]
    changes: tuple[Change, ...]


class Outbox:
    """All letters of one mailbox that are not settled yet."""

    def __init__(
        self,
        mailbox: MailboxKey,
        entries: Iterable[OutboxEntry],
        next_sequences: Iterable[tuple[MailboxKey, int]],
        *,
        next_row: int,
        first_sequence: int,
        now: float,
        bounds: Bounds = BOUNDS,
    ) -> None:
        self.mailbox = mailbox
        self._bounds = bounds
        self._first_sequence = first_sequence
        self.next_row = next_row
        self.letters = 0
        self.body_bytes = 0
        self.streams: dict[MailboxKey, Stream] = {}
        self.waiting: dict[str, dict[int, Owed]] = {}
        self.files: dict[int, Owed] = {}
        self._digests: Counter[bytes] = Counter()
        self._delivered: dict[tuple[MailboxKey, MessageId], int] = {}
        for recipient, sequence in next_sequences:
            self.streams[recipient] = Stream(recipient, sequence, sequence - 1, bounds=bounds)
        ordered = sorted(entries, key=lambda e: (e.letter.sequence, e.row))
        for entry in ordered:
            expires_at = now + entry.remaining_s
            owed = Owed(entry.row, entry.letter, expires_at, entry.to_prefix, entry.was_sent)
            self.put(owed)

    def __iter__(self) -> Iterator[Owed]:
        for stream in self.streams.values():
            yield from stream.owed.values()
        for waiting in self.waiting.values():
            yield from waiting.values()
        yield from self.files.values()

    def needs_file(self, digest: bytes) -> bool:
        """Whether a letter is owed that carries this file."""
        return self.letters_with_file(digest) > 0

    def letters_with_file(self, digest: bytes) -> int:
        """Return how many letters are owed that carry this file."""
        return self._digests[digest]

    def has_room(self, *, letters: int, body_bytes: int) -> bool:
        """Whether so much more may be accepted."""
        return (
            self.letters + letters <= self._bounds.outbox_letters
            and self.body_bytes + body_bytes <= self._bounds.outbox_bytes
        )

    def take_row(self) -> int:
        """Return a row number that was never used."""
        self.next_row += 1
        return self.next_row - 1

    def take_sequence(self, recipient: MailboxKey) -> tuple[int, Change | None, bool]:
        """Return the next sequence for `recipient`.

        With it comes the reservation to write, if one is due, and whether the letter must not
        leave before that reservation is durable.
        """
        stream = self.stream(recipient)
        sequence = stream.next_sequence
        stream.next_sequence += 1
        must_wait = sequence > stream.reserved_up_to
        if stream.reserved_up_to - sequence >= limits.sequence_reserve // 2:
            return (sequence, None, False)
        stream.reserved_up_to = sequence + limits.sequence_reserve
        return (sequence, ReserveSequences(recipient, stream.reserved_up_to), must_wait)

    def stream(self, recipient: MailboxKey) -> Stream:
        """Return the stream to `recipient`, a new one if there was none."""
        if recipient not in self.streams:
            first = self._first_sequence
            self.streams[recipient] = Stream(recipient, first, first - 1, bounds=self._bounds)
        return self.streams[recipient]

    def put(self, owed: Owed) -> None:
        """Add a letter, bound or not."""
        self.letters += 1
        self.body_bytes += owed.letter.body_bytes
        file = owed.letter.file
        if file is not None:
            self._digests[file.digest] += 1
        if owed.letter.recipient is None and file is not None:
            self.files[owed.row] = owed
        elif owed.letter.recipient is None:
            name = fold(parse_address(owed.letter.to).name)
            self.waiting.setdefault(name, {})[owed.row] = owed
        else:
            self.stream(owed.letter.recipient).add(owed)

    def settle(self, recipient: MailboxKey, sequence: int) -> Owed | None:
        """Take out a letter that has ended; None if it is not owed."""
        stream = self.streams.get(recipient)
        owed = stream.settle(sequence) if stream else None
        if owed is not None:
            self._uncount(owed)
        return owed

    def note_delivered(self, recipient: MailboxKey, owed: Owed) -> None:
        """Remember the row of a letter that may soon be shown; of the newest letters only."""
        self._delivered[recipient, owed.letter.message_id] = owed.row
        if len(self._delivered) > limits.delivered_rows_max:
            del self._delivered[next(iter(self._delivered))]

    def take_delivered(self, recipient: MailboxKey, message_id: MessageId) -> int:
        """Return the row of a letter that was delivered not long ago, else 0; ask once."""
        return self._delivered.pop((recipient, message_id), 0)

    def bind(self, owed: Owed, recipient: MailboxKey, to: str) -> tuple[Change, ...]:
        """Give a waiting letter its recipient; it leaves only after these changes are durable."""
        self._unlist(owed)
        return self._bind(owed, recipient, to)

    def drop_file(self, owed: Owed) -> None:
        """Take out a letter whose file will not arrive."""
        self._unlist(owed)
        self._uncount(owed)

    def rebind(self, owed: Owed, recipient: MailboxKey, to: str) -> tuple[Change, ...]:
        """Move a letter that never left this host to another recipient's stream."""
        assert owed.letter.recipient is not None
        assert not owed.was_sent
        self.streams[owed.letter.recipient].settle(owed.letter.sequence)
        return self._bind(owed, recipient, to)

    def unbind(self, owed: Owed, to: str) -> tuple[Change, ...]:
        """Let a letter with a file, that never left this host, wait for another recipient."""
        assert owed.letter.recipient is not None
        assert not owed.was_sent
        self.streams[owed.letter.recipient].settle(owed.letter.sequence)
        owed.letter = replace(owed.letter, recipient=None, sequence=0, to=to)
        owed.to_prefix = ""
        self.files[owed.row] = owed
        return (BindOutbox(owed.row, owed.letter),)

    def widen_files(self, name: str) -> tuple[Change, ...]:
        """Let waiting letters with a file, addressed to one key of this name, go to another."""
        narrow = [o for o in self.files.values() if o.to_prefix and fold(o.letter.to) == fold(name)]
        for owed in narrow:
            owed.to_prefix = ""
        return tuple(BindOutbox(owed.row, owed.letter) for owed in narrow)

    def expired(self, now: float) -> list[Owed]:
        """Take out and return every letter whose time has come."""
        gone = [owed for owed in self if owed.expires_at <= now]
        for owed in gone:
            recipient = owed.letter.recipient
            if recipient is None:
                self._unlist(owed)
            else:
                self.streams[recipient].settle(owed.letter.sequence)
            self._uncount(owed)
        return gone

    def next_expiry(self) -> float | None:
        """Return when the first letter expires."""
        return min((owed.expires_at for owed in self), default=None)

    def pump(self, stream: Stream, now: float, *, durable_first: bool = False) -> Pumped:
        """Transmit what the window allows, if the stream has a link and is not paused."""
        if stream.link is None or now < stream.paused_until:
            return Pumped((), (), ())
        batch = stream.next_batch()
        first_time = tuple(owed.row for owed, _ in batch if not owed.was_sent)
        for owed, _ in batch:
            owed.was_sent = True
        letters = tuple((owed.row, previous, owed.age_s(now)) for owed, previous in batch)
        if not letters:
            return Pumped((), (), ())
        sending = (Transmission(stream.link, self.mailbox, letters),)
        if first_time or durable_first:
            return Pumped((), sending, (MarkSent(first_time),) if first_time else ())
        return Pumped(sending, (), ())

    def _bind(self, owed: Owed, recipient: MailboxKey, to: str) -> tuple[Change, ...]:
        sequence, reserve, _ = self.take_sequence(recipient)
        owed.letter = replace(owed.letter, recipient=recipient, sequence=sequence, to=to)
        owed.to_prefix = ""
        self.streams[recipient].add(owed)
        bind = BindOutbox(owed.row, owed.letter)
        return (reserve, bind) if reserve else (bind,)

    def _unlist(self, owed: Owed) -> None:
        """Take a letter out of those that have no recipient yet."""
        if self.files.pop(owed.row, None) is not None:
            return
        name = fold(parse_address(owed.letter.to).name)
        del self.waiting[name][owed.row]
        if not self.waiting[name]:
            del self.waiting[name]

    def _uncount(self, owed: Owed) -> None:
        if owed.letter.file is not None:
            self._digests[owed.letter.file.digest] -= 1
        self.letters -= 1
        self.body_bytes -= owed.letter.body_bytes
