"""Attempts to open a link: how many may be under way at once, and who waits for a turn.

Each attempt costs both ends work. Where all of a crowd dial all others at once, on a machine that
is busy with just that, no handshake ends in time and all are tried again, for ever. Few at a time
end soon, whatever the size of the crowd.
"""

from collections import Counter
from collections.abc import Iterator

from mesh import limits
from mesh.core.agenda import Agenda, DialsDue, HandshakeDue, Matter
from mesh.core.candidate import Candidate
from mesh.model import LinkId

Load = Counter[tuple[bool, bool]]
"""How many are under way, by whether they are local and whether they are doubtful."""


class Attempts:
    """Knows the attempts under way and the links that came of them."""

    def __init__(self, agenda: Agenda[Matter]) -> None:
        self._agenda = agenda
        self._last = 0
        self._by_link: dict[LinkId, Candidate] = {}
        self._waiting: dict[bytes, Candidate] = {}

    def candidate(self, link: LinkId) -> Candidate | None:
        """Return whom `link` was dialled to."""
        return self._by_link.get(link)

    def begin(self, candidate: Candidate, endpoint: str) -> LinkId:
        """Note an attempt; returns the number of its link."""
        self._last += 1
        link = LinkId(self._last)
        candidate.attempts[link] = endpoint
        self._by_link[link] = candidate
        self.forget(candidate)
        return link

    def succeed(self, candidate: Candidate, now: float) -> None:
        """An attempt became a link: it is under way no more."""
        candidate.is_linked = True
        self._let_next_go(now)

    def end(self, link: LinkId, now: float) -> None:
        """An attempt, or the link that came of it, is over."""
        candidate = self._by_link.pop(link)
        del candidate.attempts[link]
        candidate.is_linked = candidate.is_linked and bool(candidate.attempts)
        self._agenda.drop(HandshakeDue(link))
        self._let_next_go(now)

    def must_wait(self, candidate: Candidate) -> bool:
        """Whether enough is under way; the candidate then gets its turn when it comes."""
        if self._has_room(candidate, self._load()):
            return False
        self._waiting[candidate.id] = candidate
        return True

    def forget(self, candidate: Candidate) -> None:
        """Strike a candidate off the list of those who wait."""
        self._waiting.pop(candidate.id, None)

    def next_turns(self) -> Iterator[bytes]:
        """Yield the candidates who need wait no longer, in order, each to be dialled at once."""
        while True:
            load = self._load()
            turns = [c for c in self._waiting.values() if self._take_room(c, load)]
            if not turns:
                return
            for candidate in turns:
                del self._waiting[candidate.id]
            # Who needs no dialling after all takes no room: there may be some for others.
            yield from (candidate.id for candidate in turns)

    def _load(self) -> Load:
        pending = (c for c in self._by_link.values() if not c.is_linked)
        return Counter((c.is_local, c.is_doubtful) for c in pending)

    def _take_room(self, candidate: Candidate, load: Load) -> bool:
        has_room = self._has_room(candidate, load)
        load[candidate.is_local, candidate.is_doubtful] += has_room
        return has_room

    def _has_room(self, candidate: Candidate, load: Load) -> bool:
        """Those who failed before and mere hints have a share of their own: a newcomer that was
        truly seen never waits behind the dead, nor for other hosts when it is of this one."""
        if len(self._by_link) >= limits.links_max:
            return False
        is_local = candidate.is_local
        most = limits.local_dials_max if is_local else limits.dials_max
        doubtful = load[is_local, True]
        if candidate.is_doubtful and doubtful >= most // 2:
            return False
        return doubtful + load[is_local, False] < most

    def _let_next_go(self, now: float) -> None:
        if self._waiting:
            self._agenda.set_earlier(DialsDue(), now)
