"""Whose word counts for a task that needs approval, and what follows from what was said."""

from collections.abc import Iterable
from dataclasses import replace
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


def counts(task: TaskConfig, approval: Approval) -> bool:
    """Whether an approval of this task is of a caller whose word counts: one it names, anybody if it names none."""
    users, groups = task.approvers.users, task.approvers.groups
    return (not users and not groups) or approval.by in users or not set(groups).isdisjoint(approval.groups)


def counting(
    task: TaskConfig, recorded: Iterable[Approval], said: Iterable[Approval], *, now: int
) -> tuple[Approval, ...]:
    """Return the approvals that count for a task, those that are new with the time `now` (ms since 1970).

    Sorted and without repeats, so that the order in which they came leaves no other trace.
    """
    found = {(approval.by, approval.verdict, approval.groups): approval for approval in recorded}
    for approval in said:
        if approval.task == task.name and counts(task, approval):
            found.setdefault((approval.by, approval.verdict, approval.groups), replace(approval, time=now))
    return tuple(found[key] for key in sorted(found))


def answer(task: TaskConfig, counted: Iterable[Approval]) -> Answer:
    """Return what `counted` approvals amount to: one refusal refuses, `min` distinct callers approve."""
    callers: set[str] = set()
    for approval in counted:
        if approval.verdict is Verdict.REFUSED:
            return Answer.REFUSED
        callers.add(approval.by)
    return Answer.APPROVED if len(callers) >= task.approvers.min else Answer.WAITING
