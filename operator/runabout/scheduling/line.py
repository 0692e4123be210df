"""A line of tasks that wait for the same executors: whose turn it is, at the cost of a few heaps.

The namespace with the fewest tasks on executors comes first; of its root groups, and then of that one's groups, again
the one with the fewest; then the higher priority; then those whose last turn was longest ago; then the older run.
Entries of the heaps are checked when they come to the top, not when something changes: who got a task falls back when
looked at, and `moved` says when one comes forward.
"""

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from runabout.scheduling.offers import Age, Ask, Key
from runabout.scheduling.shares import Part, Path, Shares, path_of

Rank = tuple[tuple[int, ...], int, tuple[int, ...], Age]
"""Less is sooner: tasks on executors of its namespace, root group and group; its priority, which its age begins with;
when each of the three had its last turn; its age."""

_SPARE = 16
"""Stale entries of a heap that do not matter."""


@dataclass(slots=True)
class _Branch:
    """Waiting tasks below a part of their paths: by its own parts, or the tasks themselves where it is a group."""

    size: int = 0
    """tasks in it"""
    parts: dict[str, "_Branch"] = field(default_factory=dict)
    heap: list[tuple[Rank, str]] = field(default_factory=list)
    """of its parts: at least one entry for each, none later than its true rank"""
    tasks: list[tuple[Age, Key]] = field(default_factory=list)
    """a heap; entries of tasks that have left, or have another age now, are stale"""


class Line:
    """Waiting tasks; `shares` says what everybody has on executors, and is looked at whenever a turn is asked for."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._asks: dict[Key, Ask] = {}
        self._root = _Branch()

    def __len__(self) -> int:
        return len(self._asks)

    def add(self, ask: Ask) -> None:
        """Have a task wait."""
        self._asks[ask.key] = ask
        path = path_of(ask.namespace, ask.group)
        branch = self._root
        branch.size += 1
        for name in path:
            branch = branch.parts.setdefault(name, _Branch())
            branch.size += 1
        heappush(branch.tasks, (ask.age, ask.key))
        if branch.tasks[0][1] == ask.key:
            self.moved(path)

    def remove(self, key: Key) -> None:
        """Let a task go; one that does not wait here is none."""
        ask = self._asks.pop(key, None)
        if ask is None:
            return
        branch = self._root
        branch.size -= 1
        for name in path_of(ask.namespace, ask.group):
            below = branch.parts[name]
            below.size -= 1
            if not below.size:
                del branch.parts[name]
                return
            branch = below

    def moved(self, path: Path) -> None:
        """Note that there are fewer tasks of a group on executors than before, or that another one of it is first."""
        branches = [self._root]
        for name in path:
            below = branches[-1].parts.get(name)
            if below is None:
                break
            branches.append(below)
        for depth in range(len(branches) - 1, 0, -1):
            self._enter(branches[depth - 1], path[: depth - 1], path[depth - 1])

    def first(self) -> tuple[Rank, Ask] | None:
        """Return the task whose turn it is, and its rank; None if nobody waits."""
        return self._first_of(self._root, ())

    def _enter(self, branch: _Branch, part: Part, name: str) -> None:
        """Give a part of a branch an entry with its true rank; stale ones go when there are too many."""
        if len(branch.heap) > 2 * len(branch.parts) + _SPARE:
            branch.heap = [(rank, each) for each in branch.parts if (rank := self._rank(branch, part, each))]
            heapify(branch.heap)
            return
        rank = self._rank(branch, part, name)
        if rank is not None:
            heappush(branch.heap, (rank, name))

    def _rank(self, branch: _Branch, part: Part, name: str) -> Rank | None:
        first = self._first_of(branch.parts[name], (*part, name))
        return None if first is None else first[0]

    def _first_of(self, branch: _Branch, part: Part) -> tuple[Rank, Ask] | None:
        """Return the first task of a branch, and its rank among those of the branches beside it."""
        found = self._first_below(branch, part)
        if found is None or not part:
            return found
        (counts, priority, turns, age), ask = found
        rank = ((self._shares.of(part), *counts), priority, (self._shares.turn(part), *turns), age)
        return rank, ask

    def _first_below(self, branch: _Branch, part: Part) -> tuple[Rank, Ask] | None:
        while branch.heap:
            rank, name = branch.heap[0]
            below = branch.parts.get(name)
            true = self._first_of(below, (*part, name)) if below is not None else None
            if true is not None and true[0] == rank:
                return true
            heappop(branch.heap)
            if true is not None:
                heappush(branch.heap, (true[0], name))
        while branch.tasks:
            age, key = branch.tasks[0]
            ask = self._asks.get(key)
            if ask is not None and ask.age == age:
                return ((), age[0], (), age), ask
            heappop(branch.tasks)
        return None
