"""Who is trusted: whose mail is taken and how its origin is shown, and whom a name means.

PROTOCOL.md NAME-9 and NAME-10.
"""

from dataclasses import dataclass

from mesh import limits
from mesh.core.changes import PutPin
from mesh.core.effects import EffectsDraft, Notice, Severity
from mesh.core.mailbox import Mailbox
from mesh.core.names import Resolution, resolve, resolve_trusted
from mesh.core.roster import Roster
from mesh.model import Address, Card, MailboxKey, Verified, Why, fingerprint, fold


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of an author; `has_name` if it announces the name it writes under."""

    verified: Verified
    has_name: bool
    is_welcome: bool


class Origins:
    """Judges authors and recipients; remembers the strangers that strict mode kept out."""

    def __init__(self, *, roster: Roster, is_open: bool, is_strict: bool) -> None:
        self._roster = roster
        self._is_strict = is_strict
        self._is_open = is_open
        self._strangers: dict[MailboxKey, dict[MailboxKey, str]] = {}

    def judge(self, mailbox: Mailbox, card: Card, name: str, out: EffectsDraft) -> Origin:
        """Judge an author, who has proven `card`, and writes to `mailbox` under `name`."""
        has_name = card.is_called(name)
        known = mailbox.verify(card.key, name) if has_name else Verified.CHANGED
        is_welcome = not self._is_strict or self._is_trusted(mailbox, card, known)
        if not is_welcome:
            self._note(mailbox, card, out)
        return Origin(Verified.OPEN if self._is_open else known, has_name, is_welcome)

    def whom(
        self, mailbox: Mailbox, address: Address, *, age_s: float, now: float
    ) -> Resolution | None:
        """Say whom an address means on a message of `mailbox` made `age_s` ago."""
        find = resolve_trusted if self._is_strict else resolve
        return find(address, pins=mailbox.pins, roster=self._roster, age_s=age_s, now=now)

    def why_unbound(self, to: str) -> Why:
        """Say why a letter to the name `to` has no recipient yet."""
        is_distrusted = self._is_strict and self._roster.named(to.partition("#")[0])
        return Why.PIN_CONFLICT if is_distrusted else Why.UNKNOWN_NAME

    def may_write_to(self, mailbox: Mailbox, card: Card) -> bool:
        """Whether `mailbox` may address an agent without having been told to trust it."""
        known = mailbox.verify(card.key, card.name)
        return not self._is_strict or self._is_trusted(mailbox, card, known)

    def strangers(self, mailbox: MailboxKey) -> tuple[tuple[MailboxKey, str], ...]:
        """Return the keys, and their names, whose mail waits for somebody to trust them."""
        return tuple(self._strangers.get(mailbox, {}).items())

    def trusted(self, mailbox: MailboxKey, key: MailboxKey) -> None:
        """Somebody trusts a key: it is a stranger no longer."""
        self._strangers.get(mailbox, {}).pop(key, None)

    def pin_new(self, mailbox: Mailbox, name: str, key: MailboxKey, out: EffectsDraft) -> None:
        """Remember whom a name meant at first contact."""
        pin = mailbox.pin_new(name, key)
        if pin is not None:
            out.changes.append((mailbox.key, PutPin(pin)))

    def _is_trusted(self, mailbox: Mailbox, card: Card, known: Verified) -> bool:
        """Whether the name is pinned to the key; a new name of a known key is as good as the old.

        A former name counts only for the key that is pinned under it.
        """
        if known is not Verified.FIRST_CONTACT:
            return known is Verified.PINNED
        pins = (mailbox.pins.get(fold(alias.name)) for alias in card.aliases)
        return any(pin is not None and pin.key == card.key for pin in pins)

    def _note(self, mailbox: Mailbox, card: Card, out: EffectsDraft) -> None:
        strangers = self._strangers.setdefault(mailbox.key, {})
        if card.key in strangers or len(strangers) >= limits.problems_max:
            return
        strangers[card.key] = card.name
        who = f"{card.name}#{fingerprint(card.key)}"
        text = f"mail by {who} to {mailbox.name} waits until it is trusted"
        out.notices.append(Notice(Severity.WARNING, text))
