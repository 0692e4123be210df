"""Groups as queues: at most one running run for each exact group, first in first out by run id.

A suspended run holds no place. A run holds its group from its start until it is over, also when it has its result. What
is asked and what is changed costs a binary search in the runs of one group; nothing looks at all groups or all runs.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

from runabout.records import RunId

QUEUE = "queue"
REPLACE_QUEUED = "replaceQueued"
CANCEL_IN_PROGRESS = "cancelInProgress"


@dataclass(slots=True)
class _Group:
    """The live runs of one group; each list is sorted by id."""

    running: list[RunId] = field(default_factory=list)
    """one, unless the records say otherwise"""
    waiting: list[RunId] = field(default_factory=list)
    suspended: list[RunId] = field(default_factory=list)
    claims: dict[str, list[RunId]] = field(default_factory=dict)
    """by concurrency: the runs that end older ones, sorted by id"""

    def turn(self) -> RunId | None:
        return self.waiting[0] if self.waiting and not self.running else None

    def is_empty(self) -> bool:
        return not (self.running or self.waiting or self.suspended)


class GroupQueues:
    """All groups with live runs; ids sort by creation.

    Methods that change something return the run whose turn has come by it, None if there is none.
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._of: dict[RunId, str] = {}

    def __len__(self) -> int:
        return len(self._of)

    def add(self, run: RunId, group: str, *, running: bool = False, suspended: bool = False) -> RunId | None:
        """Take a run that is queued, or running already; again has no effect."""
        if run in self._of:
            return None
        before = self.next(group)
        self._of[run] = group
        queue = self._groups.setdefault(group, _Group())
        insort(queue.running if running else queue.suspended if suspended else queue.waiting, run)
        return self._news(group, before)

    def suspend(self, run: RunId, *, suspended: bool) -> RunId | None:
        """Give up or take back a queued run's place; a running one keeps its group."""
        group = self._of.get(run)
        if group is None:
            return None
        before, queue = self.next(group), self._groups[group]
        if suspended and _place(queue.running, run) is None:
            for claims in queue.claims.values():
                _remove(claims, run)
        source, target = (queue.waiting, queue.suspended) if suspended else (queue.suspended, queue.waiting)
        if _remove(source, run):
            insort(target, run)
        return self._news(group, before)

    def start(self, run: RunId) -> None:
        """Note that a run has started: it holds its group now."""
        group = self._of.get(run)
        if group is None:
            return
        queue = self._groups[group]
        if _remove(queue.waiting, run) or _remove(queue.suspended, run):
            insort(queue.running, run)

    def remove(self, run: RunId) -> RunId | None:
        """Forget a run that is over."""
        group = self._of.pop(run, None)
        if group is None:
            return None
        before, queue = self.next(group), self._groups[group]
        for runs in (queue.running, queue.waiting, queue.suspended, *queue.claims.values()):
            _remove(runs, run)
        if queue.is_empty():
            del self._groups[group]
        return self._news(group, before)

    def may_start(self, run: RunId) -> bool:
        """Whether it is this queued run's turn."""
        group = self._of.get(run)
        return group is not None and self._groups[group].turn() == run

    def next(self, group: str) -> RunId | None:
        """Return the run whose turn it is in a group that nobody holds, if there is one."""
        queue = self._groups.get(group)
        return queue.turn() if queue is not None else None

    def behind(self, run: RunId) -> tuple[RunId, int] | None:
        """Return the run that a queued one waits for first, and how many are before it; None if nobody is.

        A suspended run waits for nobody: it stands in no queue.
        """
        group = self._of.get(run)
        if group is None:
            return None
        queue = self._groups[group]
        place = _place(queue.waiting, run)
        if place is None:
            return None
        if queue.running:
            return (queue.running[0], place + len(queue.running))
        return (queue.waiting[0], place) if place else None

    def claim(self, run: RunId, concurrency: str) -> tuple[RunId, ...]:
        """Have a run end the older runs of its group by its `concurrency`; return them the first time, nothing later.

        A suspended run ends nobody: it claims nothing until it has its place.
        """
        group = self._of.get(run)
        if group is None or concurrency not in (REPLACE_QUEUED, CANCEL_IN_PROGRESS):
            return ()
        queue = self._groups[group]
        claims = queue.claims.setdefault(concurrency, [])
        if _place(queue.suspended, run) is not None or _place(claims, run) is not None:
            return ()
        insort(claims, run)
        lists = [queue.waiting, queue.suspended, *([queue.running] if concurrency == CANCEL_IN_PROGRESS else [])]
        return tuple(sorted(older for runs in lists for older in runs[: bisect_left(runs, run)]))

    def replaced_by(self, run: RunId) -> RunId | None:
        """Return the newest run of its group that ends this one, None if nobody does; the same until that is over."""
        group = self._of.get(run)
        if group is None:
            return None
        queue = self._groups[group]
        able = [CANCEL_IN_PROGRESS] if _place(queue.running, run) is not None else [CANCEL_IN_PROGRESS, REPLACE_QUEUED]
        newest = max((claims[-1] for name in able if (claims := queue.claims.get(name))), default=None)
        return newest if newest is not None and newest > run else None

    def _news(self, group: str, before: RunId | None) -> RunId | None:
        after = self.next(group)
        return after if after != before else None


def _place(runs: list[RunId], run: RunId) -> int | None:
    """Return where a run is in a sorted list, None if it is not there."""
    place = bisect_left(runs, run)
    return place if place < len(runs) and runs[place] == run else None


def _remove(runs: list[RunId], run: RunId) -> bool:
    """Take a run out of a sorted list; return whether it was there."""
    place = _place(runs, run)
    if place is None:
        return False
    del runs[place]
    return True
