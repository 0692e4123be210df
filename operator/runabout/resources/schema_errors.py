"""What a document's schema says of it: every error at once, each with its field's path.

The same as the API server would say of the schema and its rules; it is what `runabout check` shows, and what makes
a setup error of a Run that an older schema let through.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

from runabout.resources.executor import ExecutorSpec
from runabout.resources.pod import Variable
from runabout.resources.run import RunSpec

MAX_SHOWN = 80
"""Characters of a wrong value in a message."""


def schema_errors(kind: str, spec: object) -> tuple[str, ...]:
    """Return what is wrong with the spec of a `Run` or an `Executor`; empty if nothing is."""
    model = RunSpec if kind == "Run" else ExecutorSpec
    if spec is None:
        return ("spec: required",)
    try:
        checked = model.model_validate(tuples(spec))
    except ValidationError as error:
        return tuple(_line(item["loc"], item["msg"], item.get("input")) for item in error.errors(include_url=False))
    except RecursionError:
        return ("spec: nested too deeply",)
    return tuple(_rules(checked)) if isinstance(checked, RunSpec) else ()


def tuples(value: object) -> object:
    """Return a JSON value with its lists as tuples, as the models' strict types want them."""
    if isinstance(value, Mapping):
        return {str(key): tuples(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(tuples(item) for item in value)
    return value


def _line(location: tuple[int | str, ...], message: str, value: object) -> str:
    path = "spec"
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    shown = repr(value)
    if isinstance(value, Mapping | tuple) or message == "Field required":
        return f"{path}: {message}"
    return f"{path}: {message}, found {shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + '…'}"


def _rules(spec: RunSpec) -> list[str]:
    """Return what the CRD's rules say beyond its types."""
    errors = []
    if spec.restart_from is not None and spec.tasks:
        errors.append("spec.restartFrom: a restart takes its tasks from the earlier run; leave tasks out")
    for path, variables in _variables(spec):
        for number, variable in enumerate(variables):
            sources = variable.value_from
            if (variable.value is None) == (sources is None):
                errors.append(f"{path}[{number}]: give exactly one of value and valueFrom")
            elif sources is not None and (sources.secret_key_ref is None) == (sources.config_map_key_ref is None):
                errors.append(f"{path}[{number}].valueFrom: give exactly one of secretKeyRef and configMapKeyRef")
        errors.extend(_twice(path, [variable.name for variable in variables], "name"))
    for number, task in enumerate(spec.tasks):
        for place, step in enumerate(task.steps):
            if len(step.kinds) != 1:
                errors.append(
                    f"spec.tasks[{number}].steps[{place}]: a step has exactly one kind (run, clone, …), "
                    f"this one has {' and '.join(step.kinds) or 'none'}"
                )
    errors.extend(_twice("spec.approvals", [f"{item.task}/{item.by}" for item in spec.approvals], "task and by"))
    return errors


def _variables(spec: RunSpec) -> Iterator[tuple[str, tuple[Variable, ...]]]:
    yield "spec.environment", spec.environment
    yield "spec.staticEnvironment", spec.static_environment
    for number, task in enumerate(spec.tasks):
        path = f"spec.tasks[{number}]"
        yield f"{path}.environment", task.environment
        for place, container in enumerate(task.containers):
            yield f"{path}.containers[{place}].environment", container.environment
        for place, step in enumerate(task.steps):
            yield f"{path}.steps[{place}].environment", step.environment


def _twice(path: str, keys: list[str], what: str) -> list[str]:
    seen: set[str] = set()
    errors = []
    for number, key in enumerate(keys):
        if key in seen:
            errors.append(f'{path}[{number}]: "{key}" is there twice; {what} must be unique')
        seen.add(key)
    return errors
