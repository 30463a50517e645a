"""Who is known, under which names, and whether they are there."""

from collections.abc import Iterable

import pytest

from mesh import limits
from mesh.core.roster import Peer, Roster
from mesh.model import Alias, Card, LinkId, MailboxKey, NodeId, Presence, fingerprint
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


@pytest.fixture
def roster() -> Roster:
    return Roster(node=OWN_NODE, host=HOST)


def keys(roster: Roster) -> set[MailboxKey]:
    return {seen.card.key for seen in roster}


def link(roster: Roster, node: NodeId = OTHER_NODE) -> Peer:
    roster.peers[node] = Peer(greeting(node), LinkId(1), 0.0)
    return roster.peers[node]


def names(found: Iterable[object]) -> list[str]:
    return [seen.card.name for seen in found]  # type: ignore[attr-defined]


def test_an_announcement_replaces_all_that_a_node_held(roster):
    """PROTOCOL.md TEND-2."""
    assert roster.announce(OTHER_NODE, [card(ALICE, "alice"), card(BOB, "bob")], 1.0) == [
        ALICE,
        BOB,
    ]
    assert roster.announce(OTHER_NODE, [card(BOB, "bob")], 2.0) == [ALICE]
    assert roster.announce(OTHER_NODE, [card(BOB, "bob")], 3.0) == []
    alice, bob = roster.agent(ALICE), roster.agent(BOB)
    assert (alice.node, bob.node) == (None, OTHER_NODE)
    assert (alice.seen_at, bob.seen_at) == (1.0, 3.0)


def test_a_card_with_a_lower_claim_is_stale_while_its_holder_is_there(roster):
    """PROTOCOL.md TEND-2."""
    roster.announce(OTHER_NODE, [card(ALICE, "alice", claim=5)], 1.0)
    assert roster.announce(THIRD_NODE, [card(ALICE, "old", claim=4)], 2.0) == []
    assert roster.agent(ALICE).node == OTHER_NODE
    assert roster.announce(THIRD_NODE, [card(ALICE, "new", claim=6)], 3.0) == [ALICE]
    assert roster.announce(OTHER_NODE, [], 4.0) == []
    assert roster.agent(ALICE).node == THIRD_NODE
    roster.drop_peer(THIRD_NODE, 5.0)
    assert roster.announce(OTHER_NODE, [card(ALICE, "old", claim=4)], 6.0) == [ALICE]


def test_names_are_found_without_case_and_follow_a_rename(roster):
    """PROTOCOL.md NAME-1."""
    roster.announce(OTHER_NODE, [card(ALICE, "Alice"), card(BOB, "ALICE")], 1.0)
    assert names(roster.named("alice")) == ["Alice", "ALICE"]
    assert names(roster.matching("alice", fingerprint(BOB)[:8])) == ["ALICE"]
    roster.announce(OTHER_NODE, [card(ALICE, "anna"), card(BOB, "ALICE")], 2.0)
    assert names(roster.named("alice")) == ["ALICE"]
    roster.announce(OTHER_NODE, [card(ALICE, "anna"), card(BOB, "berta")], 3.0)
    assert roster.named("alice") == []


def test_presence_is_live_suspect_or_away(roster):
    """PROTOCOL.md PRES-1, TEND-3."""
    roster.announce(OTHER_NODE, [card(ALICE, "alice"), card(BOB, "bob", is_live=False)], 0.0)
    roster.announce(OWN_NODE, [card(CAROL, "carol")], 0.0)
    alice, bob, carol = (roster.agent(key) for key in (ALICE, BOB, CAROL))
    assert roster.presence(alice) is Presence.AWAY  # No such peer.
    peer = link(roster)
    assert [roster.presence(s) for s in (alice, bob, carol)] == [
        Presence.LIVE,
        Presence.AWAY,
        Presence.LIVE,
    ]
    peer.is_suspect = True
    assert roster.presence(alice) is Presence.SUSPECT
    assert roster.is_live(alice)
    assert not roster.is_live(bob)
    assert roster.touch(OTHER_NODE, 3.0)
    assert not roster.touch(OTHER_NODE, 4.0)
    assert not roster.touch(THIRD_NODE, 4.0)
    assert (peer.heard_at, roster.presence(alice)) == (4.0, Presence.LIVE)
    peer.link = None
    assert roster.presence(alice) is Presence.SUSPECT


def test_a_node_that_is_gone_leaves_its_agents_away_since_it_was_heard_last(roster):
    """PROTOCOL.md PRES-3."""
    roster.announce(OTHER_NODE, [card(ALICE, "alice")], 0.0)
    link(roster).heard_at = 7.0
    assert roster.drop_peer(OTHER_NODE, 9.0) == [ALICE]
    assert roster.agent(ALICE).seen_at == 7.0
    assert roster.drop_peer(OTHER_NODE, 9.0) == []
    roster.announce(OTHER_NODE, [card(ALICE, "alice")], 10.0)
    roster.drop_peer(OTHER_NODE, 12.0)
    assert roster.agent(ALICE).seen_at == 12.0


def test_who_was_away_for_a_week_is_forgotten(roster):
    """PROTOCOL.md PRES-6."""
    roster.announce(OTHER_NODE, [card(ALICE, "alice"), card(BOB, "bob")], 0.0)
    roster.announce(OTHER_NODE, [card(BOB, "bob")], 0.0)
    roster.forget(limits.peer_forget_s)
    assert keys(roster) == {ALICE, BOB}
    roster.forget(limits.peer_forget_s + 1.0)
    assert keys(roster) == {BOB}
    assert roster.named("alice") == []


def test_a_former_name_forwards_what_was_written_in_its_time(roster):
    """PROTOCOL.md NAME-3: by the age of the message, whenever it arrives."""
    alias = Alias("old", since_s=100.0, until_s=limits.alias_s - 100.0)
    roster.announce(
        OTHER_NODE, [card(ALICE, "new", aliases=(Alias("elder", 0.0, 9.0), alias))], 0.0
    )

    def forwards(age_s: float, now: float) -> bool:
        return bool(roster.forwarding("OLD", age_s=age_s, now=now))

    assert forwards(0.0, 0.0)
    assert forwards(100.0, 0.0)
    assert not forwards(101.0, 0.0)
    end = limits.alias_s - 100.0
    assert forwards(0.0, end)
    assert not forwards(0.0, end + 1.0)
    assert forwards(1.0, end + 1.0)
    assert forwards(end + 101.0, end + 1.0)
    assert not forwards(end + 102.0, end + 1.0)


def test_nobody_forwards_for_longer_than_the_protocol_lets_it(roster):
    """PROTOCOL.md NAME-3."""
    roster.announce(OTHER_NODE, [card(ALICE, "new", aliases=(Alias("old", 0.0, 1e9),))], 0.0)
    assert roster.forwarding("old", age_s=0.0, now=limits.alias_s)
    assert not roster.forwarding("old", age_s=0.0, now=limits.alias_s + 1.0)


def test_who_was_seen_alone_under_a_former_name_comes_first(roster):
    """PROTOCOL.md NAME-3."""
    roster.announce(THIRD_NODE, [card(BOB, "old")], 0.0)
    alias = (Alias("old", 0.0, limits.alias_s),)
    roster.announce(OTHER_NODE, [card(ALICE, "liar", aliases=alias)], 1.0)
    roster.announce(THIRD_NODE, [card(BOB, "new", aliases=alias)], 1.0)
    found = roster.forwarding("old", age_s=0.0, now=1.0)
    assert [(seen.card.key, is_witnessed) for seen, is_witnessed in found] == [
        (BOB, True),
        (ALICE, False),
    ]


def test_a_name_that_was_shared_does_not_count_as_seen_alone(roster):
    """PROTOCOL.md NAME-3."""
    alias = (Alias("old", 0.0, limits.alias_s),)
    roster.announce(THIRD_NODE, [card(BOB, "old"), card(CAROL, "old")], 0.0)
    roster.announce(THIRD_NODE, [card(BOB, "new", aliases=alias), card(CAROL, "old")], 1.0)
    assert [flag for _, flag in roster.forwarding("old", age_s=0.0, now=1.0)] == [False]


def test_a_card_may_name_a_former_name_twice(roster):
    """PROTOCOL.md NAME-3: it is what a peer says, after all."""
    twice = (Alias("old", 0.0, 10.0), Alias("OLD", 5.0, 10.0))
    roster.announce(OTHER_NODE, [card(ALICE, "new", aliases=twice)], 0.0)
    assert roster.announce(OTHER_NODE, [card(ALICE, "new")], 1.0) == [ALICE]
    assert roster.forwarding("old", age_s=0.0, now=1.0) == []


def invented(number: int, *, at: int = 0) -> list[Card]:
    numbers = range(at, at + number)
    return [card(MailboxKey(n.to_bytes(32, "big")), f"a{n}") for n in numbers]


def test_agents_that_one_node_leaves_behind_are_bounded(roster):
    """PROTOCOL.md PRES-6."""
    for now, one in enumerate(invented(limits.agents_away_per_node_max + 3)):
        roster.announce(OTHER_NODE, [one], float(now))
    away = [seen.card.name for seen in roster if seen.node is None]
    assert len(away) == limits.agents_away_per_node_max
    assert away[0] == "a2"


def test_at_the_bound_the_node_that_left_most_behind_loses_its_oldest(roster):
    """PROTOCOL.md PRES-6: inventing agents drives out none but one's own."""
    roster.announce(OTHER_NODE, [card(ALICE, "alice")], 0.0)
    roster.announce(OTHER_NODE, [], 1.0)
    roster.announce(THIRD_NODE, invented(200), 2.0)
    roster.announce(THIRD_NODE, [], 3.0)
    full = limits.agents_max - len(keys(roster))
    roster.announce(OWN_NODE, invented(full, at=1000), 4.0)
    assert roster.announce(OTHER_NODE, [card(BOB, "bob")], 9.0) == [BOB]
    assert {ALICE, BOB} <= keys(roster)
    assert len(keys(roster)) == limits.agents_max - 100 + 1


def test_when_all_are_there_a_newcomer_finds_no_room_unless_it_is_of_this_node(roster):
    """PROTOCOL.md PRES-6."""
    roster.announce(OTHER_NODE, invented(limits.agents_max), 0.0)
    assert roster.announce(THIRD_NODE, [card(BOB, "bob")], 1.0) == []
    assert roster.announce(OWN_NODE, [card(CAROL, "carol")], 1.0) == [CAROL]
    assert len(keys(roster)) == limits.agents_max + 1
