"""Whom a name means (PROTOCOL.md NAME-1 to NAME-6, and NAME-10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.core.roster import Roster, Seen
from mesh.core.snapshot import Pin
from mesh.model import Address, MailboxKey, fingerprint, fold


@dataclass(frozen=True, slots=True)
class Resolution:
    """The agent meant. `is_changed`: it has another key than the one pinned for the name."""

    key: MailboxKey
    name: str
    forwarded_from: str = ""
    is_changed: bool = False


def resolve(
    address: Address,
    *,
    pins: Mapping[str, Pin],
    roster: Roster,
    age_s: float,
    now: float,
) -> Resolution | None:
    """Decide who gets a message made `age_s` ago; None while nobody is known by that name."""
    if address.fingerprint_prefix:
        return _resolve_exact(address, pins=pins, roster=roster)
    pin = pins.get(fold(address.name))
    named = roster.named(address.name)
    forwarding = _forwarding(roster.forwarding(address.name, age_s=age_s, now=now), named, pin)
    if forwarding is not None:
        card = forwarding.card
        return Resolution(card.key, card.name, forwarded_from=address.name)
    live = sorted((s for s in named if roster.is_live(s)), key=_claim_order)
    if pin is not None and not _moved_on(pin, roster):
        if live and all(s.card.key != pin.key for s in live):
            return Resolution(live[0].card.key, live[0].card.name, is_changed=True)
        return Resolution(pin.key, pin.name)
    if live:
        return Resolution(live[0].card.key, live[0].card.name)
    if named:
        latest = max(named, key=lambda s: (s.seen_at, s.card.key))
        return Resolution(latest.card.key, latest.card.name)
    return None


def resolve_trusted(
    address: Address,
    *,
    pins: Mapping[str, Pin],
    roster: Roster,
    age_s: float,
    now: float,
) -> Resolution | None:
    """Decide the same in strict mode, where a name means its pinned key or nobody."""
    pin = pins.get(fold(address.name))
    if pin is None or not fingerprint(pin.key).startswith(address.fingerprint_prefix):
        return None
    claimants = roster.forwarding(address.name, age_s=age_s, now=now)
    forwarding = _forwarding(claimants, (), pin)
    if forwarding is not None:
        card = forwarding.card
        return Resolution(card.key, card.name, forwarded_from=address.name)
    return None if _moved_on(pin, roster) else Resolution(pin.key, pin.name)


def _forwarding(
    claimants: Sequence[tuple[Seen, bool]], named: Sequence[Seen], pin: Pin | None
) -> Seen | None:
    """Choose who may forward a former name: anybody can claim to have had it.

    The key pinned for the name may; without a pin, one that was alone seen under it; one that only
    says so never while somebody else carries the name.
    """
    if pin is not None:
        return next((seen for seen, _ in claimants if seen.card.key == pin.key), None)
    if not claimants:
        return None
    first, is_witnessed = claimants[0]
    return first if is_witnessed or not named else None


def _resolve_exact(
    address: Address, *, pins: Mapping[str, Pin], roster: Roster
) -> Resolution | None:
    matching = roster.matching(address.name, address.fingerprint_prefix)
    if len(matching) == 1:
        return Resolution(matching[0].card.key, matching[0].card.name)
    pin = pins.get(fold(address.name))
    is_pinned = pin is not None and fingerprint(pin.key).startswith(address.fingerprint_prefix)
    if pin is not None and is_pinned and not matching:
        return Resolution(pin.key, pin.name)
    return None


def _claim_order(seen: Seen) -> tuple[float, MailboxKey]:
    return (seen.claimed_at, seen.card.key)


def _moved_on(pin: Pin, roster: Roster) -> bool:
    """Whether the pinned agent is known to have left the name behind for good."""
    seen = roster.agent(pin.key)
    return seen is not None and fold(seen.card.name) != fold(pin.name)
