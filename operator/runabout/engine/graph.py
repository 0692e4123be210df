"""The graph of a run's tasks: parents, children, levels, and what can be wrong with it."""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from runabout.records import TaskConfig


class Graph:
    """Tasks in level order: a task's level is 0 without parents, else one more than its highest parent's.

    Dependencies on unknown tasks, and tasks on a cycle, are left out of the order's guarantees: such a run has setup
    errors (see `check`) and is never decided.
    """

    def __init__(self, tasks: Sequence[TaskConfig]) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._children: dict[str, list[str]] = {name: [] for name in self._tasks}
        for task in self._tasks.values():
            for dependency in task.depends:
                if dependency.task in self._children:
                    self._children[dependency.task].append(task.name)
        self._levels = self._level_all()
        self.order: tuple[str, ...] = tuple(sorted(self._tasks, key=lambda name: (self._levels[name], name)))

    def _level_all(self) -> dict[str, int]:
        open_parents = {
            name: sum(1 for dependency in task.depends if dependency.task in self._tasks)
            for name, task in self._tasks.items()
        }
        levels = dict.fromkeys(self._tasks, 0)
        ready = [name for name, count in open_parents.items() if count == 0]
        while ready:
            name = ready.pop()
            for child in self._children[name]:
                levels[child] = max(levels[child], levels[name] + 1)
                open_parents[child] -= 1
                if open_parents[child] == 0:
                    ready.append(child)
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


def check(tasks: Sequence[TaskConfig]) -> tuple[str, ...]:
    """Return everything that is wrong with the graph of `tasks`, each with its field's path; empty if it is sound."""
    errors: list[str] = []
    first: dict[str, int] = {}
    for number, task in enumerate(tasks):
        if task.name in first:
            errors.append(
                f'spec.tasks[{number}].name: duplicate task "{task.name}", also spec.tasks[{first[task.name]}]; '
                "give it another name"
            )
        else:
            first[task.name] = number
    sound = TopologicalSorter[str]()
    for number, task in enumerate(tasks):
        seen: set[str] = set()
        for place, dependency in enumerate(task.depends):
            path = f"spec.tasks[{number}].depends[{place}].task"
            if dependency.task in seen:
                errors.append(f'{path}: "{dependency.task}" is already a dependency of "{task.name}"; name it once')
            elif dependency.task == task.name:
                errors.append(f'{path}: task "{task.name}" depends on itself')
            elif dependency.task not in first:
                errors.append(f'{path}: unknown task "{dependency.task}"')
            else:
                sound.add(task.name, dependency.task)
            seen.add(dependency.task)
    try:
        sound.prepare()
    except CycleError as error:
        members = error.args[1][::-1]
        errors.append(f"spec.tasks: cycle: {' -> '.join(members)}; remove one of these dependencies")
    return tuple(errors)
