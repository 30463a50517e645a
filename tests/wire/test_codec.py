import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import MalformedError, OversizeError, PeerError
from mesh.wire import codec

simple = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=9)
    | st.binary(max_size=9)
)
values = st.recursive(
    simple,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=9,
)


def loads(data: bytes, *, depth_max: int = 9) -> object:
    return codec.loads(data, bytes_max=1000, depth_max=depth_max)


@given(values)
def test_every_value_comes_back(value):
    assert codec.loads(codec.dumps(value), bytes_max=10_000, depth_max=20) == value


@given(st.binary(max_size=60))
def test_any_bytes_give_a_canonical_value_or_a_peer_error(data):
    try:
        value = loads(data)
    except PeerError:
        return
    assert codec.dumps(value) == data


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "1801",  # an integer longer than needed
        "0101",  # trailing bytes
        "9f01ff",  # an indefinite length
        "a2616101616102",  # a duplicate key
        "a2616201616101",  # keys out of order
        "a10101",  # a key that is a number
        "fa3f800000",  # a float longer than needed
        "62ffff",  # not UTF-8
        "5bffffffffffffffff",  # more than there is
        "1c",
        "ff",
    ],
)
def test_what_is_not_canonical_is_malformed(encoded):
    with pytest.raises(MalformedError):
        loads(bytes.fromhex(encoded))


def test_no_tag_is_ever_decoded():
    contents = [cbor2.dumps(content) for content in (1, "2020-01-01T00:00:00Z", b"\1", [1, 2])]
    for tag in (*range(70_000), 2**32, 2**64 - 1):
        start = cbor2.dumps(cbor2.CBORTag(tag, 0))[:-1]
        with pytest.raises(MalformedError):
            loads(start + contents[tag % len(contents)])


def test_every_tag_the_library_decodes_is_refused_with_any_content():
    for tag in codec._TAGS:
        for content in (1, "text", b"\1", [1, 2], {"a": 1}):
            with pytest.raises(MalformedError):
                loads(cbor2.dumps(cbor2.CBORTag(tag, content)))


def test_depth_and_size_are_bounded():
    assert loads(codec.dumps([[1]]), depth_max=2) == [[1]]
    with pytest.raises(MalformedError):
        loads(codec.dumps([[1]]), depth_max=1)
    with pytest.raises(MalformedError):
        loads(b"\x81" * 900)
    with pytest.raises(OversizeError):
        loads(bytes(1001))


def test_a_short_map_is_decoded_and_nothing_else():
    assert codec.loads_map(codec.dumps({"a": b"b"}), bytes_max=99) == {"a": b"b"}
    long_map = codec.dumps({str(n): n for n in range(24)})
    for data in (b"", codec.dumps([1]), codec.dumps({"a": [1]}), long_map):
        with pytest.raises(MalformedError):
            codec.loads_map(data, bytes_max=999)
    with pytest.raises(OversizeError):
        codec.loads_map(codec.dumps({"a": bytes(99)}), bytes_max=99)


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=300))
def test_parts_come_back(parts):
    assert codec.unpack(codec.pack(parts), bytes_max=9999, parts_max=300) == parts


@pytest.mark.parametrize("number", [1, 23, 24, 255, 256, 600])
def test_the_number_of_parts_is_bounded_before_they_are_decoded(number):
    data = codec.pack([b"x"] * number)
    assert len(codec.unpack(data, bytes_max=9999, parts_max=number)) == number
    with pytest.raises(OversizeError):
        codec.unpack(data[:3], bytes_max=9999, parts_max=number - 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x98",
        b"\x99\x01",
        b"\x9a\x00\x00\x00\x01\x41a",
        b"\x9f\xff",
        b"\x41a",
        codec.dumps(["a"]),
        codec.dumps([b"a", 1]),
        codec.dumps([[b"a"]]),
        codec.dumps([b"a"]) + b"a",
    ],
)
def test_anything_but_byte_strings_is_no_parts(data):
    with pytest.raises(MalformedError):
        codec.unpack(data, bytes_max=99, parts_max=99)


def test_parts_over_the_size_are_refused():
    with pytest.raises(OversizeError):
        codec.unpack(codec.pack([bytes(99)]), bytes_max=99, parts_max=9)


@pytest.mark.parametrize(
    ("duration_s", "ms"), [(0.0, 0), (1.5, 1500), (-1.0, 0), (float("inf"), 31_622_400_000_000)]
)
def test_durations_travel_in_milliseconds_within_their_range(duration_s, ms):
    assert codec.milliseconds(duration_s) == ms
    assert codec.seconds(ms) == ms / 1000


@pytest.mark.parametrize(
    ("reader", "good", "bad"),
    [
        (lambda value: codec.array(value, items_min=1, items_max=2), [1], [[], [1, 2, 3], "a"]),
        (lambda value: codec.octets(value, 2), b"ab", [b"a", b"abc", "ab", None]),
        (lambda value: codec.integer(value, 1, 3), 3, [0, 4, 2.0, True, "1"]),
        (lambda value: codec.text(value, 2), "ab", ["abc", b"ab", 1]),
        (codec.flag, True, [1, 0, None]),
        (codec.seconds, 1000, [-1, 10**18, 1.0, True]),
    ],
)
def test_readers_take_one_type_in_one_range(reader, good, bad):
    assert reader(good) == (1.0 if reader is codec.seconds else good)
    for value in bad:
        with pytest.raises(MalformedError):
            reader(value)


@pytest.mark.parametrize(
    "sizes", [(70_000,), (0, 5, 23, 24, 255, 256, 70_000, 9), (65_536, 65_535)]
)
def test_large_parts_come_back(sizes):
    parts = [bytes([n % 251]) * size for n, size in enumerate(sizes)]
    assert codec.unpack(codec.pack(parts), bytes_max=1 << 20, parts_max=16) == parts


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x5b" + (70_000).to_bytes(8, "big") + bytes(70_000),  # a length in too many bytes
        b"\x82\x5a" + (70_000).to_bytes(4, "big") + bytes(70_000) + b"\x58\x05hello",
        b"\x82\x5a" + (70_000).to_bytes(4, "big") + bytes(70_000) + b"\x65hello",  # text
        b"\x81\x5a" + (70_000).to_bytes(4, "big") + bytes(70_001),  # a byte too many
        b"\x81\x5a" + (70_000).to_bytes(4, "big") + bytes(69_999),  # and one too few
        b"\x82\x5a" + (70_000).to_bytes(4, "big") + bytes(70_000),  # a part is missing
        b"\x81\x5f\x5a" + (70_000).to_bytes(4, "big") + bytes(70_000) + b"\xff",  # indefinite
    ],
)
def test_large_parts_are_read_as_strictly_as_small_ones(data):
    with pytest.raises(MalformedError):
        codec.unpack(data, bytes_max=1 << 20, parts_max=16)
