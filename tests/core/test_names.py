"""Whom a name means."""

import itertools

import pytest

from mesh import limits
from mesh.core.names import Resolution, resolve
from mesh.core.roster import Peer, Roster
from mesh.core.snapshot import Pin
from mesh.model import Alias, LinkId, MailboxKey, fingerprint, parse_address
from tests.core.samples import (
    ALICE,
    BOB,
    CAROL,
    HOST,
    OTHER_NODE,
    OWN_NODE,
    THIRD_NODE,
    card,
    greeting,
)

RENAMED = (Alias("bob", 0.0, limits.alias_s),)


@pytest.fixture
def roster() -> Roster:
    made = Roster(node=OWN_NODE, host=HOST)
    for node in (OTHER_NODE, THIRD_NODE):
        made.peers[node] = Peer(greeting(node), LinkId(1), 0.0)
    return made


def find(
    roster: Roster, to: str = "bob", pins: tuple[Pin, ...] = (), *, now: float = 0.0
) -> Resolution | None:
    by_name = {pin.name: pin for pin in pins}
    return resolve(parse_address(to), pins=by_name, roster=roster, age_s=0.0, now=now)


def mark(key: MailboxKey) -> str:
    return fingerprint(key)[: limits.fingerprint_prefix_chars_min]


def test_a_name_never_seen_means_nobody_yet(roster):
    """PROTOCOL.md NAME-6."""
    assert find(roster) is None


def test_without_a_pin_the_older_claim_among_the_live_ones_wins(roster):
    """PROTOCOL.md NAME-5."""
    roster.announce(OTHER_NODE, [card(ALICE, "bob", claimed_s=5.0)], 10.0)
    roster.announce(THIRD_NODE, [card(BOB, "Bob", claimed_s=6.0)], 10.0)
    assert find(roster) == Resolution(BOB, "Bob")


def test_when_all_are_away_the_last_one_seen_wins(roster):
    """PROTOCOL.md NAME-5."""
    roster.announce(OTHER_NODE, [card(ALICE, "bob")], 10.0)
    roster.announce(THIRD_NODE, [card(BOB, "bob")], 9.0)
    roster.announce(OTHER_NODE, [], 11.0)
    roster.announce(THIRD_NODE, [], 11.0)
    assert find(roster) == Resolution(ALICE, "bob")


def test_a_pinned_agent_keeps_its_name_while_it_is_live(roster):
    """PROTOCOL.md NAME-4."""
    roster.announce(OTHER_NODE, [card(ALICE, "bob", claimed_s=99.0)], 10.0)
    roster.announce(THIRD_NODE, [card(BOB, "bob")], 10.0)
    assert find(roster, pins=(Pin("bob", BOB),)) == Resolution(BOB, "bob")


def test_new_mail_goes_to_a_live_newcomer_when_the_pinned_agent_is_away(roster):
    """PROTOCOL.md NAME-4: marked as changed."""
    roster.announce(THIRD_NODE, [card(BOB, "bob")], 9.0)
    roster.announce(THIRD_NODE, [], 9.0)
    assert find(roster, pins=(Pin("bob", BOB),)) == Resolution(BOB, "bob")
    roster.announce(OTHER_NODE, [card(ALICE, "bob")], 10.0)
    expected = Resolution(ALICE, "bob", is_changed=True)
    assert find(roster, pins=(Pin("bob", BOB),)) == expected


def test_a_pin_is_enough_for_an_address(roster):
    """PROTOCOL.md NAME-4."""
    assert find(roster, pins=(Pin("bob", BOB),)) == Resolution(BOB, "bob")


def test_a_pin_on_an_agent_that_took_another_name_does_not_count(roster):
    """PROTOCOL.md NAME-4."""
    roster.announce(THIRD_NODE, [card(BOB, "robert")], 9.0)
    assert find(roster, pins=(Pin("bob", BOB),)) is None
    roster.announce(OTHER_NODE, [card(ALICE, "bob")], 10.0)
    assert find(roster, pins=(Pin("bob", BOB),)) == Resolution(ALICE, "bob")


def test_a_former_name_is_forwarded(roster):
    """PROTOCOL.md NAME-3."""
    roster.announce(THIRD_NODE, [card(BOB, "robert", aliases=RENAMED)], 0.0)
    expected = Resolution(BOB, "robert", forwarded_from="bob")
    assert find(roster) == expected
    assert find(roster, pins=(Pin("bob", BOB),)) == expected
    assert find(roster, now=limits.alias_s + 1.0) is None


def test_a_claim_to_a_former_name_does_not_beat_a_pin(roster):
    """PROTOCOL.md NAME-3: else any member could take over anybody's mail."""
    roster.announce(OTHER_NODE, [card(ALICE, "mallory", aliases=RENAMED)], 0.0)
    assert find(roster, pins=(Pin("bob", BOB),)) == Resolution(BOB, "bob")


def test_a_claim_to_a_former_name_does_not_beat_who_carries_it(roster):
    """PROTOCOL.md NAME-3."""
    roster.announce(THIRD_NODE, [card(BOB, "bob")], 0.0)
    roster.announce(OTHER_NODE, [card(ALICE, "mallory", aliases=RENAMED)], 0.0)
    assert find(roster) == Resolution(BOB, "bob")


def test_a_witnessed_former_name_beats_a_newcomer(roster):
    """PROTOCOL.md NAME-3: nobody else may take the name while it forwards."""
    roster.announce(THIRD_NODE, [card(BOB, "bob")], 0.0)
    roster.announce(THIRD_NODE, [card(BOB, "robert", aliases=RENAMED)], 1.0)
    roster.announce(OTHER_NODE, [card(ALICE, "bob")], 2.0)
    assert find(roster, now=2.0) == Resolution(BOB, "robert", forwarded_from="bob")


def test_a_fingerprint_picks_one_of_several(roster):
    """PROTOCOL.md NAME-2."""
    roster.announce(OTHER_NODE, [card(ALICE, "bob"), card(BOB, "Bob")], 10.0)
    assert find(roster, f"bob#{mark(BOB)}") == Resolution(BOB, "Bob")
    assert find(roster, f"bob#{mark(CAROL)}") is None


def test_a_fingerprint_may_be_known_from_a_pin_only(roster):
    """PROTOCOL.md NAME-2."""
    pins = (Pin("bob", BOB),)
    assert find(roster, f"bob#{mark(BOB)}", pins) == Resolution(BOB, "bob")
    assert find(roster, f"bob#{mark(ALICE)}", pins) is None


def test_a_fingerprint_that_fits_two_means_nobody(roster):
    """PROTOCOL.md NAME-2: no message ever goes to both."""
    by_mark: dict[str, MailboxKey] = {}
    for number in itertools.count():
        key = MailboxKey(number.to_bytes(32, "big"))
        twin = by_mark.setdefault(mark(key), key)
        if twin is not key:
            break
    roster.announce(OTHER_NODE, [card(key, "bob"), card(twin, "bob")], 10.0)
    assert find(roster, f"bob#{mark(key)}") is None
