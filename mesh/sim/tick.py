"""What one tick of a simulated process does, put together without breaking its order."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from mesh import limits
from mesh.core.changes import BindOutbox, Change, PutOutbox
from mesh.core.effects import Effects, Transmission
from mesh.core.filework import DropSpool, FileTask
from mesh.core.patience import is_patient, is_repeatable
from mesh.model import Letter, LinkId, MailboxKey, MessageId
from mesh.packet import Mail, MailItem, Packet
from mesh.sim.disk import Disk
from mesh.sim.history import History
from mesh.sim.tamper import Tamper


class Phase(Enum):
    """Where in a tick a process may be killed."""

    STEPPED = "after the steps"
    SENDING = "while sending"
    SENT = "before the commit"
    COMMITTING = "within the commit"
    COMMITTED = "after the commit"
    ACKED = "between acks and answers"


@dataclass(slots=True)
class Tick:
    """The merged effects of the steps of one tick."""

    effects: list[Effects] = field(default_factory=list)
    at_once: list[Transmission] = field(default_factory=list)
    after: list[Transmission] = field(default_factory=list)
    changes: dict[MailboxKey, list[Change]] = field(default_factory=dict)
    fresh: dict[tuple[MailboxKey, int], tuple[Letter, bytes]] = field(default_factory=dict)
    failed: set[MailboxKey] = field(default_factory=set)
    acks: list[tuple[LinkId, MailboxKey, Packet]] = field(default_factory=list)
    is_awaited: bool = False

    def add(self, effects: Effects, history: History) -> None:
        """Append the effects of the next step."""
        self.effects.append(effects)
        self.acks += effects.acks
        self.is_awaited = self.is_awaited or bool(effects.answers or effects.arrivals)
        for key, change in effects.changes:
            self.changes.setdefault(key, []).append(change)
            if isinstance(change, PutOutbox):
                history.put(change)
                for entry in change.entries:
                    self.fresh[key, entry.row] = (entry.letter, change.body)
            elif isinstance(change, BindOutbox):
                history.bound(change.letter)
                if (key, change.row) in self.fresh:
                    self.fresh[key, change.row] = (change.letter, self.fresh[key, change.row][1])
        held_back = {t.mailbox for t in self.after}
        for transmission in effects.transmissions:
            is_behind = transmission.mailbox in held_back
            (self.after if is_behind else self.at_once).append(transmission)
        self.after += effects.transmissions_after

    def can_be_put_off(self) -> bool:
        """Whether nobody waits for what there is to write."""
        return (
            not self.is_awaited
            and not self.after
            and all(is_patient(packet) for _, _, packet in self.acks)
            and all(is_repeatable(c) for batch in self.changes.values() for c in batch)
        )

    def mail(
        self, wanted: list[Transmission], disks: Mapping[MailboxKey, Disk], tamper: Tamper
    ) -> list[tuple[LinkId, Packet]]:
        """Load letters, those of this tick from memory, and put them into packets."""
        batches: dict[tuple[LinkId, MailboxKey], list[MailItem]] = {}
        for transmission in wanted:
            key, disk = transmission.mailbox, disks.get(transmission.mailbox)
            unknown = [row for row, _, _ in transmission.letters if (key, row) not in self.fresh]
            loaded = disk.letters(unknown) if disk and unknown else {}
            items = batches.setdefault((transmission.link, key), [])
            for row, previous, age_s in transmission.letters:
                found = self.fresh.get((key, row)) or loaded.get(row)
                if found is not None:
                    items.append(MailItem(found[0], previous, age_s, found[1]))
        return [
            (link, Mail(author, part))
            for (link, author), items in batches.items()
            for part in _parts(tamper.items(items))
        ]

    def has_left(self, message_id: MessageId) -> bool:
        """Whether a letter of this tick may be in an inbox, though no disk here knows of it."""
        left = {(t.mailbox, row) for t in self.at_once for row, _, _ in t.letters}
        return any(self.fresh[k][0].message_id == message_id for k in left & self.fresh.keys())

    def files(self, failed: set[MailboxKey]) -> Iterator[FileTask]:
        """Yield the file tasks, but none that drops files of letters the disk still owes."""
        for effects in self.effects:
            for task in effects.files:
                if not isinstance(task, DropSpool) or task.mailbox not in failed:
                    yield task

    @property
    def weight(self) -> int:
        """How much is written, each letter of a broadcast counted."""
        every = (change for changes in self.changes.values() for change in changes)
        return sum(len(c.entries) if isinstance(c, PutOutbox) else 1 for c in every)


def _parts(items: list[MailItem]) -> Iterable[tuple[MailItem, ...]]:
    """Cut a batch so that each part fits one packet."""
    part: list[MailItem] = []
    size = 0
    for item in items:
        is_full = len(part) >= limits.batch_letters_max
        if part and (is_full or size + len(item.body) > limits.batch_bytes_max):
            yield tuple(part)
            part, size = [], 0
        part.append(item)
        size += len(item.body)
    if part:
        yield tuple(part)
