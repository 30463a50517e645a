"""The packets by which files travel beside their letters (PROTOCOL.md FILE-1 to FILE-9).

    kind       head after the kind                          parts
    OFFER      author, signature                            [recipient, digest, bytes, name, place]
    WANT       recipient, author, digest, offset, length
    CHUNK      author, recipient, digest, offset            data
    HAVE       recipient, signature                         [author, digest]
    DECLINE    recipient, signature                         [author, digest, why]
    SPOOLING   author, recipient, place, bytes

    an offer by its author over         "mesh1/offer\\0" binding its part
    a have by its recipient over        "mesh1/have\\0" binding its part
    a decline by its recipient over     "mesh1/decline\\0" binding its part

Wants, chunks and spoolings are not signed: they only matter between the two holders that a link has
proven, and the digest in the signed letter decides whether the file is the right one.
"""

from collections.abc import Callable
from typing import Final, assert_never

from mesh import limits
from mesh.errors import MalformedError
from mesh.model import MailboxKey, Why
from mesh.packet import Chunk, Decline, FilePacket, Have, Offer, Spooling, Want
from mesh.wire.codec import INTEGER_MAX, array, dumps, integer, octets
from mesh.wire.heads import PacketKind, join, load_small
from mesh.wire.keys import SIGNATURE_BYTES, verify
from mesh.wire.letters import DIGEST_BYTES, file_ref
from mesh.wire.whys import WHY_NUMBERS, WHYS

_OFFER: Final = b"mesh1/offer\0"
_HAVE: Final = b"mesh1/have\0"
_DECLINE: Final = b"mesh1/decline\0"

Sign = Callable[[MailboxKey, bytes], bytes]


def encode(packet: FilePacket, sign: Sign, binding: bytes) -> bytes:
    """Return a packet as bytes, signed for the link that has this binding."""
    match packet:
        case Offer(author, recipient, file, place):
            part = dumps((recipient, file.digest, file.bytes, file.name, place))
            return _signed(PacketKind.OFFER, author, part, sign(author, _OFFER + binding + part))
        case Want(recipient, author, digest, offset, length):
            return join(PacketKind.WANT, (recipient, author, digest, offset, length))
        case Chunk(author, recipient, digest, offset, data):
            assert 0 < len(data) <= limits.chunk_bytes_max
            return join(PacketKind.CHUNK, (author, recipient, digest, offset), (data,))
        case Have(recipient, author, digest):
            part = dumps((author, digest))
            signature = sign(recipient, _HAVE + binding + part)
            return _signed(PacketKind.HAVE, recipient, part, signature)
        case Decline(recipient, author, digest, why):
            part = dumps((author, digest, WHY_NUMBERS[why]))
            signature = sign(recipient, _DECLINE + binding + part)
            return _signed(PacketKind.DECLINE, recipient, part, signature)
        case Spooling(author, recipient, place, size):
            return join(PacketKind.SPOOLING, (author, recipient, place, size))
    assert_never(packet)


def _signed(kind: PacketKind, signer: MailboxKey, part: bytes, signature: bytes) -> bytes:
    return join(kind, (signer, signature), (part,))


def _open_signed(
    head: list[object], parts: list[bytes], message: bytes, items_min: int
) -> tuple[MailboxKey, list[object]]:
    """Return who signed a packet and the fields of its part."""
    _, signer_field, signature, *_ = array(head, items_min=3)
    signer = MailboxKey(octets(signer_field, 32))
    if not parts:
        raise MalformedError("a packet with fewer parts than its kind has")
    verify(signer, message + parts[0], octets(signature, SIGNATURE_BYTES))
    return signer, list(array(load_small(parts[0]), items_min=items_min))


def _decode_offer(head: list[object], parts: list[bytes], binding: bytes) -> Offer:
    author, fields = _open_signed(head, parts, _OFFER + binding, 5)
    recipient, digest, size, name, place, *_ = fields
    file = file_ref(digest, size, name)
    return Offer(author, MailboxKey(octets(recipient, 32)), file, _place(place))


def _decode_spooling(head: list[object], _parts: list[bytes], _binding: bytes) -> Spooling:
    _, author, recipient, place, size, *_ = array(head, items_min=5)
    return Spooling(
        MailboxKey(octets(author, 32)),
        MailboxKey(octets(recipient, 32)),
        _place(place),
        integer(size, 0, INTEGER_MAX),
    )


def _place(place: object) -> bytes:
    if type(place) is not bytes or len(place) > limits.place_bytes_max:
        raise MalformedError("a place that is no byte string, or too long")
    return place


def _decode_want(head: list[object], _parts: list[bytes], _binding: bytes) -> Want:
    _, recipient, author, digest, offset, length, *_ = array(head, items_min=6)
    return Want(
        MailboxKey(octets(recipient, 32)),
        MailboxKey(octets(author, 32)),
        octets(digest, DIGEST_BYTES),
        integer(offset, 0, INTEGER_MAX),
        integer(length, 0, limits.chunk_bytes_max),
    )


def _decode_chunk(head: list[object], parts: list[bytes], _binding: bytes) -> Chunk:
    _, author, recipient, digest, offset, *_ = array(head, items_min=5)
    if not parts or not 0 < len(parts[0]) <= limits.chunk_bytes_max:
        raise MalformedError("a chunk without data, or with too much")
    return Chunk(
        MailboxKey(octets(author, 32)),
        MailboxKey(octets(recipient, 32)),
        octets(digest, DIGEST_BYTES),
        integer(offset, 0, INTEGER_MAX),
        parts[0],
    )


def _decode_have(head: list[object], parts: list[bytes], binding: bytes) -> Have:
    recipient, (author, digest, *_) = _open_signed(head, parts, _HAVE + binding, 2)
    return Have(recipient, MailboxKey(octets(author, 32)), octets(digest, DIGEST_BYTES))


def _decode_decline(head: list[object], parts: list[bytes], binding: bytes) -> Decline:
    recipient, (author, digest, why, *_) = _open_signed(head, parts, _DECLINE + binding, 3)
    return Decline(
        recipient,
        MailboxKey(octets(author, 32)),
        octets(digest, DIGEST_BYTES),
        # A later version may know more reasons; it is declined all the same.
        WHYS.get(integer(why, 0, INTEGER_MAX), Why.NONE),
    )


DECODERS: Final[dict[int, Callable[[list[object], list[bytes], bytes], FilePacket]]] = {
    PacketKind.OFFER: _decode_offer,
    PacketKind.WANT: _decode_want,
    PacketKind.CHUNK: _decode_chunk,
    PacketKind.HAVE: _decode_have,
    PacketKind.DECLINE: _decode_decline,
    PacketKind.SPOOLING: _decode_spooling,
}
