"""What this version checks but does not execute yet: a Run that asks for it gets setup errors that say so.

Delete a line here when the feature works; nothing is ever ignored silently.
"""

from collections.abc import Iterator

from runabout.resources.run import RunSpec
from runabout.resources.task import TaskSpec


def not_yet(spec: RunSpec) -> tuple[str, ...]:
    """Return a setup error for each field of `spec` whose execution comes later."""
    return tuple(f"{path}: {text}" for path, text in _run(spec))


def _later(what: str) -> str:
    return f"{what} not executed yet by this version"


def _run(spec: RunSpec) -> Iterator[tuple[str, str]]:
    for place, task in enumerate(spec.tasks):
        yield from _task(task, f"spec.tasks[{place}]")


def _task(task: TaskSpec, where: str) -> Iterator[tuple[str, str]]:
    if task.retries is not None and task.retries.limit:
        yield f"{where}.retries", _later("retries are")
    if task.matrix is not None:
        yield f"{where}.matrix", _later("matrices are")
