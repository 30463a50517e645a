"""Packets of files: signed by whom they name, for one link, within their bounds."""

import pytest
from wire_strategies import BINDING, SIGNERS, sign

from mesh import limits
from mesh.errors import MalformedError, SignatureError
from mesh.model import FileRef, Why
from mesh.packet import Chunk, Decline, Have, Offer, Spooling, Want
from mesh.wire import codec, heads
from mesh.wire import packets as wire
from mesh.wire.heads import PacketKind

ALICE, BOB, *_ = sorted(SIGNERS)
DIGEST = b"d" * 32
SIGNED = (
    Offer(ALICE, BOB, FileRef(DIGEST, 5, "notes.md")),
    Offer(ALICE, BOB, FileRef(DIGEST, 5, "notes.md"), bytes(limits.place_bytes_max)),
    Have(BOB, ALICE, DIGEST),
    Decline(BOB, ALICE, DIGEST, Why.QUOTA),
)


@pytest.mark.parametrize("packet", SIGNED)
def test_signatures_bind_the_signer_and_the_link(packet):
    data = wire.encode(packet, sign=sign, binding=BINDING)
    assert wire.decode(data, binding=BINDING) == packet
    with pytest.raises(SignatureError):
        wire.decode(data, binding=bytes(32))
    forged = wire.encode(packet, sign=lambda _key, m: sign(SIGNERS_OTHER, m), binding=BINDING)
    with pytest.raises(SignatureError):
        wire.decode(forged, binding=BINDING)


SIGNERS_OTHER = sorted(SIGNERS)[2]


def test_have_cannot_be_passed_off_as_another_kind():
    data = wire.encode(SIGNED[2], sign=sign, binding=BINDING)
    _, head, parts = heads.split(data)
    other = heads.join(PacketKind.DECLINE, head[1:], parts)
    with pytest.raises(SignatureError):
        wire.decode(other, binding=BINDING)


@pytest.mark.parametrize(
    "data",
    [
        heads.join(PacketKind.CHUNK, (ALICE, BOB, DIGEST, 0)),
        heads.join(PacketKind.CHUNK, (ALICE, BOB, DIGEST, 0), (b"",)),
        heads.join(PacketKind.CHUNK, (ALICE, BOB, DIGEST, 0), (bytes(limits.chunk_bytes_max + 1),)),
        heads.join(PacketKind.CHUNK, (ALICE, BOB, DIGEST, -1), (b"x",)),
        heads.join(PacketKind.WANT, (BOB, ALICE, DIGEST, 0, -1)),
        heads.join(PacketKind.WANT, (BOB, ALICE, DIGEST, 0, limits.chunk_bytes_max + 1)),
        heads.join(PacketKind.HAVE, (BOB, bytes(64))),
        heads.join(PacketKind.SPOOLING, (ALICE, BOB, b"place")),
        heads.join(PacketKind.SPOOLING, (ALICE, BOB, b"place", -1)),
        heads.join(PacketKind.SPOOLING, (ALICE, BOB, "place", 1)),
        heads.join(PacketKind.SPOOLING, (ALICE, BOB, bytes(limits.place_bytes_max + 1), 1)),
        heads.join(PacketKind.SPOOLING, (ALICE, BOB[1:], b"place", 1)),
    ],
)
def test_what_is_out_of_bounds_is_malformed(data):
    with pytest.raises(MalformedError):
        wire.decode(data, binding=BINDING)


def test_unknown_reason_declines_all_the_same():
    part = codec.dumps((ALICE, DIGEST, 999))
    signature = sign(BOB, b"mesh1/decline\0" + BINDING + part)
    data = heads.join(PacketKind.DECLINE, (BOB, signature), (part,))
    assert wire.decode(data, binding=BINDING) == Decline(BOB, ALICE, DIGEST, Why.NONE)


def test_largest_chunk_and_want_come_back():
    for packet in (
        Chunk(ALICE, BOB, DIGEST, 7, bytes(limits.chunk_bytes_max)),
        Want(BOB, ALICE, DIGEST, 7, limits.chunk_bytes_max),
        Want(BOB, ALICE, DIGEST, 7, 0),
    ):
        assert (
            wire.decode(wire.encode(packet, sign=sign, binding=BINDING), binding=BINDING) == packet
        )


@pytest.mark.parametrize("place", [bytes(limits.place_bytes_max + 1), "text", None])
def test_offer_with_a_place_that_is_none_is_malformed(place):
    part = codec.dumps((BOB, DIGEST, 5, "notes.md", place))
    signature = sign(ALICE, b"mesh1/offer\0" + BINDING + part)
    with pytest.raises(MalformedError):
        wire.decode(heads.join(PacketKind.OFFER, (ALICE, signature), (part,)), binding=BINDING)


def test_what_is_being_spooled_is_told_without_a_signature():
    packet = Spooling(ALICE, BOB, bytes(limits.place_bytes_max), 8 * limits.MIB)
    data = wire.encode(packet, sign=sign, binding=BINDING)
    assert wire.decode(data, binding=bytes(32)) == packet
