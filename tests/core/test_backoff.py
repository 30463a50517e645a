"""Pauses between attempts."""

import pytest

from mesh import limits
from mesh.core.backoff import dial_pause_s, in_turn_s, jittered, rejected_pause_s
from tests.core.samples import half


def test_jitter_spreads_by_a_fifth_to_either_side():
    assert jittered(10.0, lambda: 0.0) == pytest.approx(8.0)
    assert jittered(10.0, half) == pytest.approx(10.0)
    assert jittered(10.0, lambda: 1.0) == pytest.approx(12.0)


def test_pauses_double_up_to_a_tenth_of_the_time_out_of_reach():
    """PROTOCOL.md DISC-4: patience grows with the time a node has been out of reach."""
    pauses = [dial_pause_s(n, failing_s=0.0) for n in range(1, 6)]
    assert pauses == pytest.approx([0.25, 0.5, 1.0, 2.0, limits.lost_backoff_s_min])
    assert dial_pause_s(20, failing_s=300.0) == pytest.approx(30.0)
    assert dial_pause_s(1, failing_s=300.0) == pytest.approx(30.0)


def test_a_pause_has_an_upper_bound():
    """PROTOCOL.md DISC-4: never more than ten minutes."""
    assert dial_pause_s(10_000, failing_s=1e9) == limits.dial_backoff_s_max
    assert rejected_pause_s(10_000) == limits.dial_backoff_s_max
    assert in_turn_s(600.0, [0.001], half) == pytest.approx(limits.dial_backoff_s_max)


def test_few_peers_out_of_reach_do_not_wait_for_each_other():
    """PROTOCOL.md DISC-4."""
    assert in_turn_s(2.0, [2.0] * 5, half) == pytest.approx(2.0)
    assert in_turn_s(0.25, [0.25], half) == pytest.approx(0.25)


def test_many_peers_out_of_reach_take_turns_and_the_lately_lost_come_first():
    """PROTOCOL.md DISC-4: a thousand dead ones cost no more than a few."""
    dead = [60.0] * 600  # Ten a second, four times what is allowed.
    assert in_turn_s(60.0, dead, half) == pytest.approx(240.0)
    assert in_turn_s(0.5, dead, half) == pytest.approx(2.0)
