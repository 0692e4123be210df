"""The decision: from an immutable run and what is observed to the next run and what to do.

Facts are applied first; then rounds until nothing changes: the result, then the tasks in level order. So the outcome
depends neither on the order of tasks nor on how often the same facts are seen. Which facts one decision sees together
can matter only where a stop is involved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from runabout.engine.approvals import Answer, answer, counting
from runabout.engine.conditions import matches
from runabout.engine.graph import Graph
from runabout.engine.state import State
from runabout.records import (
    TERMINAL_PHASES,
    Approval,
    Attempt,
    Event,
    Phase,
    Reason,
    Result,
    Run,
    Status,
    StepState,
    Task,
)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task was given to an executor, as a pod of this name."""

    executor: str
    pod: str


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """A task's attempt ended and decided the task: success, failed or stopped; `ended` in ms since 1970."""

    status: Status
    ended: int
    reason: Reason | None = None
    message: str = ""
    exit_code: int | None = None
    steps: tuple[StepState, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is observed; facts about tasks that are not where the fact belongs are ignored.

    `now` (ms since 1970) is only written down. `start`: the group's order lets the run start. `stored`: tasks whose
    last attempt's logs are stored, with the steps as they then stand (empty: as they were). `retry`: attempts that are
    over without deciding their task. `storage_late`: do not wait for logs any longer.
    """

    now: int
    start: bool = False
    stop: bool = False
    assigned: Mapping[str, Assignment] = field(default_factory=dict)
    ended: Mapping[str, TaskEnd] = field(default_factory=dict)
    retry: Mapping[str, Attempt] = field(default_factory=dict)
    approvals: tuple[Approval, ...] = ()
    stored: Mapping[str, tuple[StepState, ...]] = field(default_factory=dict)
    storage_late: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, what changed, the events in order, and what to do.

    `ready` may be given to an executor (level order, then name); `stop` are on one and have to be stopped.
    """

    state: State
    changed: tuple[Task, ...] = ()
    events: tuple[Event, ...] = ()
    ready: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()

    @property
    def run(self) -> Run:
        """The run after the decision."""
        return self.state.run


class _Draft:
    """The run and tasks while they are being decided; the state it starts from is never touched."""

    def __init__(self, graph: Graph, state: State, facts: Facts) -> None:
        self.graph = graph
        self.facts = facts
        self.config = state.config
        self.run = state.run
        self.tasks = dict(state.tasks)
        self.changed: set[str] = set()
        self.events: list[Event] = []
        self.ready: list[str] = []

    def put(self, task: Task) -> None:
        self.tasks[task.name] = task
        self.changed.add(task.name)

    def emit(self, run: Run) -> None:
        self.run = run
        self.events.append(Event(run.id, run.phase, run.result, self.facts.now))


def decide(graph: Graph, state: State, facts: Facts) -> Decision:
    """Return the decision; `graph` is the one of the state's configuration."""
    draft = _Draft(graph, state, facts)
    _store(draft)
    if state.run.phase not in TERMINAL_PHASES:
        _begin(draft)
    if draft.run.phase is Phase.RUNNING:
        _apply(draft)
        _rounds(draft)
        _finish(draft)
    running = draft.run.phase is Phase.RUNNING
    return Decision(
        state=State(state.config, draft.run, draft.tasks) if draft.changed or draft.run is not state.run else state,
        changed=tuple(draft.tasks[name] for name in graph.order if name in draft.changed),
        events=tuple(draft.events),
        ready=tuple(draft.ready) if running else (),
        stop=_to_stop(draft) if running and draft.run.stop else (),
    )


def _to_stop(draft: _Draft) -> tuple[str, ...]:
    tasks = draft.tasks
    return tuple(name for name in draft.graph.order if tasks[name].executor is not None)


def _store(draft: _Draft) -> None:
    for name, steps in draft.facts.stored.items():
        task = draft.tasks.get(name)
        if task is not None and task.finished and not task.stored:
            draft.put(replace(task, stored=True, late_logs=False, steps=steps or task.steps))


def _begin(draft: _Draft) -> None:
    if draft.facts.stop and not draft.run.stop:
        draft.run = replace(draft.run, stop=True)
    if draft.run.phase is not Phase.QUEUED:
        return
    if draft.run.stop:
        draft.emit(replace(draft.run, phase=Phase.CANCELLED, ended=draft.facts.now))
    elif draft.facts.start:
        draft.emit(replace(draft.run, phase=Phase.RUNNING, started=draft.facts.now))


def _apply(draft: _Draft) -> None:
    facts = draft.facts
    for name, past in facts.retry.items():
        task = draft.tasks[name]
        if task.executor is not None and not task.finished and task.attempt == past.number:
            draft.put(replace(task, executor=None, pod=None, attempts=(*task.attempts, past), steps=(), stored=True))
    for name, end in facts.ended.items():
        task = draft.tasks[name]
        if task.executor is not None and not task.finished:
            draft.put(
                replace(
                    task,
                    status=end.status,
                    executor=None,
                    reason=end.reason,
                    message=end.message,
                    exit_code=end.exit_code,
                    ended=end.ended,
                    steps=end.steps or task.steps,
                )
            )
    for name, assignment in facts.assigned.items():
        task = draft.tasks[name]
        if task.executor is None and not task.finished:
            draft.put(
                replace(
                    task,
                    status=Status.RUNNING,
                    attempt=task.attempt + 1,
                    executor=assignment.executor,
                    pod=assignment.pod,
                    started=task.started if task.started is not None else facts.now,
                    waiting_since=None,
                    stored=False,
                )
            )
    _store(draft)


def _rounds(draft: _Draft) -> None:
    """Decide the result, then the tasks, until neither changes; a round without a change is the last."""
    while True:
        before = draft.run.result
        _result(draft)
        again = _tasks(draft)
        if draft.run.result is before and not again:
            return


def _result(draft: _Draft) -> None:
    if draft.run.result is not Result.UNKNOWN:
        return
    result: Result | None = None
    finished = True
    for name, task in draft.tasks.items():
        if task.status is Status.FAILED and not draft.graph.task(name).ignore_failure:
            result = Result.FAILED
            break
        finished = finished and task.finished
    if result is None and finished:
        result = Result.SUCCESS
    if result is None and draft.run.stop:
        result = Result.STOPPED
    if result is not None:
        draft.emit(replace(draft.run, result=result))


def _tasks(draft: _Draft) -> bool:
    """Decide every task that is on no executor, in level order; return whether any status changed."""
    changed = False
    draft.ready = []
    decided = draft.run.result is not Result.UNKNOWN
    for name in draft.graph.order:
        task = draft.tasks[name]
        if task.executor is not None or task.finished:
            continue
        if draft.run.stop:
            _stop(draft, task)
            changed = True
        elif task.status is Status.RUNNING:
            draft.ready.append(name)
        elif decided and draft.graph.level(name) == 0:
            draft.put(replace(task, status=Status.CANCELLED, ended=draft.facts.now, waiting_since=None))
            changed = True
        else:
            changed |= _decide_task(draft, task)
    return changed


def _stop(draft: _Draft, task: Task) -> None:
    """End a task that is on no executor: stopped if it has begun (between two attempts), else skipped."""
    status = Status.STOPPED if task.status is Status.RUNNING else Status.SKIPPED
    draft.put(replace(task, status=status, reason=Reason.STOPPED, ended=draft.facts.now, waiting_since=None))


def _decide_task(draft: _Draft, task: Task) -> bool:
    config = draft.graph.task(task.name)
    matched = True
    for dependency in config.depends:
        parent = draft.tasks[dependency.task]
        if not parent.finished:
            return False
        matched = matched and matches(dependency, parent.status)
    if not matched:
        draft.put(replace(task, status=Status.SKIPPED, ended=draft.facts.now))
        return True
    if not config.needs_approval:
        draft.ready.append(task.name)
        return False
    return _ask(draft, task)


def _ask(draft: _Draft, task: Task) -> bool:
    config = draft.graph.task(task.name)
    counted = counting(config, draft.facts.approvals) or task.approvals
    said = answer(config, counted)
    if said is Answer.REFUSED:
        by = ", ".join(approval.by for approval in counted if approval.verdict.value == "refused")
        draft.put(
            replace(
                task,
                status=Status.FAILED,
                reason=Reason.REFUSED,
                message=f"refused by {by}",
                approvals=counted,
                waiting_since=None,
                ended=draft.facts.now,
            )
        )
        return True
    if said is Answer.APPROVED:
        draft.ready.append(task.name)
        if task.approvals != counted or task.waiting_since is not None:
            draft.put(replace(task, approvals=counted, waiting_since=None))
        return False
    if task.waiting_since is None or task.approvals != counted:
        since = task.waiting_since if task.waiting_since is not None else draft.facts.now
        draft.put(replace(task, approvals=counted, waiting_since=since))
    return False


def _finish(draft: _Draft) -> None:
    if draft.run.result is Result.UNKNOWN:
        return
    unstored = []
    for task in draft.tasks.values():
        if not task.finished:
            return
        if not task.stored:
            unstored.append(task)
    if unstored and not draft.facts.storage_late:
        return
    for task in unstored:
        draft.put(replace(task, late_logs=True))
    draft.emit(replace(draft.run, phase=Phase.FINISHED, ended=draft.facts.now))
