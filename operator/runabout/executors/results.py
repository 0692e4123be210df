"""References to results of other tasks, `{{ tasks.NAME.results.KEY }}`, in what a task's steps run.

The toolbox fetches the values before the first step; nothing of them is in a record, a plan or any other object. In a
script a reference becomes one to a variable of the environment, so that no value is ever read as a command.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PREFIX = "RUNABOUT_RESULT_"
REFERENCE = re.compile(r"\{\{\s*tasks\.([a-z0-9-]+)\.results\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
"""The toolbox fills in by the same pattern."""


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A result of another task."""

    task: str
    key: str

    @property
    def variable(self) -> str:
        """The variable in which steps find it; two references can want the same one."""
        return f"{PREFIX}{self.task.replace('-', '_').upper()}_{self.key}"

    def __str__(self) -> str:
        return f"tasks.{self.task}.results.{self.key}"


def references_in(text: str) -> tuple[Reference, ...]:
    """Return the references in a text, in its order."""
    return tuple(Reference(task, key) for task, key in REFERENCE.findall(text))


def references(body: Mapping[str, object]) -> tuple[Reference, ...]:
    """Return what the steps of a task refer to, each once; `body` is the task as users write it."""
    found = (reference for _, _, text in _texts(body) for reference in references_in(text))
    return tuple(dict.fromkeys(found))


def in_script(text: str) -> str:
    """Return a script with variables in the place of references."""
    return REFERENCE.sub(lambda found: f"${{{Reference(found[1], found[2]).variable}}}", text)


def referring_steps(body: Mapping[str, object]) -> Iterator[tuple[int, str]]:
    """Yield place and field of each step that refers to results."""
    for place, field, text in _texts(body):
        if REFERENCE.search(text):
            yield place, field


def planned(body: Mapping[str, object]) -> list[dict[str, object]]:
    """Return what the plan says of the results that the task's steps want."""
    return [
        {"task": reference.task, "key": reference.key, "environment": reference.variable}
        for reference in references(body)
    ]


def _texts(body: Mapping[str, object]) -> Iterator[tuple[int, str, str]]:
    """Yield place, field and text of each step's script and values that may have references in them."""
    steps = body.get("steps")
    for place, step in enumerate(steps if isinstance(steps, list | tuple) else ()):
        if not isinstance(step, Mapping):
            continue
        variables = step.get("environment")
        values = [
            ("environment", variable.get("value"))
            for variable in (variables if isinstance(variables, list | tuple) else ())
            if isinstance(variable, Mapping)
        ]
        for field, text in (("run", step.get("run")), *values):
            if isinstance(text, str) and "{{" in text:
                yield place, field, text
