"""How often: buckets, the line's allowance, and the schedule."""

import math

import pytest

import mesh
from mcp_bridge.line import Allowance, held_max, letters_held_max
from mcp_bridge.rates import Bucket, Limits, send_burst
from mcp_bridge.schedule import Schedule


def test_a_bucket_gives_a_burst_and_then_a_steady_rate() -> None:
    now = 0.0
    bucket = Bucket(burst=2, per_s=0.5, clock=lambda: now)
    for _ in range(2):
        assert bucket.delay_s == 0
        bucket.take()
    assert bucket.delay_s == 2
    now = 1.5
    assert bucket.delay_s == pytest.approx(0.5)
    now = 100.0
    bucket.take()
    bucket.take()
    assert bucket.delay_s > 0


def test_who_sends_too_much_is_told_when_there_is_room_again() -> None:
    sending = Limits()
    for _ in range(send_burst):
        sending.send()
    with pytest.raises(mesh.RateLimitError, match=r"can send again in 1 second$") as found:
        sending.send()
    assert 0 < found.value.retry_after_s <= 1
    sending.broadcast()


def test_the_allowance_keeps_room_for_lines_that_sum_up() -> None:
    allowance = Allowance()
    for _ in range(letters_held_max):
        assert allowance.letters_delay_s == 0
        allowance.take()
    assert math.isinf(allowance.letters_delay_s)
    assert allowance.summary_delay_s == 0
    allowance.take(is_summary=True)
    assert 0 < allowance.summary_delay_s <= 31
    for _ in range(held_max - letters_held_max - 1):
        allowance.take(is_summary=True)
    assert math.isinf(allowance.summary_delay_s)
    allowance.acted()
    assert not math.isinf(allowance.letters_delay_s)


def test_a_schedule_comes_due_once_a_period() -> None:
    schedule = Schedule()
    assert (schedule.due_s, schedule.next_at(), schedule.take()) == (None, None, False)
    schedule.set(5)
    assert schedule.due_s == pytest.approx(300, abs=1)
    assert not schedule.take()
    schedule.set(0.0001)
    while schedule.due_s:
        pass
    assert schedule.take()
    assert schedule.next_at() is not None
