"""What this version checks but does not execute yet: a Run that asks for it gets setup errors that say so.

Delete a line here when the feature works; nothing is ever ignored silently.
"""

from collections.abc import Iterator

from runabout.resources.containers import Container
from runabout.resources.run import RunSpec
from runabout.resources.steps import Step
from runabout.resources.task import TaskSpec


def not_yet(spec: RunSpec) -> tuple[str, ...]:
    """Return a setup error for each field of `spec` whose execution comes later."""
    return tuple(f"{path}: {text}" for path, text in _run(spec))


def _later(what: str) -> str:
    return f"{what} not executed yet by this version"


def _run(spec: RunSpec) -> Iterator[tuple[str, str]]:
    if spec.restart_from is not None:
        yield "spec.restartFrom", _later("restarts are")
    if spec.concurrency != "queue":
        yield "spec.concurrency", _later(f"{spec.concurrency} is")
    if spec.cache_group is not None:
        yield "spec.cacheGroup", _later("caches are")
    if spec.timeout_seconds:
        yield "spec.timeoutSeconds", _later("time-outs of runs are")
    for place, task in enumerate(spec.tasks):
        yield from _task(task, f"spec.tasks[{place}]")


def _task(task: TaskSpec, where: str) -> Iterator[tuple[str, str]]:
    for place in range(1, len(task.containers)):
        yield f"{where}.containers[{place}]", _later("services (containers after the first) are")
    yield from _container(task.containers[0], f"{where}.containers[0]")
    for place, step in enumerate(task.steps):
        yield from _step(step, f"{where}.steps[{place}]")
    if task.timeout_seconds:
        yield f"{where}.timeoutSeconds", _later("time-outs of tasks are")


def _container(container: Container, where: str) -> Iterator[tuple[str, str]]:
    if container.readiness is not None:
        yield f"{where}.readiness", _later("readiness of containers is")


def _step(step: Step, where: str) -> Iterator[tuple[str, str]]:
    kind = step.kinds()[0]
    if kind != "run":
        yield f"{where}.{kind}", _later(f"{kind} steps are")
    if step.timeout_seconds:
        yield f"{where}.timeoutSeconds", _later("time-outs of steps are")
