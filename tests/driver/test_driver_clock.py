"""Whether the process slept, told from its clocks."""

import time

import pytest

from mesh.driver import clock
from mesh.driver.clock import MachineClocks, SleepWatch


class Clocks:
    """The two clocks that `SleepWatch` reads, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wall = 1_700_000_000_000

    def pass_s(self, seconds: float, *, asleep_s: float = 0.0) -> None:
        self.now += seconds
        self.wall += round(1000 * (seconds + asleep_s))


@pytest.fixture
def clocks(monkeypatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(clock, "now_s", lambda: made.now)
    monkeypatch.setattr(clock, "wall_ms", lambda: made.wall)
    return made


def test_loop_that_wakes_on_time_has_not_slept(clocks):
    watch = SleepWatch()
    for _ in range(3):
        clocks.pass_s(30)
        assert not watch.has_slept(due_at=clocks.now)


def test_loop_that_wakes_long_after_it_wanted_has_slept_once(clocks):
    watch = SleepWatch()
    due_at = clocks.now + 1
    clocks.pass_s(60)
    assert watch.has_slept(due_at=due_at)
    clocks.pass_s(1)
    assert not watch.has_slept(due_at=clocks.now)


def test_wall_clock_that_jumped_ahead_of_the_other_means_suspended(clocks):
    watch = SleepWatch()
    clocks.pass_s(1, asleep_s=3600)
    assert watch.has_slept(due_at=None)
    clocks.pass_s(1)
    assert not watch.has_slept(due_at=None)


def test_wall_clock_that_was_set_back_is_no_sleep(clocks):
    watch = SleepWatch()
    clocks.pass_s(1, asleep_s=-3600)
    assert not watch.has_slept(due_at=None)


def test_long_wait_for_nothing_in_particular_is_no_sleep(clocks):
    watch = SleepWatch()
    clocks.pass_s(3600)
    assert not watch.has_slept(due_at=None)


def test_clocks_of_this_machine_move_forward():
    machine = MachineClocks()
    before = machine.boot_s()
    assert abs(machine.wall_ms() / 1000 - time.time()) < 1
    assert machine.boot_s() >= before > 0
    assert machine.boot_id == MachineClocks().boot_id
