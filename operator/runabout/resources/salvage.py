"""What is sound in a spec that the schema refuses, so that whatever else is wrong with it can be found, too.

Places in lists stay as they are: a path into what is left is a path into the whole.
"""

import re
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

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
    tasks = left.get("tasks")
    if isinstance(tasks, list | tuple):
        left["tasks"] = [
            _task(task, place, broken[place]) if place in broken else task for place, task in enumerate(tasks)
        ]
    try:
        return RunSpec.model_validate(left)
    except (ValidationError, RecursionError):
        return None


def _task(task: object, place: int, broken: set[str]) -> dict[str, object]:
    """Return a task that stands for one with problems: what of it is sound, and a name that no other has."""
    given = task if isinstance(task, Mapping) else {}
    kept = {field: given[field] for field in _KEPT if field in given and field not in broken and "" not in broken}
    return {**_SOUND, "name": f"task-{place}-without-a-name", **kept}
