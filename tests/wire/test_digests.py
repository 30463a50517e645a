"""The digest of files is the one that people compare by `b2sum -l 256`."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from mesh.wire.digests import FileHash


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_pieces_give_the_digest_of_the_whole(pieces):
    digest = FileHash()
    for piece in pieces:
        digest.update(piece)
    assert digest.digest() == hashlib.blake2b(b"".join(pieces), digest_size=32).digest()
