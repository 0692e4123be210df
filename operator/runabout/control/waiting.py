"""What tasks that are on no executor wait for by their own account, in words: a person, or a pause.

A pure function of the records: whoever works on a run after a restart says the same.
"""

from collections.abc import Mapping

from runabout.control.approvals import listed, whom
from runabout.control.status import Wait, rfc3339
from runabout.engine.attempts import budget, is_machinery, next_attempt_at
from runabout.engine.graph import Graph
from runabout.records import Reason, Status, Task, TaskConfig


def task_waits(graph: Graph, tasks: Mapping[str, Task]) -> dict[str, Wait]:
    """Return the waits for approvals, and those of tasks between two attempts, by the tasks' names."""
    waits: dict[str, Wait] = {}
    for name, task in tasks.items():
        if task.finished:
            continue
        if task.waiting_since is not None:
            message = awaited(graph.task(name), task)
            waits[name] = Wait(Reason.AWAITING_APPROVAL, message, task.waiting_since)
        elif task.status is Status.RUNNING and task.executor is None and task.attempts:
            waits[name] = Wait(Reason.BACK_OFF, pause(graph.task(name), task), task.attempts[-1].ended)
    return waits


def pause(config: TaskConfig, task: Task) -> str:
    """Return which attempt comes next and when, and how the last one ended; the same as long as the pause lasts."""
    last = task.attempts[-1]
    number, most = budget(config, task.attempts)
    at = next_attempt_at(config, task.attempts)
    seconds = max(0, at - (last.ended or 0)) // 1000 if at else 0
    when = f"starts at {rfc3339(at)}, {seconds} s after the last one" if seconds else "starts at once"
    why = f"{last.reason.value}: {last.message}" if last.message else last.reason.value
    whose = " that the machinery may take" if is_machinery(last.reason) else ""
    return f"attempt {number} of {most}{whose} {when}: {why}"


def awaited(config: TaskConfig, task: Task) -> str:
    """Return how many approvals a task waits for, whose and since when, and which it has."""
    needed, people = config.approvers.min, whom(config.approvers)
    what = f"{needed} approvals" if needed > 1 else "an approval"
    of = f" of {people}" if people else ""
    since = f" since {rfc3339(task.waiting_since)}" if task.waiting_since is not None else ""
    given = sorted({approval.by for approval in task.approvals})
    so_far = f": {len(given)} so far ({listed(given, 'and')})" if given else ""
    return f"waits for {what}{of}{since}{so_far}"
