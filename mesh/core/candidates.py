"""Nodes worth dialling, and when: everything discovery says ends here, and is only ever a hint."""

import math
from collections.abc import Iterable, Iterator

from mesh import limits
from mesh.core.agenda import Agenda, DialDue, HandshakeDue, Matter
from mesh.core.attempts import Attempts
from mesh.core.backoff import Random, dial_pause_s, in_turn_s, jittered, rejected_pause_s
from mesh.core.candidate import HINTS, Candidate
from mesh.core.effects import Dial, EffectsDraft
from mesh.core.events import LocalNodes, Loss, Sighted, Source
from mesh.model import CurveKey, LinkId, NodeId

REJECTED_FAILURES = 8
"""A peer that refuses our key is tried again as rarely as one that failed this often.

Not so a door: it can only hang up, as does a proxy whose far end is not there yet.
"""


class Candidates:
    """All candidates; decides when to dial which endpoint.

    Endpoints are raced: one more is tried each `race_interval_s` until a link is up. The nodes of
    this host are certainly there, and slow only when it is busy: more attempts would not help it,
    so another endpoint is tried only after the one before has failed.
    """

    def __init__(self, *, curve: CurveKey, agenda: Agenda[Matter], random: Random) -> None:
        self._curve = curve
        self._agenda = agenda
        self._random = random
        self._all: dict[bytes, Candidate] = {}
        self._pauses_s: dict[bytes, float] = {}
        self._attempts = Attempts(agenda)

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
            if not self._has_room(event.source, now):
                return
            known = Candidate(id_, event.curve, endpoints, event.source, event.node)
            self._all[id_] = known
            self._agenda.set(DialDue(id_), now + self._first_delay_s(event))
            return
        if known.is_local and event.source is not Source.REGISTRY:
            return  # The registry knows better, and says so when anything changes.
        is_hint = event.source in HINTS
        if is_hint:
            # Members say what they like: it may add to what is known, never replace it.
            known.node = known.node or event.node
            merged = (*known.endpoints, *(e for e in endpoints if e not in known.endpoints))
        else:
            known.node = event.node or known.node
            known.source = event.source
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
        if self._attempts.must_wait(candidate):
            return
        endpoint = candidate.endpoints[candidate.next_endpoint]
        candidate.next_endpoint += 1
        link = self._attempts.begin(candidate, endpoint)
        expected = candidate.node if candidate.curve else None
        out.dials.append(Dial(link, endpoint, candidate.curve, expected))
        if candidate.is_local:
            self._agenda.set(HandshakeDue(link), now + limits.local_handshake_timeout_s)
            return
        self._agenda.set(HandshakeDue(link), now + limits.handshake_timeout_s)
        if candidate.next_endpoint < len(candidate.endpoints):
            self._agenda.set(DialDue(id_), now + limits.race_interval_s)

    def out_of_reach(self, now: float) -> list[tuple[str, float]]:
        """Return where nobody was reached of late, and for how many seconds."""
        return [
            (candidate.endpoints[0], now - candidate.failing_since)
            for candidate in self._all.values()
            if candidate.failing_since is not None and not candidate.is_self
        ]

    def next_turns(self) -> Iterator[bytes]:
        """Yield who has waited until fewer attempts were under way, each to be dialled at once."""
        return self._attempts.next_turns()

    def candidate(self, id_: bytes) -> Candidate | None:
        """Return the candidate with that id."""
        return self._all.get(id_)

    def target(self, link: LinkId) -> str:
        """Return the endpoint that `link` was dialled to."""
        candidate = self._attempts.candidate(link)
        return candidate.attempts.get(link, "") if candidate else ""

    def succeed(self, link: LinkId, node: NodeId, now: float, out: EffectsDraft) -> list[LinkId]:
        """A dialled link is up: remember the endpoint, give up the other attempts.

        Returns those others; they are closed and mean nothing any more.
        """
        candidate = self._attempts.candidate(link)
        if candidate is None:
            return []
        endpoint = candidate.attempts[link]
        others = tuple(e for e in candidate.endpoints if e != endpoint)
        candidate.endpoints = (endpoint, *others)
        candidate.node = node
        candidate.was_met = True
        candidate.failures = 0
        candidate.failing_since = None
        self._pauses_s.pop(candidate.id, None)
        candidate.was_rejected = False
        candidate.next_endpoint = 0
        self._attempts.succeed(candidate, now)
        given_up = [attempt for attempt in candidate.attempts if attempt != link]
        for other in given_up:
            self._attempts.end(other, now)
        out.closes.extend(given_up)
        self._agenda.drop(DialDue(candidate.id))
        self._agenda.drop(HandshakeDue(link))
        return given_up

    def is_self(self, link: LinkId) -> None:
        """The link led back to this very node: never dial that candidate again."""
        candidate = self._attempts.candidate(link)
        if candidate is not None:
            candidate.is_self = True

    def fail(self, link: LinkId, loss: Loss, now: float, *, was_up: bool) -> None:
        """A dialled link could not be opened, or has ended: try on.

        After one that was up there is a pause, so that a peer which welcomes and then hangs up
        cannot keep us busy.
        """
        candidate = self._attempts.candidate(link)
        if candidate is None:
            return
        self._attempts.end(link, now)
        # Who once welcomed us holds our secret: a hang-up then is a crash, or somebody in between.
        if loss is Loss.REJECTED and not candidate.was_met:
            candidate.was_rejected = True
            if candidate.curve is not None:
                candidate.failures = max(candidate.failures, REJECTED_FAILURES)
        if not candidate.attempts:
            delay_s = limits.dial_delay_s if was_up else 0.0
            self._agenda.set(DialDue(candidate.id), now + delay_s)

    def release(self, link: LinkId, now: float) -> None:
        """A dialled link was closed on purpose: its peer is reached by another one."""
        if self._attempts.candidate(link) is not None:
            self._attempts.end(link, now)

    def retry(self, node: NodeId, now: float) -> None:
        """The last link to a node is gone: dial it soon, wherever it may be met."""
        for candidate in self._all.values():
            if candidate.node == node and not candidate.attempts:
                self._agenda.set_earlier(DialDue(candidate.id), now + limits.dial_delay_s)

    def gone(self, node: NodeId, now: float) -> None:
        """A node has ended for good: only a door may lead to another one some day."""
        for candidate in [c for c in self._all.values() if c.node == node]:
            if candidate.curve is None or candidate.source is Source.STATIC:
                candidate.node = None
                self._agenda.set_earlier(DialDue(candidate.id), now + limits.dial_delay_s)
            else:
                self._forget(candidate)

    def retry_all(self, now: float) -> None:
        """Dial everybody who is out of reach at once (the process was asleep)."""
        for candidate in self._all.values():
            candidate.failures = 0
            if not candidate.attempts:
                candidate.next_endpoint = 0
                self._agenda.set_earlier(DialDue(candidate.id), now)

    def keep_local(self, event: LocalNodes) -> None:
        """Drop candidates of this host's registry whose process has ended."""
        alive = set(event.nodes)
        for candidate in list(self._all.values()):
            if candidate.is_local and candidate.node not in alive:
                self._forget(candidate)

    def _end_round(self, candidate: Candidate, now: float) -> None:
        candidate.next_endpoint = 0
        candidate.failures += 1
        if candidate.failing_since is None:
            candidate.failing_since = now
        failing_s = now - candidate.failing_since
        if failing_s > _patience_s(candidate):
            self._forget(candidate)
            return
        if candidate.was_rejected:
            pause_s = rejected_pause_s(candidate.failures)
        else:
            pause_s = dial_pause_s(candidate.failures, failing_s=failing_s)
        self._pauses_s[candidate.id] = pause_s
        delay_s = in_turn_s(pause_s, self._pauses_s.values(), self._random)
        self._agenda.set(DialDue(candidate.id), now + delay_s)

    def _first_delay_s(self, event: Sighted) -> float:
        if event.source is Source.REMEMBERED:
            spread_s = limits.remembered_spacing_s * len(self._all)
            return min(spread_s, limits.remembered_delay_s_max) * self._random()
        if event.source is Source.EXCHANGE:
            return jittered(2 * limits.dial_delay_s, self._random)
        if event.source is Source.STATIC or event.curve is None:
            return 0.0
        is_first = self._curve < event.curve if event.is_older is None else event.is_older
        if is_first:
            return 0.0
        is_local = event.source is Source.REGISTRY
        return limits.local_dial_delay_s if is_local else limits.dial_delay_s

    def _forget(self, candidate: Candidate) -> None:
        if candidate.attempts:
            return
        del self._all[candidate.id]
        self._pauses_s.pop(candidate.id, None)
        self._attempts.forget(candidate)
        self._agenda.drop(DialDue(candidate.id))

    def _has_room(self, source: Source, now: float) -> bool:
        """Whether one more fits; hints have a share of their own and drive out only each other."""
        if source in HINTS:
            hinted = [c for c in self._all.values() if c.source in HINTS]
            if len(hinted) < limits.hinted_candidates_max and len(self._all) < limits.peers_max:
                return True
            return self._make_room(hinted, now)
        return len(self._all) < limits.peers_max or self._make_room(self._all.values(), now)

    def _make_room(self, among: Iterable[Candidate], now: float) -> bool:
        failing = [c for c in among if c.failing_since is not None and not c.attempts]
        if not failing:
            return False
        self._forget(min(failing, key=lambda c: (c.source not in HINTS, c.failing_since or now)))
        return True


def _patience_s(candidate: Candidate) -> float:
    """How long a candidate may fail before it is forgotten."""
    if candidate.source is Source.STATIC:
        return math.inf
    return limits.peer_forget_s if candidate.curve else limits.remembered_s_max
