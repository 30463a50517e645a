"""What was asked for and what came of it, in Jepsen's terms, and the checks after every commit.

A send is invoked and ends as ok (accepted), failed (certainly nothing was done) or unknown (the
process died, or the disk failed after the letter may have left). The checkers know everything: they
look at all disks at once, which no node can.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mesh import limits
from mesh.core.bounds import BOUNDS
from mesh.core.changes import (
    BindOutbox,
    Change,
    MarkTold,
    PutInbox,
    PutName,
    PutOutbox,
    PutPin,
    SettleOutbox,
    SettleShown,
)
from mesh.core.mailbox import Mailbox
from mesh.core.snapshot import Pin
from mesh.model import FileRef, Kind, Letter, MailboxKey, MessageId, State, Why, fingerprint, fold
from mesh.sim.clock import Timeline
from mesh.sim.disk import Disk, OutboxRow

clock_slack_s: Final = 5.0
"""How much earlier than by the observer's clock a letter may expire; ages travel with latency."""
NO_REFUSAL: Final = frozenset({Why.RECIPIENT_FULL, Why.PIN_CONFLICT})
"""Reasons to wait, never to give a letter up."""
ENDED: Final = frozenset({State.SHOWN, State.REFUSED, State.EXPIRED})


class Violation(Exception):  # noqa: N818  (a finding about the protocol, not an error of this code)
    """A promise of the protocol was broken."""


class Outcome(Enum):
    """What the sender was told."""

    PENDING = "pending"
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Sending:
    """One message as its author meant it.

    What the core made of it: its place among the letters for each recipient, the `rows` of its one
    transaction, the author's name at that moment.
    """

    id: MessageId
    kind: Kind
    author: MailboxKey
    to: str
    body: bytes
    ttl_s: float
    invoked_at: float
    outcome: Outcome = Outcome.PENDING
    rows: int = 0
    orders: dict[MailboxKey, int] = field(default_factory=dict)
    was_bound: bool = False
    author_name: str = ""
    file: FileRef | None = None
    hops: int = 0
    new_name: str = ""
    received_by: set[MailboxKey] = field(default_factory=set)
    refused_by: set[MailboxKey] = field(default_factory=set)


class History:
    """Records and judges; `digest` is the same for the same seed."""

    def __init__(self, timeline: Timeline) -> None:
        self.disks: dict[MailboxKey, Disk] = {}
        self.sendings: dict[MessageId, Sending] = {}
        self.injected: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self.spoiled: set[bytes] = set()
        self.bounds = BOUNDS
        self.trusts: set[tuple[MailboxKey, str, MailboxKey]] = set()
        self.checks = 0
        self.has_clock_jumped = False
        self._timeline = timeline
        self._orders = 0
        self._last: dict[tuple[MailboxKey, MailboxKey, bytes], int] = {}
        self._bound: dict[tuple[MailboxKey, str, MailboxKey], float] = {}
        self._names: dict[MailboxKey, dict[str, float]] = {}
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """Name everything recorded so far."""
        return self._hash.hexdigest()

    def note(self, *facts: object) -> None:
        """Add facts to the history."""
        self._hash.update(f"{self._timeline.now:.9f} {facts!r}\n".encode())

    def inject(self, fault: str, *facts: object) -> None:
        """Count and note a fault."""
        self.injected[fault] += 1
        self.note(fault, *facts)

    def invoked(self, sending: Sending) -> None:
        """A message is being sent."""
        self.sendings[sending.id] = sending
        self.note("invoke", sending.id, sending.to)

    def is_being_shared(self, author: MailboxKey, digest: bytes) -> bool:
        """Whether a file is spooled for a message that is not answered yet."""
        return any(
            sending.file is not None
            and (sending.author, sending.file.digest) == (author, digest)
            and sending.outcome is Outcome.PENDING
            for sending in self.sendings.values()
        )

    def put(self, change: PutOutbox) -> None:
        """The core has decided to accept a message; this fixes its place among the others."""
        for entry in change.entries:
            sending = self.sendings[entry.letter.message_id]
            sending.rows = len(change.entries)
            sending.author_name = entry.letter.author_name
            is_to_other = entry.letter.recipient != sending.author or sending.kind is Kind.DIRECT
            self._check(is_to_other, "sent to its own author", sending)
            self.bound(entry.letter)

    def bound(self, letter: Letter) -> None:
        """A letter has got its recipient, who receives it in the order of these moments."""
        if letter.recipient is None:
            return
        sending = self.sendings[letter.message_id]
        self._orders += 1
        sending.orders[letter.recipient] = self._orders
        if sending.kind is Kind.DIRECT and not sending.was_bound:
            self._check_forwarding(letter, sending)

    def answered(self, sending: Sending, outcome: Outcome, disk: Disk | None) -> None:
        """The sender was told."""
        sending.outcome = outcome
        self.note("answer", sending.id, outcome)
        if outcome is Outcome.OK and disk is not None:
            self._check(
                disk.rows_of(sending.id) == sending.rows, "accepted but not on disk", sending
            )
        if outcome is Outcome.OK and disk is not None and sending.new_name:
            self._check(disk.name == sending.new_name, "renamed, but not on disk", sending)
        if outcome is Outcome.FAILED:
            self._check(not sending.received_by, "reported as failed, yet in an inbox", sending)

    def opened(self, disk: Disk) -> None:
        """A mailbox was opened: each message is owed to all its recipients or to none."""
        found = Counter(row.letter.message_id for row in disk.contents.outbox.values())
        for message_id, rows in found.items():
            sending = self.sendings[message_id]
            self._check(rows == sending.rows, "half a message is on disk", sending)

    def stepped(self, mailboxes: Mapping[MailboxKey, Mailbox]) -> None:
        """A core has decided: it may not have more on its way than the window holds."""
        if self.bounds is BOUNDS:
            return
        for mailbox in mailboxes.values():
            for stream in mailbox.outbox.streams.values():
                if len(stream.inflight) > self.bounds.window_letters:
                    raise Violation(f"{len(stream.inflight)} letters on their way at once")

    def committed(self, disk: Disk, changes: Sequence[Change]) -> None:
        """A transaction is durable: nobody may have more unread mail in it than is allowed."""
        if self.bounds is BOUNDS:
            return
        for author in {c.letter.author for c in changes if isinstance(c, PutInbox)}:
            rows = disk.contents.inbox.values()
            unread = sum(1 for r in rows if r.letter.author == author and not r.is_shown)
            if unread > self.bounds.inbox_letters_per_author:
                raise Violation(f"{unread} unread letters of one author in {disk.name}")

    def committing(self, disk: Disk, changes: Sequence[Change]) -> None:
        """A transaction is about to become durable: judge it."""
        self.note("commit", disk.key, len(changes))
        for change in changes:
            match change:
                case PutInbox():
                    self._received(disk, change)
                case SettleOutbox():
                    self._settled(disk, change)
                case SettleShown():
                    self._shown(disk, change)
                case MarkTold():
                    self._told(disk, change)
                case PutName(name, alias):
                    names = self._names.setdefault(disk.key, {})
                    names[fold(alias.name)] = self._timeline.now
                    names.pop(fold(name), None)
                case PutPin(pin):
                    self._pinned(disk, pin)
                case PutOutbox() | BindOutbox():
                    self._bound_for_good(change)
                case _:
                    pass

    def unsettled(self) -> list[str]:
        """Say what should have come to an end by now if all hosts are up and linked."""
        names = [(fold(d.name), fingerprint(d.key)) for d in self.disks.values()]
        found: list[str] = []
        for disk in self.disks.values():
            for row in disk.contents.outbox.values():
                if row.state is State.QUEUED and self._is_deliverable(row, names):
                    to = fingerprint(row.letter.recipient)[:6] if row.letter.recipient else "nobody"
                    found.append(f"queued by {disk.name} for {row.letter.to} ({to})")
            for message_id, kept in disk.contents.inbox.items():
                if kept.is_shown and not kept.is_told:
                    found.append(f"{disk.name} has not told that {message_id.hex()[:8]} was shown")
        return found

    def finish(self) -> Counter[str]:
        """Judge the end; return how many letters ended how."""
        states: Counter[str] = Counter()
        for disk in self.disks.values():
            self.opened(disk)
            for row in disk.contents.outbox.values():
                states[row.state.value] += 1
                self.note("end", disk.key, row.letter.message_id, row.state, row.why)
        for sending in self.sendings.values():
            disk = self.disks[sending.author]
            is_lost = sending.id in disk.received_before
            if sending.outcome is Outcome.OK and not is_lost:
                rows = disk.rows_of(sending.id)
                self._check(rows == sending.rows, "accepted, then gone without a word", sending)
        return states

    def _is_deliverable(self, row: OutboxRow, names: Iterable[tuple[str, str]]) -> bool:
        if row.letter.recipient is not None:
            return True
        name = fold(row.letter.to.partition("#")[0])
        matching = [n for n, key in names if n == name and key.startswith(row.to_prefix)]
        return len(matching) == 1 or (bool(matching) and not row.to_prefix)

    def _received(self, disk: Disk, change: PutInbox) -> None:
        letter = change.letter
        sending = self.sendings.get(letter.message_id)
        if sending is None:
            raise Violation(f"phantom: {letter.message_id.hex()} was never sent")
        is_true = (letter.author, change.body, letter.kind) == (
            sending.author,
            sending.body,
            sending.kind,
        )
        self._check(is_true, "altered or falsely attributed", sending)
        self._check(letter.author_name == sending.author_name, "another author's name", sending)
        self._check(letter.recipient == disk.key, "in a wrong inbox", sending)
        self._check(sending.hops <= limits.chain_hops_max, "taken in spite of its hops", sending)
        self._check(sending.outcome is not Outcome.FAILED, "failed, yet received", sending)
        is_new = letter.message_id not in disk.contents.inbox
        self._check(is_new, "duplicate in an inbox", sending)
        self._check(disk.key not in sending.refused_by, "refused, yet received", sending)
        is_alone = sending.kind not in {Kind.DIRECT, Kind.FILE} or sending.received_by <= {disk.key}
        self._check(is_alone, "one message for one recipient in two inboxes", sending)
        self._check(letter.file == sending.file, "with another file", sending)
        if letter.file is not None:
            is_there = disk.shelf.holds(letter.author, letter.file.digest, letter.file.bytes)
            self._check(is_there, "delivered without its whole, right file", sending)
        sending.received_by.add(disk.key)
        stream = (letter.author, disk.key, disk.incarnation)
        order = sending.orders[disk.key]
        self._check(self._last.get(stream, 0) < order, "out of order", sending)
        self._last[stream] = order

    def _bound_for_good(self, change: PutOutbox | BindOutbox) -> None:
        """Those that waited for one name keep their order, as the core must bind them in it."""
        if isinstance(change, PutOutbox):
            letters = [entry.letter for entry in change.entries]
        else:
            letters = [change.letter]
        for letter in letters:
            sending = self.sendings[letter.message_id]
            if letter.recipient is None or sending.kind is not Kind.DIRECT or sending.was_bound:
                continue
            sending.was_bound = True
            waiting = (letter.author, fold(sending.to), letter.recipient)
            is_in_order = self._bound.get(waiting, 0.0) <= sending.invoked_at
            self._check(is_in_order, "bound out of order", sending)
            self._bound[waiting] = sending.invoked_at

    def _check_forwarding(self, letter: Letter, sending: Sending) -> None:
        """A former name forwards only what was made while it was valid.

        (A rename is announced before it is committed, so forwarding may even come before.)
        """
        name = fold(sending.to.partition("#")[0])
        if letter.recipient is None or fold(letter.to.partition("#")[0]) == name:
            return
        until = self._names.get(letter.recipient, {}).get(name)
        is_valid = until is None or sending.invoked_at < until + limits.alias_s + 60.0
        is_valid = is_valid or self.has_clock_jumped
        self._check(is_valid, "forwarded by a name given up long ago", sending)

    def _settled(self, disk: Disk, change: SettleOutbox) -> None:
        row = disk.contents.outbox.get(change.row)
        if row is None or row.state is not State.QUEUED:
            return
        sending = self.sendings[row.letter.message_id]
        recipient = self.disks.get(row.letter.recipient) if row.letter.recipient else None
        is_there = recipient is not None and _holds(recipient, sending.id)
        is_old = self._timeline.now - sending.invoked_at >= sending.ttl_s - clock_slack_s
        is_old = is_old or self.has_clock_jumped
        match change.state:
            case State.DELIVERED:
                self._check(is_there, "reported as delivered, but in no inbox", sending)
            case State.REFUSED:
                self._check(not is_there, "reported as refused, but in the inbox", sending)
                sending.refused_by.add(disk.key if recipient is None else recipient.key)
                is_right = is_old or change.why not in {Why.SKIPPED, Why.EXPIRED}
                is_right = is_right and change.why not in NO_REFUSAL
                is_spoiled = sending.file is not None and sending.file.digest in self.spoiled
                is_right = is_right and (is_spoiled or change.why is not Why.DAMAGED)
                self._check(is_right, f"refused as {change.why.value} before its time", sending)
            case State.EXPIRED:
                self._check(is_old, "expired before its time", sending)
            case _:
                raise Violation(f"a letter was settled as {change.state}")

    def _shown(self, disk: Disk, change: SettleShown) -> None:
        recipient = self.disks[change.recipient]
        kept = recipient.contents.inbox.get(change.message_id)
        # It may have been shown by a database that is lost, and have come again since.
        was_received = change.message_id in recipient.received_before
        is_shown = was_received or (kept is not None and kept.is_shown)
        sending = self.sendings[change.message_id]
        self._check(
            is_shown and sending.author == disk.key, "reported as shown, but is not", sending
        )

    def _pinned(self, disk: Disk, pin: Pin) -> None:
        old = disk.contents.pins.get(fold(pin.name))
        is_trusted = (disk.key, fold(pin.name), pin.key) in self.trusts
        if old is not None and old.key != pin.key and not is_trusted:
            raise Violation(f"{disk.name} has pinned another key to {pin.name}, unasked")

    def _told(self, disk: Disk, change: MarkTold) -> None:
        told = {(letter.author, letter.message_id) for letter in change.letters}
        authors = {letter.author for letter in change.letters}
        rows = [row for key in authors for row in self.disks[key].contents.outbox.values()]
        for row in rows:
            letter = row.letter
            if letter.recipient == disk.key and (letter.author, letter.message_id) in told:
                sending = self.sendings[letter.message_id]
                self._check(row.state in ENDED, "the author forgot that it was shown", sending)

    def _check(self, holds: bool, what: str, sending: Sending) -> None:  # noqa: FBT001
        self.checks += 1
        if not holds:
            author = self.disks[sending.author].name
            text = f"{what}: message {sending.id.hex()[:8]} from {author} to {sending.to}"
            raise Violation(f"{text}, sent at {sending.invoked_at:.3f} s")


def _holds(disk: Disk, message_id: MessageId) -> bool:
    return message_id in disk.contents.inbox or message_id in disk.received_before
