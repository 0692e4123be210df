"""What is sound in a spec that the schema refuses, so that whatever else is wrong with it can be found, too.

Places in lists stay as they are: a path into what is left is a path into the whole.
"""

import re
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from runabout.resources.fields import DNS_LABEL
from runabout.resources.problems import Problem
from runabout.resources.run import RunSpec

_TASK = re.compile(r"spec\.tasks\[(\d+)\](?:\.([A-Za-z]+))?")
_FIELD = re.compile(r"spec\.([A-Za-z]+)")
TOO_DEEP = "levels deep"
"""In the one problem of a spec that is nested too deep, about which nothing else is known then."""
_KEPT = ("name", "depends", "matrix", "arch", "skip", "needsApproval")
"""Fields of a task that has problems elsewhere which the graph and other tasks depend on."""
_SOUND = {"containers": [{"image": "x"}], "steps": [{"run": "true"}]}


def sound_part(spec: object, problems: Iterable[Problem]) -> RunSpec | None:
    """Return a spec that has everything in which there was no problem; None if that is not enough to make one.

    Args:
        spec: what was refused, JSON as Python values.
        problems: all that the schema has found in it, with paths from `spec` on.
    """
    problems = tuple(problems)
    if not isinstance(spec, Mapping) or any(TOO_DEEP in problem.message for problem in problems):
        return None
    known = {field.alias for field in RunSpec.model_fields.values()}
    left = {key: value for key, value in spec.items() if key in known and value is not None}
    broken: dict[int, set[str]] = {}
    for problem in problems:
        task, field = _TASK.match(problem.path), _FIELD.match(problem.path)
        if task is not None:
            broken.setdefault(int(task[1]), set()).add(task[2] or "")
        elif field is not None:
            left.pop(field[1], None)
    for parents in (True, False):  # the names of parents alone may be wrong together
        try:
            return RunSpec.model_validate(_with_tasks(left, broken, parents=parents))
        except (ValidationError, RecursionError):
            continue
    return None


def _with_tasks(spec: Mapping[str, object], broken: Mapping[int, set[str]], *, parents: bool) -> dict[str, object]:
    tasks = spec.get("tasks")
    if not isinstance(tasks, list | tuple):
        return dict(spec)
    sound = [
        _task(task, place, broken[place], parents=parents) if place in broken else task
        for place, task in enumerate(tasks)
    ]
    return {**spec, "tasks": sound}


def _task(task: object, place: int, broken: set[str], *, parents: bool) -> dict[str, object]:
    """Return a task that stands for one with problems: what of it is sound, and a name that no other has."""
    given = task if isinstance(task, Mapping) else {}
    kept = {field: given[field] for field in _KEPT if field in given and field not in broken and "" not in broken}
    if parents and "depends" in broken and "" not in broken:
        kept["depends"] = _parents(given.get("depends"))
    return {**_SOUND, "name": f"task-{place}-without-a-name", **kept}


def _parents(depends: object) -> list[dict[str, object]]:
    """Return the dependencies up to the first that names no task: places stay as they are."""
    found: list[dict[str, object]] = []
    for each in depends if isinstance(depends, list | tuple) else ():
        name = each.get("task") if isinstance(each, Mapping) else None
        if not isinstance(name, str) or not re.fullmatch(DNS_LABEL, name) or {"task": name} in found:
            break
        found.append({"task": name})
    return found
