"""The decision: from an immutable run and what is observed to the next run and what to do.

Facts are applied first; then rounds until nothing changes: the result, then the tasks in level order. So the outcome
depends neither on the order of tasks nor on how often the same facts are seen. Which facts one decision sees together
can matter only where a stop is involved.
"""

from dataclasses import replace

from runabout.engine.approvals import Answer, answer
from runabout.engine.attempts import next_attempt_at
from runabout.engine.draft import Draft
from runabout.engine.facts import Assignment, Decision, Facts, TaskEnd
from runabout.engine.graph import Graph
from runabout.engine.observed import apply_facts, take_approvals, take_stored
from runabout.engine.parents import Parents, look_at_parents
from runabout.engine.state import State
from runabout.records import TERMINAL_PHASES, Phase, Reason, Result, Run, Status, Task, Verdict, altered

__all__ = ["Assignment", "Decision", "Facts", "TaskEnd", "decide", "start_run"]


def start_run(state: State, *, now: int) -> Decision:
    """Return the decision by which a queued run begins; nothing is decided about its tasks yet."""
    if state.run.phase is not Phase.QUEUED:
        return Decision(state=state)
    draft = Draft(Graph(()), state, Facts(now=now))
    draft.emit(replace(draft.run, phase=Phase.RUNNING, started=now))
    return draft.decision()


def decide(graph: Graph, state: State, facts: Facts) -> Decision:
    """Return the decision; `graph` is the one of the state's configuration.

    Deciding again with the same facts changes nothing.
    """
    draft = Draft(graph, state, facts)
    if state.run.phase in TERMINAL_PHASES:
        take_stored(draft)
        return draft.decision()
    take_approvals(draft)
    _begin(draft)
    if draft.run.phase is not Phase.RUNNING:
        return draft.decision()
    apply_facts(draft)
    _check_deadline(draft)
    _decide_rounds(draft)
    if _finish(draft):
        return draft.decision()
    return draft.decision(
        ready=tuple(draft.ready),
        stop=_to_stop(draft),
        blocked=tuple(draft.blocked),
        wake=_wake(draft),
    )


def _begin(draft: Draft) -> None:
    """Take a stop, and let a queued run begin or end."""
    by = draft.facts.replaced_by
    if not draft.run.stop and (draft.facts.stop or by is not None):
        draft.run = replace(draft.run, stop=True, replaced_by=None if draft.facts.stop else by)
    if draft.run.phase is not Phase.QUEUED:
        return
    if draft.run.stop:
        draft.emit(
            replace(draft.run, phase=Phase.CANCELLED, ended=draft.facts.now, reason=_why_stopped(draft.run)),
        )
    elif draft.facts.start:
        draft.emit(replace(draft.run, phase=Phase.RUNNING, started=draft.facts.now))


def _why_stopped(run: Run) -> Reason | None:
    """Return the reason of a run that a stop has ended, None if somebody asked for it."""
    return Reason.REPLACED if run.replaced_by is not None else run.reason


def _deadline(draft: Draft) -> int | None:
    """Return when the run's time is up, None if it has no limit or is being stopped already."""
    run, seconds = draft.run, draft.config.timeout_seconds
    if not seconds or run.started is None or run.stop:
        return None
    return run.started + seconds * 1000


def _check_deadline(draft: Draft) -> None:
    """End a run whose time is up as by a stop, but for its result; one whose tasks are all over is left alone."""
    deadline = _deadline(draft)
    if deadline is None or draft.facts.now < deadline or all(task.finished for task in draft.tasks.values()):
        return
    draft.run = replace(draft.run, stop=True, reason=Reason.TIMEOUT)


def _decide_rounds(draft: Draft) -> None:
    """Decide the result, then the tasks, until neither changes; a round without a change is the last."""
    while True:
        before = draft.run.result
        _decide_result(draft)
        again = _decide_tasks(draft)
        if draft.run.result is before and not again:
            return


def _decide_result(draft: Draft) -> None:
    """Set the result if there is none yet and there is one now: the only place that does."""
    if draft.run.result is not Result.UNKNOWN:
        return
    finished = True
    for name, task in draft.tasks.items():
        status = task.status
        if status is Status.FAILED and not draft.graph.task(name).ignore_failure:
            draft.emit(replace(draft.run, result=Result.FAILED))
            return
        finished = finished and status is not Status.NOTSTARTED and status is not Status.RUNNING
    if finished:
        draft.emit(replace(draft.run, result=Result.SUCCESS))
    elif draft.run.stop:
        reason = _why_stopped(draft.run)
        result = Result.FAILED if reason is Reason.TIMEOUT else Result.STOPPED
        draft.emit(replace(draft.run, result=result, reason=reason))


def _decide_tasks(draft: Draft) -> bool:
    """Decide every task that is on no executor, in level order; return whether any status changed."""
    draft.ready.clear()
    draft.blocked.clear()
    draft.pauses.clear()
    changed = False
    for name in draft.graph.order:
        task = draft.tasks[name]
        if task.executor is None and (task.status is Status.NOTSTARTED or task.status is Status.RUNNING):
            changed |= _decide_task(draft, task)
    return changed


def _decide_task(draft: Draft, task: Task) -> bool:
    """Decide one task that is on no executor and not over; return whether its status changed."""
    if draft.run.stop:
        # between two attempts it was given to an executor once: that is stopped, not skipped
        _end(draft, task, Status.STOPPED if task.status is Status.RUNNING else Status.SKIPPED, Reason.STOPPED)
        return True
    if task.status is Status.RUNNING:
        _again(draft, task)
        return False
    if draft.run.result is not Result.UNKNOWN and not draft.graph.level(task.name):
        _end(draft, task, Status.CANCELLED)
        return True
    parents = look_at_parents(draft.graph.task(task.name), draft.tasks)
    if parents is Parents.UNFINISHED:
        return False
    if parents is Parents.NO_MATCH:
        _end(draft, task, Status.SKIPPED)
        return True
    if parents is Parents.UNSTORED:
        draft.blocked.append(task.name)
        return False
    return _ask(draft, task)


def _end(draft: Draft, task: Task, status: Status, reason: Reason | None = None, message: str = "") -> None:
    """End a task without an executor; whatever it waited for, it waits no more."""
    draft.put(altered(task, status=status, reason=reason, message=message, ended=draft.facts.now, waiting_since=None))


def _again(draft: Draft, task: Task) -> None:
    """Make a task that is between two attempts ready, once its pause is over."""
    at = next_attempt_at(draft.graph.task(task.name), task.attempts)
    if at <= draft.facts.now:
        draft.ready.append(task.name)
    else:
        draft.pauses.append(at)


def _ask(draft: Draft, task: Task) -> bool:
    """Make a task ready that may start, unless it needs an approval; return whether its status changed."""
    config = draft.graph.task(task.name)
    said = answer(config, task.approvals) if config.needs_approval else Answer.APPROVED
    if said is Answer.REFUSED:
        callers = ", ".join(approval.by for approval in task.approvals if approval.verdict is Verdict.REFUSED)
        _end(draft, task, Status.FAILED, Reason.REFUSED, f"refused by {callers}")
        return True
    if said is Answer.APPROVED:
        draft.ready.append(task.name)
        if task.waiting_since is not None:
            draft.put(altered(task, waiting_since=None))
    elif task.waiting_since is None:
        draft.put(altered(task, waiting_since=draft.facts.now))
    return False


def _finish(draft: Draft) -> bool:
    """Finish a run that has its result, all tasks over, and logs and archives stored; return whether it is."""
    if draft.run.result is Result.UNKNOWN:
        return False
    unstored = []
    for task in draft.tasks.values():
        if not task.finished:
            return False
        if not (task.stored and task.archived):
            unstored.append(task)
    if unstored and not draft.facts.storage_late:
        return False
    for task in unstored:
        draft.put(altered(task, late_logs=True))
    draft.emit(replace(draft.run, phase=Phase.FINISHED, ended=draft.facts.now))
    return True


def _to_stop(draft: Draft) -> tuple[str, ...]:
    if not draft.run.stop:
        return ()
    return tuple(name for name in draft.graph.order if draft.tasks[name].executor is not None)


def _wake(draft: Draft) -> int | None:
    times = [*draft.pauses]
    deadline = _deadline(draft)
    if deadline is not None and not all(task.finished for task in draft.tasks.values()):
        times.append(deadline)
    return min(times, default=None)
