"""Doors of other hosts outlive the node that met them."""

from mesh import limits
from mesh.core.changes import PutPeer
from mesh.core.effects import Effects
from mesh.core.events import MailboxTaken
from mesh.core.node import Node
from mesh.core.remembered import door_of
from mesh.core.snapshot import RememberedPeer
from mesh.model import Profile
from mesh.packet import Announce, Leave, Welcome
from tests.core.samples import (
    ALICE,
    BOB,
    CAROL,
    HOST,
    OTHER_NODE,
    THIRD_NODE,
    greeting,
    new_node,
    snapshot,
)
from tests.core.steps import IN, accept, dialled, give, sight, wait

DOOR = 47600


def node_with(*remembered: RememberedPeer, is_live: bool = True) -> Node:
    node = new_node()
    taken = snapshot(ALICE, "alice", remembered=remembered)
    node.step(MailboxTaken(taken, is_live, Profile()), 0.0)
    return node


def put(*endpoints: str, age_s: float = 0.0) -> PutPeer:
    return PutPeer(RememberedPeer(endpoints, None, age_s))


def written(effects: Effects) -> list[PutPeer]:
    return [change for _, change in effects.changes if isinstance(change, PutPeer)]


def test_a_door_is_where_its_node_listens_by_tcp():
    """PROTOCOL.md DISC-9."""
    endpoints = ("ipc:///x", "tcp://10.0.0.1:5", "tcp://10.0.0.1:6", "tcp://[fd00::1]:5")
    assert door_of(endpoints, DOOR) == ("tcp://10.0.0.1:47600", "tcp://[fd00::1]:47600")
    assert door_of(endpoints, 0) == ()


def test_the_door_of_another_host_is_written_down_once_a_day():
    """PROTOCOL.md DISC-9."""
    node = node_with()
    met = greeting(door=DOOR, endpoints=("tcp://10.0.0.2:5",))
    assert accept(node, -1, met).changes == ((ALICE, put("tcp://10.0.0.2:47600")),)
    assert accept(node, -2, met, now=60.0).changes == ()
    later = limits.remember_interval_s + 1.0
    assert written(accept(node, -3, met, now=later)) == [put("tcp://10.0.0.2:47600")]


def test_nodes_without_a_door_and_those_of_this_host_are_not_written_down():
    """PROTOCOL.md DISC-9."""
    node = node_with()
    assert accept(node, -1, greeting()).changes == ()
    assert accept(node, -2, greeting(THIRD_NODE, host=HOST, door=DOOR)).changes == ()


def test_only_mailboxes_of_agents_that_are_here_remember():
    """PROTOCOL.md DISC-9: a tended one is held by one node after another."""
    node = node_with(is_live=False)
    met = greeting(door=DOOR, endpoints=("tcp://10.0.0.2:5",))
    assert accept(node, IN, met).changes == ()
    effects = node.step(MailboxTaken(snapshot(BOB, "bob"), True, Profile()), 7.0)
    assert effects.changes == ((BOB, put("tcp://10.0.0.2:47600", age_s=7.0)),)
    peer = RememberedPeer(("tcp://10.0.0.2:47600",), None, 60.0)
    known = snapshot(CAROL, "carol", remembered=(peer,))
    assert node.step(MailboxTaken(known, True, Profile()), 8.0).changes == ()


def test_what_a_mailbox_remembers_is_dialled_at_its_door():
    """PROTOCOL.md DISC-9."""
    fresh = RememberedPeer(("tcp://10.0.0.2:47600",), None, 5.0)
    stale = RememberedPeer(("tcp://10.0.0.3:47600",), None, limits.remembered_s_max)
    node = node_with(fresh, stale)
    dials = wait(node, node.next_deadline()).dials
    assert [(d.endpoint, d.curve, d.expected) for d in dials] == [
        ("tcp://10.0.0.2:47600", None, None)
    ]


def test_a_door_is_dialled_again_when_the_node_behind_it_has_left():
    """PROTOCOL.md DISC-8, DISC-9: another may come in its place."""
    node = node_with()
    link = dialled(node)
    accept(node, IN, greeting(THIRD_NODE, door=DOOR, endpoints=("tcp://10.0.0.3:5",)), now=1.0)
    assert wait(node, 2.0).dials == ()  # While it is linked, nobody knocks.
    give(node, IN, Leave(), 2.0)
    (dial,) = wait(node, 2.0 + limits.dial_delay_s).dials
    assert (dial.endpoint, dial.curve) == ("tcp://10.0.0.3:47600", None)
    assert node.roster.peers[OTHER_NODE].link == link


def test_the_address_at_which_a_node_was_reached_comes_first():
    """PROTOCOL.md DISC-9."""
    node = node_with()
    link = sight(node)
    met = greeting(door=DOOR, endpoints=("tcp://10.0.0.2:5", "tcp://o:1"))
    give(node, link, Welcome(met), 0.0)
    effects = give(node, link, Announce(()), 0.0)
    assert written(effects) == [put("tcp://o:47600", "tcp://10.0.0.2:47600")]


def test_only_so_many_doors_are_remembered():
    """PROTOCOL.md DISC-9."""
    node = node_with()
    for number in range(limits.remembered_max + 3):
        id_ = number.to_bytes(16, "big")
        host = f"10.0.{number // 256}.{number % 256}"
        met = greeting(id_, door=DOOR, endpoints=(f"tcp://{host}:5",), curve=id_ * 2)
        accept(node, -1 - number, met)
        give(node, -1 - number, Leave())
    assert len(node._remembered._noted_at) == limits.remembered_max
