"""Letters as bytes: the array that an author signs, and the digests that stand for it.

    [message id, kind, author, author's name, incarnation, to, recipient or null, sequence,
     ttl in ms, created in ms, reply to or null, urgent, auto, chain, body digest, body bytes,
     [digest, bytes, name] of a file that travels beside it, if one does]

The same bytes are kept at rest, where `recipient` may still be null. Fields are only ever added at
the end; what a reader does not know it ignores, but the signature covers it.
"""

import hashlib
from functools import lru_cache
from typing import Final

from mesh import limits
from mesh.errors import MalformedError, UsageError
from mesh.model import (
    FileRef,
    Incarnation,
    Kind,
    Letter,
    MailboxKey,
    MessageId,
    check_name,
    parse_address,
)
from mesh.wire.codec import (
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

KIND_NUMBERS: Final = {
    Kind.DIRECT: 1,
    Kind.BROADCAST: 2,
    Kind.FILE: 3,
    Kind.COMMAND: 4,
    Kind.RENAMED: 5,
}
_KINDS: Final = {number: kind for kind, number in KIND_NUMBERS.items()}

DIGEST_BYTES: Final = 32
created_ms_max: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: later ones have no date in Python."""

_FIELDS: Final = 16
_ADDRESS_CHARS_MAX: Final = limits.name_chars_max + 1 + 32
# Longer chains than allowed must arrive, for only then can the recipient refuse them by name.
_CHAIN_HOPS_MAX: Final = 2 * limits.chain_hops_max
_CHAIN_HOP_BYTES_MAX: Final = 32
# The same few names come with nearly every letter; an error is never kept.
_NAMES_KEPT_MAX: Final = 256


def encode(letter: Letter) -> bytes:
    """Return the bytes that are signed; durations are rounded to milliseconds.

    The letter keeps them: each is signed, digested and written, mostly within one tick.
    """
    if letter.encoded is None:
        _keep(letter, _encode(letter))
    assert letter.encoded is not None
    return letter.encoded


def _keep(letter: Letter, header: bytes) -> None:
    object.__setattr__(letter, "encoded", header)


def _encode(letter: Letter) -> bytes:
    file = letter.file
    return dumps(
        (
            letter.message_id,
            KIND_NUMBERS[letter.kind],
            letter.author,
            letter.author_name,
            letter.incarnation,
            letter.to,
            letter.recipient,
            letter.sequence,
            milliseconds(letter.ttl_s, high_s=limits.ttl_s_max),
            min(max(letter.created_ms, 0), created_ms_max),
            letter.reply_to,
            letter.is_urgent,
            letter.is_auto,
            letter.chain,
            letter.body_digest,
            letter.body_bytes,
            *(() if file is None else ((file.digest, file.bytes, file.name),)),
        )
    )


def decode(header: bytes) -> Letter:
    """Return the letter that `encode` was given. It keeps the bytes, unknown fields and all.

    Raises:
        OversizeError: longer than a letter may be.
        MalformedError: anything else that is wrong.
    """
    fields = array(
        loads(header, bytes_max=limits.letter_bytes_max, depth_max=limits.cbor_depth_max),
        items_min=_FIELDS,
    )
    # The order of the dataclass is the order on the wire; keywords would cost a third more time.
    letter = Letter(
        MessageId(octets(fields[0], 16)),
        _kind(fields[1]),
        MailboxKey(octets(fields[2], 32)),
        name(fields[3]),
        Incarnation(octets(fields[4], 8)),
        _checked_address(text(fields[5], _ADDRESS_CHARS_MAX)),
        None if fields[6] is None else MailboxKey(octets(fields[6], 32)),
        integer(fields[7], 0, INTEGER_MAX),
        seconds(fields[8], high_s=limits.ttl_s_max),
        integer(fields[9], 0, created_ms_max),
        None if fields[10] is None else MessageId(octets(fields[10], 16)),
        flag(fields[11]),
        flag(fields[12]),
        _chain(fields[13]),
        octets(fields[14], DIGEST_BYTES),
        integer(fields[15], 0, limits.body_bytes_max),
        _file(fields[_FIELDS]) if len(fields) > _FIELDS else None,
    )
    _keep(letter, header)
    return letter


def digest(header: bytes) -> bytes:
    """Return what stands for a letter in signatures, and at rest."""
    return hashlib.blake2b(header, digest_size=DIGEST_BYTES, person=b"mesh1-letter").digest()


def body_digest(body: bytes) -> bytes:
    """Return what stands for a body in its letter."""
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES, person=b"mesh1-body").digest()


def name(value: object) -> str:
    """Return `value` as a name that may be claimed.

    Raises:
        MalformedError: something else.
    """
    return _checked_name(text(value, limits.name_chars_max))


@lru_cache(maxsize=_NAMES_KEPT_MAX)
def _checked_name(value: str) -> str:
    try:
        return check_name(value)
    except UsageError as exc:
        raise MalformedError("not a name") from exc


@lru_cache(maxsize=_NAMES_KEPT_MAX)
def _checked_address(value: str) -> str:
    try:
        parse_address(value)
    except UsageError as exc:
        raise MalformedError("not an address") from exc
    return value


def _file(value: object) -> FileRef | None:
    if value is None:
        return None
    digest_field, size, file_name, *_ = array(value, items_min=3)
    return file_ref(digest_field, size, file_name)


def file_ref(digest_field: object, size: object, file_name: object) -> FileRef:
    """Return what names a file.

    Raises:
        MalformedError: something else.
    """
    return FileRef(
        octets(digest_field, DIGEST_BYTES),
        integer(size, 1, INTEGER_MAX),
        text(file_name, limits.file_name_bytes_max),
    )


def _kind(value: object) -> Kind:
    kind = _KINDS.get(integer(value, 0, INTEGER_MAX))
    if kind is None:
        raise MalformedError("a kind of message that this protocol version does not have")
    return kind


def _chain(value: object) -> tuple[bytes, ...]:
    hops = array(value, items_max=_CHAIN_HOPS_MAX)
    return tuple([_hop(hop) for hop in hops])


def _hop(value: object) -> bytes:
    if not isinstance(value, bytes) or not 0 < len(value) <= _CHAIN_HOP_BYTES_MAX:
        raise MalformedError("not a hop of a chain")
    return value
