"""Mistakes of the author's side: streams, sequences, windows, endings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final

from mesh.core.bounds import BOUNDS, Bounds
from mesh.core.changes import (
    Change,
    MarkSent,
    PutOutbox,
    ReserveSequences,
    SettleOutbox,
)
from mesh.core.effects import Effects
from mesh.core.events import Event, PacketReceived
from mesh.core.snapshot import MailboxSnapshot, OutboxEntry
from mesh.model import Kind, MailboxKey, State
from mesh.packet import Ack, MailItem, Verdict
from mesh.sim.disk import Disk
from mesh.sim.tamper import Tamper

_EXPIRED: Final = State.EXPIRED


class SequencesReused(Tamper):
    """Sequences given out before a crash are given out again."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Drop reservations."""
        return [change for change in changes if not isinstance(change, ReserveSequences)]


class SequencesFromOutbox(Tamper):
    """The next sequence is worked out from what is still queued."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Forget the reservations."""
        return replace(snapshot, next_sequences=_next_sequences(snapshot.outbox))


class DeleteOnSend(Tamper):
    """A letter that has left is done with."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Settle what leaves."""
        return [part for change in changes for part in _settled_when_sent(change)]


class ExpiryInSilence(Tamper):
    """Expired letters are removed without a word."""

    def committing(self, disk: Disk, changes: Sequence[Change]) -> None:
        """Remove the rows."""
        for change in changes:
            if isinstance(change, SettleOutbox) and change.state is State.EXPIRED:
                disk.contents.outbox.pop(change.row, None)


class ExpiryByWallClock(Tamper):
    """Deadlines start anew at each restart, from a clock that is wrong."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Make all letters old."""
        old = tuple(replace(e, remaining_s=e.remaining_s - 14 * 86400.0) for e in snapshot.outbox)
        return replace(snapshot, outbox=old)


class ExpiryNotRecorded(Tamper):
    """That a letter has expired is not written."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Drop such endings."""
        return [c for c in changes if not isinstance(c, SettleOutbox) or c.state is not _EXPIRED]


class PreviousAlwaysZero(Tamper):
    """Letters do not name the one before them."""

    def items(self, items: list[MailItem]) -> list[MailItem]:
        """Claim that nothing came before."""
        return [replace(item, previous=0) for item in items]


class BodiesSwapped(Tamper):
    """The bodies of a batch are mixed up."""

    def items(self, items: list[MailItem]) -> list[MailItem]:
        """Give each letter the body of its neighbour."""
        bodies = [item.body for item in items]
        return [replace(i, body=b) for i, b in zip(items, [*bodies[1:], *bodies[:1]], strict=True)]


class BatchReversed(Tamper):
    """The letters of a batch leave in the wrong order, without saying so."""

    def items(self, items: list[MailItem]) -> list[MailItem]:
        """Turn the batch round."""
        return [replace(item, previous=0) for item in reversed(items)]


class WindowIgnored(Tamper):
    """Everything owed is sent at once."""

    def bounds(self, bounds: Bounds) -> Bounds:
        """Forget how much may be on its way."""
        return replace(bounds, window_letters=BOUNDS.window_letters)


class BindingForgotten(Tamper):
    """At a restart, letters on their way look for their recipient anew."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Take away recipient and sequence."""
        unbound = tuple(_unbound(entry) for entry in snapshot.outbox)
        return replace(snapshot, outbox=unbound)


class BroadcastToSender(Tamper):
    """A broadcast goes to its own author, too."""

    def effects(self, effects: Effects) -> Effects:
        """Address the last letter of each broadcast to its author."""
        changed = tuple((key, _with_author(change)) for key, change in effects.changes)
        return replace(effects, changes=changed)


class _OtherVerdict(Tamper):
    """The author takes one verdict for another."""

    verdicts: ClassVar[dict[Verdict, Verdict]] = {}

    def event(self, event: Event) -> Event:
        """Change the verdicts."""
        if not isinstance(event, PacketReceived) or not isinstance(event.packet, Ack):
            return event
        ack = event.packet
        items = [replace(i, verdict=self.verdicts.get(i.verdict, i.verdict)) for i in ack.items]
        return replace(event, packet=replace(ack, items=tuple(items)))


class RefusalTakenAsDelivery(_OtherVerdict):
    """The author does not look at the verdict."""

    verdicts: ClassVar = {Verdict.REFUSED: Verdict.DELIVERED}


class LaterTakenAsRefusal(_OtherVerdict):
    """A letter that is put off by its recipient is given up."""

    verdicts: ClassVar = {Verdict.LATER: Verdict.REFUSED}


class LaterTakenAsDelivery(_OtherVerdict):
    """A letter that is put off by its recipient counts as delivered."""

    verdicts: ClassVar = {Verdict.LATER: Verdict.DELIVERED}


def _next_sequences(entries: Sequence[OutboxEntry]) -> dict[MailboxKey, int]:
    found: dict[MailboxKey, int] = {}
    for entry in entries:
        if entry.letter.recipient is not None:
            recipient = entry.letter.recipient
            found[recipient] = max(found.get(recipient, 1), entry.letter.sequence + 1)
    return found


def _settled_when_sent(change: Change) -> list[Change]:
    if not isinstance(change, MarkSent):
        return [change]
    return [change, *(SettleOutbox(row, State.DELIVERED) for row in change.rows)]


def _with_author(change: Change) -> Change:
    if not isinstance(change, PutOutbox) or len(change.entries) < 2:
        return change
    *others, last = change.entries
    letter = replace(last.letter, recipient=last.letter.author)
    return replace(change, entries=(*others, replace(last, letter=letter)))


def _unbound(entry: OutboxEntry) -> OutboxEntry:
    if entry.letter.kind is not Kind.DIRECT:
        return entry
    return replace(entry, letter=replace(entry.letter, recipient=None, sequence=0))
