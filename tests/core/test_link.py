"""The table of a link, pair by pair."""

import itertools

import pytest

from mesh.core.link import TABLE, Link, LinkSignal, LinkState
from mesh.model import LinkId

PAIRS = list(itertools.product(LinkState, LinkSignal))


@pytest.mark.parametrize(("state", "signal"), PAIRS)
def test_each_pair_is_in_the_table_or_refused(state, signal):
    """PROTOCOL.md LINK-4, LINK-5: a pair that is missing changes nothing and is refused."""
    link = Link(LinkId(1), state, 0.0, 0.0)
    expected = TABLE.get((state, signal))
    assert link.move(signal) is (expected is not None)
    assert link.state is (expected or state)


def test_a_closed_link_allows_nothing():
    """PROTOCOL.md LINK-4."""
    assert not [pair for pair in TABLE if pair[0] is LinkState.CLOSED]


def test_every_open_link_can_be_lost():
    """PROTOCOL.md LINK-4."""
    lost = {state for (state, signal), to in TABLE.items() if signal is LinkSignal.LOST}
    assert lost == set(LinkState) - {LinkState.CLOSED}


def test_the_sign_of_its_number_tells_who_dialled():
    assert Link(LinkId(1), LinkState.UP, 0.0, 0.0).is_dialled
    assert not Link(LinkId(-1), LinkState.UP, 0.0, 0.0).is_dialled
