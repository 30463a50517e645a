"""Links: handshake, and two of them to one node."""

from dataclasses import replace

import pytest

from mesh import limits
from mesh.core.effects import Dial, Effects, Notice, Severity
from mesh.core.events import (
    Loss,
    MailboxTaken,
    Resumed,
    Sighted,
    Source,
    Timeout,
)
from mesh.model import CurveKey, LinkId, NodeId, Profile
from mesh.packet import (
    Announce,
    Hello,
    Ping,
    Welcome,
)
from tests.core.samples import (
    ALICE,
    BOB,
    CAROL,
    HOST,
    OTHER_NODE,
    OWN_NODE,
    THIRD_NODE,
    card,
    curve_of,
    greeting,
    new_node,
    snapshot,
)
from tests.core.steps import IN, accept, dialled, give, lose, sight, up

OWN = greeting(OWN_NODE, host=HOST)
SMALLER_NODE = NodeId(b"a" * 16)


def violation(what: str, link: int) -> Notice:
    return Notice(Severity.WARNING, f"unexpected {what} on link {link}")


# Handshake.


def test_a_hello_is_answered_with_welcome_and_announcement():
    """PROTOCOL.md LINK-1."""
    node = new_node()
    node.step(MailboxTaken(snapshot(ALICE, "alice"), True, Profile()), 0.0)
    effects = give(node, IN, Hello(greeting(expected=OWN_NODE)))
    own = Announce((card(ALICE, "alice"),))
    assert effects == Effects(packets=((IN, Welcome(OWN)), (IN, own)))


@pytest.mark.parametrize(
    "wrong", [greeting(version=2), greeting(expected=THIRD_NODE)], ids=["version", "other node"]
)
def test_a_hello_that_is_not_for_us_closes_the_link(wrong):
    """PROTOCOL.md LINK-2."""
    effects = give(new_node(), IN, Hello(wrong))
    notice = Notice(Severity.DEBUG, "unexpected hello on link -1")
    assert effects == Effects(closes=(IN,), notices=(notice,))


def test_a_second_hello_ends_the_link():
    """PROTOCOL.md LINK-2, LINK-5: and its agents are out of reach."""
    node = new_node()
    accept(node, IN, None, card(BOB, "bob"))
    effects = give(node, IN, Hello(greeting()))
    assert effects.closes == (IN,)
    assert effects.notices == (violation("hello", -1),)
    assert up(node) == {OTHER_NODE: None}


def test_links_are_bounded():
    """PROTOCOL.md LINK-2."""
    node = new_node()
    for n in range(limits.links_max):
        assert give(node, -1 - n, Hello(greeting(NodeId(n.to_bytes(16, "big"))))).closes == ()
    assert give(node, -9999, Hello(greeting())).closes == (LinkId(-9999),)


def test_a_dialler_announces_once_it_was_welcomed_and_is_up_once_the_peer_announced():
    """PROTOCOL.md LINK-1, LINK-3."""
    node = new_node()
    node.step(Sighted(Source.MDNS, curve_of(OTHER_NODE), ("tcp://o:1",), OTHER_NODE), 0.0)
    dial = Dial(LinkId(1), "tcp://o:1", curve_of(OTHER_NODE), OTHER_NODE)
    assert node.step(Timeout(), 0.0) == Effects(dials=(dial,))
    assert give(node, 1, Welcome(greeting())) == Effects(packets=((LinkId(1), Announce(())),))
    assert up(node) == {}
    effects = give(node, 1, Announce((card(BOB, "bob"),)))
    assert effects == Effects(roster_changed=True)
    assert up(node) == {OTHER_NODE: LinkId(1)}


def test_a_node_that_dialled_itself_never_does_so_again():
    """PROTOCOL.md LINK-3: the own hello is answered, so that the dialling side sees it."""
    node = new_node()
    link = sight(node)
    assert give(node, IN, Hello(OWN)).packets[0] == (IN, Welcome(OWN))
    assert give(node, link, Welcome(OWN)) == Effects(closes=(link,))
    assert node.step(Timeout(), 3.0).dials == ()
    lose(node, IN)
    assert up(node) == {}


def test_nobody_can_announce_in_the_name_of_this_very_node():
    """PROTOCOL.md LINK-3."""
    node = new_node()
    node.step(MailboxTaken(snapshot(ALICE, "alice"), True, Profile()), 0.0)
    effects = accept(node, IN, replace(OWN, host=HOST), card(BOB, "bob"))
    assert effects.closes == (IN,)
    assert node.roster.agent(ALICE).node == OWN_NODE
    assert node.roster.agent(BOB) is None


def test_a_peer_of_another_version_is_a_problem_for_a_person():
    """PROTOCOL.md LINK-3."""
    node = new_node()
    link = sight(node)
    effects = give(node, link, Welcome(greeting(version=2)))
    text = "speaks another version of the protocol"
    notice = Notice(Severity.WARNING, f"tcp://o:1 {text}")
    assert effects == Effects(closes=(link,), notices=(notice,))
    assert node.problems == {"tcp://o:1": text}


def test_a_peer_that_refuses_our_secret_is_a_problem_until_it_welcomes_us():
    """PROTOCOL.md DISC-7."""
    node = new_node()
    first = sight(node)
    text = "refuses our secret (or is of another mesh)"
    notice = Notice(Severity.WARNING, f"tcp://o:1 {text}")
    assert lose(node, first, Loss.REJECTED) == Effects(closes=(first,), notices=(notice,))
    node.step(Resumed(), 1.0)
    (dial,) = node.step(Timeout(), 1.0).dials
    assert lose(node, dial.link, Loss.REJECTED, 1.0).notices == ()
    node.step(Resumed(), 2.0)
    (dial,) = node.step(Timeout(), 2.0).dials
    give(node, dial.link, Welcome(greeting()), 2.0)
    assert node.problems == {}


def test_a_lost_link_that_the_peer_dialled_is_no_problem():
    node = new_node()
    accept(node)
    assert lose(node, IN, Loss.REJECTED).notices == ()
    assert lose(node, IN) == Effects()


def test_problems_are_bounded():
    """PROTOCOL.md DISC-7."""
    node = new_node()
    for n in range(limits.problems_max + 5):
        curve = CurveKey(n.to_bytes(32, "big"))
        node.step(Sighted(Source.STATIC, curve, (f"tcp://x:{n}",)), 0.0)
        (dial,) = node.step(Timeout(), 0.0).dials
        lose(node, dial.link, Loss.REJECTED)
        node.step(Timeout(), 0.0)
    assert len(node.problems) == limits.problems_max


def test_a_handshake_that_takes_too_long_is_given_up():
    """PROTOCOL.md LINK-6: by either side, until the peer has announced."""
    late = limits.announce_timeout_s
    node = new_node()
    sight(node)
    assert node.step(Timeout(), limits.handshake_timeout_s).closes == (LinkId(1),)
    node = new_node()
    give(node, IN, Hello(greeting(THIRD_NODE)), 1.0)
    assert node.step(Timeout(), late).closes == ()
    assert node.step(Timeout(), 1.0 + late).closes == (IN,)
    node = new_node()
    link = sight(node)
    give(node, link, Welcome(greeting()), 1.0)
    assert node.step(Timeout(), 1.0 + late).closes == (link,)
    node = new_node()
    link = dialled(node)
    accept(node, IN, greeting(THIRD_NODE))
    assert node.step(Timeout(), late).closes == ()


def test_a_handshake_deadline_of_a_link_that_is_gone_or_up_means_nothing():
    """PROTOCOL.md LINK-6."""
    node = new_node()
    accept(node)
    assert node._links.handshake_due(IN, 9.0, None) == []
    assert node._links.handshake_due(LinkId(7), 9.0, None) == []


@pytest.mark.parametrize("packet", [Ping(1), Announce(()), Welcome(greeting())])
def test_a_packet_that_comes_too_early_ends_the_link(packet):
    """PROTOCOL.md LINK-5."""
    node = new_node()
    link = sight(node)
    if not isinstance(packet, Welcome):
        assert give(node, link, packet).closes == (link,)
    give(node, IN, Hello(greeting()))
    effects = give(node, IN, packet)
    assert effects.closes == (() if isinstance(packet, Announce) else (IN,))


def test_a_packet_on_a_link_that_has_ended_is_worth_no_warning():
    """PROTOCOL.md LINK-5: it was on its way when the link was closed."""
    for packet, what in ((Ping(1), "packet"), (Announce(()), "announce")):
        effects = give(new_node(), 5, packet)
        notice = Notice(Severity.DEBUG, f"unexpected {what} on link 5")
        assert effects == Effects(closes=(LinkId(5),), notices=(notice,))


def test_the_losers_of_a_race_are_forgotten_so_that_a_late_welcome_does_no_harm():
    """PROTOCOL.md DISC-3."""
    node = new_node()
    node.step(Sighted(Source.STATIC, curve_of(OTHER_NODE), ("tcp://o:1", "tcp://o:2")), 0.0)
    node.step(Timeout(), 0.0)
    node.step(Timeout(), limits.race_interval_s)
    assert give(node, 1, Welcome(greeting())).closes == (LinkId(2),)
    give(node, 1, Announce(()))
    assert give(node, 2, Welcome(greeting())).closes == (LinkId(2),)
    assert up(node) == {OTHER_NODE: LinkId(1)}


# Two links to one node.


def test_of_two_links_the_one_dialled_by_the_smaller_id_is_kept():
    """PROTOCOL.md LINK-7: the dialler of the other one closes it."""
    node = new_node()
    own = dialled(node, OTHER_NODE, card(BOB, "bob"))  # This node has the smaller id.
    assert accept(node, IN, None, card(BOB, "bob")).closes == ()
    assert up(node) == {OTHER_NODE: own}
    node = new_node()
    own = dialled(node, SMALLER_NODE, card(BOB, "bob"))
    effects = accept(node, IN, greeting(SMALLER_NODE), card(BOB, "bob"))
    assert effects.closes == (own,)
    assert up(node) == {SMALLER_NODE: IN}


def test_an_own_link_that_is_not_to_be_kept_is_closed_when_it_comes_up():
    """PROTOCOL.md LINK-7."""
    node = new_node()
    own = sight(node, SMALLER_NODE)
    accept(node, IN, greeting(SMALLER_NODE), card(BOB, "bob"))
    give(node, own, Welcome(greeting(SMALLER_NODE)))
    effects = give(node, own, Announce((card(BOB, "bob"),)))
    assert effects.closes == (own,)
    assert up(node) == {SMALLER_NODE: IN}


def test_of_two_links_dialled_by_the_same_side_the_newer_is_kept():
    """PROTOCOL.md LINK-7."""
    node = new_node()
    accept(node, -1, None, card(BOB, "bob"))
    assert accept(node, -2, None, card(BOB, "bob")).closes == ()
    assert up(node) == {OTHER_NODE: LinkId(-2)}


def test_a_spare_link_takes_over_when_the_other_ends():
    """PROTOCOL.md LINK-7: with what was announced over it."""
    node = new_node()
    accept(node, -1, None, card(BOB, "bob"))
    accept(node, -2, None, card(BOB, "bob"))
    give(node, -1, Announce((card(BOB, "bob"), card(CAROL, "carol"))))
    assert node.roster.agent(CAROL) is None
    assert lose(node, -2) == Effects(closes=(LinkId(-2),), roster_changed=True)
    assert up(node) == {OTHER_NODE: LinkId(-1)}
    assert node.roster.agent(CAROL).node == OTHER_NODE


def test_the_end_of_a_link_that_was_not_in_use_changes_nothing():
    """PROTOCOL.md LINK-7."""
    node = new_node()
    accept(node, -1, None, card(BOB, "bob"))
    accept(node, -2, None, card(BOB, "bob"))
    assert lose(node, -1) == Effects(closes=(LinkId(-1),))


def test_mail_is_routed_only_over_a_link_that_proved_the_mailbox():
    """PROTOCOL.md LINK-8."""
    node = new_node()
    accept(node, -1, None, card(BOB, "bob"))
    links = node._links
    assert links.route(BOB) == LinkId(-1)
    assert links.route(CAROL) is None
    accept(node, -2, None, card(BOB, "bob"))
    assert links.route(BOB) == LinkId(-2)
    give(node, -2, Announce(()))
    assert links.route(BOB) is None
    lose(node, -2)
    assert links.route(BOB) == LinkId(-1)
    lose(node, -1)
    assert links.route(BOB) is None
    node.step(MailboxTaken(snapshot(ALICE, "alice"), True, Profile()), 0.0)
    assert links.route(ALICE) == 0
