"""What tasks wait for by their own account, in words."""

import pytest

from fixtures.states import NOW, a_task, task_spec
from runabout.control.config import templates
from runabout.control.status import Wait
from runabout.control.waiting import task_waits
from runabout.engine.graph import Graph
from runabout.records import Attempt, Reason, Status, Task
from runabout.resources import RunSpec

EXIT = "step build ended with exit code 7"


def past(*reasons: Reason, message: str = EXIT) -> tuple[Attempt, ...]:
    return tuple(Attempt(number, "p", "e", reason, message, ended=NOW) for number, reason in enumerate(reasons, 1))


def wait(task: Task, **spec: object) -> Wait | None:
    tasks = templates(RunSpec.model_validate({"tasks": [task_spec("a", **spec)]}))
    return task_waits(Graph([item.task for item in tasks]), {"a": task}).get("a")


@pytest.mark.parametrize(
    ("reasons", "message"),
    [
        (
            [Reason.EXIT_CODE],
            f"attempt 2 of 3 starts at 2026-01-01T00:00:20Z, 20 s after the last one: ExitCode: {EXIT}",
        ),
        (
            [Reason.EVICTED, Reason.EXIT_CODE, Reason.EXIT_CODE],
            f"attempt 3 of 3 starts at 2026-01-01T00:00:40Z, 40 s after the last one: ExitCode: {EXIT}",
        ),
        (
            [Reason.EXIT_CODE, Reason.EVICTED],
            f"attempt 2 of 3 that the machinery may take starts at once: Evicted: {EXIT}",
        ),
    ],
)
def test_a_task_between_two_attempts_says_which_comes_when_and_why(reasons: list[Reason], message: str) -> None:
    task = a_task("a", Status.RUNNING, attempt=len(reasons), attempts=past(*reasons))
    assert wait(task, retries={"limit": 2, "backoffSeconds": 20}) == Wait(Reason.BACK_OFF, message, NOW)


@pytest.mark.parametrize(
    "task",
    [
        a_task("a"),
        a_task("a", Status.RUNNING, attempt=2, executor="e", attempts=past(Reason.EXIT_CODE)),
        a_task("a", Status.FAILED, attempt=2, attempts=past(Reason.EXIT_CODE)),
    ],
    ids=["not begun", "on an executor", "over"],
)
def test_a_task_that_is_not_between_two_attempts_has_no_pause(task: Task) -> None:
    assert wait(task, retries={"limit": 2, "backoffSeconds": 20}) is None
