"""Whole conversations between a few nodes, packet by packet."""

import pytest

from mesh import limits
from mesh.core.changes import MarkTold, PutPin, Refuse
from mesh.core.events import (
    Broadcast,
    LinkLost,
    Loss,
    MailboxReleased,
    Rename,
    Shown,
    Stopping,
    Token,
    Trust,
)
from mesh.core.snapshot import ShownLetter, Unread
from mesh.model import Kind, Presence, State, Verified, Why, fingerprint, parse_address
from mesh.packet import Ack, Announce, Gap, Mail, Noted
from tests.core.pair import Party, World
from tests.core.samples import (
    ALICE,
    BOB,
    CAROL,
    LIFE,
    OTHER_HOST,
    draft,
    message_id,
    snapshot,
)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alice(world) -> Party:
    party = world.add("a")
    world.hold(party, snapshot(ALICE, "alice"))
    return party


@pytest.fixture
def bob(world) -> Party:
    party = world.add("b", host=OTHER_HOST)
    world.hold(party, snapshot(BOB, "bob"))
    return party


def read(world: World, party: Party, number: int) -> None:
    """Let Bob's reader see Alice's message with that sequence."""
    seen = ShownLetter(ALICE, LIFE, number, message_id(number), 1)
    world.step(party, Shown(Token(0), BOB, (seen,)))


def presence(party: Party, key: bytes) -> Presence:
    return party.node.roster.presence(party.node.roster.agent(key))


def test_two_nodes_meet_and_know_each_other(world, alice, bob):
    """PROTOCOL.md LINK-1, LINK-3."""
    world.meet(alice, bob)
    assert presence(alice, BOB) is presence(bob, ALICE) is Presence.LIVE
    assert (alice.notices, bob.notices) == ([], [])


def test_when_both_dial_at_once_both_keep_the_same_link(world, alice, bob):
    """PROTOCOL.md LINK-7."""
    world.sight(alice, bob)
    world.sight(bob, alice)
    world.run(1.0)
    assert [world.links(alice), world.links(bob)] == [[1], [-1]]  # Alice's id is the smaller.
    assert alice.node.roster.peers[bob.id].link == 1
    assert bob.node.roster.peers[alice.id].link == -1
    world.send(bob, BOB, "alice", 1)
    world.run()
    assert alice.bodies() == [b"1"]


def test_mail_arrives_in_order_and_is_acknowledged(world, alice, bob):
    """PROTOCOL.md OUT-2, ACK-1, ACK-2."""
    world.meet(alice, bob)
    for number in range(1, 6):
        world.send(alice, ALICE, "bob", number)
    world.run()
    assert bob.bodies() == [b"1", b"2", b"3", b"4", b"5"]
    assert alice.states() == 5 * ["delivered"]
    assert {a.verified for a in bob.arrivals} == {Verified.FIRST_CONTACT, Verified.PINNED}


def test_a_lost_letter_is_a_gap_and_everything_arrives_once_and_in_order(world, alice, bob):
    """PROTOCOL.md IN-5, OUT-3, OUT-5."""
    world.meet(alice, bob)
    world.drop(Mail, 1)
    for number in range(1, 4):
        world.send(alice, ALICE, "bob", number)
    world.run(1.0)
    assert bob.bodies() == [b"1", b"2", b"3"]
    assert alice.states() == 3 * ["delivered"]


def test_a_gap_in_the_middle_is_closed_by_going_back(world, alice, bob):
    """PROTOCOL.md IN-5, OUT-5."""
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1)
    world.run()
    world.filter = lambda _to, packet: not isinstance(packet, Ack)
    world.send(alice, ALICE, "bob", 2)
    world.deliver()
    world.drop(Mail, 1)
    world.send(alice, ALICE, "bob", 3)
    world.send(alice, ALICE, "bob", 4)
    world.run(1.0)
    assert bob.bodies() == [b"1", b"2", b"3", b"4"]
    assert sorted(alice.states()) == 4 * ["delivered"]


def test_lost_acks_lead_to_duplicates_that_are_answered_but_not_taken(world, alice, bob):
    """PROTOCOL.md IN-4, OUT-6."""
    world.meet(alice, bob)
    world.drop(Ack, 2)
    world.send(alice, ALICE, "bob", 1)
    world.run(limits.ack_timeout_s + 2 * limits.ack_timeout_s + 1.0)
    assert bob.bodies() == [b"1"]
    assert alice.states() == ["delivered"]


def test_a_lost_gap_report_is_made_up_for_by_the_ack_timeout(world, alice, bob):
    """PROTOCOL.md OUT-6."""
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1)
    world.filter = lambda _to, packet: not isinstance(packet, Mail | Gap)
    world.send(alice, ALICE, "bob", 2)
    world.deliver()
    world.filter = lambda _to, _packet: True
    world.run(limits.ack_timeout_s + 1.0)
    assert bob.bodies() == [b"1", b"2"]


def test_a_link_that_breaks_loses_nothing(world, alice, bob):
    """PROTOCOL.md OUT-4, DISC-8."""
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1)
    world.cut(alice, alice.node.roster.peers[bob.id].link)
    world.step(alice, LinkLost(alice.node.roster.peers[bob.id].link or 1, Loss.CLOSED))
    world.send(alice, ALICE, "bob", 2)
    assert bob.bodies() == []
    world.run(2.0)
    assert bob.bodies() == [b"1", b"2"]
    assert alice.states() == ["delivered", "delivered"]


def test_a_full_inbox_puts_off_and_takes_later(world, alice):
    """PROTOCOL.md IN-7, OUT-7."""
    bob = world.add("b", host=OTHER_HOST)
    full = {ALICE: Unread(limits.inbox_letters_per_author_max, 0)}
    world.hold(bob, snapshot(BOB, "bob", unread=full))
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1)
    world.send(alice, ALICE, "bob", 2)
    world.run(1.0)
    assert (bob.bodies(), alice.states()) == ([], [])
    read(world, bob, 98)
    read(world, bob, 99)
    world.run(limits.later_delay_s)
    assert bob.bodies() == [b"1", b"2"]


def test_a_letter_that_reaches_its_age_expires_at_its_author(world, alice, bob):
    """PROTOCOL.md OUT-9: its sequence is then skipped."""
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1)
    world.run()
    world.filter = lambda _to, packet: not isinstance(packet, Mail)
    world.send(alice, ALICE, "bob", 2, ttl_s=3.0)
    world.send(alice, ALICE, "bob", 3)
    world.run(4.0)
    assert alice.states() == ["delivered", "expired"]
    world.filter = lambda _to, _packet: True
    world.run(10.0)
    assert bob.bodies() == [b"1", b"3"]
    assert alice.states() == ["delivered", "expired", "delivered"]


def test_a_letter_too_old_on_arrival_is_refused_and_both_agree(world, alice, bob):
    """PROTOCOL.md IN-6, ACK-2."""
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1, chain=tuple(bytes((n,)) for n in range(20)))
    world.run()
    assert bob.bodies() == []
    assert [(r.state, r.why) for r in alice.receipts] == [(State.REFUSED, Why.LOOP)]
    assert [c for c in bob.changes if isinstance(c, Refuse)]


def test_after_a_restart_no_sequence_is_used_for_another_message(world, alice, bob):
    """PROTOCOL.md OUT-1: what had left before the crash, unknown to the disk, stays apart."""
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1)
    world.run()
    world.send(alice, ALICE, "bob", 2)
    world.run()
    again = snapshot(ALICE, "alice", claim=2, next_row=2, next_sequences={BOB: 4098})
    world.step(alice, MailboxReleased(ALICE))
    world.hold(alice, again)
    world.send(alice, ALICE, "bob", 3)
    world.run()
    assert bob.bodies() == [b"1", b"2", b"3"]
    assert [a.letter.sequence for a in bob.arrivals] == [1, 2, 4098]


def test_a_broadcast_reaches_everybody_but_its_author(world, alice, bob):
    """PROTOCOL.md OUT-10."""
    carol = world.add("c")
    world.hold(carol, snapshot(CAROL, "carol"))
    world.meet(alice, bob)
    world.meet(alice, carol)
    made = draft(1, kind=Kind.BROADCAST)
    world.step(alice, Broadcast(Token(1), ALICE, made))
    world.run()
    assert (alice.bodies(), bob.bodies(), carol.bodies()) == ([], [b"body"], [b"body"])
    assert alice.states() == ["delivered", "delivered"]


def test_nodes_find_each_other_through_a_third(world, alice, bob):
    """PROTOCOL.md DISC-5."""
    carol = world.add("c")
    world.hold(carol, snapshot(CAROL, "carol"))
    world.meet(alice, bob)
    world.meet(alice, carol)
    world.run(2.0)
    assert presence(bob, CAROL) is presence(carol, BOB) is Presence.LIVE


def rename(world: World, party: Party, name: str) -> None:
    made = draft(90, kind=Kind.RENAMED, body=b"renamed")
    world.step(party, Rename(Token(1), BOB, name, made))
    world.run()


def test_mail_under_a_former_name_is_forwarded_for_two_hours(world, alice, bob):
    """PROTOCOL.md NAME-3, NAME-7."""
    world.meet(alice, bob)
    rename(world, bob, "robert")
    assert alice.bodies() == [b"renamed"]
    world.send(alice, ALICE, "bob", 1)
    world.run()
    assert alice.answers[-1].recipients[0].forwarded_from == "bob"
    assert bob.bodies() == [b"1"]
    world.run(limits.alias_s + 1.0)
    world.send(alice, ALICE, "bob", 2)
    world.run()
    assert alice.answers[-1].recipients[0].why is Why.UNKNOWN_NAME
    world.send(alice, ALICE, "robert", 3)
    world.run()
    assert bob.bodies() == [b"1", b"3"]


def test_mail_follows_a_chain_of_renames_and_a_way_back(world, alice, bob):
    """PROTOCOL.md NAME-3, NAME-7: each former name forwards for its own two hours."""
    world.meet(alice, bob)
    rename(world, bob, "robert")
    world.run(limits.rename_interval_s + 1.0)
    rename(world, bob, "rob")
    for number, name in enumerate(("bob", "robert", "rob"), start=1):
        world.send(alice, ALICE, name, number)
        world.run()
    assert bob.bodies() == [b"1", b"2", b"3"]
    world.run(limits.rename_interval_s + 1.0)
    rename(world, bob, "bob")
    for number, name in enumerate(("bob", "robert", "rob"), start=4):
        world.send(alice, ALICE, name, number)
        world.run()
    assert bob.bodies() == [b"1", b"2", b"3", b"4", b"5", b"6"]
    assert [answer.recipients[0].to for answer in alice.answers[-3:]] == ["bob"] * 3


def test_mail_written_while_the_former_name_was_valid_follows_it_later(world, alice, bob):
    """PROTOCOL.md NAME-3, NAME-6: by its age, not by the time of arrival."""
    rename(world, bob, "robert")
    world.run(10.0)
    world.send(alice, ALICE, "bob", 1, ttl_s=3 * limits.alias_s)
    world.run(limits.alias_s + 100.0)
    world.send(alice, ALICE, "bob", 2)
    world.meet(alice, bob)
    assert bob.bodies() == [b"1"]


def test_mail_to_a_name_never_seen_goes_to_the_first_who_claims_it(world, alice):
    """PROTOCOL.md NAME-6."""
    bob = world.add("b", host=OTHER_HOST)
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1)
    world.send(alice, ALICE, "BOB", 2)
    world.run(100.0)
    world.hold(bob, snapshot(BOB, "bob"))
    world.run()
    assert bob.bodies() == [b"1", b"2"]
    assert [c.pin.key for c in alice.changes if isinstance(c, PutPin)] == [BOB]


def test_queued_mail_waits_for_its_key_until_a_person_says_otherwise(world, alice, bob):
    """PROTOCOL.md NAME-4, NAME-8."""
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1)
    world.run()
    world.step(bob, Stopping())
    world.run()
    assert presence(alice, BOB) is Presence.AWAY
    world.send(alice, ALICE, "bob", 2)
    newcomer = world.add("n")
    world.hold(newcomer, snapshot(CAROL, "bob"))
    world.meet(alice, newcomer)
    world.send(alice, ALICE, "bob", 3)
    world.run()
    assert newcomer.bodies() == [b"3"]
    address = parse_address(f"bob#{fingerprint(CAROL)[:6]}")
    world.step(alice, Trust(Token(5), ALICE, address))
    world.run()
    assert newcomer.bodies() == [b"3", b"2"]
    assert bob.bodies() == [b"1"]


def test_a_mailbox_moves_to_another_node_of_its_host_and_mail_follows(world, alice):
    """PROTOCOL.md TEND-2, TEND-4, OUT-4."""
    keeper = world.add("k")
    session = world.add("s")
    world.hold(keeper, snapshot(BOB, "bob"), is_live=False)
    world.meet(alice, keeper)
    world.meet(alice, session)
    assert presence(alice, BOB) is Presence.AWAY
    world.send(alice, ALICE, "bob", 1)
    world.run()
    assert keeper.bodies() == [b"1"]
    world.send(alice, ALICE, "bob", 2)
    world.step(keeper, MailboxReleased(BOB))
    world.hold(session, snapshot(BOB, "bob", claim=2))
    world.run()
    assert session.bodies() == [b"2"]
    assert alice.states() == ["delivered", "delivered"]
    assert presence(alice, BOB) is Presence.LIVE


def test_a_reader_is_reported_once_and_the_author_says_so(world, alice, bob):
    """PROTOCOL.md ACK-3, ACK-4."""
    world.meet(alice, bob)
    world.send(alice, ALICE, "bob", 1)
    world.run()
    world.drop(Noted, 1)
    read(world, bob, 1)
    world.run()
    assert alice.states() == ["delivered", "shown"]
    assert not [c for c in bob.changes if isinstance(c, MarkTold)]
    world.cut(alice, 1)
    world.step(alice, LinkLost(1, Loss.CLOSED))
    world.run(2.0)
    assert [c for c in bob.changes if isinstance(c, MarkTold)] == [
        MarkTold((ShownLetter(ALICE, LIFE, 1, message_id(1), 1),))
    ]


def test_a_peer_that_falls_silent_is_suspected_then_away(world, alice, bob):
    """PROTOCOL.md PRES-2, PRES-3: within a minute."""
    world.meet(alice, bob)
    world.filter = lambda _to, _packet: False
    world.unreachable = {"a", "b"}
    world.run(limits.suspect_after_s + 5.0)
    assert presence(alice, BOB) is Presence.SUSPECT
    world.run(60.0 - limits.suspect_after_s - 5.0)
    assert presence(alice, BOB) is Presence.AWAY


def test_when_a_partition_heals_mail_flows_within_seconds(world, alice, bob):
    """PROTOCOL.md DISC-4."""
    world.meet(alice, bob)
    world.filter = lambda _to, _packet: False
    world.unreachable = {"a", "b"}
    world.run(90.0)
    world.send(alice, ALICE, "bob", 1)
    world.unreachable = set()
    world.filter = lambda _to, _packet: True
    world.run(15.0)
    assert bob.bodies() == [b"1"]


def test_one_can_write_to_oneself(world, alice):
    """PROTOCOL.md MAIL-5."""
    world.send(alice, ALICE, "alice", 1)
    world.run()
    assert alice.bodies() == [b"1"]
    assert alice.states() == ["delivered"]


def test_two_mailboxes_of_one_node_write_to_each_other(world, alice):
    """PROTOCOL.md MAIL-5, IN-1."""
    world.hold(alice, snapshot(BOB, "bob"), is_live=False)
    world.send(alice, ALICE, "bob", 1)
    world.run()
    assert alice.bodies() == [b"1"]
    read(world, alice, 1)
    world.run()
    assert alice.states() == ["delivered", "shown"]
    assert [c for c in alice.changes if isinstance(c, MarkTold)]


def test_a_hello_between_an_announcement_and_the_peers_own_misses_nothing(world, alice, bob):
    """PROTOCOL.md LINK-1: what changes meanwhile is told to greeted peers, too."""
    world.sight(alice, bob)
    world.deliver_until(lambda packet: isinstance(packet, Announce))
    world.hold(bob, snapshot(CAROL, "carol"))
    world.run()
    assert presence(alice, CAROL) is Presence.LIVE
