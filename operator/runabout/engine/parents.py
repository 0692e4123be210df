"""What a task's parents say about it: not over yet, no match, a match, or a match that waits for archives."""

from collections.abc import Mapping
from enum import Enum

from runabout.engine.conditions import matches
from runabout.records import Status, Task, TaskConfig


class Parents(Enum):
    """What follows from the parents of a task."""

    UNFINISHED = "unfinished"
    """at least one is not over: nothing is decided, whatever the others say"""
    NO_MATCH = "no match"
    UNSTORED = "unstored"
    """all match, but the workspace archives of one are not stored yet"""
    MATCH = "match"


def look_at_parents(task: TaskConfig, tasks: Mapping[str, Task]) -> Parents:
    """Return what the parents of `task` say; a task without parents has a match."""
    matched = stored = True
    for dependency in task.depends:
        parent = tasks[dependency.task]
        status = parent.status
        if status is Status.NOTSTARTED or status is Status.RUNNING:
            return Parents.UNFINISHED
        matched = matched and matches(dependency, status)
        stored = stored and parent.archived
    if not matched:
        return Parents.NO_MATCH
    return Parents.MATCH if stored else Parents.UNSTORED
