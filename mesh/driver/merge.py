"""The effects of all steps of one tick, put together without breaking their order."""

from dataclasses import dataclass, field, replace

from mesh import limits
from mesh.core.changes import (
    BindOutbox,
    Change,
    PutOutbox,
)
from mesh.core.effects import (
    Answer,
    Arrival,
    Dial,
    Effects,
    Notice,
    Receipt,
    Transmission,
)
from mesh.core.filework import FileTask
from mesh.core.patience import is_patient, is_repeatable
from mesh.model import Incarnation, LinkId, MailboxKey, MessageId
from mesh.packet import Ack, Packet
from mesh.store.interface import StoredLetter

Answering = tuple[LinkId, MailboxKey, Packet]
"""A verdict on its way over a link, in the name of a mailbox."""

_AckKey = tuple[LinkId, MailboxKey, MailboxKey, Incarnation]


@dataclass(slots=True)
class Merged:
    """Effects of many steps. `fresh` holds the letters this tick accepts, by mailbox and row."""

    dials: list[Dial] = field(default_factory=list)
    closes: list[LinkId] = field(default_factory=list)
    packets: list[tuple[LinkId, Packet]] = field(default_factory=list)
    transmissions: list[Transmission] = field(default_factory=list)
    changes: dict[MailboxKey, list[Change]] = field(default_factory=dict)
    transmissions_after: list[Transmission] = field(default_factory=list)
    acks: list[Answering] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    roster_changed: bool = False
    files: list[FileTask] = field(default_factory=list)
    fresh: dict[tuple[MailboxKey, int], StoredLetter] = field(default_factory=dict)
    _held_back: set[MailboxKey] = field(default_factory=set)
    _open_acks: dict[_AckKey, int] = field(default_factory=dict)

    def add(self, effects: Effects) -> None:
        """Append the effects of the next step."""
        self.dials += effects.dials
        self.closes += effects.closes
        self.packets += effects.packets
        for key, change in effects.changes:
            self.changes.setdefault(key, []).append(change)
            if isinstance(change, PutOutbox):
                for entry in change.entries:
                    letter = StoredLetter(entry.row, entry.letter, change.body)
                    self.fresh[(key, entry.row)] = letter
            elif isinstance(change, BindOutbox) and (key, change.row) in self.fresh:
                unbound = self.fresh[(key, change.row)]
                self.fresh[(key, change.row)] = replace(unbound, letter=change.letter)
        for transmission in effects.transmissions:
            self._transmit(transmission)
        for transmission in effects.transmissions_after:
            self._held_back.add(transmission.mailbox)
            self.transmissions_after.append(transmission)
        for link, key, packet in effects.acks:
            self._acknowledge(link, key, packet)
        self.answers += effects.answers
        self.arrivals += effects.arrivals
        self.receipts += effects.receipts
        self.notices += effects.notices
        self.files += effects.files
        self.roster_changed = self.roster_changed or effects.roster_changed

    def can_be_put_off(self) -> bool:
        """Whether nobody waits for what there is to write."""
        return (
            not self.answers
            and not self.arrivals
            and not self.transmissions_after
            and all(is_patient(packet) for _, _, packet in self.acks)
            and all(is_repeatable(c) for batch in self.changes.values() for c in batch)
        )

    def hold_back(self) -> None:
        """Let all mail wait for the commit."""
        self.transmissions_after = self.transmissions + self.transmissions_after
        self.transmissions = []

    def left_early(self) -> set[MessageId]:
        """Return the messages of this tick that left before they were committed."""
        rows = ((t.mailbox, row) for t in self.transmissions for row, _, _ in t.letters)
        return {self.fresh[row].letter.message_id for row in rows if row in self.fresh}

    def join(self, acks: list[Answering]) -> list[Answering]:
        """Let earlier verdicts leave with those of this tick; return what shares no packet."""
        left = []
        for link, mailbox, packet in acks:
            if isinstance(packet, Ack) and _ack_key(link, packet) in self._open_acks:
                self._acknowledge(link, mailbox, packet)
            else:
                left.append((link, mailbox, packet))
        return left

    def _acknowledge(self, link: LinkId, mailbox: MailboxKey, packet: Packet) -> None:
        """Let verdicts of one stream share a packet, and so a signature."""
        if not isinstance(packet, Ack):
            self.acks.append((link, mailbox, packet))
            return
        key = _ack_key(link, packet)
        index = self._open_acks.get(key)
        if index is not None:
            earlier = self.acks[index][2]
            assert isinstance(earlier, Ack)
            if len(earlier.items) + len(packet.items) <= limits.ack_items_max:
                joined = replace(earlier, items=earlier.items + packet.items)
                self.acks[index] = (link, mailbox, joined)
                return
        self._open_acks[key] = len(self.acks)
        self.acks.append((link, mailbox, packet))

    def _transmit(self, transmission: Transmission) -> None:
        """Behind a mailbox's letter that waits for its commit, all of that mailbox's wait.

        That keeps their order, and a letter that changes links cannot overtake its reservation.
        """
        if transmission.mailbox in self._held_back:
            self.transmissions_after.append(transmission)
        else:
            self.transmissions.append(transmission)


def _ack_key(link: LinkId, ack: Ack) -> _AckKey:
    return (link, ack.recipient, ack.author, ack.incarnation)
