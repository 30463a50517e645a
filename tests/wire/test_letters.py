from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import letters as any_letters
from wire_strategies import mutations

from mesh import limits
from mesh.errors import MalformedError, OversizeError, PeerError
from mesh.model import Incarnation, Kind, Letter, MailboxKey, MessageId
from mesh.wire import codec, letters

LETTER = Letter(
    message_id=MessageId(b"m" * 16),
    kind=Kind.DIRECT,
    author=MailboxKey(b"a" * 32),
    author_name="alice",
    incarnation=Incarnation(b"i" * 8),
    to="bob#0123ab",
    recipient=MailboxKey(b"r" * 32),
    sequence=7,
    ttl_s=60.5,
    created_ms=1_790_000_000_000,
    reply_to=MessageId(b"p" * 16),
    is_urgent=True,
    is_auto=False,
    chain=(b"hop",),
    body_digest=letters.body_digest(b"body"),
    body_bytes=4,
)
FIELDS = codec.array(codec.loads(letters.encode(LETTER), bytes_max=999, depth_max=2))


@given(any_letters())
def test_letters_come_back(letter):
    assert letters.decode(letters.encode(letter)) == letter


def test_a_letter_keeps_its_bytes_even_fields_that_only_later_versions_know():
    header = codec.dumps([*FIELDS, None, "from the future"])
    letter = letters.decode(header)
    assert letters.encode(letter) == header
    assert letters.encode(replace(letter, sequence=8)) == letters.encode(
        replace(LETTER, sequence=8)
    )


def test_a_letter_without_recipient_comes_back():
    letter = replace(LETTER, recipient=None, sequence=0, reply_to=None)
    assert letters.decode(letters.encode(letter)) == letter


def test_the_largest_letter_fits():
    letter = replace(
        LETTER,
        author_name="a" * 32,
        to="b" * 32 + "#" + "0" * 32,
        sequence=codec.INTEGER_MAX,
        chain=(b"h" * 32,) * 2 * limits.chain_hops_max,
        ttl_s=limits.ttl_s_max,
        body_bytes=limits.body_bytes_max,
    )
    assert letters.decode(letters.encode(letter)) == letter


def test_every_kind_has_a_number_of_its_own():
    assert set(letters.KIND_NUMBERS) == set(Kind)
    assert len(set(letters.KIND_NUMBERS.values())) == len(Kind)


def test_values_out_of_range_are_moved_into_it():
    letter = replace(LETTER, ttl_s=1e12, created_ms=-5)
    decoded = letters.decode(letters.encode(letter))
    assert (decoded.ttl_s, decoded.created_ms) == (limits.ttl_s_max, 0)


def test_fields_of_later_versions_are_ignored_but_change_the_digest():
    later = codec.dumps([*FIELDS, None, "new", {"new": 1}])
    assert letters.decode(later) == LETTER
    assert letters.digest(later) != letters.digest(letters.encode(LETTER))


def test_digests_of_letters_and_bodies_are_apart():
    assert letters.digest(b"same") != letters.body_digest(b"same")


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (0, [b"m" * 15, "m" * 16, None]),
        (1, [0, 6, "direct", None]),
        (2, [b"a" * 31]),
        (3, ["", "system", "ALL", "a" * 33, "a b", "a\n", b"alice", 1]),
        (4, [b"i" * 9]),
        (5, ["", "bob#", "bob#12345", "bob#xyzxyz", "all#012345", "b" * 66, b"bob"]),
        (6, [b"r" * 33, 0]),
        (7, [-1, 2**63, 1.0, True]),
        (8, [-1, 2**62, 1.0]),
        (9, [-1, letters.created_ms_max + 1]),
        (10, [b"p" * 15, 0]),
        (11, [1, None]),
        (12, [0]),
        (13, [b"hop", [b""], [b"h" * 33], ["hop"], [b"h"] * (2 * limits.chain_hops_max + 1)]),
        (14, [b"d" * 31]),
        (15, [-1, limits.body_bytes_max + 1]),
    ],
)
def test_each_field_has_one_type_and_one_range(place, values):
    for value in values:
        changed = list(FIELDS)
        changed[place] = value
        with pytest.raises(MalformedError):
            letters.decode(codec.dumps(changed))


def test_missing_fields_and_other_shapes_are_malformed():
    for value in (FIELDS[:-1], [], {"a": 1}, 1, None):
        with pytest.raises(MalformedError):
            letters.decode(codec.dumps(value))
    with pytest.raises(OversizeError):
        letters.decode(bytes(limits.letter_bytes_max + 1))


@given(st.data())
def test_any_bytes_give_a_letter_or_a_peer_error(data):
    mutated = data.draw(mutations(letters.encode(LETTER)))
    try:
        letter = letters.decode(mutated)
    except PeerError:
        return
    assert letters.decode(letters.encode(letter)) == letter
