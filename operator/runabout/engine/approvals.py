"""Whose word counts for a task that needs approval, and what follows from what was said."""

from collections.abc import Iterable
from enum import Enum

from runabout.records import Approval, TaskConfig, Verdict


class Answer(Enum):
    """What the approvals of a task amount to."""

    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"


def by_task(approvals: Iterable[Approval]) -> dict[str, list[Approval]]:
    """Return approvals by the task they are about."""
    found: dict[str, list[Approval]] = {}
    for approval in approvals:
        found.setdefault(approval.task, []).append(approval)
    return found


def counting(task: TaskConfig, approvals: Iterable[Approval]) -> tuple[Approval, ...]:
    """Return the approvals that count for a task: of the callers it names, of anybody if it names none.

    Sorted and without repeats, so that the order in which they came leaves no trace.
    """
    users, groups = task.approvers.users, set(task.approvers.groups)
    anybody = not users and not groups
    counted = {
        approval
        for approval in approvals
        if approval.task == task.name and (anybody or approval.by in users or not groups.isdisjoint(approval.groups))
    }
    return tuple(sorted(counted, key=lambda approval: (approval.by, approval.verdict, approval.groups)))


def answer(task: TaskConfig, counted: Iterable[Approval]) -> Answer:
    """Return what `counted` approvals amount to: one refusal refuses, `min` distinct callers approve."""
    callers: set[str] = set()
    for approval in counted:
        if approval.verdict is Verdict.REFUSED:
            return Answer.REFUSED
        callers.add(approval.by)
    return Answer.APPROVED if len(callers) >= task.approvers.min else Answer.WAITING
