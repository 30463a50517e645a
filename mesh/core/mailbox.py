"""One mailbox held by this node: what it is called, whom it trusts, what it owes and owns."""

from mesh import limits
from mesh.core.inbox import Inbox
from mesh.core.outbox import Outbox
from mesh.core.snapshot import MailboxSnapshot, Pin, ShownLetter
from mesh.model import Alias, Card, MailboxKey, MessageId, Profile, Verified, fold


class Mailbox:
    """State of one mailbox, built from its snapshot; times are on the core's clock."""

    def __init__(
        self, snapshot: MailboxSnapshot, *, is_live: bool, profile: Profile, now: float
    ) -> None:
        self.key = snapshot.key
        self.name = snapshot.name
        self.incarnation = snapshot.incarnation
        self.is_live = is_live
        self.profile = profile
        self.pins: dict[str, Pin] = dict(snapshot.pins)
        self.renamed_at = None if snapshot.renamed_s is None else now - snapshot.renamed_s
        self.inbox = Inbox(snapshot.streams_in, snapshot.unread)
        self.outbox = Outbox(
            snapshot.key,
            snapshot.outbox,
            snapshot.next_sequences.items(),
            next_row=snapshot.next_row,
            first_sequence=snapshot.first_sequence,
            now=now,
        )
        self._claim = snapshot.claim
        self._claimed_at = now
        self._registered_ms = snapshot.registered_ms
        self._aliases = list(snapshot.aliases)
        self._aliases_at = now
        self._untold: dict[MailboxKey, dict[MessageId, ShownLetter]] = {}
        self.owe_shown(snapshot.untold)

    def card(self, now: float) -> Card:
        """Return what this node announces about the mailbox now."""
        return Card(
            key=self.key,
            name=self.name,
            incarnation=self.incarnation,
            claim=self._claim,
            is_live=self.is_live,
            claimed_s=now - self._claimed_at,
            registered_ms=self._registered_ms,
            profile=self.profile,
            aliases=self.aliases(now),
        )

    def aliases(self, now: float) -> tuple[Alias, ...]:
        """Return the former names that still matter, with their times brought up to now."""
        passed_s = now - self._aliases_at
        aged = (Alias(a.name, a.since_s + passed_s, a.until_s - passed_s) for a in self._aliases)
        kept = [a for a in aged if a.since_s < limits.alias_tombstone_s]
        return tuple(kept[-limits.aliases_per_card_max :])

    def rename(self, name: str, now: float) -> Alias:
        """Take another name; return the alias that forwards the old one."""
        alias = Alias(self.name, 0.0, limits.alias_s)
        kept = [a for a in self.aliases(now) if fold(a.name) not in {fold(name), fold(self.name)}]
        self._aliases = [*kept, alias]
        self._aliases_at = now
        self.name = name
        self.renamed_at = now
        return alias

    def pin(self, name: str, key: MailboxKey, *, is_trusted: bool = False) -> Pin:
        """Remember `key` for `name`; return what to write."""
        pin = Pin(name, key, is_trusted)
        self.pins[fold(name)] = pin
        return pin

    def verify(self, author: MailboxKey, name: str) -> tuple[Verified, Pin | None]:
        """Judge the origin of a letter; with a name met for the first time comes its new pin."""
        pin = self.pins.get(fold(name))
        if pin is None:
            return (Verified.FIRST_CONTACT, self.pin(name, author))
        return (Verified.PINNED if pin.key == author else Verified.CHANGED, None)

    def owe_shown(self, letters: tuple[ShownLetter, ...]) -> None:
        """Remember that these letters' authors are to be told that they were shown."""
        for letter in letters:
            self._untold.setdefault(letter.author, {})[letter.message_id] = letter

    def untold(self, author: MailboxKey) -> tuple[ShownLetter, ...]:
        """Return what `author` has not confirmed hearing of, bounded by one packet."""
        owed = self._untold.get(author, {})
        return tuple(owed.values())[: limits.ack_items_max]

    def told(self, author: MailboxKey, message_ids: tuple[MessageId, ...]) -> None:
        """The author has recorded that these were shown."""
        owed = self._untold.get(author, {})
        for message_id in message_ids:
            owed.pop(message_id, None)
        if not owed:
            self._untold.pop(author, None)
