"""Where a mutant may interfere: around the core, the driver and the disk, never inside the core."""

from collections.abc import Sequence

from mesh.core.bounds import Bounds
from mesh.core.changes import Change
from mesh.core.effects import Effects
from mesh.core.events import Event
from mesh.core.snapshot import MailboxSnapshot
from mesh.packet import MailItem
from mesh.sim.disk import Disk


class Tamper:
    """Changes nothing; mutants override what they break.

    `is_synced`: a commit that returned survives a power loss. `is_careful`: the core is rebuilt
    from the disk after a failed commit. `is_answering_early`: answers do not wait for the commit.
    `is_locking`: only one process at a time holds a mailbox. `unit_of_commit` is how many changes
    are atomic (0: all of a tick). `is_verifying`: a file is put into place only if it is right.
    `is_discreet`: what says that something is written waits until it is. `is_honest`: the sender
    is told how uncertain a commit is.
    """

    is_synced = True
    is_careful = True
    is_answering_early = False
    is_locking = True
    is_verifying = True
    is_discreet = True
    is_honest = True
    unit_of_commit = 0

    def event(self, event: Event) -> Event:
        """Change what the core hears."""
        return event

    def effects(self, effects: Effects) -> Effects:
        """Change what the core wants."""
        return effects

    def changes(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Change what reaches the disk."""
        return changes

    def committing(self, disk: Disk, changes: Sequence[Change]) -> None:
        """Do something to the disk just before a commit."""

    def snapshot(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Change what is read back at start."""
        return snapshot

    def adopted(self, snapshot: MailboxSnapshot) -> MailboxSnapshot:
        """Change what is read by a process that tends a mailbox."""
        return snapshot

    def bounds(self, bounds: Bounds) -> Bounds:
        """Change how much mail the core takes."""
        return bounds

    def items(self, items: list[MailItem]) -> list[MailItem]:
        """Change what is put into mail."""
        return items
