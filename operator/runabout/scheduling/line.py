"""A line of tasks that wait for the same executors: whose turn it is, at the cost of a heap.

Fair by group: the group with the fewest tasks on executors comes first, then the one whose first task has the higher
priority, then the older one. Entries of the heaps are checked when they come to the top, not when something changes: a
group that got a task falls back when it is looked at, and `moved` says when one comes forward.
"""

from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from runabout.scheduling.offers import Age, Ask, Key

Rank = tuple[int, Age]
"""tasks of its group on executors, then its age: less is sooner"""


class Line:
    """Waiting tasks; `active` counts each group's tasks on executors and is looked at whenever a turn is asked for."""

    def __init__(self, active: Mapping[str, int]) -> None:
        self._active = active
        self._asks: dict[Key, Ask] = {}
        self._by_group: dict[str, list[tuple[Age, Key]]] = {}
        """a heap for each group; entries of tasks that have left, or have another age now, are stale"""
        self._sizes: dict[str, int] = {}
        self._heap: list[tuple[Rank, str]] = []
        """at least one entry for each group, none later than its true rank"""

    def __len__(self) -> int:
        return len(self._asks)

    def add(self, ask: Ask) -> None:
        """Have a task wait."""
        self._asks[ask.key] = ask
        group = self._by_group.setdefault(ask.group, [])
        self._sizes[ask.group] = self._sizes.get(ask.group, 0) + 1
        heappush(group, (ask.age, ask.key))
        if group[0][1] == ask.key:
            heappush(self._heap, ((self._active.get(ask.group, 0), ask.age), ask.group))

    def remove(self, key: Key) -> None:
        """Let a task go; one that does not wait here is none."""
        ask = self._asks.pop(key, None)
        if ask is None:
            return
        self._sizes[ask.group] -= 1
        if not self._sizes[ask.group]:
            del self._sizes[ask.group]
            del self._by_group[ask.group]

    def moved(self, group: str) -> None:
        """Note that a group has fewer tasks on executors than before."""
        first = self._first_of(group)
        if first is not None:
            heappush(self._heap, ((self._active.get(group, 0), first.age), group))
        if len(self._heap) > 2 * len(self._by_group) + 16:
            self._heap = [
                ((self._active.get(name, 0), ask.age), name)
                for name in self._by_group
                if (ask := self._first_of(name)) is not None
            ]
            heapify(self._heap)

    def first(self) -> tuple[Rank, Ask] | None:
        """Return the task whose turn it is, and its rank; None if nobody waits."""
        while self._heap:
            rank, group = self._heap[0]
            ask = self._first_of(group)
            if ask is None:
                heappop(self._heap)
                continue
            true = (self._active.get(group, 0), ask.age)
            if true == rank:
                return rank, ask
            heappop(self._heap)
            if true > rank:
                heappush(self._heap, (true, group))
        return None

    def _first_of(self, group: str) -> Ask | None:
        heap = self._by_group.get(group)
        while heap:
            age, key = heap[0]
            ask = self._asks.get(key)
            if ask is not None and ask.age == age:
                return ask
            heappop(heap)
        return None
