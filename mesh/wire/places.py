"""Where an author's copy of a file lies, told to others of the same machine and nobody else.

    place    nonce 24 | XChaCha20-Poly1305(path)    under a key of this user on this machine

Every recipient of an offer gets the place; who cannot read it fetches the file over the link.
"""

import hashlib
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from mesh import limits

NONCE_BYTES: Final = 24
_TAG_BYTES: Final = 16


def machine_key(secret: bytes) -> bytes:
    """Return the key that follows from what only this user of this running machine knows."""
    return hashlib.blake2b(secret, digest_size=32, person=b"mesh1-place").digest()


def seal_place(path: bytes, *, key: bytes, nonce: bytes) -> bytes:
    """Return a place; none if the path is too long for one. `nonce` is 24 random bytes."""
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(path, b"", nonce, key)
    place: bytes = nonce + sealed
    return place if len(place) <= limits.place_bytes_max else b""


def open_place(place: bytes, *, key: bytes) -> bytes | None:
    """Return the path; None if it was not meant for us."""
    nonce, sealed = place[:NONCE_BYTES], place[NONCE_BYTES:]
    if len(sealed) < _TAG_BYTES or len(place) > limits.place_bytes_max:
        return None
    try:
        path: bytes = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, b"", nonce, key)
    except CryptoError:
        return None
    return path
