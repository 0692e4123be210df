"""The plan that a pod carries for its toolbox: what to run, never a secret value (docs/internals/toolbox.md).

What always holds: the steps of the plan are the task's, in their order; a step's reference to a Secret or ConfigMap
becomes a variable of the container, which Kubernetes fills, and the plan only names it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from runabout.executors import cloning, results
from runabout.executors.environment import container_variable, merged
from runabout.executors.environment import environment as level
from runabout.executors.errors import InvalidPodError
from runabout.executors.names import PodKey
from runabout.records import EnvVar, TaskConfig

VERSION = 1
STEP_KINDS = ("run", "clone", "saveToWorkspace", "restoreWorkspace", "saveCache", "restoreCache")
_TEXTS = ("shell", "workingDir", "user")
_ARCHIVES = {
    "saveToWorkspace": ("contents",),
    "restoreWorkspace": ("destDir",),
    "saveCache": ("key", "contents"),
    "restoreCache": ("keys", "destDir"),
}
"""The kinds that save or restore files, and what they have besides what all steps have."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan as bytes of JSON, and the container variables that it refers to."""

    body: str
    variables: tuple[dict[str, object], ...]


def step_names(task: TaskConfig) -> tuple[str, ...]:
    """Return the names of the task's steps; one without a name is called after its kind and place (`run-2`)."""
    return tuple(_name(step, index) for index, step in enumerate(_steps(task)))


def plan(
    key: PodKey,
    task: TaskConfig,
    *,
    user: str,
    grace_seconds: int,
    gateway: Mapping[str, str] | None = None,
    environment: Iterable[Mapping[str, object]] = (),
) -> Plan:
    """Return the plan of one attempt; `user` is what the container asks for by name, the task's own is stronger.

    `gateway` is how the toolbox reaches it, where a step needs it. `environment` is the container's, apart from the
    steps' own: the toolbox masks what comes from Secrets there.

    Raises:
        InvalidPodError: a step is of no kind that can be run, or has an invalid environment.
    """
    variables: list[dict[str, object]] = []
    content: dict[str, object] = {
        "version": VERSION,
        "run": key.run,
        "task": key.task,
        "attempt": key.attempt,
        "gracePeriodSeconds": grace_seconds,
    }
    if task.timeout_seconds:
        content["timeoutSeconds"] = task.timeout_seconds
    codes = task.body.get("skipRestOnExitCodes")
    if codes:
        content["skipRestOnExitCodes"] = codes
    if user:
        content["user"] = user
    if gateway is not None:
        content["gateway"] = dict(gateway)
    content.update(_texts(task.body, f"tasks[{key.task}]"))
    wanted = results.planned(task.body)
    if wanted:
        content["results"] = wanted
    logins = cloning.credentials(task)
    content["steps"] = [
        _step(step, index, variables, logins, f"tasks[{key.task}].steps[{index}]")
        for index, step in enumerate(_steps(task))
    ]
    secrets = [variable["name"] for variable in (*environment, *variables) if _is_secret(variable)]
    if secrets:
        content["secrets"] = secrets
    return Plan(body=orjson.dumps(content).decode(), variables=tuple(variables))


def _steps(task: TaskConfig) -> list[Mapping[str, object]]:
    steps = task.body.get("steps") or []
    if not isinstance(steps, list | tuple):
        raise InvalidPodError(f"tasks[{task.name}].steps: expected a list, found {type(steps).__name__}")
    return [step if isinstance(step, Mapping) else {} for step in steps]


def _kind(step: Mapping[str, object]) -> str | None:
    kinds = [kind for kind in STEP_KINDS if step.get(kind) is not None]
    return kinds[0] if len(kinds) == 1 else None


def _name(step: Mapping[str, object], index: int) -> str:
    name = step.get("name")
    return name if isinstance(name, str) and name else f"{_kind(step) or 'step'}-{index + 1}"


def _step(
    step: Mapping[str, object],
    index: int,
    variables: list[dict[str, object]],
    logins: tuple[str, ...],
    where: str,
) -> dict[str, object]:
    kind = _kind(step)
    if kind is None:
        raise InvalidPodError(f"{where}: expected exactly one of {', '.join(STEP_KINDS)}")
    planned: dict[str, object] = {"name": _name(step, index), "kind": kind, **_texts(step, where)}
    if kind == "run":
        command = step["run"]
        if not isinstance(command, str):
            raise InvalidPodError(f"{where}.run: expected a text, found {type(command).__name__}")
        planned["command"] = results.in_script(command)
    elif kind == cloning.KIND:
        planned["clone"] = cloning.planned(step[kind], logins, f"{where}.{kind}")
    else:
        planned |= _archive(step[kind], _ARCHIVES[kind], f"{where}.{kind}")
    timeout = step.get("timeoutSeconds")
    if isinstance(timeout, int) and timeout > 0:
        planned["timeoutSeconds"] = timeout
    own = merged(level(step.get("environment"), f"{where}.environment"))
    if own:
        planned["environment"] = [_variable(variable, variables) for variable in own]
    return planned


def _archive(source: object, fields: tuple[str, ...], where: str) -> dict[str, object]:
    if not isinstance(source, Mapping):
        raise InvalidPodError(f"{where}: expected an object, found {type(source).__name__}")
    return {field: source[field] for field in fields if source.get(field) is not None}


def _variable(variable: EnvVar, variables: list[dict[str, object]]) -> dict[str, object]:
    if variable.value_from is None:
        value = variable.value or ""
        filled = {"results": True} if results.references_in(value) else {}
        return {"name": variable.name, "value": value, **filled}
    name = f"RUNABOUT_ENV_{len(variables)}"
    variables.append(container_variable(variable, name=name))
    return {"name": variable.name, "from": name}


def _is_secret(variable: Mapping[str, object]) -> bool:
    source = variable.get("valueFrom")
    return isinstance(source, Mapping) and "secretKeyRef" in source


def _texts(source: Mapping[str, object], where: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in _TEXTS:
        value = source.get(key)
        if value is None or value == "":
            continue
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise InvalidPodError(f"{where}.{key}: expected a text, found {type(value).__name__}")
        found[key] = str(value)
    return found
