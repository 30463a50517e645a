from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import cards as any_cards
from wire_strategies import mutations

from mesh import limits
from mesh.errors import MalformedError, OversizeError, PeerError
from mesh.model import Alias, Card, Incarnation, MailboxKey, Profile
from mesh.wire import cards, codec

CARD = Card(
    key=MailboxKey(b"k" * 32),
    name="alice",
    incarnation=Incarnation(b"i" * 8),
    claim=3,
    is_live=True,
    claimed_s=12.5,
    registered_ms=1_790_000_000_000,
    profile=Profile("claude", "builds the parser", "inbox", "laptop", "parser (main)"),
    aliases=(Alias("alicia", 10.0, 20.0), Alias("ally", 10_000.0, -2800.0)),
)
FIELDS = codec.array(codec.loads(cards.encode(CARD), bytes_max=999, depth_max=3))


@given(any_cards())
def test_cards_come_back(card):
    assert cards.decode(cards.encode(card)) == card


def test_the_largest_card_fits():
    wide = "\U0001f600" * 300
    card = replace(
        CARD,
        name="a" * 32,
        profile=Profile(wide, wide, wide, wide, wide),
        aliases=(Alias("b" * 32, 1e99, -1e99),) * limits.aliases_per_card_max,
    )
    assert cards.decode(cards.encode(card)).profile.summary == wide[: limits.summary_chars_max]


def test_a_profile_is_cut_and_cleaned_rather_than_refused():
    profile = Profile("c" * 99, "bad \udcff byte", "w", "h" * 253, "p" * 99)
    decoded = cards.decode(cards.encode(replace(CARD, profile=profile))).profile
    assert decoded == Profile("c" * 64, "bad ? byte", "w", "h" * 64, "p" * 64)


def test_fields_of_later_versions_are_ignored():
    assert cards.decode(codec.dumps([*FIELDS, "new"])) == CARD


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (0, [b"k" * 31]),
        (1, ["", "all"]),
        (2, [b"i" * 7]),
        (3, [-1, 2**63]),
        (4, [1]),
        (5, [-1, 1.5]),
        (6, [-1, 10**15]),
        (
            7,
            [
                [],
                ["a", "b", "c"],
                ["a", "b", "c", 1],
                ["a" * 65, "", "", ""],
                ["", "a" * 201, "", ""],
            ],
        ),
        (8, [None, [["a", 1]], [["all", 1, 1]], [["a", -1, 1]], [["a", 1, 1]] * 9]),
    ],
)
def test_each_field_has_one_type_and_one_range(place, values):
    for value in values:
        changed = list(FIELDS)
        changed[place] = value
        with pytest.raises(MalformedError):
            cards.decode(codec.dumps(changed))


def test_missing_fields_and_oversize_are_refused():
    with pytest.raises(MalformedError):
        cards.decode(codec.dumps(FIELDS[:-1]))
    with pytest.raises(OversizeError):
        cards.decode(bytes(cards.card_bytes_max + 1))


@given(st.data())
def test_any_bytes_give_a_card_or_a_peer_error(data):
    try:
        card = cards.decode(data.draw(mutations(cards.encode(CARD))))
    except PeerError:
        return
    assert cards.decode(cards.encode(card)) == card
