import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import mutations, openings

from mesh import limits
from mesh.errors import MalformedError, PeerError, SignatureError
from mesh.model import CurveKey, HostId, NodeId
from mesh.packet import Greeting
from mesh.wire import codec, greetings
from mesh.wire.greetings import Opening
from mesh.wire.heads import PacketKind, join

OPENING = Opening(
    Greeting(1, NodeId(b"n" * 16), HostId(b"h" * 16), CurveKey(b"c" * 32), ("tcp://a:1",), None),
    b"x" * 16,
    b"e" * 32,
    CurveKey(b"d" * 32),
)
HELLO = greetings.encode_hello(OPENING)
FIELDS = codec.array(
    codec.loads(codec.unpack(HELLO, bytes_max=999, parts_max=1)[0], bytes_max=999, depth_max=2)
)


@given(openings)
def test_hellos_come_back(opening):
    assert greetings.decode_hello(greetings.encode_hello(opening)) == opening


@given(openings)
def test_welcomes_come_back_to_those_who_said_the_hello(opening):
    welcome = greetings.encode_welcome(opening, hello=HELLO)
    assert greetings.decode_welcome(welcome, hello=HELLO) == opening
    with pytest.raises(SignatureError):
        greetings.decode_welcome(welcome, hello=HELLO + b"x")


def test_the_largest_greeting_fits():
    many = ("\U00020000" * limits.endpoint_chars_max,) * limits.endpoints_per_node_max
    greeting = Greeting(0xFFFF, NodeId(bytes(16)), HostId(bytes(16)), CurveKey(bytes(32)), many)
    opening = Opening(greeting, bytes(16), bytes(32), CurveKey(bytes(32)))
    assert greetings.decode_hello(greetings.encode_hello(opening)) == opening


def test_a_welcome_is_no_hello_and_a_hello_no_welcome():
    welcome = greetings.encode_welcome(OPENING, hello=HELLO)
    with pytest.raises(MalformedError):
        greetings.decode_hello(welcome)
    with pytest.raises(MalformedError):
        greetings.decode_welcome(HELLO, hello=HELLO)


def test_fields_of_later_versions_are_ignored():
    later = join(PacketKind.HELLO, [*FIELDS[1:], "new"], [b"new"])
    assert greetings.decode_hello(later) == OPENING


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (1, [-1, 0x10000, "1"]),
        (2, [b"n" * 15]),
        (3, [b"h" * 17]),
        (4, [b"c" * 31, None]),
        (5, ["tcp://a:1", [1]]),
        (6, [b"n", 0]),
        (7, [b"x" * 15]),
        (8, [b"e" * 31]),
        (9, [b"d" * 33]),
    ],
)
def test_each_field_has_one_type_and_one_range(place, values):
    for value in values:
        changed = list(FIELDS)
        changed[place] = value
        with pytest.raises(MalformedError):
            greetings.decode_hello(join(PacketKind.HELLO, changed[1:]))


def test_missing_fields_are_malformed():
    with pytest.raises(MalformedError):
        greetings.decode_hello(join(PacketKind.HELLO, FIELDS[1:-1]))
    with pytest.raises(MalformedError):
        greetings.decode_welcome(join(PacketKind.WELCOME, FIELDS[1:]), hello=HELLO)


@given(st.data())
def test_any_bytes_give_a_greeting_or_a_peer_error(data):
    mutated = data.draw(mutations(HELLO))
    try:
        opening = greetings.decode_hello(mutated)
    except PeerError:
        return
    assert greetings.decode_hello(greetings.encode_hello(opening)) == opening
