"""Matrix expansion: a task once for each combination of values.

Variants are named `<task>-<value>-<value>…`, in the order of the keys' names. A dependency on the task is one on every
variant; a variant can be named by its full name. A variant's values stand in its `body` under `matrix`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from runabout.engine.graph import check
from runabout.records import Dependency, TaskConfig

MAX_TASKS = 10_000
"""of one run, after expansion"""
MAX_DEPENDENCIES = 100_000
"""of one run, after expansion: two large matrices, one after the other, multiply"""
_FOREIGN = re.compile(r"[^a-z0-9-]")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Template:
    """A task as in the spec, and its matrix: the values of each key."""

    task: TaskConfig
    matrix: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many tasks it stands for."""
        return prod(len(values) for values in self.matrix.values())


@dataclass(frozen=True, slots=True)
class Expansion:
    """The tasks of a run in the order of its spec, and everything that is wrong with them or their graph.

    With errors the tasks are only good for being shown: names may miss or stand for several tasks.
    """

    tasks: tuple[TaskConfig, ...]
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Variant:
    name: str
    values: Mapping[str, str]


def expand(templates: Sequence[Template]) -> Expansion:
    """Return the tasks that `templates` stand for, and every error of matrices and graph with its field's path."""
    plain = [template.task for template in templates]
    total = sum(template.size for template in templates)
    if total > MAX_TASKS:
        error = f"spec.tasks: {total} tasks after matrix expansion, at most {MAX_TASKS}; use fewer values"
        return Expansion(tuple(plain), (error, *check(plain)))
    variants = [_variants(template) for template in templates]
    names = {
        template.task.name: tuple(variant.name for variant in expanded)
        for template, expanded in zip(templates, variants, strict=True)
        if template.matrix
    }
    errors = [*_name_errors(templates, variants), *check(plain, variants=names)]
    links = sum(
        len(expanded) * sum(len(names.get(dependency.task, (dependency.task,))) for dependency in template.task.depends)
        for template, expanded in zip(templates, variants, strict=True)
    )
    if links > MAX_DEPENDENCIES:
        errors.append(
            f"spec.tasks: {links} dependencies after matrix expansion, at most {MAX_DEPENDENCIES}; "
            "put a task between two large matrices"
        )
        names = {}
    tasks: list[TaskConfig] = []
    for template, expanded in zip(templates, variants, strict=True):
        depends = _depends(template.task, names)
        tasks.extend(_task(template, variant, depends) for variant in expanded)
    return Expansion(tuple(tasks), tuple(errors))


def _variants(template: Template) -> list[_Variant]:
    if not template.matrix:
        return [_Variant(template.task.name, {})]
    keys = sorted(template.matrix)
    return [
        _Variant(
            "-".join([template.task.name, *(_FOREIGN.sub("-", value) for value in values)]),
            dict(zip(keys, values, strict=True)),
        )
        for values in product(*(template.matrix[key] for key in keys))
    ]


def _name_errors(templates: Sequence[Template], variants: Sequence[Sequence[_Variant]]) -> list[str]:
    """Return an error for each variant whose name is no DNS label or is taken already."""
    errors = []
    taken: dict[str, str] = {}
    for number, template in enumerate(templates):
        if not template.matrix:
            taken.setdefault(template.task.name, f"spec.tasks[{number}]")
    for number, (template, expanded) in enumerate(zip(templates, variants, strict=True)):
        if not template.matrix:
            continue
        path = f"spec.tasks[{number}].matrix"
        for variant in expanded:
            values = ", ".join(f"{key}={value}" for key, value in variant.values.items())
            if not _LABEL.fullmatch(variant.name):
                errors.append(
                    f'{path}: the variant of {values} would be called "{variant.name}", which is no DNS label '
                    "(at most 63 characters, a letter or digit at both ends); change the values"
                )
            elif variant.name in taken:
                errors.append(
                    f'{path}: the variant of {values} would be called "{variant.name}", as is {taken[variant.name]}; '
                    "change the values or the task's name"
                )
            taken.setdefault(variant.name, f"the variant of {values} of {path}")
    return errors


def _depends(task: TaskConfig, names: Mapping[str, tuple[str, ...]]) -> tuple[Dependency, ...]:
    return tuple(
        dependency if dependency.task not in names else replace(dependency, task=name)
        for dependency in task.depends
        for name in names.get(dependency.task, (dependency.task,))
    )


def _task(template: Template, variant: _Variant, depends: tuple[Dependency, ...]) -> TaskConfig:
    if not template.matrix:
        return replace(template.task, depends=depends) if depends != template.task.depends else template.task
    body = {**template.task.body, "matrix": variant.values}
    return replace(template.task, name=variant.name, depends=depends, body=body)
