"""Waiting tasks held back by their own run's limit, so that no line has to look at them again and again.

What is held is let go in the same order, as many of each line as the run may have more: a run with ten thousand tasks
and a limit of ten costs a few steps for each slot that becomes free, not ten thousand.
"""

from collections.abc import Callable
from heapq import heappop, heappush

from runabout.records import RunId
from runabout.scheduling.offers import Age, Ask

_Places = tuple[str, ...]


class Held:
    """Held tasks by run and by the line they belong to."""

    def __init__(self) -> None:
        self._heaps: dict[RunId, dict[_Places, list[tuple[Age, int, Ask]]]] = {}
        self._count = 0

    def add(self, ask: Ask, places: _Places) -> None:
        """Hold a task that stood in the line for `places`."""
        self._count += 1  # an Ask itself has no order
        heappush(self._heaps.setdefault(ask.run, {}).setdefault(places, []), (ask.age, self._count, ask))

    def let_go(self, run: RunId, room: int, *, is_waiting: Callable[[Ask], bool]) -> list[Ask]:
        """Return the first `room` tasks of each line, which are held no more; those that wait no more are forgotten."""
        heaps = self._heaps.get(run)
        if heaps is None:
            return []
        free = []
        for places, heap in tuple(heaps.items()):
            left = room
            while heap and left > 0:
                ask = heappop(heap)[2]
                if is_waiting(ask):
                    free.append(ask)
                    left -= 1
            if not heap:
                del heaps[places]
        if not heaps:
            del self._heaps[run]
        return free

    def forget(self, run: RunId) -> None:
        """Forget what is held of a run of which nothing waits any more."""
        self._heaps.pop(run, None)

    def clear(self) -> None:
        """Forget everything."""
        self._heaps.clear()
