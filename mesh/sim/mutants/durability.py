"""Mistakes about what is durable, and when."""

from collections.abc import Sequence
from dataclasses import replace

from mesh.core.changes import (
    Change,
    PutInbox,
    PutName,
    PutOutbox,
)
from mesh.core.effects import Effects
from mesh.core.snapshot import MailboxSnapshot
from mesh.sim.tamper import Tamper


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


class DoubtReportedAsFailure(Tamper):
    """A message whose commit was uncertain is reported as failed."""

    is_honest = False


class PutOffToldEarly(Tamper):
    """Verdicts that share a later commit are confirmed before it."""

    is_discreet = False


class SplitBroadcast(Tamper):
    """A broadcast is recorded recipient by recipient."""

    unit_of_commit = 1

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Take broadcasts apart."""
        return [part for change in changes for part in _one_by_one(change)]


class RowsReused(Tamper):
    """Row numbers of settled letters are used again."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Count rows from the queued ones."""
        rows = [entry.row for entry in snapshot.outbox]
        return replace(snapshot, next_row=max(rows, default=0) + 1)


class RenameForgotten(Tamper):
    """A new name is announced, but not written."""

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Drop the name."""
        return [change for change in changes if not isinstance(change, PutName)]


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


class TwoHolders(Tamper):
    """A session takes its mailbox while another process still tends it."""

    is_locking = False


class AdoptionDropsMail(Tamper):
    """Who tends a mailbox does not deliver what is owed from before."""

    def adopted(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Hide the outbox."""
        return replace(snapshot, outbox=())


def _one_by_one(change: Change) -> list[Change]:
    if not isinstance(change, PutOutbox):
        return [change]
    return [PutOutbox((entry,), change.body) for entry in change.entries]
