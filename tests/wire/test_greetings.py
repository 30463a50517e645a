import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import NODE, mutations, openings

from mesh import limits
from mesh.errors import MalformedError, PeerError, SignatureError
from mesh.model import CurveKey, HostId
from mesh.packet import Greeting
from mesh.wire import codec, greetings
from mesh.wire.greetings import Opening
from mesh.wire.heads import PacketKind, join, split
from mesh.wire.keys import NodeSigner, greeting_digest

OPENING = Opening(
    Greeting(1, NODE.id, HostId(b"h" * 16), NODE.curve.public, ("tcp://a:1",), None),
    b"x" * 16,
    b"e" * 32,
    CurveKey(b"d" * 32),
)
OTHER = NodeSigner(b"o" * 32)
HELLO = greetings.encode_hello(OPENING, signer=NODE)
PART = split(HELLO)[2][0]
FIELDS = codec.array(codec.loads(PART, bytes_max=999, depth_max=2))


def hello_of(fields, signer=NODE, *, kind=PacketKind.HELLO, label=b"mesh1/hello\0") -> bytes:
    """Greet with any fields, truly signed."""
    part = codec.dumps(fields)
    return join(kind, (signer.key, signer.sign(label + part)), (part,))


def welcome_of(fields) -> bytes:
    return hello_of(fields, kind=PacketKind.WELCOME, label=b"mesh1/welcome\0")


@given(openings)
def test_hellos_come_back(opening):
    assert greetings.decode_hello(greetings.encode_hello(opening, signer=NODE)) == opening


@given(openings)
def test_welcomes_come_back_to_those_who_said_the_hello(opening):
    welcome = greetings.encode_welcome(opening, hello=HELLO, signer=NODE)
    assert greetings.decode_welcome(welcome, hello=HELLO) == opening
    with pytest.raises(SignatureError):
        greetings.decode_welcome(welcome, hello=HELLO + b"x")


def test_the_largest_greeting_fits():
    many = ("\U00020000" * limits.endpoint_chars_max,) * limits.endpoints_per_node_max
    greeting = Greeting(0xFFFF, NODE.id, HostId(bytes(16)), NODE.curve.public, many, OTHER.id)
    opening = Opening(greeting, bytes(16), bytes(32), CurveKey(bytes(32)))
    welcome = greetings.encode_welcome(opening, hello=HELLO, signer=NODE)
    assert greetings.decode_welcome(welcome, hello=HELLO) == opening


def test_a_welcome_is_no_hello_and_a_hello_no_welcome():
    welcome = greetings.encode_welcome(OPENING, hello=HELLO, signer=NODE)
    with pytest.raises(MalformedError):
        greetings.decode_hello(welcome)
    with pytest.raises(MalformedError):
        greetings.decode_welcome(HELLO, hello=HELLO)


def test_a_signature_under_a_hello_is_none_under_a_welcome():
    fields = [*FIELDS, greeting_digest(HELLO)]
    assert greetings.decode_welcome(welcome_of(fields), hello=HELLO) == OPENING
    crossed = hello_of(fields, kind=PacketKind.WELCOME)
    with pytest.raises(SignatureError):
        greetings.decode_welcome(crossed, hello=HELLO)


def test_who_signs_decides_which_node_speaks_and_where_it_listens():
    made = greetings.decode_hello(hello_of(FIELDS, OTHER))
    assert (made.greeting.node, made.greeting.curve) == (OTHER.id, OTHER.curve.public)


def test_a_greeting_signed_by_another_than_the_node_it_names_is_refused():
    signature = OTHER.sign(b"mesh1/hello\0" + PART)
    with pytest.raises(SignatureError):
        greetings.decode_hello(join(PacketKind.HELLO, (NODE.key, signature), (PART,)))


def test_fields_of_later_versions_are_ignored():
    signature = NODE.sign(b"mesh1/hello\0" + PART)
    later = join(PacketKind.HELLO, (NODE.key, signature, "new"), (PART, b"new"))
    assert greetings.decode_hello(later) == OPENING
    assert greetings.decode_hello(hello_of([*FIELDS, "new"])) == OPENING


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (0, [-1, 0x10000, "1"]),
        (1, [b"h" * 17]),
        (2, ["tcp://a:1", [1]]),
        (3, [b"n", 0]),
        (4, [b"x" * 15]),
        (5, [b"e" * 31]),
        (6, [b"d" * 33]),
        (7, [-1, 0x10000, None]),
    ],
)
def test_each_field_has_one_type_and_one_range(place, values):
    for value in values:
        changed = list(FIELDS)
        changed[place] = value
        with pytest.raises(MalformedError):
            greetings.decode_hello(hello_of(changed))


@pytest.mark.parametrize(
    "head", [(NODE.key,), (NODE.key[:-1], bytes(64)), (NODE.key, bytes(63)), (None, bytes(64))]
)
def test_a_head_without_key_and_signature_is_malformed(head):
    with pytest.raises(MalformedError):
        greetings.decode_hello(join(PacketKind.HELLO, head, (PART,)))


def test_missing_fields_and_parts_are_malformed():
    for short in (hello_of(FIELDS[:-1]), join(PacketKind.HELLO, (NODE.key, bytes(64)))):
        with pytest.raises(MalformedError):
            greetings.decode_hello(short)
    with pytest.raises(MalformedError):
        greetings.decode_welcome(welcome_of(FIELDS), hello=HELLO)


@given(st.data())
def test_any_bytes_give_a_greeting_or_a_peer_error(data):
    mutated = data.draw(mutations(HELLO))
    try:
        opening = greetings.decode_hello(mutated)
    except PeerError:
        return
    assert opening == OPENING


@given(st.data())
def test_anything_a_node_signs_gives_a_greeting_or_a_peer_error(data):
    part = data.draw(mutations(PART))
    signature = NODE.sign(b"mesh1/hello\0" + part)
    try:
        opening = greetings.decode_hello(join(PacketKind.HELLO, (NODE.key, signature), (part,)))
    except PeerError:
        return
    assert greetings.decode_hello(greetings.encode_hello(opening, signer=NODE)) == opening
