"""From a Run to its configuration, with every setup error that can be found; nothing a user writes makes it raise.

In this order: the client's own errors, what the schema refuses (the API server should have, but its definitions may
be older than the operator), the graph, names and values that collide with ours, and a run that is too large for the
store. Of that one only names and errors are kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from runabout.control.objects import RunObject
from runabout.control.resultrules import result_rules
from runabout.control.rules import own_rules
from runabout.control.size import bare, shortened, too_large
from runabout.engine.groups import check_group, default_group, effective_cache_group, effective_group
from runabout.engine.matrix import Expansion, Template, expand
from runabout.executors.gatewayaccess import ADVICE, needing_steps
from runabout.executors.nodeaccess import node_access
from runabout.records import (
    Approvers,
    Condition,
    Dependency,
    EnvVar,
    EnvVarSource,
    RestartFrom,
    Retries,
    RunConfig,
    RunId,
    TaskConfig,
    parse_run_id,
)
from runabout.records.encoding import encode
from runabout.resources import CheckedRun, EnvironmentVariable, PodDefaults, Problem, RetriesSpec, RunSpec, TaskSpec
from runabout.resources.check import run_spec
from runabout.resources.salvage import sound_part

MAX_ERRORS = 1000
"""Setup errors that a record holds; a last line says how many more there are."""
MAX_ERROR = 4096
"""Characters of one of them."""
MAX_ERROR_BYTES = 512 * 1024
"""Bytes of all of them together, as they are stored: half of what a transaction takes."""
_BODY = {"containers", "steps", "environment", "working_dir", "shell", "user", "pod", "skip_rest_on_exit_codes"}
"""Fields of a task that only an executor's driver looks at; they go into the record as they are."""


def checked_config(run: RunObject, *, id: RunId, created: int, gateway: bool = True) -> RunConfig:  # noqa: A002 - the record's field
    """Return the configuration of a Run as the API server shows it, with all its setup errors; never raises.

    `gateway` is whether the installation has one.
    """
    found = run_spec(run.spec)
    return run_config(
        found if isinstance(found, RunSpec) else sound_part(run.spec, found) or RunSpec(),
        id=id,
        namespace=run.namespace,
        name=run.name,
        uid=run.uid,
        created=created,
        submitted=run.created,
        labels=run.labels,
        annotations=run.annotations,
        refused=() if isinstance(found, RunSpec) else (*_client_errors(run.spec), *map(str, found)),
        gateway=gateway,
    )


def run_config(
    spec: RunSpec,
    *,
    id: RunId,  # noqa: A002 - the record's field
    namespace: str,
    name: str,
    uid: str,
    created: int,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    submitted: int = 0,
    refused: Sequence[str] = (),
    gateway: bool = True,
) -> RunConfig:
    """Return the configuration of a run, effective groups, expanded tasks, setup errors and all; it can be stored.

    A run with setup errors never starts, so its tasks are not expanded.

    Args:
        spec: what was asked for.
        id: the run's id.
        namespace: the Run's namespace.
        name: the Run's name.
        uid: the Run's uid.
        created: milliseconds since 1970.
        labels: the Run's labels.
        annotations: the Run's annotations.
        submitted: when the Run was created, as the API server says; milliseconds since 1970, 0 where there is no Run.
        refused: errors found before, where `spec` is what is sound in one that the schema refuses.
        gateway: whether the installation has one; without it, steps that need it are errors.
    """
    group = spec.group if spec.group is not None and check_group(spec.group) is None else default_group(name)
    cache_group = spec.cache_group if spec.cache_group is not None and check_group(spec.cache_group) is None else None
    restart = spec.restart_from
    plain = templates(spec)
    expansion = expand(plain)
    missing = () if gateway else tuple(_needs_gateway(spec))
    errors = tuple(dict.fromkeys((*refused, *_errors(spec, expansion), *missing)))
    config = RunConfig(
        id=id,
        namespace=namespace,
        name=name,
        uid=uid,
        group=effective_group(namespace, group),
        cache_group=effective_cache_group(namespace, group, cache_group),
        created=created,
        submitted=submitted,
        tasks=() if refused else tuple(template.task for template in plain) if errors else expansion.tasks,
        setup_errors=_bounded(errors),
        setup_error_count=len(errors),
        environment=_environment(spec.environment),
        static_environment=_environment(spec.static_environment),
        concurrency=spec.concurrency,
        max_active_tasks=spec.max_active_tasks,
        timeout_seconds=spec.timeout_seconds,
        restarted_from=_run_id(restart.run) if restart is not None else None,
        restart_from=RestartFrom(restart.from_) if restart is not None else None,
        labels=dict(labels),
        annotations=dict(annotations),
        pod=spec.pod.model_dump(mode="json", by_alias=True, exclude_unset=True) if spec.pod is not None else {},
    )
    problem = too_large(config)
    return config if problem is None else shortened(_with_errors(config, (*errors, problem)))


def refused_config(config: RunConfig, problem: str) -> RunConfig:
    """Return the configuration of a run that the store does not take, so that it takes this one."""
    kept = config.setup_errors[:-1] if config.setup_error_count > len(config.setup_errors) else config.setup_errors
    more = config.setup_error_count - len(kept)
    return bare(
        replace(config, setup_errors=_bounded((problem, *kept), more=more), setup_error_count=1 + len(kept) + more)
    )


def templates(spec: RunSpec) -> tuple[Template, ...]:
    """Return the tasks of a spec, not expanded, in its order."""
    of_all, retries = _needs_node(spec.pod), spec.retries
    return tuple(
        Template(
            _task(task, needs_node=of_all, retries=retries if task.retries is None else task.retries), task.matrix or {}
        )
        for task in spec.tasks
    )


def setup_errors(run: CheckedRun) -> tuple[str, ...]:
    """Return everything the operator will find in a Run that the schema lets through, the client's own errors first."""
    config = run_config(
        run.spec,
        id=RunId(""),
        namespace=run.namespace,
        name=run.name,
        uid="",
        created=0,
        labels=run.labels,
        annotations=run.annotations,
    )
    if config.setup_error_count == len(config.setup_errors):
        return config.setup_errors
    return tuple(dict.fromkeys(_errors(run.spec, expand(templates(run.spec)))))


def further_errors(spec: object, problems: Sequence[Problem]) -> tuple[str, ...]:
    """Return everything the operator would find in a spec besides what the schema refuses."""
    sound = sound_part(spec, problems)
    if sound is None:
        return ()
    known = set(map(str, problems))
    errors = dict.fromkeys(_errors(sound, expand(templates(sound))))
    return tuple(error for error in errors if error not in known)


def _errors(spec: RunSpec, expansion: Expansion) -> Iterator[str]:
    yield from spec.setup_errors
    yield from _group_errors(spec)
    yield from expansion.errors
    if not expansion.errors:
        yield from map(str, result_rules(spec, expansion.tasks))
    yield from _own_errors(spec)


def _with_errors(config: RunConfig, errors: tuple[str, ...]) -> RunConfig:
    return replace(config, setup_errors=_bounded(errors), setup_error_count=len(errors))


def _group_errors(spec: RunSpec) -> Iterator[str]:
    for path, group in (("spec.group", spec.group), ("spec.cacheGroup", spec.cache_group)):
        problem = check_group(group) if group is not None else None
        if problem:
            yield f"{path}: {problem}"


def _needs_gateway(spec: RunSpec) -> Iterator[str]:
    for place, task in enumerate(spec.tasks):
        body = task.model_dump(mode="json", by_alias=True, exclude_unset=True, include={"steps"})
        yield from (f"spec.tasks[{place}].steps[{step}].{kind}: {ADVICE}" for step, kind in needing_steps(body))


def _own_errors(spec: RunSpec) -> Iterator[str]:
    yield from map(str, own_rules(spec))


def _client_errors(spec: Mapping[str, object]) -> tuple[str, ...]:
    given = spec.get("setupErrors")
    return tuple(item for item in given if isinstance(item, str)) if isinstance(given, list | tuple) else ()


def _bounded(errors: tuple[str, ...], *, more: int = 0) -> tuple[str, ...]:
    """Return the first errors if they are too many, and then how many more there are."""
    every = tuple(text if len(text) <= MAX_ERROR else f"{text[: MAX_ERROR - 1]}…" for text in errors)
    kept = _fitting(every)
    left = len(every) - kept + more
    return (*every[:kept], f"… and {left} more") if left else every


def _fitting(errors: tuple[str, ...]) -> int:
    """Return how many errors can be kept; where that is not all of them, with one line more."""
    size = 0
    for place, text in enumerate(errors):
        size += len(encode(text)) + 1
        if size > MAX_ERROR_BYTES or (place == MAX_ERRORS - 1 and len(errors) > MAX_ERRORS):
            return place
    return len(errors)


def _run_id(text: str) -> RunId | None:
    try:
        return parse_run_id(text)
    except ValueError:
        return None


def _needs_node(pod: PodDefaults | None) -> bool:
    return pod is not None and any(node_access(pod.model_dump(mode="json", by_alias=True, exclude_unset=True)))


def _task(task: TaskSpec, *, needs_node: bool, retries: RetriesSpec | None) -> TaskConfig:
    selector, approvers = task.executor_selector, task.approvers
    return TaskConfig(
        name=task.name,
        depends=tuple(
            Dependency(parent.task, frozenset(map(Condition, parent.conditions)) or frozenset({Condition.ON_SUCCESS}))
            for parent in task.depends
        ),
        skip=task.skip,
        ignore_failure=task.ignore_failure,
        needs_approval=task.needs_approval,
        approvers=Approvers(approvers.min, approvers.users, approvers.groups) if approvers is not None else Approvers(),
        arch=task.arch,
        executor_selector=selector.model_dump(mode="json", by_alias=True, exclude_unset=True) if selector else None,
        privileged=needs_node or _needs_node(task.pod) or any(container.privileged for container in task.containers),
        retries=Retries(retries.limit, retries.backoff_seconds, retries.on_exit_codes) if retries else Retries(),
        timeout_seconds=task.timeout_seconds,
        body=task.model_dump(mode="json", by_alias=True, exclude_unset=True, include=_BODY),
    )


def _environment(variables: Sequence[EnvironmentVariable]) -> tuple[EnvVar, ...]:
    return tuple(EnvVar(variable.name, variable.value, _source(variable)) for variable in variables)


def _source(variable: EnvironmentVariable) -> EnvVarSource | None:
    source = variable.value_from
    if source is None:
        return None
    for kind, reference in (("secretKeyRef", source.secret_key_ref), ("configMapKeyRef", source.config_map_key_ref)):
        if reference is not None:
            return EnvVarSource(kind, reference.name, reference.key, reference.optional)
    return None
