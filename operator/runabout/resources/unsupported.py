"""What this version checks but does not execute yet: a Run that asks for it gets setup errors that say so.

Delete a line here when the feature works; nothing is ever ignored silently.
"""

from collections.abc import Iterator

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
    for place, step in enumerate(task.steps):
        yield from _step(step, f"{where}.steps[{place}]")


def _step(step: Step, where: str) -> Iterator[tuple[str, str]]:
    kind = step.kinds()[0]
    if kind != "run":
        yield f"{where}.{kind}", _later(f"{kind} steps are")
