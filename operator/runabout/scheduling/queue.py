"""Groups as queues: at most one running run for each exact group, first in first out by run id.

A suspended run holds no place. A run holds its group until it is over, also when it has its result. Each operation is
O(log n) in the runs of one group.
"""

from bisect import insort
from dataclasses import dataclass, field

from runabout.records import RunId


@dataclass(slots=True)
class _Group:
    running: RunId | None = None
    waiting: list[RunId] = field(default_factory=list)
    members: int = 0


class GroupQueues:
    """All groups with live runs; ids sort by creation."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._of: dict[RunId, str] = {}
        self._suspended: set[RunId] = set()

    def __len__(self) -> int:
        return len(self._of)

    def add(self, run: RunId, group: str, *, running: bool = False, suspended: bool = False) -> None:
        """Take a run that is queued, or running already; again has no effect."""
        if run in self._of:
            return
        self._of[run] = group
        queue = self._groups.setdefault(group, _Group())
        queue.members += 1
        if running:
            queue.running = run
        elif suspended:
            self._suspended.add(run)
        else:
            insort(queue.waiting, run)

    def suspend(self, run: RunId, *, suspended: bool) -> None:
        """Give up or take back a queued run's place; a running one keeps its group."""
        group = self._of.get(run)
        if group is None or (run in self._suspended) == suspended or self._groups[group].running == run:
            return
        if suspended:
            self._suspended.add(run)
            self._groups[group].waiting.remove(run)
        else:
            self._suspended.discard(run)
            insort(self._groups[group].waiting, run)

    def may_start(self, run: RunId) -> bool:
        """Whether it is this queued run's turn."""
        group = self._of.get(run)
        if group is None or run in self._suspended:
            return False
        queue = self._groups[group]
        return queue.running is None and bool(queue.waiting) and queue.waiting[0] == run

    def start(self, run: RunId) -> None:
        """Note that a run has started: it holds its group now."""
        group = self._of.get(run)
        if group is None:
            return
        queue = self._groups[group]
        if run in queue.waiting:
            queue.waiting.remove(run)
        queue.running = run

    def remove(self, run: RunId) -> None:
        """Forget a run that is over."""
        group = self._of.pop(run, None)
        if group is None:
            return
        queue = self._groups[group]
        if queue.running == run:
            queue.running = None
        elif run not in self._suspended:
            queue.waiting.remove(run)
        self._suspended.discard(run)
        queue.members -= 1
        if not queue.members:
            del self._groups[group]

    def next(self, group: str) -> RunId | None:
        """Return the run whose turn it is in a group that nobody holds, if there is one."""
        queue = self._groups.get(group)
        if queue is None or queue.running is not None or not queue.waiting:
            return None
        return queue.waiting[0]

    def behind(self, run: RunId) -> tuple[RunId, int] | None:
        """Return the run that holds up a queued one, and how many are before it; None if nobody is."""
        group = self._of.get(run)
        if group is None or run in self._suspended:
            return None
        queue = self._groups[group]
        place = queue.waiting.index(run) if run in queue.waiting else 0
        if queue.running is not None and queue.running != run:
            return (queue.running, place + 1)
        return (queue.waiting[0], place) if place else None
