"""Places are read on the machine they were made on and nowhere else."""

from hypothesis import given
from hypothesis import strategies as st

from mesh import limits
from mesh.wire.places import NONCE_BYTES, Place, machine_key, open_place, seal_place

KEY = machine_key(b"boot and user")
NONCE = b"n" * NONCE_BYTES
TOLD = Place(b"/home/me/outgoing", 7)
PLACE = seal_place(TOLD, key=KEY, nonce=NONCE)


def test_place_is_read_with_its_key_only():
    """PROTOCOL.md FILE-10."""
    assert b"home" not in PLACE
    assert open_place(PLACE, key=KEY) == TOLD
    assert open_place(PLACE, key=machine_key(b"another boot")) is None


def test_path_that_is_too_long_gives_no_place():
    room = limits.place_bytes_max - len(seal_place(Place(b""), key=KEY, nonce=NONCE))
    longest = Place(b"x" * room, 2**64 - 1)
    assert open_place(seal_place(longest, key=KEY, nonce=NONCE), key=KEY) == longest
    assert seal_place(Place(b"x" * (room + 1)), key=KEY, nonce=NONCE) == b""


@given(st.binary(max_size=120))
def test_junk_is_no_place(junk):
    assert open_place(junk, key=KEY) is None
    assert open_place(PLACE[:-1] + junk[:1], key=KEY) in {None, TOLD}
