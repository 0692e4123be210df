"""What a task with a matrix stands for: a variant for each combination of values.

Variants are named `<task>-<value>-<value>…`, in the order of the keys' names; characters that no DNS label can have
become `-`. A dependency on the task is one on every variant. Values of the key `arch` are variables like all others,
and the architectures of the variants as well. What is stored is the task with its matrix, once: ten thousand variants
of a long script are as small as the script. Names that collide and values that no key can have are for the engine to
refuse.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Any, Self

from pydantic import WrapSerializer, WrapValidator

from runabout.records.task import Dependency, TaskConfig

ARCH_KEY = "arch"
"""The key of a matrix whose values say which architecture a variant needs."""
_FOREIGN = re.compile(r"[^a-z0-9-]")


@dataclass(frozen=True, slots=True)
class Variant:
    """One combination of values, by their keys, and the name of the task that it is."""

    name: str
    values: Mapping[str, str]


class ExpandedTasks(tuple[TaskConfig, ...]):  # noqa: SLOT001 - a tuple cannot have slots that are not empty
    """A run's tasks, some of them variants; `templates` are what they come from, and what is stored."""

    templates: tuple[TaskConfig, ...]

    def __new__(cls, tasks: Iterable[TaskConfig], templates: tuple[TaskConfig, ...]) -> Self:
        """Return `tasks`, which remember their templates."""
        made = super().__new__(cls, tasks)
        made.templates = templates
        return made


def templates_of(tasks: tuple[TaskConfig, ...]) -> tuple[TaskConfig, ...]:
    """Return what a run's tasks come from: those with a matrix once, all others as they are."""
    return tasks.templates if isinstance(tasks, ExpandedTasks) else tasks


def variants(task: TaskConfig) -> list[Variant]:
    """Return what a task stands for, in the order of its values; one without a matrix for itself."""
    if not task.matrix:
        return [Variant(task.name, {})]
    keys = sorted(task.matrix)
    return [
        Variant(
            "-".join([task.name, *(_FOREIGN.sub("-", value) for value in values)]),
            dict(zip(keys, values, strict=True)),
        )
        for values in product(*(task.matrix[key] for key in keys))
    ]


def expanded(templates: Sequence[TaskConfig]) -> tuple[TaskConfig, ...]:
    """Return the tasks that `templates` stand for, in their order; all variants of one share everything they can."""
    if not any(task.matrix for task in templates):
        return tuple(templates)
    found = [variants(task) for task in templates]
    names = {
        task.name: [variant.name for variant in made]
        for task, made in zip(templates, found, strict=True)
        if task.matrix
    }
    tasks: list[TaskConfig] = []
    for task, made in zip(templates, found, strict=True):
        depends = _depends(task, names)
        if task.matrix:
            tasks += [
                replace(
                    task,
                    name=variant.name,
                    depends=depends,
                    arch=variant.values.get(ARCH_KEY, task.arch),
                    matrix={},
                    values=variant.values,
                )
                for variant in made
            ]
        else:
            tasks.append(replace(task, depends=depends))
    return ExpandedTasks(tasks, tuple(templates))


def _depends(task: TaskConfig, names: Mapping[str, Sequence[str]]) -> tuple[Dependency, ...]:
    return tuple(
        dependency if dependency.task not in names else replace(dependency, task=name)
        for dependency in task.depends
        for name in names.get(dependency.task, (dependency.task,))
    )


_Read = Callable[[Any], tuple[TaskConfig, ...]]
_Write = Callable[[tuple[TaskConfig, ...]], Any]


def _read(stored: Any, read: _Read) -> tuple[TaskConfig, ...]:  # noqa: ANN401 - whatever was stored
    return stored if isinstance(stored, ExpandedTasks) else expanded(read(stored))


def _write(tasks: tuple[TaskConfig, ...], write: _Write) -> Any:  # noqa: ANN401 - what a writer makes of it
    return write(templates_of(tasks))


StoredTasks = Annotated[tuple[TaskConfig, ...], WrapValidator(_read), WrapSerializer(_write)]
"""A run's tasks: expanded wherever they are read, with their matrices where they are stored."""
