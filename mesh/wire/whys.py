"""Reasons as numbers, the same in every packet that gives one and at rest."""

from typing import Final

from mesh.model import Why

WHY_NUMBERS: Final = {
    Why.NONE: 0,
    Why.UNKNOWN_NAME: 1,
    Why.AWAY: 2,
    Why.UNREACHABLE: 3,
    Why.QUOTA: 4,
    Why.RECIPIENT_FULL: 5,
    Why.PIN_CONFLICT: 6,
    Why.TOO_LARGE: 7,
    Why.EXPIRED: 8,
    Why.UNKNOWN_RECIPIENT: 9,
    Why.VERSION: 10,
    Why.LOOP: 11,
    Why.SKIPPED: 12,
    Why.DAMAGED: 13,
}
WHYS: Final = {number: why for why, number in WHY_NUMBERS.items()}
