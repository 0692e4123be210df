"""How many bytes of its pod a task's variables take, and which tasks have more than a pod can be given.

Each container of a pod has the run's variables, so services multiply them. What always holds: of one name only the
strongest counts, as in the container, and a value counts as it is written into the pod.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import orjson

from runabout.executors.environment import container_variable, literal
from runabout.executors.manifest import ENVIRONMENT_ADVICE, MAX_POD
from runabout.records import RunConfig
from runabout.resources import EnvironmentVariable, Problem, RunSpec, TaskSpec

MAX_ENVIRONMENTS = MAX_POD - 7 * 1024
"""Bytes of all variables of a pod: what a pod may have, without room for all else."""
_NAMED = 3
"""Tasks of a restart that a message names."""
_Sizes = dict[str, int]


@dataclass(frozen=True, slots=True)
class _Own:
    """Bytes of a task's own variables: of each container by name, and of what its steps take from elsewhere."""

    containers: tuple[_Sizes, ...]
    references: int

    @classmethod
    def of(cls, body: Mapping[str, object]) -> Self:
        """Read them from containers, environment and steps as a Run's spec writes them."""
        containers = [_sizes(_listed(each, "environment")) for each in _listed(body, "containers")]
        first = {**(containers[0] if containers else {}), **_sizes(_listed(body, "environment"))}
        taken = (
            _sizes(item for item in _listed(step, "environment") if "valueFrom" in item)
            for step in _listed(body, "steps")
        )
        return cls((first, *containers[1:]), sum(sum(sizes.values()) for sizes in taken))

    def beside(self, of_all: _Sizes, values: _Sizes) -> int:
        """Return the bytes of all that is no variable of the run; `values` are a variant's, in the first container."""
        first, *others = self.containers
        return self.references + sum(
            size for sizes in ({**first, **values}, *others) for name, size in sizes.items() if name not in of_all
        )


def environment_rules(spec: RunSpec) -> Iterator[Problem]:
    """Return the tasks whose variables no pod can have, and the run's that none can."""
    of_all = {**_of_spec(spec.static_environment), **_of_spec(spec.environment)}
    size = sum(of_all.values())
    if size > MAX_ENVIRONMENTS:
        yield Problem(
            "spec.environment",
            f"with staticEnvironment it takes {size} bytes of every pod, at most {MAX_ENVIRONMENTS}. "
            f"{ENVIRONMENT_ADVICE}",
        )
        return
    for place, task in enumerate(spec.tasks):
        own = _Own.of(_body(task))
        total = len(task.containers) * size + own.beside(of_all, _largest(task.matrix or {}))
        if total > MAX_ENVIRONMENTS:
            yield Problem(
                f"spec.tasks[{place}]",
                f"the variables of its {len(task.containers)} container(s), each of which has the run's, take {total} "
                f"bytes of its pod, at most {MAX_ENVIRONMENTS}. {ENVIRONMENT_ADVICE}",
            )


def crowded(config: RunConfig) -> dict[str, int]:
    """Return the tasks of a restart whose variables have no room in their pods, with their bytes.

    Its environment is another one than that with which the old run was checked.
    """
    variables = (*config.static_environment, *config.environment)
    of_all = {variable.name: _written(container_variable(variable)) for variable in variables}
    size = sum(of_all.values())
    bodies: dict[int, _Own] = {}  # variants share theirs
    found: dict[str, int] = {}
    for task in config.tasks:
        own = bodies.get(id(task.body))
        if own is None:
            own = bodies[id(task.body)] = _Own.of(task.body)
        values = _largest({key: (value,) for key, value in task.values.items()})
        total = len(own.containers) * size + own.beside(of_all, values)
        if total > MAX_ENVIRONMENTS:
            found[task.name] = total
    return found


def no_room(tasks: Mapping[str, int]) -> str:
    """Return the setup error of a restart with such tasks; `tasks` as from `crowded`."""
    named = ", ".join(f"{name} {size}" for name, size in islice(tasks.items(), _NAMED))
    more = f" and {len(tasks) - _NAMED} more" if len(tasks) > _NAMED else ""
    return (
        f"spec.environment: with the old run's variables it takes more than the {MAX_ENVIRONMENTS} bytes that the "
        f"variables of a pod can have, all containers together: of {named}{more}. {ENVIRONMENT_ADVICE}"
    )


def _listed(parent: object, field: str) -> Sequence[Mapping[str, object]]:
    """Return the objects in a list of an object; none where there is no such list."""
    found = parent.get(field) if isinstance(parent, Mapping) else None
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list | tuple) else ()


def _body(task: TaskSpec) -> Mapping[str, object]:
    each = {"__all__": {"environment"}}
    found: Mapping[str, object] = task.model_dump(
        mode="json",
        by_alias=True,
        exclude_unset=True,
        include={"containers": each, "steps": each, "environment": True},
    )
    return found


def _of_spec(variables: Iterable[EnvironmentVariable]) -> _Sizes:
    return _sizes(variable.model_dump(mode="json", by_alias=True, exclude_unset=True) for variable in variables)


def _sizes(variables: Iterable[Mapping[str, object]]) -> _Sizes:
    """Return how many bytes of a pod each variable takes, by name; variables as in a spec."""
    return {
        str(variable.get("name")): _written(
            {**variable, "value": literal(str(variable["value"]))} if "value" in variable else variable
        )
        for variable in variables
    }


def _written(variable: Mapping[str, object]) -> int:
    return len(orjson.dumps(variable)) + 1


def _largest(values: Mapping[str, Sequence[str]]) -> _Sizes:
    """Return what the values of a variant take at most, by key."""
    return {key: max(map(len, each)) + len(key) for key, each in values.items()}
