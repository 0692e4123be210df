"""Whose word counts for a task that needs approval, and what follows from what was said."""

from collections.abc import Iterable
from enum import Enum

from runabout.records import Approval, TaskConfig, Verdict


class Answer(Enum):
    """What the approvals of a task amount to."""

    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"


def counting(task: TaskConfig, approvals: Iterable[Approval]) -> tuple[Approval, ...]:
    """Return the approvals that count for a task: of the callers it names, of anybody if it names none."""
    users, groups = task.approvers.users, set(task.approvers.groups)
    anybody = not users and not groups
    return tuple(
        approval
        for approval in approvals
        if approval.task == task.name and (anybody or approval.by in users or not groups.isdisjoint(approval.groups))
    )


def answer(task: TaskConfig, counted: Iterable[Approval]) -> Answer:
    """Return what `counted` approvals amount to: one refusal refuses, `min` distinct callers approve."""
    callers: set[str] = set()
    for approval in counted:
        if approval.verdict is Verdict.REFUSED:
            return Answer.REFUSED
        callers.add(approval.by)
    return Answer.APPROVED if len(callers) >= task.approvers.min else Answer.WAITING
