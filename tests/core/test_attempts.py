"""How many attempts to open a link are under way at once, and who waits for a turn."""

import pytest

from mesh import limits
from mesh.core.agenda import DialsDue
from mesh.core.events import Loss, Source
from mesh.model import LinkId
from tests.core.candidates_bench import LARGER, Bench, fail_round, numbered
from tests.core.samples import OTHER_NODE


@pytest.fixture
def bench() -> Bench:
    return Bench()


def turns(bench: Bench, now: float = 1.0) -> list[bytes]:
    """Return who may be dialled after all, when that is due; they are dialled."""
    assert DialsDue() in bench.due(now)
    found: list[bytes] = []
    for id_ in bench.candidates.next_turns():
        found.append(id_)
        bench.dial(id_, now)
    return found


POOLS = ((Source.MDNS, limits.dials_max), (Source.REGISTRY, limits.local_dials_max))


@pytest.mark.parametrize(("source", "most"), POOLS)
def test_too_many_attempts_at_once_wait_for_their_turn(bench, source, most):
    """PROTOCOL.md DISC-6."""
    for number in range(most):
        bench.sight(numbered(number), source=source)
        assert bench.dial(numbered(number))
    for number in range(1000, 1003):
        bench.sight(numbered(number), source=source)
        assert bench.dial(numbered(number)) == []
    assert DialsDue() not in bench.due(100.0)
    bench.succeed(1, now=1.0)
    assert turns(bench) == [numbered(1000)]
    bench.fail(2, 2.0)
    bench.candidates.release(LinkId(3), 2.0)
    assert turns(bench, 2.0) == [numbered(1001), numbered(1002)]


@pytest.mark.parametrize(("source", "most"), POOLS)
def test_who_need_not_be_dialled_any_more_leaves_the_turn_to_others(bench, source, most):
    """PROTOCOL.md DISC-6."""
    for number in range(most + 3):
        bench.sight(numbered(number), source=source)
        bench.dial(numbered(number))
    bench.succeed(1, now=1.0)
    assert DialsDue() in bench.due(1.0)
    found = bench.candidates.next_turns()
    for number in range(most, most + 2):
        assert next(found) == numbered(number)
        assert bench.dial(numbered(number), 1.0, is_linked=True) == []
    assert next(found) == numbered(most + 2)
    assert bench.dial(numbered(most + 2), 1.0)
    assert list(found) == []


def test_who_waits_and_is_forgotten_is_not_dialled(bench):
    """PROTOCOL.md DISC-6."""
    for number in range(limits.dials_max):
        bench.sight(numbered(number))
        assert bench.dial(numbered(number))
    bench.sight(LARGER, node=OTHER_NODE)
    bench.dial()
    bench.candidates.gone(OTHER_NODE, 0.0)
    bench.fail(1, 1.0)
    assert list(bench.candidates.next_turns()) == []


def test_who_waited_and_is_dialled_otherwise_has_had_its_turn(bench):
    """PROTOCOL.md DISC-6."""
    for number in range(limits.dials_max + 1):
        bench.sight(numbered(number), "one", "two")
        bench.dial(numbered(number))
    bench.succeed(1, now=1.0)
    assert bench.dial(numbered(limits.dials_max), 1.0)
    bench.succeed(2, now=1.0)
    assert list(bench.candidates.next_turns()) == []


def test_nodes_of_this_host_and_others_do_not_wait_for_each_other(bench):
    """PROTOCOL.md DISC-6."""
    for number in range(limits.dials_max):
        bench.sight(numbered(number))
        assert bench.dial(numbered(number))
    for number in range(1000, 1000 + limits.local_dials_max):
        bench.sight(numbered(number), source=Source.REGISTRY)
        assert bench.dial(numbered(number))


def test_there_is_a_limit_to_the_links_that_were_dialled(bench):
    """PROTOCOL.md DISC-6."""
    for number in range(1, limits.links_max + 1):
        bench.sight(numbered(number))
        assert bench.dial(numbered(number))
        bench.succeed(number)
    bench.sight()
    assert bench.dial() == []
    bench.fail(7, 1.0, Loss.CLOSED, was_up=True)
    assert turns(bench) == [LARGER]
    assert len(bench.known().attempts) == 1


def test_hints_cannot_take_all_attempts(bench):
    """PROTOCOL.md DISC-6."""
    most = limits.dials_max // 2
    for number in range(most + 1):
        bench.sight(numbered(number), source=Source.EXCHANGE)
    bench.sight(LARGER)
    for number in range(most):
        assert bench.dial(numbered(number))
    assert bench.dial(numbered(most)) == []
    assert bench.dial(LARGER)
    bench.succeed(1)
    assert bench.dial(numbered(most))


@pytest.mark.parametrize(("source", "most"), POOLS)
def test_the_dead_do_not_keep_newcomers_waiting(bench, source, most):
    """PROTOCOL.md DISC-6."""
    share = most // 2
    for number in range(share + 1):
        bench.sight(numbered(number), source=source)
        fail_round(bench, numbered(number), 0.0)
    for number in range(share):
        assert bench.dial(numbered(number))
    assert bench.dial(numbered(share)) == []
    bench.sight(LARGER, source=source)
    assert bench.dial(LARGER)
