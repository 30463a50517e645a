"""Virtual time: a queue of things to do, and the clocks of a simulated machine."""

import heapq
from collections.abc import Callable
from itertools import count


class Timeline:
    """Runs actions in the order of their times; equal times in the order they were set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.actions = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Run `action` at `time`, or now if that has passed."""
        heapq.heappush(self._heap, (max(time, self.now), next(self._order), action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` in `delay_s` seconds."""
        heapq.heappush(self._heap, (self.now + delay_s, next(self._order), action))

    def skip(self, duration_s: float) -> None:
        """Let time pass in which nothing happens: whatever is planned moves back."""
        self.now += duration_s
        self._heap[:] = [(time + duration_s, order, action) for time, order, action in self._heap]

    def run_until(self, end: float) -> None:
        """Run everything that is due up to `end`."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, action = heapq.heappop(heap)
            self.actions += 1
            action()
        self.now = max(self.now, end)


class HostClocks:
    """The clocks of one machine; the wall clock may jump, and each boot starts another life."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._booted_at = 0.0
        self._boots = 1
        self._ahead_s = 0.0

    def wall_ms(self) -> int:
        """Return the Unix time in milliseconds."""
        return int(1_700_000_000_000 + (self._timeline.now + self._ahead_s) * 1000)

    def boot_s(self) -> float:
        """Return seconds since the machine started."""
        return self._timeline.now - self._booted_at

    @property
    def boot_id(self) -> str:
        """Name this boot of the machine."""
        return str(self._boots)

    def boot(self) -> None:
        """Start the machine again."""
        self._booted_at = self._timeline.now
        self._boots += 1

    def jump(self, by_s: float) -> None:
        """Set the wall clock to another time."""
        self._ahead_s += by_s
