"""Packets as bytes, with their signatures added on the way out and verified on the way in.

A packet is an array of byte strings: its *head*, a small array that begins with the kind, and parts
whose number the head tells. Several packets make an envelope. What a reader does not know, it
ignores: further fields of a head, further parts, whole packets (`UnknownPacketError`).

    kind       head after the kind                              parts
    HELLO      node key, signature                              greeting
    WELCOME    node key, signature                              greeting
    ANNOUNCE   [signature of each card]                         cards
    MAIL       author, signature, [[previous, age ms] of each]  letter, body, letter, body, ...
    ACK        recipient, signature                             [author, incarnation, verdicts]
    GAP        recipient, author, incarnation, watermark
    NOTED      author, recipient, [message ids]
    PEERS      number of hints                                  [curve, endpoints, age ms], ...
    PING PONG  token
    LEAVE
    (greetings: `mesh.wire.greetings`, files: `mesh.wire.filing`)

    A card is signed over        "mesh1/card\\0" binding card
    mail by its author over      "mesh1/mail\\0" binding digests of the letters, in order
    an ack by its recipient over "mesh1/ack\\0" binding its part

The binding is the hash of the link's greetings, so nothing signed for one link is worth anything on
another. Greetings are signed by their nodes, sealed under the mesh key, and decide the link's keys.
"""

from collections.abc import Callable, Sequence
from typing import Final, assert_never

from mesh import limits
from mesh.errors import MalformedError, PeerError
from mesh.model import CurveKey, Incarnation, MailboxKey, MessageId, Why
from mesh.packet import (
    Ack,
    AckItem,
    Announce,
    Chunk,
    Decline,
    Gap,
    Have,
    Hello,
    Hint,
    Leave,
    Mail,
    MailItem,
    Noted,
    Offer,
    Packet,
    Peers,
    Ping,
    Pong,
    Spooling,
    Verdict,
    Want,
    Welcome,
)
from mesh.wire import cards, codec, filing, letters
from mesh.wire.codec import INTEGER_MAX, array, dumps, integer, milliseconds, octets, seconds
from mesh.wire.frames import plain_bytes_max
from mesh.wire.heads import (
    PacketKind,
    decode_endpoints,
    encode_endpoints,
    join,
    load_small,
    split,
)
from mesh.wire.keys import BINDING_BYTES, SIGNATURE_BYTES, verify
from mesh.wire.whys import WHY_NUMBERS, WHYS

Sign = Callable[[MailboxKey, bytes], bytes]
"""Signs for a mailbox that this node holds."""


_VERDICTS: Final = {verdict.value: verdict for verdict in Verdict}

_ID_BYTES: Final = 16
_CARD: Final = b"mesh1/card\0"
_MAIL: Final = b"mesh1/mail\0"
_ACK: Final = b"mesh1/ack\0"


class UnknownPacketError(PeerError):
    """A packet of a kind that this version does not know: to be counted and dropped alone."""

    def __init__(self, kind: int) -> None:
        super().__init__(f"a packet of unknown kind {kind}")
        self.kind = kind


def pack(packets: Sequence[bytes]) -> bytes:
    """Return the plain text of an envelope; the caller keeps to the limits of count and size."""
    assert 0 < len(packets) <= limits.packets_per_envelope_max
    return codec.pack(packets)


def unpack(plain: bytes) -> list[bytes]:
    """Return the packets of an envelope, at least one.

    Raises:
        OversizeError: too many packets.
        MalformedError: anything else that is wrong.
    """
    return codec.unpack(plain, bytes_max=plain_bytes_max, parts_max=limits.packets_per_envelope_max)


def encode(packet: Packet, *, sign: Sign, binding: bytes) -> bytes:  # noqa: C901 - one arm a kind
    """Return a packet of an open link as bytes. `binding` is that link's.

    Greetings have functions of their own, in `mesh.wire.greetings`.
    """
    assert len(binding) == BINDING_BYTES
    match packet:
        case Announce():
            return _encode_announce(packet, sign, binding)
        case Mail():
            return _encode_mail(packet, sign, binding)
        case Ack():
            return _encode_ack(packet, sign, binding)
        case Gap():
            return join(
                PacketKind.GAP,
                (packet.recipient, packet.author, packet.incarnation, packet.watermark),
            )
        case Noted():
            assert len(packet.message_ids) <= limits.ack_items_max
            return join(PacketKind.NOTED, (packet.author, packet.recipient, packet.message_ids))
        case Peers():
            assert len(packet.hints) <= limits.hints_per_packet_max
            hints = [_encode_hint(hint) for hint in packet.hints]
            return join(PacketKind.PEERS, (len(hints),), hints)
        case Ping():
            return join(PacketKind.PING, (packet.token,))
        case Pong():
            return join(PacketKind.PONG, (packet.token,))
        case Leave():
            return join(PacketKind.LEAVE, ())
        case Offer() | Want() | Chunk() | Have() | Decline() | Spooling():
            return filing.encode(packet, sign, binding)
        case Hello() | Welcome():
            raise AssertionError("greetings open a link and are not sent over it")
    assert_never(packet)


def decode(data: bytes, *, binding: bytes) -> Packet:
    """Return a packet of an open link, all of its signatures verified.

    Raises:
        UnknownPacketError: of a kind this version does not know.
        OversizeError: larger than the protocol allows.
        SignatureError: not signed, for this link, by the key it names.
        MalformedError: anything else that is wrong.
    """
    kind, head, parts = split(data)
    decoder = _DECODERS.get(kind)
    if decoder is not None:
        return decoder(head, parts, binding)
    if kind in (PacketKind.HELLO, PacketKind.WELCOME):
        raise MalformedError("a greeting on an open link")
    raise UnknownPacketError(kind)


def _encode_announce(packet: Announce, sign: Sign, binding: bytes) -> bytes:
    assert len(packet.cards) <= limits.cards_per_node_max
    parts = [cards.encode(card) for card in packet.cards]
    signatures = [
        sign(card.key, _CARD + binding + part)
        for card, part in zip(packet.cards, parts, strict=True)
    ]
    return join(PacketKind.ANNOUNCE, (signatures,), parts)


def _decode_announce(head: list[object], parts: list[bytes], binding: bytes) -> Announce:
    _, signatures, *_ = array(head, items_min=2)
    expected = array(signatures, items_max=limits.cards_per_node_max)
    shown = _first(parts, len(expected))
    # A card names the key that signed it, so its structure must be read before its signature.
    announced = tuple([cards.decode(part) for part in shown])
    for card, part, signature in zip(announced, shown, expected, strict=True):
        verify(card.key, _CARD + binding + part, octets(signature, SIGNATURE_BYTES))
    return Announce(announced)


def _encode_mail(packet: Mail, sign: Sign, binding: bytes) -> bytes:
    assert 0 < len(packet.items) <= limits.batch_letters_max
    headers = [letters.encode(item.letter) for item in packet.items]
    signature = sign(packet.author, _mail_message(headers, binding))
    facts = [(item.previous, milliseconds(item.age_s)) for item in packet.items]
    parts = [
        part
        for header, item in zip(headers, packet.items, strict=True)
        for part in (header, item.body)
    ]
    return join(PacketKind.MAIL, (packet.author, signature, facts), parts)


def _decode_mail(head: list[object], parts: list[bytes], binding: bytes) -> Mail:
    _, author_field, signature, facts_field, *_ = array(head, items_min=4)
    author = MailboxKey(octets(author_field, 32))
    facts = array(facts_field, items_min=1, items_max=limits.batch_letters_max)
    pairs = _first(parts, 2 * len(facts))
    headers, bodies = pairs[::2], pairs[1::2]
    verify(author, _mail_message(headers, binding), octets(signature, SIGNATURE_BYTES))
    return Mail(
        author,
        tuple(
            [
                _mail_item(author, header, body, fact)
                for header, body, fact in zip(headers, bodies, facts, strict=True)
            ]
        ),
    )


def _mail_message(headers: Sequence[bytes], binding: bytes) -> bytes:
    return _MAIL + binding + b"".join([letters.digest(header) for header in headers])


def _mail_item(author: MailboxKey, header: bytes, body: bytes, fact: object) -> MailItem:
    letter = letters.decode(header)
    if letter.author != author or letter.recipient is None or not letter.sequence:
        raise MalformedError("a letter of another author, or without a recipient")
    if letter.body_bytes != len(body) or letter.body_digest != letters.body_digest(body):
        raise MalformedError("a body that is not the letter's")
    previous, age, *_ = array(fact, items_min=2)
    return MailItem(letter, integer(previous, 0, letter.sequence - 1), seconds(age), body)


def _encode_ack(packet: Ack, sign: Sign, binding: bytes) -> bytes:
    assert 0 < len(packet.items) <= limits.ack_items_max
    part = dumps((packet.author, packet.incarnation, _runs(packet.items)))
    signature = sign(packet.recipient, _ACK + binding + part)
    return join(PacketKind.ACK, (packet.recipient, signature), (part,))


def _decode_ack(head: list[object], parts: list[bytes], binding: bytes) -> Ack:
    _, recipient_field, signature, *_ = array(head, items_min=3)
    recipient = MailboxKey(octets(recipient_field, 32))
    (part,) = _first(parts, 1)
    verify(recipient, _ACK + binding + part, octets(signature, SIGNATURE_BYTES))
    value = load_small(part)
    author, incarnation, runs, *_ = array(value, items_min=3)
    items: list[AckItem] = []
    for run in array(runs, items_min=1, items_max=limits.ack_items_max):
        items += _ack_items(run)
        if len(items) > limits.ack_items_max:
            raise MalformedError("an ack of too many letters")
    return Ack(
        recipient,
        MailboxKey(octets(author, 32)),
        Incarnation(octets(incarnation, 8)),
        tuple(items),
    )


def _runs(items: Sequence[AckItem]) -> list[tuple[int, int, int, bytes]]:
    """Put verdicts on neighbours in a stream together, if they are the same."""
    runs: list[tuple[int, int, int, bytes]] = []
    ids: list[MessageId] = []
    first = items[0]
    for item in items:
        if item.sequence != first.sequence + len(ids) or (
            (item.verdict, item.why) != (first.verdict, first.why)
        ):
            runs.append(_run(first, ids))
            first, ids = item, []
        ids.append(item.message_id)
    return [*runs, _run(first, ids)]


def _run(first: AckItem, ids: Sequence[MessageId]) -> tuple[int, int, int, bytes]:
    return (first.sequence, first.verdict.value, WHY_NUMBERS[first.why], b"".join(ids))


def _ack_items(run: object) -> list[AckItem]:
    first, verdict, why, ids, *_ = array(run, items_min=4)
    known = _VERDICTS.get(integer(verdict, 0, INTEGER_MAX))
    if known is None:
        raise MalformedError("a verdict that this protocol version does not have")
    # A later version may know more reasons; the verdict stands without one.
    reason = WHYS.get(integer(why, 0, INTEGER_MAX), Why.NONE)
    if type(ids) is not bytes or not ids or len(ids) % _ID_BYTES:
        raise MalformedError("not the message ids of a run")
    number = len(ids) // _ID_BYTES
    sequence = integer(first, 1, INTEGER_MAX + 1 - number)
    return [
        AckItem(sequence + n, MessageId(ids[n * _ID_BYTES : (n + 1) * _ID_BYTES]), known, reason)
        for n in range(number)
    ]


def _decode_gap(head: list[object], _parts: list[bytes], _binding: bytes) -> Gap:
    _, recipient, author, incarnation, watermark, *_ = array(head, items_min=5)
    return Gap(
        MailboxKey(octets(recipient, 32)),
        MailboxKey(octets(author, 32)),
        Incarnation(octets(incarnation, 8)),
        integer(watermark, 0, INTEGER_MAX),
    )


def _decode_noted(head: list[object], _parts: list[bytes], _binding: bytes) -> Noted:
    _, author, recipient, ids, *_ = array(head, items_min=4)
    return Noted(
        MailboxKey(octets(author, 32)),
        MailboxKey(octets(recipient, 32)),
        tuple([MessageId(octets(item, 16)) for item in array(ids, items_max=limits.ack_items_max)]),
    )


def _encode_hint(hint: Hint) -> bytes:
    return dumps((hint.curve, encode_endpoints(hint.endpoints), milliseconds(hint.age_s)))


def _decode_peers(head: list[object], parts: list[bytes], _binding: bytes) -> Peers:
    _, number, *_ = array(head, items_min=2)
    hints = _first(parts, integer(number, 0, limits.hints_per_packet_max))
    return Peers(tuple([_decode_hint(part) for part in hints]))


def _decode_hint(part: bytes) -> Hint:
    value = load_small(part)
    curve, endpoints, age, *_ = array(value, items_min=3)
    return Hint(CurveKey(octets(curve, 32)), decode_endpoints(endpoints), seconds(age))


def _decode_ping(head: list[object], _parts: list[bytes], _binding: bytes) -> Ping:
    return Ping(_token(head))


def _decode_pong(head: list[object], _parts: list[bytes], _binding: bytes) -> Pong:
    return Pong(_token(head))


def _decode_leave(_head: list[object], _parts: list[bytes], _binding: bytes) -> Leave:
    return Leave()


def _token(head: list[object]) -> int:
    _, token, *_ = array(head, items_min=2)
    return integer(token, 0, INTEGER_MAX)


def _first(parts: list[bytes], number: int) -> list[bytes]:
    if len(parts) < number:
        raise MalformedError("a packet with fewer parts than its head tells")
    return parts[:number]


_DECODERS: Final[dict[int, Callable[[list[object], list[bytes], bytes], Packet]]] = {
    PacketKind.ANNOUNCE: _decode_announce,
    PacketKind.MAIL: _decode_mail,
    PacketKind.ACK: _decode_ack,
    PacketKind.GAP: _decode_gap,
    PacketKind.NOTED: _decode_noted,
    PacketKind.PEERS: _decode_peers,
    PacketKind.PING: _decode_ping,
    PacketKind.PONG: _decode_pong,
    PacketKind.LEAVE: _decode_leave,
    **filing.DECODERS,
}
