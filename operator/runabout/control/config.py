"""From a Run to its configuration, with every setup error that can be found: schema, graph, what is not done yet."""

from collections.abc import Iterable, Mapping

from runabout.control.objects import RunObject
from runabout.engine.graph import check
from runabout.engine.groups import check_group, default_group, effective_group, root_group
from runabout.records import (
    Approvers,
    Condition,
    Dependency,
    EnvVar,
    EnvVarSource,
    Retries,
    RunConfig,
    RunId,
    TaskConfig,
)
from runabout.records.json import JsonObject
from runabout.resources import RunSpec, TaskSpec, not_yet, schema_errors
from runabout.resources.pod import Variable
from runabout.resources.schema_errors import tuples

BODY = ("containers", "steps", "environment", "workingDir", "shell", "user", "pod")
"""Fields of a task that only an executor's driver looks at; they go into the record as they are."""
MAX_ERRORS = 1000


def setup_errors(spec: Mapping[str, object]) -> tuple[str, ...]:
    """Return everything the operator would find in a Run's spec, the client's own errors first."""
    errors = list(_client_errors(spec))
    errors.extend(schema_errors("Run", spec))
    if len(errors) > len(_client_errors(spec)):
        return tuple(errors[:MAX_ERRORS])
    model = RunSpec.model_validate(tuples(spec))
    errors.extend(_semantic_errors(model))
    return tuple(errors[:MAX_ERRORS])


def _client_errors(spec: Mapping[str, object]) -> tuple[str, ...]:
    given = spec.get("setupErrors")
    return tuple(str(item) for item in given) if isinstance(given, list | tuple) else ()


def _semantic_errors(spec: RunSpec) -> list[str]:
    errors = []
    for path, group in (("spec.group", spec.group), ("spec.cacheGroup", spec.cache_group)):
        problem = check_group(group) if group is not None else None
        if problem:
            errors.append(f"{path}: {problem}")
    errors.extend(check([_task(task, {}) for task in spec.tasks]))
    errors.extend(not_yet(spec))
    names = {task.name: task.needs_approval for task in spec.tasks}
    errors.extend(
        f'spec.approvals[{number}].task: unknown task "{item.task}"'
        for number, item in enumerate(spec.approvals)
        if item.task not in names
    )
    return errors


def checked_config(run: RunObject, *, id: RunId, created: int) -> RunConfig:  # noqa: A002 - the record's field
    """Return the configuration of a Run, with all its setup errors; never raises for what a user wrote."""
    errors = setup_errors(run.spec)
    try:
        spec = RunSpec.model_validate(tuples(run.spec))
    except ValueError:
        spec = RunSpec()
    raw = _by_name(run.spec.get("tasks"))
    group = spec.group if spec.group is not None and check_group(spec.group) is None else default_group(run.name)
    effective = effective_group(run.namespace, group)
    cache_group = effective_group(run.namespace, spec.cache_group) if spec.cache_group else root_group(effective)
    pod = run.spec.get("pod")
    return RunConfig(
        id=id,
        namespace=run.namespace,
        name=run.name,
        uid=run.uid,
        group=effective,
        cache_group=cache_group,
        created=created,
        tasks=_distinct(_task(task, raw.get(task.name, {})) for task in spec.tasks),
        setup_errors=errors,
        environment=_environment(spec.environment),
        static_environment=_environment(spec.static_environment),
        concurrency=spec.concurrency,
        max_active_tasks=spec.max_active_tasks,
        timeout_seconds=spec.timeout_seconds,
        labels=dict(run.labels),
        annotations=dict(run.annotations),
        pod=pod if isinstance(pod, Mapping) else {},
    )


def _distinct(tasks: Iterable[TaskConfig]) -> tuple[TaskConfig, ...]:
    found: dict[str, TaskConfig] = {}
    for task in tasks:
        found.setdefault(task.name, task)
    return tuple(found.values())


def _by_name(tasks: object) -> dict[str, JsonObject]:
    if not isinstance(tasks, list | tuple):
        return {}
    return {str(task.get("name")): task for task in tasks if isinstance(task, Mapping)}


def _task(task: TaskSpec, raw: JsonObject) -> TaskConfig:
    approvers = task.approvers
    retries = task.retries
    return TaskConfig(
        name=task.name,
        depends=tuple(
            Dependency(
                item.task,
                frozenset(Condition(word) for word in item.conditions) or frozenset({Condition.ON_SUCCESS}),
            )
            for item in task.depends
        ),
        skip=task.skip,
        ignore_failure=task.ignore_failure,
        needs_approval=task.needs_approval,
        approvers=Approvers(approvers.min, approvers.users, approvers.groups) if approvers else Approvers(),
        arch=task.arch,
        executor_selector=task.executor_selector.model_dump(by_alias=True, exclude_none=True)
        if task.executor_selector
        else None,
        privileged=any(container.privileged for container in task.containers),
        retries=Retries(retries.limit, retries.backoff_seconds, retries.on_exit_codes) if retries else Retries(),
        timeout_seconds=task.timeout_seconds,
        body={key: raw[key] for key in BODY if key in raw},
    )


def _environment(variables: tuple[Variable, ...]) -> tuple[EnvVar, ...]:
    found = []
    for variable in variables:
        source = None
        if variable.value_from is not None:
            for kind, ref in (
                ("secretKeyRef", variable.value_from.secret_key_ref),
                ("configMapKeyRef", variable.value_from.config_map_key_ref),
            ):
                if ref is not None:
                    source = EnvVarSource(kind, ref.name, ref.key, ref.optional)
        found.append(EnvVar(variable.name, variable.value, source))
    return tuple(found)
