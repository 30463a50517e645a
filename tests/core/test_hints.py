"""What nodes tell each other about third ones."""

from mesh import limits
from mesh.core.hints import hints
from mesh.core.roster import Peer, Roster
from mesh.model import LinkId, NodeId
from mesh.packet import Hint
from tests.core.samples import HOST, OTHER_NODE, OWN_NODE, THIRD_NODE, curve_of, greeting


def test_linked_nodes_are_told_without_paths_of_this_file_system():
    """PROTOCOL.md DISC-5."""
    roster = Roster(node=OWN_NODE, host=HOST)
    roster.peers[OTHER_NODE] = Peer(greeting(OTHER_NODE), LinkId(1), 0.0)
    both = ("ipc:///run/x", "tcp://p:1")
    roster.peers[THIRD_NODE] = Peer(greeting(THIRD_NODE, endpoints=both), LinkId(2), 0.0)
    lost = NodeId(b"l" * 16)
    roster.peers[lost] = Peer(greeting(lost), None, 0.0)
    expected = (Hint(curve_of(THIRD_NODE), ("tcp://p:1",), 0.0),)
    assert hints(roster, greeting(OTHER_NODE)) == expected


def test_nodes_of_a_host_are_not_told_of_each_other():
    """PROTOCOL.md DISC-5: but others of them, and they of others."""
    roster = Roster(node=OWN_NODE, host=HOST)
    near, near_too = NodeId(b"n" * 16), NodeId(b"t" * 16)
    for number, node in enumerate((near, near_too), start=1):
        roster.peers[node] = Peer(greeting(node, host=HOST), LinkId(number), 0.0)
    roster.peers[OTHER_NODE] = Peer(greeting(OTHER_NODE), LinkId(3), 0.0)
    told_near = hints(roster, greeting(near, host=HOST))
    assert [hint.curve for hint in told_near] == [curve_of(OTHER_NODE)]
    told_far = hints(roster, greeting(OTHER_NODE))
    assert [hint.curve for hint in told_far] == [curve_of(near), curve_of(near_too)]


def test_hints_are_bounded():
    """PROTOCOL.md DISC-5."""
    roster = Roster(node=OWN_NODE, host=HOST)
    for n in range(limits.hints_per_packet_max + 5):
        node = NodeId(bytes((n,)) * 16)
        roster.peers[node] = Peer(greeting(node), LinkId(n + 1), 0.0)
    assert len(hints(roster, greeting(OWN_NODE))) == limits.hints_per_packet_max
