"""The graph of a run's tasks: parents, children and levels.

Built once for a run and never changed. Everything is linear in tasks and dependencies, and nothing recurses, so that a
chain of ten thousand tasks is as good as any other graph. What can be wrong with a graph is found by `check`.
"""

from collections.abc import Iterable, Mapping, Sequence

from runabout.engine.cycles import find_cycles
from runabout.records import Condition, TaskConfig


class Graph:
    """Tasks in level order: a task's level is 0 without parents, else one more than its highest parent's.

    `order` is by level, then by name. The first of several tasks with one name counts, a dependency on an unknown task
    is none, and tasks on a cycle have no meaningful level: runs with such errors (see `check`) are never decided.
    """

    def __init__(self, tasks: Sequence[TaskConfig]) -> None:
        self._tasks: dict[str, TaskConfig] = {}
        for task in tasks:
            self._tasks.setdefault(task.name, task)
        self._children: dict[str, list[str]] = {name: [] for name in self._tasks}
        for task in self._tasks.values():
            for dependency in task.depends:
                if dependency.task in self._children:
                    self._children[dependency.task].append(task.name)
        self._levels = self._find_levels()
        self.order: tuple[str, ...] = tuple(sorted(self._tasks, key=lambda name: (self._levels[name], name)))
        self._ranks = {name: rank for rank, name in enumerate(self.order)}

    def _find_levels(self) -> dict[str, int]:
        missing = {
            name: sum(1 for dependency in task.depends if dependency.task in self._tasks)
            for name, task in self._tasks.items()
        }
        levels = dict.fromkeys(self._tasks, 0)
        known = [name for name, count in missing.items() if count == 0]
        while known:
            name = known.pop()
            for child in self._children[name]:
                levels[child] = max(levels[child], levels[name] + 1)
                missing[child] -= 1
                if missing[child] == 0:
                    known.append(child)
        return levels

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def task(self, name: str) -> TaskConfig:
        """Return a task's configuration."""
        return self._tasks[name]

    def parents(self, name: str) -> tuple[str, ...]:
        """Return the names of a task's parents, in the order of the spec."""
        return tuple(dependency.task for dependency in self._tasks[name].depends)

    def children(self, name: str) -> tuple[str, ...]:
        """Return the names of the tasks that depend on one."""
        return tuple(self._children[name])

    def level(self, name: str) -> int:
        """Return a task's level."""
        return self._levels[name]

    def rank(self, name: str) -> int:
        """Return a task's place in `order`."""
        return self._ranks[name]

    def descendants(self, names: Iterable[str]) -> frozenset[str]:
        """Return every task that depends on one of `names`, however indirectly; `names` not included as such."""
        found: set[str] = set()
        ready = list(names)
        while ready:
            for child in self._children[ready.pop()]:
                if child not in found:
                    found.add(child)
                    ready.append(child)
        return frozenset(found)


_CONDITIONS = frozenset(Condition)
_NO_VARIANTS: Mapping[str, tuple[str, ...]] = {}


def check(tasks: Sequence[TaskConfig], *, variants: Mapping[str, tuple[str, ...]] = _NO_VARIANTS) -> tuple[str, ...]:
    """Return everything that is wrong with the graph of `tasks`, each with its field's path; empty if it is sound.

    Args:
        tasks: as in the spec, not expanded, in its order: the paths count in it.
        variants: the names that a task with a matrix stands for; such a task is all of them.
    """
    errors: list[str] = []
    places: dict[str, int] = {}
    for number, task in enumerate(tasks):
        first = places.setdefault(task.name, number)
        if first != number:
            errors.append(
                f'spec.tasks[{number}].name: duplicate task "{task.name}", also spec.tasks[{first}]; rename one of them'
            )
    single = {variant: base for base, names in variants.items() for variant in names}
    parents: dict[str, set[str]] = {}
    for number, task in enumerate(tasks):
        found = parents.setdefault(task.name, set()) if places[task.name] == number else set()
        errors.extend(_dependencies(number, task, places, single, found))
    errors.extend(_cycles(parents, places, variants, single))
    return tuple(errors)


def _dependencies(
    number: int, task: TaskConfig, places: Mapping[str, int], single: Mapping[str, str], parents: set[str]
) -> Iterable[str]:
    """Return what is wrong with the dependencies of one task, and add its sound parents to `parents`."""
    seen: set[str] = set()
    for place, dependency in enumerate(task.depends):
        path, name = f"spec.tasks[{number}].depends[{place}]", dependency.task
        if name in seen:
            yield f'{path}.task: task "{task.name}" already depends on "{name}"; name it once, with all its conditions'
        elif name == task.name:
            yield f'{path}.task: task "{task.name}" depends on itself'
        elif name in places and name in single and single[name] != name:
            yield (
                f'{path}.task: "{name}" is a task and also a variant of "{single[name]}"; '
                "rename the task, so that it is clear which one is meant"
            )
        elif name in places or name in single:
            parents.add(name)
        else:
            yield f'{path}.task: unknown task "{name}"'
        seen.add(name)
        for condition in sorted(set(dependency.conditions) - _CONDITIONS):
            yield (
                f'{path}.conditions: unknown condition "{condition}"; '
                f"there are {', '.join(known.value for known in Condition)}"
            )


def _cycles(
    parents: Mapping[str, set[str]],
    places: Mapping[str, int],
    variants: Mapping[str, tuple[str, ...]],
    single: Mapping[str, str],
) -> Iterable[str]:
    """Return one error for each knot of tasks that depend on each other.

    A task with a matrix and its variants are nodes of their own: the task stands behind its variants, and each variant
    behind what the task depends on.
    """
    below: dict[str, list[str]] = {}
    for name, names in parents.items():
        nodes = variants.get(name) or (name,)
        for node in nodes:
            below[node] = sorted(names)
        if nodes != (name,):
            below[name] = list(nodes)
    for cycle in find_cycles(below):
        members = [name for name in cycle if not (name in variants and variants[name] != (name,))] or list(cycle)
        at = min(range(len(members)), key=lambda index: places[single.get(members[index], members[index])])
        members = [*members[at:], *members[:at]]
        number = places[single.get(members[0], members[0])]
        path = f"spec.tasks[{number}].depends"
        if len(members) == 1:
            yield f'{path}: task "{members[0]}" depends on itself'
        else:
            yield f"{path}: cycle: {' -> '.join([*members, members[0]])}; remove one of these dependencies"
