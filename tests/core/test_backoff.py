"""Pauses between attempts."""

import pytest

from mesh import limits
from mesh.core.backoff import dial_delay_s, jittered
from tests.core.samples import half


def test_jitter_spreads_by_a_fifth_to_either_side():
    assert jittered(10.0, lambda: 0.0) == pytest.approx(8.0)
    assert jittered(10.0, half) == pytest.approx(10.0)
    assert jittered(10.0, lambda: 1.0) == pytest.approx(12.0)


def test_dial_delays_double_up_to_a_tenth_of_the_time_out_of_reach():
    """PROTOCOL.md DISC-4: patience grows with the time a node has been out of reach."""
    delays = [dial_delay_s(n, failing_s=0.0, failing=1, random=half) for n in range(1, 6)]
    assert delays == pytest.approx([0.25, 0.5, 1.0, 2.0, limits.lost_backoff_s_min])
    assert dial_delay_s(20, failing_s=300.0, failing=1, random=half) == pytest.approx(30.0)


def test_a_dial_delay_has_an_upper_bound():
    """PROTOCOL.md DISC-4: never more than ten minutes."""
    longest = dial_delay_s(10_000, failing_s=1e9, failing=1, random=half)
    assert longest == pytest.approx(limits.dial_backoff_s_max)


def test_many_peers_out_of_reach_take_turns():
    """PROTOCOL.md DISC-4: a thousand dead ones cost no more than a few."""
    delay_s = dial_delay_s(1, failing_s=0.0, failing=1000, random=half)
    assert delay_s == pytest.approx(1000 * limits.redial_spacing_s)
    longest = dial_delay_s(1, failing_s=0.0, failing=10**9, random=half)
    assert longest == pytest.approx(limits.dial_backoff_s_max)
