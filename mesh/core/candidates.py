"""Nodes worth dialling, and when: everything discovery says ends here, and is only ever a hint."""

from dataclasses import dataclass, field

from mesh import limits
from mesh.core.agenda import Agenda, DialDue, HandshakeDue, Matter
from mesh.core.backoff import Random, dial_delay_s, jittered
from mesh.core.effects import Dial, EffectsDraft
from mesh.core.events import LocalNodes, Loss, Sighted, Source
from mesh.model import CurveKey, LinkId, NodeId

REJECTED_FAILURES = 8
"""A peer that refuses our key is tried again as rarely as one that failed this often."""


@dataclass(slots=True)
class Candidate:
    """One node to dial. `id` is its curve key, or the endpoint of a static peer.

    Endpoints are raced: one more is tried each `race_interval_s` until a link is up.
    """

    id: bytes
    curve: CurveKey | None
    endpoints: tuple[str, ...]
    source: Source
    sighted_at: float
    node: NodeId | None = None
    attempts: dict[LinkId, str] = field(default_factory=dict)
    next_endpoint: int = 0
    failures: int = 0
    failing_since: float | None = None
    was_rejected: bool = False
    is_self: bool = False


class Candidates:
    """All candidates; decides when to dial which endpoint."""

    def __init__(self, *, curve: CurveKey, agenda: Agenda[Matter], random: Random) -> None:
        self._curve = curve
        self._agenda = agenda
        self._random = random
        self._next_link = 1
        self._all: dict[bytes, Candidate] = {}
        self._by_link: dict[LinkId, Candidate] = {}

    def __len__(self) -> int:
        return len(self._all)

    def sight(self, event: Sighted, now: float) -> None:
        """Take note of a node that discovery saw."""
        if event.curve == self._curve or not event.endpoints:
            return
        id_ = bytes(event.curve) if event.curve else event.endpoints[0].encode()
        endpoints = event.endpoints[: limits.endpoints_per_node_max]
        known = self._all.get(id_)
        if known is None:
            if len(self._all) >= limits.peers_max and not self._make_room(now):
                return
            known = Candidate(id_, event.curve, endpoints, event.source, now, event.node)
            self._all[id_] = known
            self._agenda.set(DialDue(id_), now + self._first_delay_s(event))
            return
        known.sighted_at = now
        known.node = event.node or known.node
        merged = (*endpoints, *(e for e in known.endpoints if e not in endpoints))
        if set(endpoints) - set(known.endpoints) or not known.was_rejected:
            known.endpoints = merged[: limits.endpoints_per_node_max]
            if not known.attempts:
                self._agenda.set_earlier(DialDue(id_), now + self._first_delay_s(event))

    def dial(self, id_: bytes, now: float, out: EffectsDraft, *, is_linked: bool) -> None:
        """Try the next endpoint of a candidate, unless there is a link already."""
        candidate = self._all.get(id_)
        if candidate is None or candidate.is_self or is_linked:
            return
        if candidate.next_endpoint >= len(candidate.endpoints):
            if not candidate.attempts:
                self._end_round(candidate, now)
            return
        if len(self._by_link) >= limits.links_max:
            self._agenda.set(DialDue(id_), now + limits.dial_backoff_s_min)
            return
        endpoint = candidate.endpoints[candidate.next_endpoint]
        candidate.next_endpoint += 1
        link = LinkId(self._next_link)
        self._next_link += 1
        candidate.attempts[link] = endpoint
        self._by_link[link] = candidate
        expected = candidate.node if candidate.curve else None
        out.dials.append(Dial(link, endpoint, candidate.curve, expected))
        self._agenda.set(HandshakeDue(link), now + limits.handshake_timeout_s)
        if candidate.next_endpoint < len(candidate.endpoints):
            self._agenda.set(DialDue(id_), now + limits.race_interval_s)

    def candidate(self, id_: bytes) -> Candidate | None:
        """Return the candidate with that id."""
        return self._all.get(id_)

    def target(self, link: LinkId) -> str:
        """Return the endpoint that `link` was dialled to."""
        candidate = self._by_link.get(link)
        return candidate.attempts.get(link, "") if candidate else ""

    def succeed(self, link: LinkId, node: NodeId, out: EffectsDraft) -> None:
        """A dialled link is up: remember the endpoint, give up the other attempts."""
        candidate = self._by_link.get(link)
        if candidate is None:
            return
        endpoint = candidate.attempts[link]
        others = tuple(e for e in candidate.endpoints if e != endpoint)
        candidate.endpoints = (endpoint, *others)
        candidate.node = node
        candidate.failures = 0
        candidate.failing_since = None
        candidate.was_rejected = False
        candidate.next_endpoint = 0
        for other in [a for a in candidate.attempts if a != link]:
            self._drop_attempt(other)
            out.closes.append(other)
        self._agenda.drop(DialDue(candidate.id))
        self._agenda.drop(HandshakeDue(link))

    def is_self(self, link: LinkId) -> None:
        """The link led back to this very node: never dial that candidate again."""
        candidate = self._by_link.get(link)
        if candidate is not None:
            candidate.is_self = True

    def fail(self, link: LinkId, loss: Loss, now: float) -> None:
        """A dialled link could not be opened, or has ended: try on."""
        candidate = self._by_link.get(link)
        if candidate is None:
            return
        self._drop_attempt(link)
        if loss is Loss.REJECTED:
            candidate.was_rejected = True
            candidate.failures = max(candidate.failures, REJECTED_FAILURES)
        if not candidate.attempts:
            self._agenda.set(DialDue(candidate.id), now)

    def release(self, link: LinkId) -> None:
        """A dialled link was closed on purpose: its peer is reached by another one."""
        if link in self._by_link:
            self._drop_attempt(link)

    def retry(self, curve: CurveKey, now: float) -> None:
        """A link that the peer had opened is gone: dial it ourselves soon."""
        if bytes(curve) in self._all:
            self._agenda.set_earlier(DialDue(bytes(curve)), now + limits.dial_delay_s)

    def retry_all(self, now: float) -> None:
        """Dial everybody who is out of reach at once (the process was asleep)."""
        for candidate in self._all.values():
            candidate.failures = 0
            if not candidate.attempts:
                self._agenda.set_earlier(DialDue(candidate.id), now)

    def keep_local(self, event: LocalNodes) -> None:
        """Drop candidates of this host's registry whose process has ended."""
        alive = set(event.nodes)
        for candidate in list(self._all.values()):
            if candidate.source is Source.REGISTRY and candidate.node not in alive:
                self._forget(candidate)

    def _end_round(self, candidate: Candidate, now: float) -> None:
        candidate.next_endpoint = 0
        candidate.failures += 1
        if candidate.failing_since is None:
            candidate.failing_since = now
        failing_s = now - candidate.failing_since
        if failing_s > limits.peer_forget_s and candidate.source is not Source.STATIC:
            self._forget(candidate)
            return
        if candidate.was_rejected:
            failing_s = limits.peer_forget_s
        delay_s = dial_delay_s(candidate.failures, failing_s=failing_s, random=self._random)
        self._agenda.set(DialDue(candidate.id), now + delay_s)

    def _first_delay_s(self, event: Sighted) -> float:
        if event.source is Source.STATIC or event.curve is None:
            return 0.0
        if event.source is Source.EXCHANGE or event.source is Source.REMEMBERED:
            return jittered(2 * limits.dial_delay_s, self._random)
        return 0.0 if self._curve < event.curve else limits.dial_delay_s

    def _drop_attempt(self, link: LinkId) -> None:
        candidate = self._by_link.pop(link)
        del candidate.attempts[link]
        self._agenda.drop(HandshakeDue(link))

    def _forget(self, candidate: Candidate) -> None:
        if candidate.attempts:
            return
        del self._all[candidate.id]
        self._agenda.drop(DialDue(candidate.id))

    def _make_room(self, now: float) -> bool:
        failing = [c for c in self._all.values() if c.failing_since is not None and not c.attempts]
        if not failing:
            return False
        self._forget(min(failing, key=lambda c: c.failing_since or now))
        return True
