"""Deadlines of the core: one heap, at most one deadline for each matter."""

import heapq
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

from mesh.model import LinkId, MailboxKey, NodeId

M = TypeVar("M", bound=Hashable)


class Agenda(Generic[M]):
    """Remembers when each matter is due; setting a matter again replaces its deadline."""

    def __init__(self) -> None:
        self._due: dict[M, float] = {}
        self._heap: list[tuple[float, int, M]] = []
        self._order = count()

    def set(self, matter: M, deadline: float) -> None:
        """Make `matter` due at `deadline`, whatever was set before."""
        if self._due.get(matter) != deadline:
            self._due[matter] = deadline
            heapq.heappush(self._heap, (deadline, next(self._order), matter))

    def set_earlier(self, matter: M, deadline: float) -> None:
        """Make `matter` due at `deadline` unless it is due before that anyway."""
        if deadline < self._due.get(matter, float("inf")):
            self.set(matter, deadline)

    def drop(self, matter: M) -> None:
        """Forget `matter`; unknown ones are ignored."""
        self._due.pop(matter, None)

    def next_deadline(self) -> float | None:
        """Return the earliest deadline, or None when nothing is due ever."""
        while self._heap:
            deadline, _, matter = self._heap[0]
            if self._due.get(matter) == deadline:
                return deadline
            heapq.heappop(self._heap)
        return None

    def take_due(self, now: float) -> Iterator[M]:
        """Remove and yield each matter due at or before `now`, in order of deadline."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            matter = heapq.heappop(self._heap)[2]
            del self._due[matter]
            yield matter


@dataclass(frozen=True, slots=True)
class DialDue:
    """The next endpoint of a candidate may be tried."""

    candidate: bytes


@dataclass(frozen=True, slots=True)
class DialsDue:
    """Candidates wait until fewer attempts are under way."""


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """A link that was asked for a sign of life has had its time to give one."""

    link: LinkId


@dataclass(frozen=True, slots=True)
class HandshakeDue:
    """A link that is not up by now never will be."""

    link: LinkId


@dataclass(frozen=True, slots=True)
class AwayDue:
    """A peer without a link has had its time to come back."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class SweepDue:
    """Look for silent links and forgotten agents."""


@dataclass(frozen=True, slots=True)
class ExchangeDue:
    """Tell the peers about each other."""


@dataclass(frozen=True, slots=True)
class ExpiryDue:
    """Letters of a mailbox may have expired."""

    mailbox: MailboxKey


@dataclass(frozen=True, slots=True)
class StreamDue:
    """A stream's pause is over, or its acks are overdue."""

    mailbox: MailboxKey
    recipient: MailboxKey


@dataclass(frozen=True, slots=True)
class TransfersDue:
    """Files are on their way: look for those that stand still."""


LinkMatter = DialDue | DialsDue | HandshakeDue | ProbeDue | AwayDue | SweepDue | ExchangeDue
Matter = LinkMatter | ExpiryDue | StreamDue | TransfersDue
