"""Links that were asked for a sign of life: one that stays silent is closed long before its time.

A link may be dead without an end: its address is gone, a box in between has forgotten it, or this
node was asleep. Whoever has a reason to doubt a link asks; what does not answer is dialled anew.
"""

from mesh import limits
from mesh.core.agenda import Agenda, Matter, ProbeDue
from mesh.core.effects import EffectsDraft
from mesh.model import LinkId
from mesh.packet import Ping


class Probes:
    """The links asked and not heard of since."""

    def __init__(self, agenda: Agenda[Matter]) -> None:
        self._agenda = agenda
        self._asked: set[LinkId] = set()

    def ask(self, link: LinkId, now: float, out: EffectsDraft) -> None:
        """Ping a link that is up; `ProbeDue` comes if there is no answer."""
        if link not in self._asked:
            self._asked.add(link)
            out.packets.append((link, Ping(abs(link))))
            self._agenda.set(ProbeDue(link), now + limits.probe_timeout_s)

    def forget(self, link: LinkId) -> None:
        """The link has given a sign of life, or is no more."""
        if link in self._asked:
            self._asked.remove(link)
            self._agenda.drop(ProbeDue(link))

    def postpone(self, now: float) -> None:
        """Give those asked their time anew: this node did not listen meanwhile."""
        for link in self._asked:
            self._agenda.set(ProbeDue(link), now + limits.probe_timeout_s)
