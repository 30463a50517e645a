"""Envelopes as two ZeroMQ frames: a header that says which key, and the sealed bytes.

    header   magic 4 | version 1 | suite 1 | flags 1, zero | key id 8 | nonce
    sealed   AEAD(packed packets), with the header as associated data

    suite 1  XChaCha20-Poly1305, nonce 24, tag 16: good everywhere, the suite of greetings and mail
    suite 2  AEGIS-256, nonce 32, tag 32: ten times as fast where the processor knows AES; for bulk

The key id picks the key; keys are never tried in turn. Junk costs a comparison of a few bytes.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError, UnavailableError

from mesh import limits
from mesh.errors import MalformedError, OversizeError, SignatureError
from mesh.wire.keys import KEY_BYTES, KEY_ID_BYTES

VERSION: Final = 1
plain_bytes_max: Final = limits.frame_bytes_max - 32
"""How much one envelope can hold."""


class Suite(IntEnum):
    """How an envelope is sealed; a key belongs to one suite."""

    MAIL = 1
    BULK = 2


NONCE_BYTES: Final = {Suite.MAIL: 24, Suite.BULK: 32}
TAG_BYTES: Final = {Suite.MAIL: 16, Suite.BULK: 32}
_PREFIXES: Final = {suite: b"MESH" + bytes((VERSION, suite, 0)) for suite in Suite}
_SUITES: Final = {prefix: suite for suite, prefix in _PREFIXES.items()}
_PREFIX_BYTES: Final = 7
_NONCE_AT: Final = _PREFIX_BYTES + KEY_ID_BYTES
_HEADER_BYTES_MAX: Final = _NONCE_AT + max(NONCE_BYTES.values())
_SEAL: Final = {
    Suite.MAIL: bindings.crypto_aead_xchacha20poly1305_ietf_encrypt,
    Suite.BULK: bindings.crypto_aead_aegis256_encrypt,
}
_OPEN: Final = {
    Suite.MAIL: bindings.crypto_aead_xchacha20poly1305_ietf_decrypt,
    Suite.BULK: bindings.crypto_aead_aegis256_decrypt,
}


def _is_aes_built_in() -> bool:
    """Whether this processor has AES, which only then has this library's AES-GCM."""
    try:
        bindings.crypto_aead_aes256gcm_encrypt(b"", None, bytes(12), bytes(KEY_BYTES))
    except UnavailableError:
        return False
    return True


suite_for_bulk: Final = Suite.BULK if _is_aes_built_in() else Suite.MAIL
"""The faster suite for large envelopes on this machine."""


def seal(
    plain: bytes, *, key: bytes, key_id: bytes, nonce: bytes, suite: Suite = Suite.MAIL
) -> tuple[bytes, bytes]:
    """Return the frames of an envelope; `nonce` is random, of its suite's size, used only here."""
    assert len(plain) <= plain_bytes_max
    assert len(key_id) == KEY_ID_BYTES
    assert len(nonce) == NONCE_BYTES[suite]
    header = _PREFIXES[suite] + key_id + nonce
    sealed: bytes = _SEAL[suite](plain, header, nonce, key)
    return header, sealed


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
    if len(header) > _HEADER_BYTES_MAX or len(sealed) > limits.frame_bytes_max:
        raise OversizeError(f"frames of {len(header)} and {len(sealed)} bytes")
    suite = _SUITES.get(header[:_PREFIX_BYTES])
    is_whole = (
        suite is not None
        and len(header) == _NONCE_AT + NONCE_BYTES[suite]
        and len(sealed) >= TAG_BYTES[suite]
    )
    if not is_whole:
        raise MalformedError("not an envelope of this protocol version")
    return header[_PREFIX_BYTES:_NONCE_AT]


def open_frame(
    frames: Sequence[bytes], *, key: bytes, key_id: bytes, suite: Suite = Suite.MAIL
) -> bytes:
    """Return what an envelope holds. `suite` is the one that the key belongs to.

    Raises:
        OversizeError: more frames, or more bytes, than the protocol allows.
        MalformedError: no envelope of this version.
        SignatureError: not sealed with this key.
    """
    if peek_key_id(frames) != key_id:
        raise SignatureError("sealed with another key")
    header, sealed = frames
    if not header.startswith(_PREFIXES[suite]):
        raise SignatureError("a key used with a suite that it is not for")
    try:
        plain: bytes = _OPEN[suite](sealed, header, header[_NONCE_AT:], key)
    except CryptoError as exc:
        raise SignatureError("not sealed with the key it names") from exc
    return plain
