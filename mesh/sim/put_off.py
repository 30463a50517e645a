"""What a process writes with its next commit, and the answers that wait with it."""

from dataclasses import dataclass, field

from mesh import limits
from mesh.core.changes import Change
from mesh.model import LinkId, MailboxKey
from mesh.packet import Packet
from mesh.sim.tick import Tick


@dataclass(slots=True)
class PutOff:
    """Lost in a crash, as it is nowhere but in memory."""

    _changes: dict[MailboxKey, list[Change]] = field(default_factory=dict)
    _acks: list[tuple[LinkId, MailboxKey, Packet]] = field(default_factory=list)
    _due_at: float | None = None

    def __bool__(self) -> bool:
        return self._due_at is not None

    def is_due(self, now: float) -> bool:
        """Whether a commit must be made though nothing else asks for one."""
        return self._due_at is not None and now >= self._due_at

    def add(self, tick: Tick, now: float) -> None:
        """Take over what a tick would write, and what says so."""
        for key, changes in tick.changes.items():
            self._changes.setdefault(key, []).extend(changes)
        self._acks += tick.acks
        tick.changes, tick.acks = {}, []
        if self._due_at is None:
            self._due_at = now + limits.put_off_s

    def join(self, tick: Tick) -> None:
        """Let everything be written with a tick that commits."""
        for key, changes in tick.changes.items():
            self._changes.setdefault(key, []).extend(changes)
        tick.changes, tick.acks = self._changes, self._acks + tick.acks
        self._changes, self._acks, self._due_at = {}, [], None

    def take(self, key: MailboxKey) -> list[Change]:
        """Take out what concerns a mailbox that is given up."""
        return self._changes.pop(key, [])

    def forget_acks(self, key: MailboxKey) -> None:
        """Say nothing for a mailbox: its writes have failed."""
        self._acks = [ack for ack in self._acks if ack[1] != key]
