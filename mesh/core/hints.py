"""What nodes tell each other about third ones: where to dial, never a proof."""

from collections.abc import Callable

from mesh import limits
from mesh.core.roster import Roster
from mesh.model import NodeId
from mesh.packet import Hint

MayDial = Callable[[str], bool]
"""Whether an endpoint may be dialled only because a member named it."""


def hints(roster: Roster, *, besides: NodeId) -> tuple[Hint, ...]:
    """Return what to tell the node `besides` about the others this node is linked to."""
    found = [
        Hint(peer.greeting.curve, across_hosts(peer.greeting.endpoints), 0.0)
        for node, peer in roster.peers.items()
        if peer.link is not None and node != besides
    ]
    return tuple(found[-limits.hints_per_packet_max :])


def across_hosts(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out sockets of a file system: on another host the path names something else."""
    return tuple(endpoint for endpoint in endpoints if not endpoint.startswith("ipc:"))
