"""How many tasks everybody has on executors: each namespace, each root group, each group.

A team may be any of the three: it has a namespace to itself, or a project, or a branch. So turns are fair between
namespaces first, then between the root groups of one, then between the groups of that: whoever has many groups, as a
Run without a `group` has one of its own, gets no more for it. Between two that have equally many, and whose tasks are
of one priority, it is the turn of the one that got its last task longer ago: else, with fewer slots than teams, whoever
has the oldest runs would get every slot.
"""

from collections import Counter

from runabout.engine.groups import root_group

Path = tuple[str, str, str]
"""namespace, root group, group"""
Part = tuple[str, ...]
"""the first elements of a path: of a namespace, a root group, a group"""

MAX_TURNS = 30_000
"""Parts whose last turn is remembered."""


def path_of(namespace: str, group: str) -> Path:
    """Return where a run's tasks are counted; `group` is its effective one."""
    return (namespace, root_group(group), group)


class Shares:
    """Tasks on executors, counted for each part of their paths; and who got one when."""

    def __init__(self) -> None:
        self._counts: Counter[Part] = Counter()
        self._turns: dict[Part, int] = {}
        """by the order of the last turns; those that were longest ago are forgotten"""
        self._turn = 0

    def of(self, part: Part) -> int:
        """Return how many tasks of a namespace, a root group or a group are on executors."""
        return self._counts[part]

    def turn(self, part: Part) -> int:
        """Return when a part got its last task: a higher number is later, 0 was long ago or never."""
        return self._turns.get(part, 0)

    def add(self, path: Path) -> None:
        """Count a task that gets its place now."""
        self._turn += 1
        for length in range(1, len(path) + 1):
            part = path[:length]
            self._counts[part] += 1
            self._turns.pop(part, None)
            self._turns[part] = self._turn
        while len(self._turns) > MAX_TURNS:
            del self._turns[next(iter(self._turns))]

    def remove(self, path: Path) -> None:
        """Count a task no more; what is at 0 is forgotten."""
        for length in range(1, len(path) + 1):
            part = path[:length]
            self._counts[part] -= 1
            if self._counts[part] <= 0:
                del self._counts[part]
