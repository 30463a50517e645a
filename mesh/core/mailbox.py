"""One mailbox held by this node: what it is called, whom it trusts, what it owes and owns."""

from collections import Counter

from mesh import limits
from mesh.core.bounds import BOUNDS, Bounds
from mesh.core.inbox import Inbox
from mesh.core.outbox import Outbox
from mesh.core.snapshot import MailboxSnapshot, Pin, ShownLetter
from mesh.model import Alias, Card, MailboxKey, MessageId, Profile, Verified, fold


class Mailbox:
    """State of one mailbox, built from its snapshot; times are on the core's clock."""

    def __init__(
        self,
        snapshot: MailboxSnapshot,
        *,
        is_live: bool,
        profile: Profile,
        now: float,
        bounds: Bounds = BOUNDS,
    ) -> None:
        self.key = snapshot.key
        self.name = snapshot.name
        self.incarnation = snapshot.incarnation
        self.is_live = is_live
        self.profile = profile
        self.pins: dict[str, Pin] = dict(snapshot.pins)
        self._names_pinned = Counter(pin.key for pin in self.pins.values())
        self.renamed_at = None if snapshot.renamed_s is None else now - snapshot.renamed_s
        self.inbox = Inbox(snapshot.streams_in, snapshot.unread, bounds)
        self.outbox = Outbox(
            snapshot.key,
            snapshot.outbox,
            snapshot.next_sequences.items(),
            next_row=snapshot.next_row,
            first_sequence=snapshot.first_sequence,
            now=now,
            bounds=bounds,
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
        old = self.pins.get(fold(name))
        if old is not None:
            self._names_pinned[old.key] -= 1
        self._names_pinned[key] += 1
        self.pins[fold(name)] = pin
        return pin

    def pin_new(self, name: str, key: MailboxKey) -> Pin | None:
        """Remember `key` for a name without a pin; return what to write, if anything.

        One key cannot have any number of names remembered.
        """
        is_too_much = (
            self._names_pinned[key] >= limits.pins_per_key_max or len(self.pins) >= limits.pins_max
        )
        return None if fold(name) in self.pins or is_too_much else self.pin(name, key)

    def verify(self, author: MailboxKey, name: str) -> Verified:
        """Judge the origin of a letter."""
        pin = self.pins.get(fold(name))
        if pin is None:
            return Verified.FIRST_CONTACT
        return Verified.PINNED if pin.key == author else Verified.CHANGED

    def owe_shown(self, letters: tuple[ShownLetter, ...]) -> None:
        """Remember that these letters' authors are to be told that they were shown."""
        for letter in letters:
            owed = self._untold.setdefault(letter.author, {})
            owed[letter.message_id] = letter
            if len(owed) > limits.untold_per_author_max:
                del owed[next(iter(owed))]

    def untold(self, author: MailboxKey) -> tuple[ShownLetter, ...]:
        """Return what `author` has not confirmed hearing of."""
        return tuple(self._untold.get(author, {}).values())

    def told(
        self, author: MailboxKey, message_ids: tuple[MessageId, ...]
    ) -> tuple[ShownLetter, ...]:
        """The author has recorded that these were shown; return those it was owed for."""
        owed = self._untold.get(author, {})
        letters = tuple([owed.pop(one) for one in message_ids if one in owed])
        if not owed:
            self._untold.pop(author, None)
        return letters
