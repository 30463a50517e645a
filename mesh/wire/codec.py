"""The CBOR profile of the mesh: one value has exactly one encoding, and nothing else is accepted.

Canonical form (RFC 7049, section 3.9), no tags, no indefinite lengths, no duplicate keys, no
trailing bytes, bounded size and depth. Canonical form is checked by encoding the value again, which
costs about a microsecond and needs no second parser.

Large things never pass the general decoder, since decoded values take up to seventy times the space
of their bytes. They travel as *parts*: an array of byte strings whose number is checked before it
is decoded and which may not nest, so its cost is known from its first three bytes.

The readers at the end turn one decoded item into a typed field or raise.
"""

from collections.abc import Sequence
from typing import Final, NoReturn

import cbor2

from mesh.errors import MalformedError, OversizeError

_TAGS: Final = (
    *(0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100),
    *(256, 258, 260, 261, 1004, 43000, 55799),
)
"""Every tag for which the library has a decoder of its own; the hook below gets all others."""

INTEGER_MAX: Final = 2**63 - 1
"""The largest integer of the protocol, which is also SQLite's."""

DURATION_S_MAX: Final = 1000 * 366 * 86400.0
"""Longer durations travel as this one: a thousand years."""

_ARRAY_SHORT: Final = 0x80
_BYTES_SHORT: Final = 0x40
_LENGTH_WIDTHS: Final = {24: 1, 25: 2, 26: 4}
_LENGTHS_FROM: Final = {1: 24, 2: 1 << 8, 4: 1 << 16}
_LARGE_BYTES: Final = 64 * 1024
_ARRAY_ONE_BYTE: Final = 0x98
_ARRAY_TWO_BYTES: Final = 0x99
_MAP_SHORT: Final = range(0xA0, 0xB8)


def _refuse_tag(*_: object) -> NoReturn:
    raise MalformedError("a CBOR tag")


_SEMANTIC_DECODERS: Final = dict.fromkeys(_TAGS, _refuse_tag)


def dumps(value: object) -> bytes:
    """Encode in canonical form."""
    return cbor2.dumps(value, canonical=True)


def loads(data: bytes, *, bytes_max: int, depth_max: int) -> object:
    """Decode one canonical value.

    Raises:
        OversizeError: longer than `bytes_max`.
        MalformedError: anything else that is wrong.
    """
    if len(data) > bytes_max:
        raise OversizeError(f"{len(data)} bytes of CBOR where {bytes_max} are allowed")
    try:
        value: object = cbor2.loads(
            data,
            tag_hook=_refuse_tag,
            semantic_decoders=_SEMANTIC_DECODERS,
            max_depth=depth_max,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        again = cbor2.dumps(value, canonical=True)
    except cbor2.CBORError as exc:
        raise MalformedError("not CBOR as the protocol prescribes") from exc
    if again != data:
        raise MalformedError("CBOR that is not canonical, or has trailing bytes")
    return value


def loads_map(data: bytes, *, bytes_max: int) -> dict[object, object]:
    """Decode a map of at most 23 entries that hold no further containers.

    Raises:
        OversizeError: longer than `bytes_max`.
        MalformedError: anything else that is wrong.
    """
    if not data or data[0] not in _MAP_SHORT:
        raise MalformedError("not a short CBOR map")
    value = loads(data, bytes_max=bytes_max, depth_max=1)
    assert isinstance(value, dict)
    return value


def pack(parts: Sequence[bytes]) -> bytes:
    """Encode byte strings as one; `unpack` gives them back."""
    return cbor2.dumps(parts, canonical=True)


def unpack(data: bytes, *, bytes_max: int, parts_max: int) -> list[bytes]:
    """Decode at least one and at most `parts_max` byte strings.

    Raises:
        OversizeError: longer than `bytes_max`, or more parts.
        MalformedError: anything else that is wrong.
    """
    if _parts_announced(data[:3]) > parts_max:
        raise OversizeError(f"more than {parts_max} parts")
    if _LARGE_BYTES < len(data) <= bytes_max:
        sliced = _slice(data)
        if sliced:
            return sliced
    parts = loads(data, bytes_max=bytes_max, depth_max=1)
    assert isinstance(parts, list)
    if not parts or set(map(type, parts)) != {bytes}:
        raise MalformedError("parts that are not byte strings")
    return parts


def _slice(data: bytes) -> list[bytes] | None:
    """Cut a large canonical array of byte strings; None leaves anything else to the decoder.

    The decoder copies what it decodes several times, which is most of what a large piece costs.
    """
    number, at = data[0] - _ARRAY_SHORT, 1
    if not 0 < number < 24:
        return None
    parts: list[bytes] = []
    for _ in range(number):
        start = data[at : at + 5]
        if len(start) < 5:
            return None
        kind, bits = start[0] & 0xE0, start[0] & 0x1F
        if kind != _BYTES_SHORT:
            return None
        width = _LENGTH_WIDTHS.get(bits, 0 if bits < 24 else -1)
        size = bits if width == 0 else int.from_bytes(start[1 : 1 + max(width, 0)], "big")
        is_shortest = width == 0 or size >= _LENGTHS_FROM.get(width, 1 << 64)
        at += 1 + width
        if not is_shortest or at + size > len(data):
            return None
        parts.append(data[at : at + size])
        at += size
    return parts if at == len(data) else None


def _parts_announced(start: bytes) -> int:
    if start and _ARRAY_SHORT <= start[0] < _ARRAY_ONE_BYTE:
        return start[0] - _ARRAY_SHORT
    if len(start) > 1 and start[0] == _ARRAY_ONE_BYTE:
        return start[1]
    if len(start) > 2 and start[0] == _ARRAY_TWO_BYTES:
        return int.from_bytes(start[1:3], "big")
    raise MalformedError("not an array of parts")


def milliseconds(duration_s: float, *, low_s: float = 0.0, high_s: float = DURATION_S_MAX) -> int:
    """Return a duration as it travels, moved into the range that its field allows."""
    return round(min(max(duration_s, low_s), high_s) * 1000)


def seconds(value: object, *, low_s: float = 0.0, high_s: float = DURATION_S_MAX) -> float:
    """Return `value` as a duration.

    Raises:
        MalformedError: no integer, or out of range.
    """
    if type(value) is not int or not low_s * 1000 <= value <= high_s * 1000:
        raise MalformedError(f"not a duration from {low_s} to {high_s} s")
    return value / 1000


def array(value: object, *, items_min: int = 0, items_max: int = INTEGER_MAX) -> list[object]:
    """Return `value` as an array. Items beyond those the reader knows are to be ignored.

    Raises:
        MalformedError: something else, or too few or too many items.
    """
    if not isinstance(value, list) or not items_min <= len(value) <= items_max:
        raise MalformedError("not an array of the prescribed length")
    return value


def octets(value: object, size: int) -> bytes:
    """Return `value` as a byte string of exactly `size` bytes.

    Raises:
        MalformedError: something else.
    """
    if type(value) is not bytes or len(value) != size:
        raise MalformedError(f"not a byte string of {size} bytes")
    return value


def integer(value: object, low: int, high: int) -> int:
    """Return `value` as an integer from `low` to `high`.

    Raises:
        MalformedError: something else.
    """
    if type(value) is not int or not low <= value <= high:
        raise MalformedError(f"not an integer from {low} to {high}")
    return value


def flag(value: object) -> bool:
    """Return `value` as a truth value.

    Raises:
        MalformedError: something else.
    """
    if type(value) is not bool:
        raise MalformedError("not a truth value")
    return value


def text(value: object, chars_max: int) -> str:
    """Return `value` as a text of at most `chars_max` characters.

    Raises:
        MalformedError: something else.
    """
    if type(value) is not str or len(value) > chars_max:
        raise MalformedError(f"not a text of up to {chars_max} characters")
    return value
