"""Envelopes as two ZeroMQ frames: a header that says which key, and the sealed bytes.

    header   magic 4 | version 1 | suite 1 | flags 1, zero | key id 8 | nonce 24
    sealed   XChaCha20-Poly1305(packed packets), with the header as associated data

The key id picks the key; keys are never tried in turn. Junk costs a comparison of a few bytes.
"""

from collections.abc import Sequence
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from mesh import limits
from mesh.errors import MalformedError, OversizeError, SignatureError
from mesh.wire.keys import KEY_ID_BYTES

VERSION: Final = 1
SUITE: Final = 1
NONCE_BYTES: Final = 24
TAG_BYTES: Final = 16
plain_bytes_max: Final = limits.frame_bytes_max - TAG_BYTES
"""How much one envelope can hold."""

_PREFIX: Final = b"MESH" + bytes((VERSION, SUITE, 0))
_NONCE_AT: Final = len(_PREFIX) + KEY_ID_BYTES
_HEADER_BYTES: Final = _NONCE_AT + NONCE_BYTES


def seal(plain: bytes, *, key: bytes, key_id: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """Return the frames of an envelope; `nonce` is 24 random bytes, never used again."""
    assert len(plain) <= plain_bytes_max
    assert len(key_id) == KEY_ID_BYTES
    header = _PREFIX + key_id + nonce
    return header, bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, header, nonce, key)


def peek_key_id(frames: Sequence[bytes]) -> bytes:
    """Return which key an envelope asks for.

    Raises:
        OversizeError: more frames, or more bytes, than the protocol allows.
        MalformedError: no envelope of this version.
    """
    if len(frames) > limits.frame_parts:
        raise OversizeError(f"{len(frames)} frames where {limits.frame_parts} are allowed")
    if len(frames) < limits.frame_parts:
        raise MalformedError("a frame is missing")
    header, sealed = frames
    if len(header) > _HEADER_BYTES or len(sealed) > limits.frame_bytes_max:
        raise OversizeError(f"frames of {len(header)} and {len(sealed)} bytes")
    if len(header) < _HEADER_BYTES or not header.startswith(_PREFIX) or len(sealed) < TAG_BYTES:
        raise MalformedError("not an envelope of this protocol version")
    return header[len(_PREFIX) : _NONCE_AT]


def open_frame(frames: Sequence[bytes], *, key: bytes, key_id: bytes) -> bytes:
    """Return what an envelope holds.

    Raises:
        OversizeError: more frames, or more bytes, than the protocol allows.
        MalformedError: no envelope of this version.
        SignatureError: not sealed with this key.
    """
    if peek_key_id(frames) != key_id:
        raise SignatureError("sealed with another key")
    header, sealed = frames
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed, header, header[_NONCE_AT:], key
        )
    except CryptoError as exc:
        raise SignatureError("not sealed with the key it names") from exc
