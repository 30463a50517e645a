"""Names, addresses and fingerprints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import limits
from mesh.errors import UsageError
from mesh.model import (
    INVALID_NAME,
    Address,
    MailboxKey,
    Presence,
    State,
    Verified,
    Why,
    check_name,
    fingerprint,
    fold,
    has_name_form,
    parse_address,
)

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)


@pytest.mark.parametrize("name", ["a", "snes-dev", "A_b-9", "-", "_", "x" * limits.name_chars_max])
def test_a_name_is_kept_as_typed(name):
    assert check_name(name) == name
    assert has_name_form(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 33, "a b", "a\n", "ä", "a.b", "../a", "a#b", "a\0", "K\u0130"]
)
def test_a_bad_name_is_refused_with_the_known_sentence(name):
    with pytest.raises(UsageError) as caught:
        check_name(name)
    assert str(caught.value) == INVALID_NAME
    assert not has_name_form(name)


@pytest.mark.parametrize("name", ["system", "all", "everyone", "System", "ALL"])
def test_a_reserved_name_has_the_form_but_cannot_be_claimed(name):
    assert has_name_form(name)
    with pytest.raises(UsageError, match="reserved"):
        check_name(name)


def test_names_are_compared_without_case():
    assert fold("Snes-Dev") == fold("sNES-dEV")


def test_an_address_is_a_name_perhaps_with_a_fingerprint_prefix():
    assert parse_address("bob") == Address("bob")
    assert parse_address("bob#ABCDEF") == Address("bob", "abcdef")
    assert parse_address("bob#" + "0" * 32) == Address("bob", "0" * 32)


@pytest.mark.parametrize(
    "text", ["bob#", "bob#12345", "bob#ghijkl", "bob#" + "0" * 33, "bob#123456#"]
)
def test_a_malformed_fingerprint_prefix_is_refused(text):
    with pytest.raises(UsageError, match="fingerprint"):
        parse_address(text)


@pytest.mark.parametrize("text", ["", "#123456", "a b#123456", "all"])
def test_an_address_needs_a_name_that_can_be_held(text):
    with pytest.raises(UsageError):
        parse_address(text)


@given(
    name=NAMES.filter(lambda name: name.lower() not in {"system", "all", "everyone"}),
    prefix=st.from_regex(r"([0-9a-f]{6,32})?", fullmatch=True),
)
def test_an_address_reads_back_from_its_text(name, prefix):
    address = Address(name, prefix)
    assert parse_address(str(address)) == address


@given(st.text())
def test_any_text_whatever_is_an_address_or_a_usage_error(text):
    try:
        address = parse_address(text)
    except UsageError:
        return
    assert has_name_form(address.name)


@given(st.binary(min_size=32, max_size=32))
def test_a_fingerprint_is_32_hexadecimal_characters_usable_in_an_address(key):
    found = fingerprint(MailboxKey(key))
    assert len(found) == 32
    assert parse_address(f"bob#{found}").fingerprint_prefix == found


def test_fingerprints_never_change_between_versions():
    assert fingerprint(MailboxKey(bytes(32))) == "1ba6ccd2369e511ce7d23204366b5beb"


def test_the_words_of_the_contract_are_the_values():
    assert [word.value for word in State] == [
        "queued",
        "delivered",
        "shown",
        "refused",
        "expired",
    ]
    assert [word.value for word in Presence] == ["unknown", "live", "suspect", "away"]
    assert [word.value for word in Verified] == [
        "pinned",
        "first_contact",
        "changed",
        "open",
    ]
    promised = ["unknown_name", "away", "unreachable", "quota", "recipient_full", "pin_conflict"]
    assert set(promised) <= {why.value for why in Why}
