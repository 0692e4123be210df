"""What is wrong with references to results of other tasks: that nobody hands on, or that nothing fills in."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod

from runabout.executors.results import Reference, references_in
from runabout.records import TaskConfig
from runabout.resources import EnvironmentVariable, Problem, RunSpec, TaskSpec

_MEANT = re.compile(r"\{\{\s*tasks\.[^{}]*?\.results\b[^{}]*\}\}")
"""What was certainly meant to be a reference."""
_ADVICE = "write {{ tasks.NAME.results.KEY }}"


def result_rules(spec: RunSpec, tasks: Sequence[TaskConfig]) -> Iterator[Problem]:
    """Return what is wrong, with paths from `spec` on; `tasks` are those of a sound spec, expanded, in its order."""
    for field, variables in (("environment", spec.environment), ("staticEnvironment", spec.static_environment)):
        yield from _nowhere(variables, f"spec.{field}")
    parents = {task.name: tuple(parent.task for parent in task.depends) for task in tasks}
    first = 0
    for place, task in enumerate(spec.tasks):
        where = f"spec.tasks[{place}]"
        yield from _nowhere(task.environment, f"{where}.environment")
        for number, container in enumerate(task.containers):
            yield from _nowhere(container.environment, f"{where}.containers[{number}].environment")
        yield from _task(task, tasks[first].name, parents, where)
        first += prod(len(values) for values in (task.matrix or {}).values())


def _nowhere(variables: Sequence[EnvironmentVariable], where: str) -> Iterator[Problem]:
    for place, variable in enumerate(variables):
        if variable.value is not None and _MEANT.search(variable.value):
            yield Problem(
                f"{where}[{place}].value",
                "results of other tasks are filled in in steps only: move the variable to a step's environment",
            )


def _task(task: TaskSpec, name: str, parents: Mapping[str, Sequence[str]], where: str) -> Iterator[Problem]:
    """Return the problems of a task; all variants of a matrix have the same ancestors, so one of them is looked at."""
    seen: dict[str, Reference] = {}
    found = [(path, text) for path, text in _texts(task, where) if "{{" in text]
    ancestors = _ancestors(name, parents) if any(references_in(text) for _, text in found) else frozenset[str]()
    for path, text in found:
        wanted = references_in(text)
        if len(_MEANT.findall(text)) > len(wanted):
            yield Problem(path, f"has a reference to a result that is not sound: {_ADVICE}")
        for reference in dict.fromkeys(wanted):
            if reference.task not in parents:
                yield Problem(path, f'{reference}: unknown task "{reference.task}"; of a matrix, name one variant')
            elif reference.task not in ancestors:
                yield Problem(path, f'{reference}: this task does not depend on "{reference.task}": add it to depends')
            other = seen.setdefault(reference.variable, reference)
            if other != reference:
                yield Problem(path, f"{reference} and {other} have the same variable {reference.variable}: rename one")


def _texts(task: TaskSpec, where: str) -> Iterator[tuple[str, str]]:
    for place, step in enumerate(task.steps):
        if step.run is not None:
            yield f"{where}.steps[{place}].run", step.run
        for number, variable in enumerate(step.environment):
            if variable.value is not None:
                yield f"{where}.steps[{place}].environment[{number}].value", variable.value


def _ancestors(name: str, parents: Mapping[str, Sequence[str]]) -> frozenset[str]:
    found: set[str] = set()
    pending = list(parents[name])
    while pending:
        parent = pending.pop()
        if parent not in found:
            found.add(parent)
            pending.extend(parents.get(parent, ()))
    return frozenset(found)
