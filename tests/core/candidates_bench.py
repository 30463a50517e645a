"""A bench for candidates: discovery, the clock and the network are the test."""

from typing import Any

from mesh.core.agenda import Agenda, Matter
from mesh.core.candidate import Candidate
from mesh.core.candidates import Candidates
from mesh.core.effects import Dial, EffectsDraft
from mesh.core.events import Loss, Sighted, Source
from mesh.model import CurveKey, LinkId, NodeId
from tests.core.samples import OTHER_NODE, half

OWN = CurveKey(b"m" * 32)
SMALLER = CurveKey(b"a" * 32)
LARGER = CurveKey(b"z" * 32)


class Bench:
    """Candidates with their agenda."""

    def __init__(self) -> None:
        self.agenda: Agenda[Matter] = Agenda()
        self.candidates = Candidates(curve=OWN, agenda=self.agenda, random=half)

    def sight(
        self,
        curve: CurveKey | None = LARGER,
        *endpoints: str,
        source: Source = Source.MDNS,
        node: NodeId | None = None,
        is_older: bool | None = None,
        now: float = 0.0,
    ) -> None:
        seen = Sighted(source, curve, endpoints or ("tcp://x:1",), node, is_older)
        self.candidates.sight(seen, now)

    def due(self, now: float) -> list[Matter]:
        return list(self.agenda.take_due(now))

    def dial(self, curve: bytes = LARGER, now: float = 0.0, **options: Any) -> list[Dial]:
        out = EffectsDraft()
        self.candidates.dial(curve, now, out, **{"is_linked": False, **options})
        return out.dials

    def succeed(self, link: int, node: NodeId = OTHER_NODE, now: float = 0.0) -> list[LinkId]:
        out = EffectsDraft()
        given_up = self.candidates.succeed(LinkId(link), node, now, out)
        assert out.closes == given_up
        return given_up

    def fail(self, link: int, now: float, loss: Loss = Loss.UNREACHABLE, **options: Any) -> None:
        self.candidates.fail(LinkId(link), loss, now, **{"was_up": False, **options})

    def known(self, curve: bytes = LARGER) -> Candidate:
        found = self.candidates.candidate(curve)
        assert found is not None
        return found


def numbered(number: int) -> CurveKey:
    return CurveKey(b"z" + number.to_bytes(31, "big"))


def fail_round(bench: Bench, id_: bytes, now: float) -> None:
    """Let a candidate with one endpoint fail."""
    (dial,) = bench.dial(id_, now)
    bench.fail(dial.link, now)
    assert bench.dial(id_, now) == []
