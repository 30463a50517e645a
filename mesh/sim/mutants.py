"""Deliberate mistakes, each of which the simulator must catch: they prove that it looks.

A mutant interferes around the core, the driver and the disk (see `tamper`). Adding one: subclass
`Tamper`, break one thing, add the class to `MUTANTS`; `tests/sim` then demands that it is caught.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from mesh import limits
from mesh.core.changes import (
    BindOutbox,
    Change,
    MarkSent,
    MarkShown,
    MarkTold,
    PutInbox,
    PutOutbox,
    PutPin,
    ReserveSequences,
    SettleOutbox,
    SettleShown,
)
from mesh.core.effects import Effects
from mesh.core.events import Event, PacketReceived
from mesh.core.filework import FileFound
from mesh.core.snapshot import MailboxSnapshot, OutboxEntry
from mesh.model import Incarnation, MailboxKey, State
from mesh.packet import Ack, Announce, Gap, Mail, MailItem, Packet, Verdict
from mesh.sim.disk import Disk
from mesh.sim.tamper import Tamper

_NO_INCARNATION: Final = Incarnation(bytes(8))


class AckBeforeCommit(Tamper):
    """Acks leave before the inbox row is durable."""

    def effects(self, effects: Effects) -> Effects:
        """Send acks at once."""
        early = tuple((link, packet) for link, _, packet in effects.acks)
        return replace(effects, packets=(*effects.packets, *early), acks=())


class AnswerBeforeCommit(Tamper):
    """`send` returns before the message is durable."""

    is_answering_early = True


class NoSync(Tamper):
    """A commit returns before it is synced."""

    is_synced = False


class FailedCommitIgnored(Tamper):
    """A failed commit goes unnoticed: acks and answers leave, the core keeps its state."""

    is_careful = False


class SplitBroadcast(Tamper):
    """A broadcast is recorded recipient by recipient."""

    unit_of_commit = 1

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Take broadcasts apart."""
        return [part for change in changes for part in _one_by_one(change)]


class DedupForgotten(Tamper):
    """What was received is forgotten at a restart."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Hide the watermarks."""
        return replace(snapshot, streams_in={})


class LastLetterForgotten(Tamper):
    """Of each stream the letter received last is forgotten at a restart."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Put the watermarks back by one."""
        streams = {
            key: replace(stream, watermark=max(0, stream.watermark - 1))
            for key, stream in snapshot.streams_in.items()
        }
        return replace(snapshot, streams_in=streams)


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


class RowsReused(Tamper):
    """Row numbers of settled letters are used again."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Count rows from the queued ones."""
        rows = [entry.row for entry in snapshot.outbox]
        return replace(snapshot, next_row=max(rows, default=0) + 1)


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


class IncarnationIgnored(Tamper):
    """Streams are told apart by author alone."""

    def event(self, event: Event) -> Event:
        """Make all incarnations equal."""
        if not isinstance(event, PacketReceived):
            return event
        packet: Packet = event.packet
        if isinstance(packet, Mail):
            packet = replace(packet, items=tuple(_without_incarnation(i) for i in packet.items))
        elif isinstance(packet, Ack | Gap):
            packet = replace(packet, incarnation=_NO_INCARNATION)
        return replace(event, packet=packet)

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Make one's own equal, too."""
        return replace(snapshot, incarnation=_NO_INCARNATION)


class ShownForgotten(Tamper):
    """Who was not told yet is forgotten at a restart."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Owe nobody anything."""
        return replace(snapshot, untold=())


class ToldTooEarly(Tamper):
    """Authors count as told as soon as the letter was shown."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Mark as told with the marking as shown."""
        return [part for change in changes for part in _told_when_shown(change)]


class ShownIsDelivered(Tamper):
    """That a letter was shown is not recorded by its author."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Drop the record."""
        return [change for change in changes if not isinstance(change, SettleShown)]


class RefusalTakenAsDelivery(Tamper):
    """The author does not look at the verdict."""

    def event(self, event: Event) -> Event:
        """Make all verdicts the same."""
        if isinstance(event, PacketReceived) and isinstance(event.packet, Ack):
            items = event.packet.items
            same = tuple(
                replace(i, verdict=Verdict.DELIVERED) if i.verdict is Verdict.REFUSED else i
                for i in items
            )
            return replace(event, packet=replace(event.packet, items=same))
        return event


class AliasForever(Tamper):
    """A former name forwards for ever."""

    def event(self, event: Event) -> Event:
        """Stretch what others announce."""
        if isinstance(event, PacketReceived) and isinstance(event.packet, Announce):
            cards = tuple(
                replace(
                    c,
                    aliases=tuple(
                        replace(a, since_s=0.0, until_s=limits.alias_s) for a in c.aliases
                    ),
                )
                for c in event.packet.cards
            )
            return replace(event, packet=Announce(cards))
        return event


class PinsForgotten(Tamper):
    """A binding is sent but the letter stays unbound on disk."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Drop bindings."""
        return [change for change in changes if not isinstance(change, BindOutbox | PutPin)]


class TwoHolders(Tamper):
    """A session takes its mailbox while another process still tends it."""

    is_locking = False


class InboxIncomplete(Tamper):
    """Some letters are acknowledged but never written."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Keep only the first letter of each commit."""
        kept: list[Change] = []
        has_letter = False
        for change in changes:
            if isinstance(change, PutInbox):
                if has_letter:
                    continue
                has_letter = True
            kept.append(change)
        return kept


class FileUnverified(Tamper):
    """A file is put into place as it came, right or not."""

    is_verifying = False


class FileTakenOnTrust(Tamper):
    """The recipient says that it has a file as soon as it is offered."""

    def event(self, event: Event) -> Event:
        """Let the disk have everything already."""
        return replace(event, is_whole=True) if isinstance(event, FileFound) else event


class FileStartsOver(Tamper):
    """What the disk has of a file is forgotten: every fetch begins anew."""

    def event(self, event: Event) -> Event:
        """Let the disk have nothing."""
        return replace(event, kept=0) if isinstance(event, FileFound) else event


MUTANTS: Final[dict[str, type[Tamper]]] = {
    mutant.__name__: mutant
    for mutant in (
        AckBeforeCommit,
        AliasForever,
        AnswerBeforeCommit,
        BatchReversed,
        BodiesSwapped,
        DedupForgotten,
        DeleteOnSend,
        ExpiryByWallClock,
        ExpiryInSilence,
        InboxIncomplete,
        IncarnationIgnored,
        LastLetterForgotten,
        NoSync,
        PinsForgotten,
        PreviousAlwaysZero,
        RefusalTakenAsDelivery,
        FailedCommitIgnored,
        FileStartsOver,
        FileTakenOnTrust,
        FileUnverified,
        RowsReused,
        SequencesFromOutbox,
        SequencesReused,
        ShownForgotten,
        ShownIsDelivered,
        SplitBroadcast,
        ToldTooEarly,
        TwoHolders,
    )
}


def _one_by_one(change: Change) -> list[Change]:
    if not isinstance(change, PutOutbox):
        return [change]
    return [PutOutbox((entry,), change.body) for entry in change.entries]


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


def _without_incarnation(item: MailItem) -> MailItem:
    return replace(item, letter=replace(item.letter, incarnation=_NO_INCARNATION))


def _told_when_shown(change: Change) -> list[Change]:
    if not isinstance(change, MarkShown):
        return [change]
    return [change, MarkTold(change.letters)]
