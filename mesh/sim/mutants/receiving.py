"""Mistakes of the recipient's side: dedup, quotas, what was shown."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from mesh.core.bounds import BOUNDS, Bounds
from mesh.core.changes import (
    Change,
    MarkShown,
    MarkTold,
    PutInbox,
    SettleShown,
)
from mesh.core.events import Event, PacketReceived
from mesh.core.filework import FileFound
from mesh.core.snapshot import MailboxSnapshot
from mesh.model import Incarnation
from mesh.packet import Ack, Gap, Mail, MailItem, Packet
from mesh.sim.tamper import Tamper

_NO_INCARNATION: Final = Incarnation(bytes(8))


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


class QuotaIgnored(Tamper):
    """An inbox takes mail without end."""

    def bounds(self, bounds: Bounds) -> Bounds:
        """Forget how much of it may be unread."""
        return replace(bounds, inbox_letters_per_author=BOUNDS.inbox_letters_per_author)


class LoopsTaken(Tamper):
    """Recipients do not count the hops of a message."""

    def event(self, event: Event) -> Event:
        """Hide the hops."""
        if not isinstance(event, PacketReceived) or not isinstance(event.packet, Mail):
            return event
        items = [replace(i, letter=replace(i.letter, chain=())) for i in event.packet.items]
        return replace(event, packet=replace(event.packet, items=tuple(items)))


class SkippedTooMuch(Tamper):
    """With each letter, all before it count as given up by their author."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Let the skipped sequences begin with the first one."""
        return [_skipping_all(change) for change in changes]


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


def _without_incarnation(item: MailItem) -> MailItem:
    return replace(item, letter=replace(item.letter, incarnation=_NO_INCARNATION))


def _told_when_shown(change: Change) -> list[Change]:
    if not isinstance(change, MarkShown):
        return [change]
    return [change, MarkTold(change.letters)]


def _skipping_all(change: Change) -> Change:
    if isinstance(change, PutInbox) and change.letter.sequence > 1:
        return replace(change, skipped_from=1)
    return change
