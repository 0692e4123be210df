"""What tasks wait for by their own account, in words."""

import pytest

from fixtures.states import NOW, a_task, task_spec
from runabout.control.config import templates
from runabout.control.status import Wait
from runabout.control.waiting import task_waits
from runabout.engine.graph import Graph
from runabout.records import Approval, Attempt, Reason, Status, Task
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
    ("approvers", "given", "message"),
    [
        (None, (), "waits for an approval since 2026-01-01T00:00:00Z"),
        ({"users": ["anna"]}, (), "waits for an approval of anna since 2026-01-01T00:00:00Z"),
        (
            {"min": 2, "groups": ["release"]},
            ("bob",),
            "waits for 2 approvals of group release since 2026-01-01T00:00:00Z: 1 so far (bob)",
        ),
        (
            {"min": 3, "users": ["a", "b", "c"], "groups": ["qa"]},
            ("b", "a", "b"),
            "waits for 3 approvals of a, b, c or 1 more since 2026-01-01T00:00:00Z: 2 so far (a and b)",
        ),
        (
            {"min": 2, "users": ["anna", "ben"], "groups": ["qa"]},
            (),
            "waits for 2 approvals of anna, ben or group qa since 2026-01-01T00:00:00Z",
        ),
    ],
)
def test_a_task_that_waits_for_approval_says_whose_since_when_and_what_it_has(
    approvers: dict[str, object] | None, given: tuple[str, ...], message: str
) -> None:
    task = a_task("a", waiting_since=NOW, approvals=tuple(Approval("a", by) for by in given))
    more = {"approvers": approvers} if approvers else {}
    assert wait(task, needsApproval=True, **more) == Wait(Reason.AWAITING_APPROVAL, message, NOW)


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
