"""What nodes tell each other about where nodes are: reasons to dial, never a proof."""

from collections.abc import Callable

from mesh import limits
from mesh.core.candidates import Candidates
from mesh.core.effects import EffectsDraft
from mesh.core.events import Sighted, Source
from mesh.core.link import Link
from mesh.core.remembered import Remembered, door_of
from mesh.core.roster import Roster
from mesh.packet import Greeting, Hint, Peers

MayDial = Callable[[str], bool]
"""Whether an endpoint may be dialled only because a member named it."""


class Hints:
    """Passes on which nodes this one is linked to, and follows what others say."""

    def __init__(
        self,
        *,
        roster: Roster,
        candidates: Candidates,
        remembered: Remembered,
        may_dial: MayDial,
    ) -> None:
        self._roster = roster
        self._candidates = candidates
        self._remembered = remembered
        self._may_dial = may_dial

    def take(self, link: Link, packet: Peers, now: float) -> None:
        """Take note of nodes a peer is linked to, now and then."""
        if now < link.hints_ignored_until:
            return
        link.hints_ignored_until = now + limits.hints_pause_s
        for hint in packet.hints:
            endpoints = self._dialable(hint.endpoints)
            self._candidates.sight(Sighted(Source.EXCHANGE, hint.curve, endpoints), now)

    def tell(self, link: Link, out: EffectsDraft) -> None:
        """Tell a peer about the others."""
        assert link.greeting is not None
        known = hints(self._roster, link.greeting)
        if known:
            out.packets.append((link.id, Peers(known)))

    def met(self, link: Link, greeting: Greeting, now: float, out: EffectsDraft) -> None:
        """Learn where else a peer that is linked may be reached, now or after a restart."""
        endpoints = self._dialable(greeting.endpoints)
        sighted = Sighted(Source.EXCHANGE, greeting.curve, endpoints, greeting.node)
        self._candidates.sight(sighted, now)
        if greeting.host != self._roster.host:
            dialled = [link.target] if link.target else []
            door = door_of([*dialled, *endpoints], greeting.door)
            self._remembered.met(door, greeting.node, now, out)

    def _dialable(self, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(e for e in across_hosts(endpoints) if self._may_dial(e))


def hints(roster: Roster, told: Greeting) -> tuple[Hint, ...]:
    """Return what to tell a node about the others this node is linked to.

    Nodes of one host have its registry for each other.
    """
    is_near = told.host == roster.host
    found = [
        Hint(peer.greeting.curve, across_hosts(peer.greeting.endpoints), 0.0)
        for node, peer in roster.peers.items()
        if peer.link is not None
        and node != told.node
        and not (is_near and peer.greeting.host == roster.host)
    ]
    return tuple(found[-limits.hints_per_packet_max :])


def across_hosts(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out sockets of a file system: on another host the path names something else."""
    return tuple(endpoint for endpoint in endpoints if not endpoint.startswith("ipc:"))
