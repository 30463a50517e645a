import os
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import BINDING, SIGNERS, acks, cards, mails, mutations, packets, sign, signers

from mesh import limits
from mesh.errors import MalformedError, OversizeError, PeerError, SignatureError
from mesh.model import (
    Card,
    CurveKey,
    HostId,
    Incarnation,
    Kind,
    Letter,
    MailboxKey,
    MessageId,
    NodeId,
    Profile,
    Why,
)
from mesh.packet import (
    Ack,
    AckItem,
    Announce,
    Greeting,
    Hello,
    Hint,
    Mail,
    MailItem,
    Noted,
    Peers,
    Ping,
    Verdict,
    Welcome,
)
from mesh.wire import cards as card_bytes
from mesh.wire import codec, heads, letters
from mesh.wire import packets as wire
from mesh.wire.heads import PacketKind

ALICE, BOB, *_ = sorted(SIGNERS)
GREETING = Greeting(1, NodeId(b"n" * 16), HostId(b"h" * 16), CurveKey(b"c" * 32), ())


def item(sequence: int, body: bytes = b"body", author: MailboxKey = ALICE) -> MailItem:
    letter = Letter(
        message_id=MessageId(bytes([sequence % 256]) * 16),
        kind=Kind.DIRECT,
        author=author,
        author_name="alice",
        incarnation=Incarnation(b"i" * 8),
        to="bob",
        recipient=BOB,
        sequence=sequence,
        ttl_s=60.0,
        created_ms=0,
        reply_to=None,
        is_urgent=False,
        is_auto=False,
        chain=(),
        body_digest=letters.body_digest(body),
        body_bytes=len(body),
    )
    return MailItem(letter, sequence - 1, 0.5, body)


MAIL = Mail(ALICE, (item(1, b"first"), item(2, b"second")))
CARD = Card(
    key=ALICE,
    name="alice",
    incarnation=Incarnation(b"i" * 8),
    claim=3,
    is_live=True,
    claimed_s=12.5,
    registered_ms=1,
    profile=Profile(),
)
ACK = Ack(BOB, ALICE, Incarnation(b"i" * 8), (AckItem(1, MessageId(b"m" * 16), Verdict.SHOWN),))


def encode(packet, *, signer=sign, binding=BINDING) -> bytes:
    return wire.encode(packet, sign=signer, binding=binding)


def decode(data, *, binding=BINDING):
    return wire.decode(data, binding=binding)


def altered(packet, change) -> bytes:
    """Encode `packet`, let `change` edit its head and parts in place, and join them again."""
    _, head, parts = heads.split(encode(packet))
    change(head, parts)
    return codec.pack([codec.dumps(head), *parts])


def refuses(data, *, error=MalformedError, binding=BINDING) -> None:
    with pytest.raises(error):
        decode(data, binding=binding)


@given(packets)
def test_packets_come_back(packet):
    assert decode(encode(packet)) == packet


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=9))
def test_envelopes_come_back(several):
    assert wire.unpack(wire.pack(several)) == several


def test_envelopes_are_bounded():
    with pytest.raises(OversizeError):
        wire.unpack(codec.pack([b"x"] * (limits.packets_per_envelope_max + 1)))
    with pytest.raises(MalformedError):
        wire.unpack(codec.pack([]))


def test_the_largest_packets_fit():
    ids = tuple(MessageId(bytes(16)) for _ in range(limits.ack_items_max))
    row = AckItem(codec.INTEGER_MAX, ids[0], Verdict.REFUSED, Why.SKIPPED)
    hint = Hint(CurveKey(bytes(32)), ("\U00020000" * 200,) * limits.endpoints_per_node_max, 1e99)
    for packet in (
        Mail(ALICE, tuple(item(n + 1) for n in range(limits.batch_letters_max))),
        Mail(ALICE, (item(1, bytes(limits.body_bytes_max)),)),
        Ack(BOB, ALICE, Incarnation(bytes(8)), (row,) * limits.ack_items_max),
        Noted(ALICE, BOB, ids),
    ):
        assert decode(encode(packet)) == packet
    assert len(decode(encode(Peers((hint,) * limits.hints_per_packet_max))).hints) == 64


def test_greetings_are_not_for_open_links():
    refuses(heads.join(PacketKind.HELLO, ()))
    refuses(heads.join(PacketKind.WELCOME, ()))
    for packet in (Hello(GREETING), Welcome(GREETING), "no packet at all"):
        with pytest.raises(AssertionError):
            encode(packet)


def test_unknown_packets_are_told_apart():
    with pytest.raises(wire.UnknownPacketError) as caught:
        decode(codec.pack([codec.dumps([18, "new"]), b"new"]))
    assert caught.value.kind == 18


@given(packets)
def test_fields_and_parts_of_later_versions_are_ignored(packet):
    def change(head, parts):
        head.append("new")
        parts.append(b"new")

    assert decode(altered(packet, change)) == packet


def test_every_reason_and_verdict_has_a_number_of_its_own():
    assert set(wire.WHY_NUMBERS) == set(Why)
    assert len(set(wire.WHY_NUMBERS.values())) == len(Why)


# Signatures.


@given(mails | acks | st.builds(Announce, st.tuples(cards(signers))))
def test_nothing_signed_for_one_link_is_valid_on_another(packet):
    refuses(encode(packet), error=SignatureError, binding=bytes(32))


@given(mails | acks | st.builds(Announce, st.tuples(cards(signers))))
def test_nothing_signed_by_another_key_is_valid(packet):
    def other(key, message):
        return next(signer for signer in SIGNERS.values() if signer.key != key).sign(message)

    refuses(encode(packet, signer=other), error=SignatureError)


def test_a_signature_for_one_purpose_serves_no_other():
    made: list[bytes] = []

    def record(key, message):
        made.append(message)
        return sign(key, message)

    encode(MAIL, signer=record)
    encode(ACK, signer=record)
    starts = {message.split(b"\0")[0] for message in made}
    assert starts == {b"mesh1/mail", b"mesh1/ack"}


def test_a_card_cannot_be_added_under_the_signature_of_another():
    def add(head, parts):
        parts.append(card_bytes.encode(replace(CARD, key=BOB)))
        head[1].append(head[1][0])

    refuses(altered(Announce((CARD,)), add), error=SignatureError)


def test_letters_cannot_be_swapped_dropped_or_repeated():
    def swap(head, parts):
        parts[:] = parts[2:] + parts[:2]

    def drop(head, parts):
        del parts[:2]
        del head[3][0]

    def repeat(head, parts):
        parts += parts[:2]
        head[3].append([0, 0])

    for change in (swap, drop, repeat):
        refuses(altered(MAIL, change), error=SignatureError)


def test_bodies_cannot_be_altered_or_swapped():
    def alter(head, parts):
        parts[1] = b"FIRST"

    def lengthen(head, parts):
        parts[1] += b"!"

    def swap(head, parts):
        parts[1], parts[3] = parts[3], parts[1]

    for change in (alter, lengthen, swap):
        refuses(altered(MAIL, change))


def test_a_body_of_the_wrong_length_is_refused_even_if_its_digest_is_signed():
    letter = replace(item(1).letter, body_bytes=3)
    refuses(encode(Mail(ALICE, (replace(item(1), letter=letter),))))


def test_nobody_can_send_letters_of_another_author():
    refuses(encode(Mail(BOB, (item(1, author=ALICE),))))


def test_letters_on_their_way_have_a_recipient_and_a_place_in_their_stream():
    whole = item(2)
    for letter in (replace(whole.letter, recipient=None), replace(whole.letter, sequence=0)):
        refuses(encode(Mail(ALICE, (replace(whole, letter=letter, previous=0),))))
    refuses(encode(Mail(ALICE, (replace(whole, previous=2),))))


def test_no_single_byte_of_a_signed_packet_can_be_changed():
    for packet in (MAIL, ACK, Announce((CARD,))):
        data = encode(packet)
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] ^= 1
            try:
                result = decode(bytes(changed))
            except PeerError:
                continue
            # Only what the author cannot know beforehand is left to the link's seal.
            assert isinstance(result, Mail)
            assert [each.letter for each in result.items] == [each.letter for each in MAIL.items]
            assert [each.body for each in result.items] == [b"first", b"second"]


# Structure.


def set_head(place, value):
    def change(head, parts):
        head[place] = value

    return change


@pytest.mark.parametrize(
    ("packet", "place", "values"),
    [
        (Announce((CARD,)), 1, [None, [1], [b""], [bytes(64)] * 2, [bytes(64)] * 81]),
        (Announce(()), 1, [[bytes(64)]]),
        (MAIL, 1, [b"", None]),
        (MAIL, 2, [b"", None]),
        (MAIL, 3, [None, [], [[0, 0]] * 3, [[0, 0]] * 257, [[0, 0], [0]], [[0, 0], [0, -1]]]),
        (ACK, 1, [b""]),
        (ACK, 2, [b""]),
        (Noted(ALICE, BOB, ()), 1, [b""]),
        (Noted(ALICE, BOB, ()), 2, [b""]),
        (Noted(ALICE, BOB, ()), 3, [None, [b""], [bytes(16)] * (limits.ack_items_max + 1)]),
        (Peers(()), 1, [None, 1, -1, limits.hints_per_packet_max + 1]),
        (Ping(1), 1, [None, -1, 2**63, 1.0]),
    ],
)
def test_each_field_has_one_type_and_one_range(packet, place, values):
    for value in values:
        refuses(altered(packet, set_head(place, value)))


@pytest.mark.parametrize("number", range(3, 11))
def test_a_head_without_its_fields_is_malformed(number):
    refuses(codec.pack([codec.dumps([number])]))


@pytest.mark.parametrize("hint", [[], [b"", [], 0], [bytes(32), [""], 0], [bytes(32), [], -1]])
def test_hints_have_one_shape(hint):
    refuses(heads.join(PacketKind.PEERS, (1,), [codec.dumps(hint)]))


def ack_of(value) -> bytes:
    part = codec.dumps(value)
    return heads.join(PacketKind.ACK, (BOB, sign(BOB, b"mesh1/ack\0" + BINDING + part)), [part])


ROW = [1, 1, 0, b"m" * 16]


def test_equal_verdicts_on_neighbours_share_one_entry():
    """PROTOCOL.md section 4: the number of entries, not of letters, decides the size."""

    def verdict(sequence: int, what: Verdict, why: Why = Why.NONE) -> AckItem:
        return AckItem(sequence, MessageId(sequence.to_bytes(16, "big")), what, why)

    delivered, refused = Verdict.DELIVERED, Verdict.REFUSED
    items = (
        *(verdict(number, delivered) for number in (4, 5, 6, 9, 10, 3, 2)),
        *(verdict(number, refused, Why.LOOP) for number in (3, 4)),
        verdict(5, refused, Why.EXPIRED),
        *(verdict(number, Verdict.SHOWN) for number in (6, 7)),
    )
    packet = Ack(BOB, ALICE, Incarnation(b"i" * 8), items)
    data = encode(packet)
    assert decode(data) == packet
    _, _, (part,) = heads.split(data)
    _, _, runs = codec.array(codec.loads(part, bytes_max=4096, depth_max=4))
    assert [(run[0], len(run[3]) // 16) for run in runs] == [
        *((4, 3), (9, 2), (3, 1), (2, 1)),
        *((3, 2), (5, 1), (6, 2)),
    ]


def test_a_reason_of_a_later_version_leaves_the_verdict_standing():
    ack = decode(ack_of([ALICE, b"i" * 8, [[1, 3, 99, b"m" * 16, "new"]], "new"]))
    assert ack.items == (AckItem(1, MessageId(b"m" * 16), Verdict.REFUSED, Why.NONE),)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [ALICE, b"i" * 8],
        [b"", b"i" * 8, [ROW]],
        [ALICE, b"i", [ROW]],
        [ALICE, b"i" * 8, []],
        [ALICE, b"i" * 8, [ROW] * (limits.ack_items_max + 1)],
        [ALICE, b"i" * 8, [[0, *ROW[1:]]]],
        [ALICE, b"i" * 8, [[1, 1, 0, b"m"]]],
        [ALICE, b"i" * 8, [[1, 1, 0, b""]]],
        [ALICE, b"i" * 8, [[1, 1, 0, "m" * 16]]],
        [ALICE, b"i" * 8, [[1, 5, 0, b"m" * 16]]],
        [ALICE, b"i" * 8, [[1, 1, -1, b"m" * 16]]],
        [ALICE, b"i" * 8, [[codec.INTEGER_MAX, 1, 0, b"m" * 32]]],
        [ALICE, b"i" * 8, [ROW, [2, 1, 0, bytes(16 * limits.ack_items_max)]]],
        [ALICE, b"i" * 8, [ROW[:3]]],
    ],
)
def test_signed_acks_have_one_shape_too(value):
    refuses(ack_of(value))


@given(packets, st.data())
def test_any_bytes_give_a_packet_or_a_peer_error(packet, data):
    try:
        decode(data.draw(mutations(encode(packet))))
    except PeerError:
        return


@pytest.mark.long
def test_many_mutations_give_a_packet_or_a_peer_error():
    """`MESH_FUZZ` sets the number of inputs, `MESH_SEED` the seed."""
    seed = int(os.environ.get("MESH_SEED", "0"))
    draw = random.Random(seed)
    samples = [encode(packet) for packet in (MAIL, ACK, Announce((CARD,)), Ping(1))]
    for number in range(int(os.environ.get("MESH_FUZZ", "1000000"))):
        data = bytearray(draw.choice(samples))
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(data) + 1)
            data[place : place + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
        try:
            decode(bytes(data))
        except PeerError:
            continue
        except Exception as exc:
            raise AssertionError(f"seed {seed}, input {number}: {bytes(data).hex()}") from exc
