"""What falls due of links: dials, handshakes, probes, and the rounds of every few seconds."""

from typing import assert_never

from mesh import limits
from mesh.core.agenda import (
    Agenda,
    AwayDue,
    DialDue,
    DialsDue,
    ExchangeDue,
    HandshakeDue,
    LinkMatter,
    Matter,
    ProbeDue,
    SweepDue,
)
from mesh.core.candidates import Candidates
from mesh.core.effects import EffectsDraft
from mesh.core.links import Links
from mesh.model import MailboxKey


class LinkRounds:
    """Hands each matter that is due to whom it concerns."""

    def __init__(
        self, links: Links, candidates: Candidates, agenda: Agenda[Matter], now: float
    ) -> None:
        self._links = links
        self._candidates = candidates
        self._agenda = agenda
        agenda.set(SweepDue(), now + limits.sweep_interval_s)
        agenda.set(ExchangeDue(), now + limits.peer_exchange_interval_s)

    def due(self, matter: LinkMatter, now: float, out: EffectsDraft) -> list[MailboxKey]:
        """Do what is due; return the keys of agents whose reachability changed."""
        changed: list[MailboxKey] = []
        match matter:
            case DialDue():
                self._links.dial_due(matter.candidate, now, out)
            case DialsDue():
                for candidate in self._candidates.next_turns():
                    self._links.dial_due(candidate, now, out)
            case HandshakeDue():
                changed = self._links.handshake_due(matter.link, now, out)
            case ProbeDue():
                changed = self._links.probe_due(matter.link, now, out)
            case AwayDue():
                changed = self._links.away_due(matter.node, now, out)
            case SweepDue():
                changed = self._links.sweep(now, out)
                self._agenda.set(matter, now + limits.sweep_interval_s)
            case ExchangeDue():
                self._links.exchange(out)
                self._agenda.set(matter, now + limits.peer_exchange_interval_s)
            case _:
                assert_never(matter)
        return changed
