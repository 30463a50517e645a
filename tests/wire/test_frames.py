import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import limits
from mesh.errors import MalformedError, OversizeError, PeerError, SignatureError
from mesh.wire import frames
from mesh.wire.frames import Suite

KEY, KEY_ID, NONCE = b"k" * 32, b"identity", b"n" * 24
BULK = frames.seal(b"plain", key=KEY, key_id=KEY_ID, nonce=b"n" * 32, suite=Suite.BULK)
HEADER, SEALED = frames.seal(b"plain", key=KEY, key_id=KEY_ID, nonce=NONCE)


def open_frame(*parts, key=KEY, key_id=KEY_ID):
    return frames.open_frame(parts, key=key, key_id=key_id)


@given(st.binary(max_size=200), st.binary(min_size=24, max_size=24))
def test_what_was_sealed_opens(plain, nonce):
    sealed = frames.seal(plain, key=KEY, key_id=KEY_ID, nonce=nonce)
    assert frames.peek_key_id(sealed) == KEY_ID
    assert open_frame(*sealed) == plain


@pytest.mark.parametrize(("suite", "whole"), [(Suite.MAIL, (HEADER, SEALED)), (Suite.BULK, BULK)])
def test_every_flipped_bit_is_found(suite, whole):
    """PROTOCOL.md FRAME-2."""
    assert frames.open_frame(whole, key=KEY, key_id=KEY_ID, suite=suite) == b"plain"
    for which, part in enumerate(whole):
        for bit in range(len(part) * 8):
            changed = bytearray(part)
            changed[bit // 8] ^= 1 << bit % 8
            parts = list(whole)
            parts[which] = bytes(changed)
            with pytest.raises((SignatureError, MalformedError)):
                frames.open_frame(parts, key=KEY, key_id=KEY_ID, suite=suite)


def test_a_key_opens_only_what_was_sealed_in_its_suite():
    for parts, suite in ((BULK, Suite.MAIL), ((HEADER, SEALED), Suite.BULK)):
        with pytest.raises(SignatureError):
            frames.open_frame(parts, key=KEY, key_id=KEY_ID, suite=suite)


def test_another_key_does_not_open():
    with pytest.raises(SignatureError):
        open_frame(HEADER, SEALED, key=b"x" * 32)
    with pytest.raises(SignatureError):
        open_frame(HEADER, SEALED, key_id=b"another1")


@pytest.mark.parametrize(
    "parts",
    [
        (HEADER, SEALED, b""),
        (BULK[0] + b"x", SEALED),
        (HEADER, bytes(limits.frame_bytes_max + 1)),
    ],
)
def test_what_is_too_large_is_said_to_be(parts):
    with pytest.raises(OversizeError):
        frames.peek_key_id(parts)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (HEADER,),
        (HEADER[:-1], SEALED),
        (HEADER, SEALED[: frames.TAG_BYTES[Suite.MAIL] - 1]),
        (b"MASH" + HEADER[4:], SEALED),
        (HEADER[:4] + b"\2" + HEADER[5:], SEALED),
        (HEADER[:5] + b"\2" + HEADER[6:], SEALED),
        (HEADER[:5] + b"\3" + HEADER[6:], SEALED),
        (BULK[0], BULK[1][: frames.TAG_BYTES[Suite.BULK] - 1]),
        (HEADER[:6] + b"\1" + HEADER[7:], SEALED),
    ],
)
def test_what_is_no_envelope_of_this_version_is_malformed(parts):
    with pytest.raises(MalformedError):
        open_frame(*parts)


def test_the_largest_envelope_fits():
    sealed = frames.seal(bytes(frames.plain_bytes_max), key=KEY, key_id=KEY_ID, nonce=NONCE)
    assert len(open_frame(*sealed)) == frames.plain_bytes_max


@given(st.lists(st.binary(max_size=50), max_size=3))
def test_junk_gives_a_peer_error(parts):
    with pytest.raises(PeerError):
        open_frame(*parts)
