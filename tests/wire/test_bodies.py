import json
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import mutations

from mesh import limits
from mesh.errors import MalformedError, OversizeError, PeerError, UsageError
from mesh.wire import bodies, codec

valid_text = st.text(st.characters(codec="utf-8"), max_size=30)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | valid_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(valid_text, inner, max_size=4),
    max_leaves=9,
)


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@given(valid_text, st.none() | valid_text, st.none() | st.binary(max_size=30))
def test_bodies_come_back(content, data, attachment):
    body = bodies.encode_body(content, data, attachment)
    assert bodies.decode_body(body) == bodies.Body(content, data, attachment)


@given(json_values)
def test_every_json_value_comes_back_with_its_spelling(value):
    text = bodies.dump_json(value)
    again = bodies.load_json(text)
    assert bodies.dump_json(again) == text
    assert again == value


def test_the_common_body_is_the_map_that_every_body_is():
    assert bodies.encode_body("hi", None) == codec.dumps({"content": "hi"})
    start = codec.dumps({"content": ""})[:-1]
    assert bodies.decode_body(start + codec.dumps("hi")) == bodies.Body("hi")
    for rest in (
        b"",
        b"\x78\x02hi",
        codec.dumps("hi") + b"\0",
        b"\x62\xff\xff",
        b"\x80",
        b"\x42hi",
    ):
        with pytest.raises(MalformedError):
            bodies.decode_body(start + rest)


def test_contents_are_never_counted_in_characters():
    at_limit = "\u00e9" * (limits.content_bytes_max // 2)
    assert bodies.check_content(at_limit) is at_limit
    body = bodies.encode_body(at_limit, '"' + "a" * (limits.data_bytes_max - 2) + '"')
    assert bodies.decode_body(body).content == at_limit
    with pytest.raises(UsageError, match=f"content.*{limits.content_bytes_max}"):
        bodies.check_content(at_limit + "a")


def test_what_is_too_large_together_is_refused():
    with pytest.raises(UsageError, match=r"content.*data.*file"):
        bodies.encode_body("a" * limits.content_bytes_max, None, bytes(limits.body_bytes_max))


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(UsageError, match="content"):
        bodies.check_content("\ud83d")
    with pytest.raises(UsageError, match="data"):
        bodies.dump_json({"a": "\ud83d"})
    with pytest.raises(UsageError, match="data"):
        bodies.dump_json({"\ud83d": 1})


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [float("inf")],
        {1: 2},
        {None: 1},
        {"a": {True: 1}},
        b"a",
        {"a": {1, 2}},
        [10**5000],
    ],
)
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(UsageError, match="data"):
        bodies.dump_json(value)


def test_subclasses_and_tuples_are_written_as_what_they_are():
    class Number(IntEnum):
        ONE = 1

    assert bodies.dump_json(({"k": Number.ONE}, True)) == '[{"k":1},true]'


def test_depth_is_bounded_on_both_sides():
    deepest = nested(limits.data_depth_max)
    assert bodies.load_json(bodies.dump_json(deepest)) == deepest
    for value in (
        nested(limits.data_depth_max + 1),
        [deepest],
        [[nested(limits.data_depth_max - 1)]],
    ):
        with pytest.raises(UsageError, match=f"data.*{limits.data_depth_max}"):
            bodies.dump_json(value)
    empty: list[object] = []
    for _ in range(limits.data_depth_max):
        empty = [empty]
    with pytest.raises(UsageError, match="deep"):
        bodies.dump_json(empty)
    with pytest.raises(MalformedError):
        bodies.load_json("[" * 65 + "]" * 65)
    with pytest.raises(MalformedError):
        bodies.load_json("[" * 500_000)


def test_a_value_that_holds_itself_is_refused():
    value: dict[str, object] = {}
    value["self"] = value
    with pytest.raises(UsageError, match="deep"):
        bodies.dump_json(value)


def test_size_is_bounded_in_bytes_and_items():
    largest = "a" * (limits.data_bytes_max - 2)
    assert len(bodies.dump_json(largest)) == limits.data_bytes_max
    shared = [0] * 2000
    for value in (largest + "a", "\u00e9" * (limits.data_bytes_max // 2), [shared] * 1000):
        with pytest.raises(UsageError, match=f"data.*{limits.data_bytes_max}"):
            bodies.dump_json(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        "[Infinity]",
        "1e999",
        '"\\ud800"',
        pytest.param("1" * 5000, id="digits"),
        "[1] 2",
        "{1:2}",
    ],
)
def test_what_peers_write_must_be_json_that_can_be_written_again(text):
    with pytest.raises(MalformedError):
        bodies.load_json(text)


def test_what_json_cannot_tell_apart_stays_as_written():
    text = '{"b":1.0,"a":1,"big":123456789012345678901234567890}'
    body = bodies.encode_body("", text)
    assert bodies.decode_body(body).data_json == text
    assert bodies.dump_json(bodies.load_json(text)) == text
    assert json.loads(text)["big"] == 123456789012345678901234567890


def test_keys_of_later_versions_are_ignored():
    later = codec.dumps({"content": "hello", "new": 1})
    assert bodies.decode_body(later) == bodies.Body("hello")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"content": b"a"},
        {"content": None},
        {"content": "a" * (limits.content_bytes_max + 1)},
        {"content": "", "data": {}},
        {"content": "", "data": "a" * (limits.data_bytes_max + 1)},
        {"content": "", "attachment": "a"},
        {"content": "", "attachment": bytes(limits.file_bytes_max + 1)},
        ["content"],
    ],
)
def test_bodies_of_another_shape_are_malformed(value):
    with pytest.raises(MalformedError):
        bodies.decode_body(codec.dumps(value))


def test_a_large_body_is_refused_before_it_is_decoded():
    with pytest.raises(OversizeError):
        bodies.decode_body(b"\xa1" * (limits.body_bytes_max + 1))


@given(st.data())
def test_any_bytes_give_a_body_or_a_peer_error(data):
    mutated = data.draw(mutations(bodies.encode_body("hello", '{"a":1}', b"file")))
    try:
        body = bodies.decode_body(mutated)
    except PeerError:
        return
    encoded = bodies.encode_body(body.content, body.data_json, body.attachment)
    assert bodies.decode_body(encoded) == body


@given(st.text(max_size=20))
def test_any_text_gives_a_json_value_or_a_peer_error(text):
    try:
        value = bodies.load_json(text)
    except PeerError:
        return
    bodies.dump_json(value)
