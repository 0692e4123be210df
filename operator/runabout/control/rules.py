"""What is wrong with a Run beyond schema and graph: names that collide, values that no pod can have.

All of it would fail a task later, with one error for each attempt; found here, all errors come at once and before
anything runs. Nothing here depends on the cluster or on an executor.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson
from pydantic import BaseModel

from runabout.control.archiverules import archive_rules
from runabout.control.clonerules import clone_rules
from runabout.control.environments import environment_rules
from runabout.executors.containers import MOUNT, OWN_PREFIX, default_name, is_our_place
from runabout.executors.environment import RESERVED_PREFIX
from runabout.executors.manifest import MAX_PLAN
from runabout.executors.security import container_user
from runabout.records import ARCH_KEY
from runabout.resources import (
    Container,
    EnvironmentVariable,
    ExecutorSpec,
    PodDefaults,
    Problem,
    RetriesSpec,
    RunSpec,
    TaskSpec,
)
from runabout.resources.fields import MEANINGS, VARIABLE
from runabout.resources.problems import path_text

OWN_DOMAIN = "runabout.dev"
OWN_LABELS = frozenset({"app.kubernetes.io/managed-by"})
OWN_ANNOTATIONS = frozenset(
    {"kubectl.kubernetes.io/default-container", "cluster-autoscaler.kubernetes.io/safe-to-evict"}
)
PLAN_ROOM = 16 * 1024
"""Bytes of a plan besides its steps."""


def own_rules(spec: RunSpec) -> Iterator[Problem]:
    """Return everything that is wrong, with paths from `spec` on."""
    yield from _variables(spec.environment, "spec.environment")
    yield from _variables(spec.static_environment, "spec.staticEnvironment")
    for field, part in (("environment", spec.environment), ("staticEnvironment", spec.static_environment)):
        for place, variable in enumerate(part):
            yield from _nul(variable, f"spec.{field}[{place}]")
    if spec.pod is not None:
        yield from _pod(spec.pod, "spec.pod")
        yield from _nul(spec.pod, "spec.pod")
    yield from _kept_by_a_restart(spec)
    known = {task.name for task in spec.tasks}
    for place, approval in enumerate(spec.approvals):
        if spec.tasks and approval.task not in known and not _variant(approval.task, spec.tasks):
            yield Problem(f"spec.approvals[{place}].task", f'unknown task "{approval.task}"')
    for place, task in enumerate(spec.tasks):
        yield from _task(task, f"spec.tasks[{place}]")
        yield from _exit_codes(task, f"spec.tasks[{place}]", spec.retries)
        yield from _arch(task, f"spec.tasks[{place}]", spec.pod)
    yield from environment_rules(spec)


def executor_rules(spec: ExecutorSpec) -> Iterator[Problem]:
    """Return everything in an Executor by which no pod could be made, with paths from `spec` on."""
    if spec.pod is not None:
        yield from _pod(spec.pod, "spec.pod")
        yield from _nul(spec.pod, "spec.pod")


def _kept_by_a_restart(spec: RunSpec) -> Iterator[Problem]:
    """Return what a restart takes from the old run and cannot have otherwise."""
    if spec.restart_from is None:
        return
    for field, given in (
        ("group", spec.group),
        ("cacheGroup", spec.cache_group),
        ("staticEnvironment", spec.static_environment),
        ("retries", spec.retries),
        ("pod", spec.pod),
    ):
        if given:
            yield Problem(f"spec.{field}", "a restart keeps the old run's: remove it, or create a new run")


def _variant(name: str, tasks: Iterable[TaskSpec]) -> bool:
    """Whether a name may be that of a task's variant."""
    return any(task.matrix is not None and name.startswith(f"{task.name}-") for task in tasks)


def _task(task: TaskSpec, where: str) -> Iterator[Problem]:
    yield from _variables(task.environment, f"{where}.environment")
    yield from _containers(task.containers, where)
    yield from _steps(task, where)
    if task.pod is not None:
        yield from _pod(task.pod, f"{where}.pod")
    for key in task.matrix or {}:
        path = path_text((key,), start=f"{where}.matrix")
        if re.fullmatch(VARIABLE.strip("^$"), key):
            yield from _variable_name(key, path)
        else:
            yield Problem(path, f"no name of a variable: expected {MEANINGS[VARIABLE]}")
    for place, variable in enumerate(task.environment):
        if variable.name in (task.matrix or {}):
            yield Problem(
                f"{where}.environment[{place}].name",
                f"{variable.name} is also a key of the matrix, whose values are variables, too; leave one of them",
            )
    yield from _nul(task, where)


def _containers(containers: Sequence[Container], where: str) -> Iterator[Problem]:
    first = containers[0]
    for field, given in (("command", first.command), ("args", first.args), ("readiness", first.readiness)):
        if given:
            yield Problem(
                f"{where}.containers[0].{field}", "the first container runs the steps; only services can have this"
            )
    seen: dict[str, int] = {}
    for place, container in enumerate(containers):
        path = f"{where}.containers[{place}]"
        name = container.name or default_name(place)
        if name.startswith(OWN_PREFIX):
            yield Problem(f"{path}.name", f"{name} is reserved, choose one without {OWN_PREFIX}")
        elif name in seen:
            yield Problem(f"{path}.name", f'duplicate container "{name}", also containers[{seen[name]}]')
        seen.setdefault(name, place)
        if place > 0 and container.user and container_user(container.user).uid is None:
            yield Problem(
                f"{path}.user",
                f"{container.user} is a name, which only the image knows: give UID or UID:GID for a service",
            )
        yield from _variables(container.environment, f"{path}.environment")
        for number, mount in enumerate(container.volume_mounts):
            if is_our_place(mount.mount_path):
                yield Problem(
                    f"{path}.volumeMounts[{number}].mountPath",
                    f"{mount.mount_path} cannot be used: {MOUNT} and /dev/termination-log are Runabout's own",
                )
            if mount.name.startswith(OWN_PREFIX):
                yield Problem(
                    f"{path}.volumeMounts[{number}].name",
                    f"{mount.name} is Runabout's own and cannot be mounted: mount a volume of pod.volumes",
                )


def _steps(task: TaskSpec, where: str) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for place, step in enumerate(task.steps):
        name = step.label(place)
        if name in seen:
            yield Problem(
                f"{where}.steps[{place}].name",
                f'duplicate step "{name}", also steps[{seen[name]}]; give it another name',
            )
        seen.setdefault(name, place)
        yield from _variables(step.environment, f"{where}.steps[{place}].environment")
        yield from clone_rules(step, f"{where}.steps[{place}]")
        yield from archive_rules(step, f"{where}.steps[{place}]")
    steps = [step.model_dump(mode="json", by_alias=True, exclude_unset=True) for step in task.steps]
    size = len(orjson.dumps(steps))
    if size > MAX_PLAN - PLAN_ROOM:
        yield Problem(
            f"{where}.steps",
            f"together with their environments they take {size} bytes, more than the {MAX_PLAN - PLAN_ROOM} a pod can "
            "be given: move long scripts into the repository or the image",
        )


def _exit_codes(task: TaskSpec, where: str, of_run: RetriesSpec | None) -> Iterator[Problem]:
    """Return the exit codes that would mean both success and another attempt, by the task's retries or the run's."""
    if task.retries is None and of_run is not None:
        for place, code in enumerate(task.skip_rest_on_exit_codes):
            if code in of_run.on_exit_codes:
                yield Problem(
                    f"{where}.skipRestOnExitCodes[{place}]",
                    f"exit code {code} is also in spec.retries.onExitCodes, with which the task is tried again; leave "
                    "one of them, or give the task retries of its own",
                )
    for place, code in enumerate(task.retries.on_exit_codes if task.retries is not None else ()):
        if code in task.skip_rest_on_exit_codes:
            yield Problem(
                f"{where}.retries.onExitCodes[{place}]",
                f"exit code {code} is also in skipRestOnExitCodes, which make the task successful; leave one of them",
            )


def _pod(pod: PodDefaults, where: str) -> Iterator[Problem]:
    for field, chosen, taken in (
        ("labels", pod.labels, OWN_LABELS),
        ("annotations", pod.annotations, OWN_ANNOTATIONS),
    ):
        for key in chosen or {}:
            if key in taken or key.split("/", 1)[0] == OWN_DOMAIN:
                yield Problem(path_text((key,), start=f"{where}.{field}"), "is set by Runabout and cannot be chosen")
    for place, volume in enumerate(pod.volumes):
        if volume.name.startswith(OWN_PREFIX):
            yield Problem(
                f"{where}.volumes[{place}].name", f"{volume.name} is reserved, choose one without {OWN_PREFIX}"
            )


def _arch(task: TaskSpec, where: str, of_run: PodDefaults | None) -> Iterator[Problem]:
    """Return that a task's pod would have to be on nodes of two architectures; its own selector wins over the Run's."""
    for pod, place in ((task.pod, f"{where}.pod"), (of_run, "spec.pod")):
        chosen = ((pod.node_selector if pod is not None else None) or {}).get("kubernetes.io/arch")
        if chosen is None:
            continue
        asked = (task.arch,) if task.arch is not None else (task.matrix or {}).get(ARCH_KEY, ())
        for arch in asked:
            if chosen != arch:
                yield Problem(
                    f"{place}.nodeSelector[kubernetes.io/arch]",
                    f"{chosen} contradicts the arch {arch} of task {task.name}; leave one of them",
                )
        return


def _variables(variables: Sequence[EnvironmentVariable], where: str) -> Iterator[Problem]:
    for place, variable in enumerate(variables):
        yield from _variable_name(variable.name, f"{where}[{place}].name")


def _variable_name(name: str, path: str) -> Iterator[Problem]:
    if name.startswith(RESERVED_PREFIX):
        yield Problem(path, f"names that begin with {RESERVED_PREFIX} are Runabout's own; choose another one")


def _nul(part: BaseModel, where: str) -> Iterator[Problem]:
    """Return the texts with a NUL, which no process can be given."""
    yield from (
        Problem(path, "contains a NUL character, which no program can be given; remove it")
        for path, text in _texts(part.model_dump(mode="json", by_alias=True, exclude_unset=True), where)
        if "\0" in text
    )


def _texts(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, path_text((str(key),), start=where))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _texts(item, f"{where}[{place}]")
