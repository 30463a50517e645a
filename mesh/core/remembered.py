"""Where hosts were met, kept in the mailboxes: after a restart they are found with no discovery.

What is remembered is the door of a host, not a node: nodes come and go under random keys and
ports, while the door's key follows from the secret and its port from the settings. It stays a
candidate for as long as this node lives, so that a host that starts anew is found again, too.
"""

from collections.abc import Iterable, Mapping

from mesh import limits
from mesh.core.candidates import Candidates
from mesh.core.changes import PutPeer
from mesh.core.effects import EffectsDraft
from mesh.core.events import Sighted, Source
from mesh.core.mailbox import Mailbox
from mesh.core.snapshot import MailboxSnapshot, RememberedPeer
from mesh.model import MailboxKey, NodeId

_TCP = "tcp://"


class Remembered:
    """Notes the doors met, and looks for them when a mailbox brings them back."""

    def __init__(self, *, candidates: Candidates, mailboxes: Mapping[MailboxKey, Mailbox]) -> None:
        self._candidates = candidates
        self._mailboxes = mailboxes
        self._noted_at: dict[tuple[str, ...], float] = {}

    def met(self, door: tuple[str, ...], node: NodeId, now: float, out: EffectsDraft) -> None:
        """Node `node` of another host, which keeps its door at these endpoints, is linked."""
        if not door:
            return
        self._candidates.sight(Sighted(Source.REMEMBERED, None, door, node), now)
        noted_at = self._noted_at.pop(door, None)
        if noted_at is None and len(self._noted_at) >= limits.remembered_max:
            del self._noted_at[next(iter(self._noted_at))]
        is_fresh = noted_at is not None and now - noted_at < limits.remember_interval_s
        self._noted_at[door] = noted_at if noted_at is not None and is_fresh else now
        if not is_fresh:
            for mailbox in self._mailboxes.values():
                _write(mailbox, [RememberedPeer(door, None, 0.0)], out)

    def taken(self, snapshot: MailboxSnapshot, now: float, out: EffectsDraft) -> None:
        """Look for what a mailbox remembers, and let it remember what was met before it came."""
        for peer in snapshot.remembered[: limits.remembered_max]:
            if peer.age_s < limits.remembered_s_max:
                sighted = Sighted(Source.REMEMBERED, peer.curve, peer.endpoints)
                self._candidates.sight(sighted, now)
        known = {p.endpoints for p in snapshot.remembered if p.age_s < limits.remember_interval_s}
        met = self._noted_at.items()
        peers = [RememberedPeer(door, None, now - at) for door, at in met if door not in known]
        _write(self._mailboxes[snapshot.key], peers, out)


def door_of(endpoints: Iterable[str], port: int) -> tuple[str, ...]:
    """Return where the door of a node is that listens at `endpoints`; nowhere without a port."""
    hosts = [e.rpartition(":")[0] for e in endpoints if e.startswith(_TCP)] if port else []
    return tuple(f"{host}:{port}" for host in dict.fromkeys(hosts))


def _write(mailbox: Mailbox, peers: Iterable[RememberedPeer], out: EffectsDraft) -> None:
    """Only the mailbox of an agent that is here: the others are held by many, one after another."""
    if mailbox.is_live:
        out.changes.extend((mailbox.key, PutPeer(peer)) for peer in peers)
