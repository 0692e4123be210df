"""What is observed, taken into a run: ends, new attempts, assignments, approvals, what is stored.

A fact that does not fit the state has no effect, so facts may be repeated and may come late.
"""

from runabout.engine.approvals import Answer, answer, by_task, counting
from runabout.engine.draft import Draft
from runabout.engine.facts import Assignment, TaskEnd
from runabout.engine.parents import Parents, look_at_parents
from runabout.records import Attempt, Result, Status, Task, altered


def apply_facts(draft: Draft) -> None:
    """Take what became of tasks: first what is over, then what began, then what is stored."""
    facts, tasks = draft.facts, draft.tasks
    for name, past in facts.retry.items():
        if name in tasks:
            _take_retry(draft, tasks[name], past)
    for name, end in facts.ended.items():
        if name in tasks:
            _take_end(draft, tasks[name], end)
    for name, assignment in facts.assigned.items():
        if name in tasks:
            _take_assignment(draft, tasks[name], assignment)
    take_stored(draft)


def take_stored(draft: Draft) -> None:
    """Take which logs and archives are stored; that may come after the run is over."""
    for name, steps in draft.facts.stored.items():
        task = draft.tasks.get(name)
        if task is not None and task.finished and not (task.stored and task.archived):
            draft.put(altered(task, stored=True, archived=True, late_logs=False, steps=steps or task.steps))
    for name in draft.facts.archived:
        task = draft.tasks.get(name)
        if task is not None and task.finished and not task.archived:
            draft.put(altered(task, archived=True))


def take_approvals(draft: Draft) -> None:
    """Write down what counts for tasks that need approval and have not begun, also before they wait for it."""
    if not draft.facts.approvals:
        return
    for name, said in by_task(draft.facts.approvals).items():
        task = draft.tasks.get(name)
        if task is None or task.status is not Status.NOTSTARTED or not draft.graph.task(name).needs_approval:
            continue
        counted = counting(draft.graph.task(name), task.approvals, said, now=draft.facts.now)
        if counted != task.approvals:
            draft.put(altered(task, approvals=counted))


def _take_retry(draft: Draft, task: Task, past: Attempt) -> None:
    if task.executor is None or task.finished or task.attempt != past.number:
        return
    draft.put(
        altered(task, executor=None, pod=None, attempts=(*task.attempts, past), steps=(), stored=True, archived=True)
    )


def _take_end(draft: Draft, task: Task, end: TaskEnd) -> None:
    if task.executor is None or task.finished or end.attempt not in (0, task.attempt):
        return
    draft.put(
        altered(
            task,
            status=end.status,
            executor=None,
            reason=end.reason,
            message=end.message,
            exit_code=end.exit_code,
            ended=end.ended,
            steps=end.steps or task.steps,
            archived=end.archived,
        )
    )


def _take_assignment(draft: Draft, task: Task, assignment: Assignment) -> None:
    if not _may_begin(draft, task) or assignment.attempt not in (0, task.attempt + 1):
        return
    draft.put(
        altered(
            task,
            status=Status.RUNNING,
            attempt=task.attempt + 1,
            executor=assignment.executor,
            pod=assignment.pod,
            started=task.started if task.started is not None else draft.facts.now,
            waiting_since=None,
            stored=False,
        )
    )


def _may_begin(draft: Draft, task: Task) -> bool:
    """Whether a task may be given to an executor: never one that is to be stopped, nor one before its turn."""
    if task.executor is not None or task.finished or draft.run.stop:
        return False
    if task.status is Status.RUNNING:
        return True
    config = draft.graph.task(task.name)
    if draft.run.result is not Result.UNKNOWN and not config.depends:
        return False
    if look_at_parents(config, draft.tasks) is not Parents.MATCH:
        return False
    return not config.needs_approval or answer(config, task.approvals) is Answer.APPROVED
