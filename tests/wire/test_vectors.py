import json

import make_vectors
import pytest

from mesh.wire import bodies, frames, greetings, letters, packets

FROZEN = json.loads(make_vectors.PATH.read_text(encoding="utf-8"))
BYTES = {name: bytes.fromhex(text) for name, text in FROZEN.items()}


def test_the_bytes_on_the_wire_are_those_of_this_protocol_version():
    assert make_vectors.vectors() == FROZEN


@pytest.mark.parametrize("name", make_vectors.PACKETS)
def test_frozen_packets_are_read(name):
    packet = packets.decode(BYTES[f"packet.{name}"], binding=BYTES["link.binding"])
    assert packet == make_vectors.PACKETS[name]


def test_frozen_greetings_letters_and_bodies_are_read():
    hello = BYTES["hello"]
    assert greetings.decode_hello(hello) == make_vectors.opening(b"d")
    assert greetings.decode_welcome(BYTES["welcome"], hello=hello) == make_vectors.opening(b"l")
    assert letters.decode(BYTES["letter"]) == make_vectors.LETTER
    assert bodies.decode_body(BYTES["body"]) == bodies.Body("hello", '{"k":1.0}', b"\0file")


def test_frozen_envelopes_are_opened():
    key_id, key = BYTES["link.dialler"][:8], BYTES["link.dialler"][8:]
    sealed = (BYTES["envelope.header"], BYTES["envelope.sealed"])
    plain = frames.open_frame(sealed, key=key, key_id=key_id)
    assert packets.unpack(plain) == [BYTES["packet.ping"], BYTES["packet.leave"]]
