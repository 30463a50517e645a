"""Where an author's copy of a file lies, told to others of the same machine and nobody else.

    place    nonce 24 | XChaCha20-Poly1305(file number 8 | path), under a key of this user here

Every recipient of an offer gets the place; who cannot read it fetches the file over the link.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from mesh import limits

NONCE_BYTES: Final = 24
_TAG_BYTES: Final = 16
_NUMBER_BYTES: Final = 8


def machine_key(secret: bytes) -> bytes:
    """Return the key that follows from what only this user of this running machine knows."""
    return hashlib.blake2b(secret, digest_size=32, person=b"mesh1-place").digest()


@dataclass(frozen=True, slots=True)
class Place:
    """The directory of a spool. `given` is the number of the file that its author gives up once it
    has arrived; 0 if there is none.
    """

    path: bytes
    given: int = 0


def seal_place(place: Place, *, key: bytes, nonce: bytes) -> bytes:
    """Return a place; none if the path is too long for one. `nonce` is 24 random bytes."""
    plain = place.given.to_bytes(_NUMBER_BYTES, "big") + place.path
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, b"", nonce, key)
    whole: bytes = nonce + sealed
    return whole if len(whole) <= limits.place_bytes_max else b""


def open_place(place: bytes, *, key: bytes) -> Place | None:
    """Return what a place says; None if it was not meant for us."""
    nonce, sealed = place[:NONCE_BYTES], place[NONCE_BYTES:]
    if len(sealed) < _TAG_BYTES + _NUMBER_BYTES or len(place) > limits.place_bytes_max:
        return None
    try:
        plain: bytes = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, b"", nonce, key)
    except CryptoError:
        return None
    return Place(plain[_NUMBER_BYTES:], int.from_bytes(plain[:_NUMBER_BYTES], "big"))
