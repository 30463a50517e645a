"""Links: presence, goodbye, and what peers tell of each other."""

import pytest

from mesh import limits
from mesh.core.effects import Effects
from mesh.core.events import (
    LocalNodes,
    Loss,
    Moved,
    Resumed,
    Sighted,
    Source,
    Stopping,
    Timeout,
)
from mesh.core.node import Node
from mesh.model import CurveKey, LinkId, NodeId, Presence
from mesh.packet import (
    Announce,
    Hello,
    Hint,
    Leave,
    Peers,
    Ping,
    Pong,
    Welcome,
)
from tests.core.samples import (
    BOB,
    CAROL,
    HOST,
    OTHER_NODE,
    THIRD_NODE,
    card,
    curve_of,
    greeting,
    new_node,
)
from tests.core.steps import IN, accept, dialled, give, lose, sight, up, wait

SMALLER_NODE = NodeId(b"a" * 16)


# Presence.


def presence(node: Node) -> Presence:
    return node.roster.presence(node.roster.agent(BOB))


def test_a_silent_peer_is_asked_suspected_and_given_up():
    """PROTOCOL.md PRES-2."""
    node = new_node()
    accept(node, IN, None, card(BOB, "bob"))
    asked: list[float] = []
    suspect_at = None
    now = 0.0
    while not (effects := node.step(Timeout(), now)).closes:
        asked += [now for link, packet in effects.packets if packet == Ping(1) and link == IN]
        if presence(node) is Presence.SUSPECT and suspect_at is None:
            suspect_at = now
            assert effects.roster_changed
        now = node.next_deadline()
    assert asked[0] == limits.ping_interval_s
    assert suspect_at == limits.suspect_after_s
    assert now == limits.away_after_s
    assert presence(node) is Presence.SUSPECT


def test_a_sign_of_life_ends_the_suspicion():
    """PROTOCOL.md PRES-2."""
    node = new_node()
    accept(node, IN, None, card(BOB, "bob"))
    for now in range(0, 30, 5):
        node.step(Timeout(), float(now))
    assert presence(node) is Presence.SUSPECT
    assert give(node, IN, Pong(1), 26.0) == Effects(roster_changed=True)
    assert presence(node) is Presence.LIVE
    assert give(node, IN, Pong(1), 27.0) == Effects()


def test_a_ping_is_answered():
    """PROTOCOL.md PRES-2."""
    node = new_node()
    accept(node)
    assert give(node, IN, Ping(7)) == Effects(packets=((IN, Pong(7)),))


def test_a_peer_without_a_link_has_its_time_to_come_back():
    """PROTOCOL.md PRES-3."""
    node = new_node()
    accept(node, IN, None, card(BOB, "bob"))
    lose(node, IN, now=1.0)
    assert presence(node) is Presence.SUSPECT
    wait(node, 1.0 + limits.suspect_redial_s)
    assert presence(node) is Presence.AWAY
    assert up(node) == {}


def test_a_peer_that_came_back_in_time_never_was_away():
    """PROTOCOL.md PRES-3."""
    node = new_node()
    accept(node, -1, None, card(BOB, "bob"))
    lose(node, -1, now=1.0)
    accept(node, -2, None, card(BOB, "bob"), now=2.0)
    wait(node, 1.0 + limits.suspect_redial_s)
    assert presence(node) is Presence.LIVE
    assert node._links.away_due(OTHER_NODE, 20.0, None) == []
    assert node._links.away_due(THIRD_NODE, 20.0, None) == []


def test_who_says_goodbye_is_away_at_once():
    """PROTOCOL.md LINK-9."""
    node = new_node()
    accept(node, IN, None, card(BOB, "bob"))
    assert give(node, IN, Leave()) == Effects(closes=(IN,), roster_changed=True)
    assert presence(node) is Presence.AWAY
    assert node._links.left(IN, 0.0, None) == []


def test_a_goodbye_over_one_of_two_links_ends_only_that_one():
    """PROTOCOL.md LINK-9."""
    node = new_node()
    accept(node, -1, None, card(BOB, "bob"))
    accept(node, -2, None, card(BOB, "bob"))
    assert give(node, -2, Leave()).closes == (LinkId(-2),)
    assert presence(node) is Presence.LIVE


def test_a_node_that_stops_says_goodbye_to_all():
    """PROTOCOL.md LINK-9: also where the handshake is not over yet."""
    node = new_node()
    accept(node, -1)
    give(node, -2, Hello(greeting(THIRD_NODE)))
    sight(node, SMALLER_NODE)
    expected = ((LinkId(-1), Leave()), (LinkId(-2), Leave()))
    assert node.step(Stopping(), 1.0) == Effects(packets=expected)


def test_the_registry_knows_who_of_this_host_is_alive():
    """PROTOCOL.md PRES-4."""
    node = new_node()
    accept(node, -1, greeting(OTHER_NODE, host=HOST), card(BOB, "bob"))
    accept(node, -2, greeting(THIRD_NODE), card(CAROL, "carol"))
    assert node.step(LocalNodes((OTHER_NODE,)), 1.0) == Effects()
    effects = node.step(LocalNodes(()), 2.0)
    assert effects == Effects(closes=(LinkId(-1),), roster_changed=True)
    assert presence(node) is Presence.AWAY
    assert up(node) == {THIRD_NODE: LinkId(-2)}


@pytest.mark.parametrize("event", [Resumed(), Moved()])
def test_after_a_sleep_or_a_move_everybody_is_asked_before_anybody_is_blamed(event):
    """PROTOCOL.md PRES-5."""
    node = new_node()
    accept(node, IN, None, card(BOB, "bob"))
    link = sight(node, THIRD_NODE)
    assert node.step(event, 1000.0).packets == ((IN, Ping(1)),)
    assert node.step(event, 1001.0).packets == ()  # It has been asked already.
    assert node.step(Timeout(), 1001.0).closes == ()
    assert presence(node) is Presence.LIVE
    assert give(node, IN, Pong(1), 1002.0) == Effects()
    assert link in wait(node, 1001.0 + limits.handshake_timeout_s).closes
    assert presence(node) is Presence.LIVE


def test_a_link_that_gives_no_sign_of_life_when_it_is_asked_is_dialled_anew():
    """PROTOCOL.md PRES-7: within seconds, not when its silence has lasted long enough."""
    node = new_node()
    link = dialled(node, OTHER_NODE, card(BOB, "bob"))
    node.step(Moved(), 10.0)
    effects = wait(node, 10.0 + limits.probe_timeout_s)
    assert effects.closes == (link,)
    assert presence(node) is Presence.SUSPECT
    (dial,) = wait(node, 10.0 + limits.probe_timeout_s + limits.dial_delay_s).dials
    assert dial.endpoint == "tcp://o:1"


def test_who_slept_while_it_waited_for_a_sign_of_life_waits_anew():
    """PROTOCOL.md PRES-5."""
    node = new_node()
    accept(node, IN, None, card(BOB, "bob"))
    node.step(Moved(), 10.0)
    assert node.step(Timeout(), 100.0).closes == ()
    assert wait(node, 100.0 + limits.probe_timeout_s).closes == (IN,)


def test_who_slept_while_a_peer_was_to_come_back_gives_it_its_time_anew():
    """PROTOCOL.md PRES-5."""
    node = new_node()
    accept(node, IN, None, card(BOB, "bob"))
    lose(node, IN, now=1.0)
    node.step(Timeout(), 100.0)
    assert presence(node) is Presence.SUSPECT
    wait(node, 100.0 + limits.suspect_redial_s)
    assert presence(node) is Presence.AWAY


def test_a_link_is_asked_for_a_sign_of_life_when_its_peer_dials_again():
    """PROTOCOL.md PRES-7: the peer may have moved; what is dead must not be preferred for long."""
    node = new_node()
    old = dialled(node, OTHER_NODE, card(BOB, "bob"))
    effects = accept(node, IN, None, card(BOB, "bob"), now=1.0)
    assert effects.packets[-1:] == ((old, Ping(1)),)
    assert up(node) == {OTHER_NODE: old}
    wait(node, 1.0 + limits.probe_timeout_s)
    assert up(node) == {OTHER_NODE: IN}


def test_a_node_that_woke_up_late_blames_nobody_either():
    """PROTOCOL.md PRES-5: it sees by its own deadline that it was stuck."""
    node = new_node()
    accept(node, IN, None, card(BOB, "bob"))
    effects = node.step(Timeout(), 1000.0)
    assert (IN, Ping(1)) in effects.packets
    assert effects.closes == ()
    assert presence(node) is Presence.LIVE


# Peers.


def test_peers_are_told_of_each_other_when_they_come_and_every_minute():
    """PROTOCOL.md DISC-5."""
    node = new_node()
    accept(node, -1)
    hint = Peers((Hint(curve_of(OTHER_NODE), ("tcp://o:1",), 0.0),))
    assert accept(node, -2, greeting(THIRD_NODE)).packets == ((LinkId(-2), hint),)
    told = node.step(Timeout(), limits.peer_exchange_interval_s).packets
    assert [link for link, packet in told if isinstance(packet, Peers)] == [-1, -2]


def test_a_hint_is_dialled_after_a_while():
    """PROTOCOL.md DISC-5: never at a path of another file system."""
    node = new_node()
    accept(node)
    give(node, IN, Peers((Hint(curve_of(THIRD_NODE), ("ipc:///x", "tcp://p:1"), 0.0),)), 1.0)
    (dial,) = node.step(Timeout(), 3.0).dials
    assert (dial.endpoint, dial.expected) == ("tcp://p:1", None)


def test_hints_are_heard_only_now_and_then():
    """PROTOCOL.md DISC-6: so that no member keeps a node busy with them."""
    node = new_node()
    accept(node)
    for n, now in ((1, 1.0), (2, 1.1), (3, 1.0 + limits.hints_pause_s)):
        hint = Hint(CurveKey(bytes((n,)) * 32), (f"tcp://{n}:1",), 0.0)
        give(node, IN, Peers((hint,)), now)
    dials = node.step(Timeout(), 5.0 + limits.hints_pause_s).dials
    assert {dial.endpoint for dial in dials} == {"tcp://1:1", "tcp://3:1"}


def test_it_is_known_where_nobody_is_reached_and_for_how_long():
    """PROTOCOL.md DISC-4."""
    node = new_node()
    lose(node, sight(node), Loss.UNREACHABLE, 1.0)
    wait(node, 1.0)
    assert node.out_of_reach(31.0) == [("tcp://o:1", 30.0)]
    (dial,) = wait(node, 1.0 + limits.dial_backoff_s_min).dials
    give(node, dial.link, Welcome(greeting()), 2.0)
    give(node, dial.link, Announce(()), 2.0)
    assert node.out_of_reach(31.0) == []


def test_those_who_wait_for_their_turn_are_dialled_when_it_comes():
    """PROTOCOL.md DISC-6."""
    node = new_node()
    for number in range(limits.dials_max + 1):
        curve = CurveKey(bytes((number + 1,)) * 32)
        node.step(Sighted(Source.STATIC, curve, (f"tcp://{number}:1",)), 0.0)
    first = node.step(Timeout(), 0.0).dials
    assert len(first) == limits.dials_max
    lose(node, first[0].link, Loss.UNREACHABLE, 0.1)
    dials = node.step(Timeout(), 0.1 + limits.race_interval_s).dials
    assert f"tcp://{limits.dials_max}:1" in {dial.endpoint for dial in dials}


def test_a_node_that_is_linked_already_is_not_dialled():
    """PROTOCOL.md DISC-3."""
    node = new_node()
    accept(node)
    node.step(Sighted(Source.STATIC, curve_of(OTHER_NODE), ("tcp://o:1",), OTHER_NODE), 1.0)
    assert node.step(Timeout(), 3.0).dials == ()
    assert node._links.dial_due(b"unknown", 3.0, None) is None


def test_a_dialled_link_that_ends_is_dialled_again_and_a_node_that_left_is_not():
    """PROTOCOL.md DISC-8."""
    node = new_node()
    link = dialled(node)
    lose(node, link, now=1.0)
    (dial,) = node.step(Timeout(), 1.0 + limits.dial_delay_s).dials
    give(node, dial.link, Welcome(greeting()), 2.0)
    give(node, dial.link, Announce(()), 2.0)
    give(node, dial.link, Leave(), 2.0)
    node.step(Sighted(Source.MDNS, curve_of(OTHER_NODE), ("tcp://o:1",), OTHER_NODE), 2.5)
    assert len(node.step(Timeout(), 3.0).dials) == 1  # Only since it was seen again.


def test_a_dialled_link_that_is_retired_is_not_dialled_again():
    """PROTOCOL.md LINK-7."""
    node = new_node()
    dialled(node, SMALLER_NODE, card(BOB, "bob"))
    accept(node, IN, greeting(SMALLER_NODE), card(BOB, "bob"))
    assert node.step(Timeout(), 4.0).dials == ()
