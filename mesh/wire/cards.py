"""Cards as bytes: what a node claims about one mailbox, signed with that mailbox's key.

    [key, name, incarnation, claim, is live, claimed ms ago, registered at ms,
     [client, summary, wake, host, place], [[former name, since ms, until ms], ...]]

Fields are only ever added at the end. The profile is display only: what does not fit is cut off
here, so that a long host name cannot keep a node from announcing itself.
"""

from typing import Final

from mesh import limits
from mesh.model import Alias, Card, Incarnation, MailboxKey, Profile
from mesh.wire import letters
from mesh.wire.codec import (
    DURATION_S_MAX,
    INTEGER_MAX,
    array,
    dumps,
    flag,
    integer,
    loads,
    milliseconds,
    octets,
    seconds,
    text,
)

card_bytes_max: Final = 4 * limits.KIB
_FIELDS: Final = 9


def encode(card: Card) -> bytes:
    """Return the bytes that are signed; durations are rounded to milliseconds."""
    assert len(card.aliases) <= limits.aliases_per_card_max
    profile = card.profile
    return dumps(
        (
            card.key,
            card.name,
            card.incarnation,
            card.claim,
            card.is_live,
            milliseconds(card.claimed_s),
            min(max(card.registered_ms, 0), letters.created_ms_max),
            (
                _display(profile.client, limits.profile_chars_max),
                _display(profile.summary, limits.summary_chars_max),
                _display(profile.wake, limits.profile_chars_max),
                _display(profile.host, limits.profile_chars_max),
                _display(profile.place, limits.profile_chars_max),
            ),
            tuple([_encode_alias(alias) for alias in card.aliases]),
        )
    )


def decode(data: bytes) -> Card:
    """Return the card that `encode` was given.

    Raises:
        OversizeError: longer than a card may be.
        MalformedError: anything else that is wrong.
    """
    value = loads(data, bytes_max=card_bytes_max, depth_max=limits.cbor_depth_max)
    fields = array(value, items_min=_FIELDS)
    return Card(
        key=MailboxKey(octets(fields[0], 32)),
        name=letters.name(fields[1]),
        incarnation=Incarnation(octets(fields[2], 8)),
        claim=integer(fields[3], 0, INTEGER_MAX),
        is_live=flag(fields[4]),
        claimed_s=seconds(fields[5]),
        registered_ms=integer(fields[6], 0, letters.created_ms_max),
        profile=_profile(array(fields[7], items_min=5)),
        aliases=tuple(
            [_alias(item) for item in array(fields[8], items_max=limits.aliases_per_card_max)]
        ),
    )


def _profile(fields: list[object]) -> Profile:
    return Profile(
        client=text(fields[0], limits.profile_chars_max),
        summary=text(fields[1], limits.summary_chars_max),
        wake=text(fields[2], limits.profile_chars_max),
        host=text(fields[3], limits.profile_chars_max),
        place=text(fields[4], limits.profile_chars_max),
    )


def _encode_alias(alias: Alias) -> tuple[str, int, int]:
    until = milliseconds(alias.until_s, low_s=-DURATION_S_MAX)
    return alias.name, milliseconds(alias.since_s), until


def _alias(value: object) -> Alias:
    fields = array(value, items_min=3)
    return Alias(
        name=letters.name(fields[0]),
        since_s=seconds(fields[1]),
        until_s=seconds(fields[2], low_s=-DURATION_S_MAX),
    )


def _display(value: str, chars_max: int) -> str:
    return value[:chars_max].encode(errors="replace").decode()
