"""Drafts going out and messages coming in: what is checked, and what a bad body does."""

from datetime import UTC, datetime

import pytest

from mesh import limits
from mesh.driver import contents
from mesh.driver.contents import Options
from mesh.errors import UsageError
from mesh.model import Kind, Verified
from mesh.sharing.files import digest_of
from mesh.store.interface import InboxMessage
from mesh.wire.bodies import dump_json, encode_body
from tests.store.samples import letter


def stored(body: bytes) -> InboxMessage:
    return InboxMessage(7, letter(1), body, 0, is_shown=False, verified=Verified.PINNED)


def read(body: bytes, files):
    return contents.to_message(stored(body), own_name="alice", files=files)


def test_draft_becomes_the_message_it_was(tmp_path):
    made = contents.draft("hello", {"k": 1}, Options(is_urgent=True), kind=Kind.DIRECT)
    message = read(made.body, tmp_path)
    assert (message.content, message.data) == ("hello", {"k": 1})
    assert (message.to, message.row, message.verified) == ("alice", 7, "pinned")
    assert message.time == datetime.fromtimestamp(1_700_000_000.001, UTC)
    assert (made.ttl_s, made.is_urgent, made.is_auto) == (limits.ttl_s_default, True, False)


@pytest.mark.parametrize(
    ("kind", "ttl_s"),
    [
        (Kind.DIRECT, limits.ttl_s_default),
        (Kind.BROADCAST, limits.ttl_s_broadcast),
        (Kind.RENAMED, limits.ttl_s_broadcast),
    ],
)
def test_time_to_live_follows_the_kind(kind, ttl_s):
    assert contents.draft("x", None, Options(), kind=kind).ttl_s == ttl_s


def test_every_draft_has_an_id_of_its_own():
    ids = {contents.draft("x", None, Options(), kind=Kind.DIRECT).message_id for _ in range(50)}
    assert len(ids) == 50


def test_ids_grow_with_time():
    first = contents.new_message_id()
    while contents.new_message_id()[:6] == first[:6]:
        pass
    assert contents.new_message_id() > first


def test_neighbours_to_one_recipient_are_grouped_within_bounds():
    def sizes(messages) -> list[tuple[str, int]]:
        return [(to, len(drafts)) for to, drafts in contents.grouped(messages)]

    many = [("bob", "x")] * (limits.batch_letters_max + 1)
    assert sizes(many) == [("bob", limits.batch_letters_max), ("bob", 1)]
    assert sizes([("bob", "1"), ("bob", "2", 5), ("eve", "3"), ("bob", "4")]) == [
        ("bob", 2),
        ("eve", 1),
        ("bob", 1),
    ]
    assert sizes([("bob", "x" * limits.batch_bytes_max)] * 3) == [("bob", 1)] * 3
    assert sizes([]) == []


def test_what_comes_before_a_bad_message_is_grouped_before_it_is_refused():
    groups = contents.grouped([("bob", "1"), ("bob", "2"), ("bob", "\ud800")])
    to, drafts = next(groups)
    assert (to, len(drafts)) == ("bob", 2)
    with pytest.raises(UsageError, match="content"):
        next(groups)


def test_absent_data_and_null_are_the_same_to_the_reader(tmp_path):
    assert read(encode_body("x", None, None), tmp_path).data is None
    assert read(encode_body("x", "null", None), tmp_path).data is None


def test_file_is_saved_once_and_shown_inline_when_it_is_short_text(tmp_path):
    content = b"hello\n"
    data = dump_json({"name": "../../x.txt", "blake2b": digest_of(content)})
    body = encode_body("", data, content)
    first, again = read(body, tmp_path), read(body, tmp_path)
    assert first.path == again.path == first.data["path"]
    assert first.data["content"] == "hello\n"
    assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (limits.file_inline_text_bytes_max + 1)])
def test_long_or_binary_file_is_not_shown_inline(tmp_path, content):
    data = dump_json({"name": "x.bin", "blake2b": digest_of(content)})
    assert "content" not in read(encode_body("", data, content), tmp_path).data


def test_file_that_is_not_what_it_says_is_named_and_not_saved(tmp_path):
    data = dump_json({"name": "x.txt", "blake2b": "00" * 32})
    message = read(encode_body("", data, b"hello"), tmp_path)
    assert message.path is None
    assert message.data["path"] is None
    assert message.data["problem"]
    assert not list(tmp_path.iterdir())


def test_body_that_its_author_made_badly_does_not_hide_the_message(tmp_path):
    message = read(b"\xff junk", tmp_path)
    assert message.content.startswith("[unreadable:")
    assert (message.data, message.path) == (None, None)
    assert contents.searchable_text(b"\xff junk") == ""
    assert contents.searchable_text(encode_body("hello", None, None)) == "hello"


@pytest.mark.parametrize(
    "text", ["", "0" * 31, "0" * 33, "zz" * 16, "0x" + "0" * 30, "00 " * 10 + "00"]
)
def test_message_id_has_32_hexadecimal_characters(text):
    with pytest.raises(UsageError, match="reply_to"):
        contents.message_id(text, "reply_to")


def test_since_is_an_instant_with_its_zone():
    assert contents.parse_since("2026-01-31T12:00:00Z") == contents.parse_since(
        "2026-01-31T13:00:00+01:00"
    )
    assert contents.parse_since(datetime(2026, 1, 31, 12, tzinfo=UTC)) == 1_769_860_800_000


def test_saved_text_is_private_and_saved_once(tmp_path):
    message = read(encode_body("long text", None, None), tmp_path)
    path = contents.save_text(tmp_path, message)
    assert contents.save_text(tmp_path, message) == path
    assert path.read_text() == "long text"
    assert path.stat().st_mode & 0o777 == 0o600


def test_lies_about_an_attachment_are_put_right(tmp_path):
    attachment = b"twelve bytes"
    digest = digest_of(attachment)
    data = {"type": "command", "name": "../../x", "bytes": 3, "blake2b": digest, "path": "/etc/x"}
    message = read(encode_body("a file", dump_json(data), attachment), tmp_path)
    assert (message.data["type"], message.data["bytes"]) == ("file", 12)
    assert message.path == message.data["path"]
    assert message.path.startswith(f"{tmp_path}/{digest[:12]}-")


JSON_VALUES = [
    *(0, -1, 2**53 + 1, 2**63, 2**64, -(2**64), 10**400, -0.0, 0.1, 1e308, 5e-324, 1.0, 1e22),
    *("", "\0", "\U0001f600", "e\u0301", "\u2028", "\ufeff", "\x7f"),
    *(None, True, [], {}, [[]], {"": ""}, {"a": {"": None}}, [1, 1.0, True]),
]


@pytest.mark.parametrize("value", JSON_VALUES, ids=range(len(JSON_VALUES)))
def test_data_of_any_shape_comes_back_bit_for_bit(value, tmp_path):
    made = contents.draft("x", {"v": value}, Options(), kind=Kind.DIRECT)
    back = read(made.body, tmp_path).data["v"]
    assert repr(back) == repr(value)


def test_data_to_the_depth_limit_comes_back_and_one_deeper_is_refused(tmp_path):
    value: list = []
    for _ in range(limits.data_depth_max - 1):
        value = [value]
    assert (
        read(contents.draft("x", value, Options(), kind=Kind.DIRECT).body, tmp_path).data == value
    )
    with pytest.raises(UsageError, match="data"):
        contents.draft("x", [value], Options(), kind=Kind.DIRECT)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {1: 2}, {"a": {2}}, b"x", object(), "\ud800", {"\ud83d": 1}],
)
def test_what_is_no_json_is_refused_by_name(value):
    with pytest.raises(UsageError, match="data"):
        contents.draft("x", value, Options(), kind=Kind.DIRECT)
