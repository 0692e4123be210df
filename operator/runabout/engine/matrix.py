"""Matrix expansion: a task once for each combination of values, and everything that can be wrong with that.

What a task with a matrix stands for is said in `records.matrix`; a variant can be named by its full name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from runabout.engine.graph import check
from runabout.records import ARCH_KEY, TaskConfig, Variant, expanded, variants
from runabout.resources.fields import ARCH, MAX_ARCH, MEANINGS

MAX_TASKS = 10_000
"""of one run, after expansion"""
MAX_DEPENDENCIES = 100_000
"""of one run, after expansion: two large matrices, one after the other, multiply"""
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


def expand(templates: Sequence[Template]) -> Expansion:
    """Return the tasks that `templates` stand for, and every error of matrices and graph with its field's path."""
    plain = [template.task for template in templates]
    archs = _arch_errors(templates)
    total = sum(template.size for template in templates)
    if total > MAX_TASKS:
        error = f"spec.tasks: {total} tasks after matrix expansion, at most {MAX_TASKS}; use fewer values"
        return Expansion(tuple(plain), (error, *archs, *check(plain)))
    stored = [
        replace(template.task, matrix={key: tuple(values) for key, values in template.matrix.items()})
        for template in templates
    ]
    found = [variants(task) for task in stored]
    names = {
        template.task.name: tuple(variant.name for variant in made)
        for template, made in zip(templates, found, strict=True)
        if template.matrix
    }
    errors = [*archs, *_name_errors(templates, found), *check(plain, variants=names)]
    links = sum(
        len(made) * sum(len(names.get(dependency.task, (dependency.task,))) for dependency in template.task.depends)
        for template, made in zip(templates, found, strict=True)
    )
    if links > MAX_DEPENDENCIES:
        errors.append(
            f"spec.tasks: {links} dependencies after matrix expansion, at most {MAX_DEPENDENCIES}; "
            "put a task between two large matrices"
        )
        stored = [replace(task, depends=()) for task in stored]
    return Expansion(expanded(stored), tuple(errors))


def _arch_errors(templates: Sequence[Template]) -> list[str]:
    """Return an error for each value of the key `arch` that is no architecture, and for each task that has both."""
    errors = []
    for number, template in enumerate(templates):
        values = template.matrix.get(ARCH_KEY, ())
        path = f"spec.tasks[{number}]"
        errors += [
            f"{path}.matrix.{ARCH_KEY}[{place}]: {value!r} is no architecture: expected at most {MAX_ARCH} characters, "
            f"{MEANINGS[ARCH]}"
            for place, value in enumerate(values)
            if len(value) > MAX_ARCH or not re.fullmatch(ARCH.strip("^$"), value)
        ]
        if values and template.task.arch is not None:
            errors.append(
                f"{path}.arch: {template.task.arch}, but the matrix has the key {ARCH_KEY}, whose values are the "
                "architectures of the variants; leave one of them"
            )
    return errors


def _name_errors(templates: Sequence[Template], found: Sequence[Sequence[Variant]]) -> list[str]:
    """Return an error for each variant whose name is no DNS label or is taken already."""
    errors = []
    taken: dict[str, str] = {}
    for number, template in enumerate(templates):
        if not template.matrix:
            taken.setdefault(template.task.name, f"spec.tasks[{number}]")
    for number, (template, made) in enumerate(zip(templates, found, strict=True)):
        if not template.matrix:
            continue
        path = f"spec.tasks[{number}].matrix"
        for variant in made:
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
