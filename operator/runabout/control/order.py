"""Order between runs: whose turn it is in a group, and which executor a task goes to.

Joins the pure queues of `scheduling` for the reconciler: one place for all runs of a store. Everything here is made
again from the records at start. Slots are counted when a task is given to an executor, before the commit, and given
back if the commit fails, so there are never more than `maxActiveTasks`, whatever crashes.
"""

from collections.abc import Callable, Iterable

from runabout.control.executors import Executor, Executors
from runabout.control.live import LiveRun
from runabout.control.objects import Uid
from runabout.control.status import Wait
from runabout.engine.decide import Assignment
from runabout.engine.state import State
from runabout.executors.names import PodKey, pod_name
from runabout.records import Phase, Reason, RunId, Task
from runabout.scheduling.placement import Ask, Place, Placement
from runabout.scheduling.queue import GroupQueues


class Order:
    """`wake` is called with the runs whose turn has come, or whose tasks got a place."""

    def __init__(self, *, executors: Executors, wake: Callable[[Uid], None], now: Callable[[], int]) -> None:
        self._executors = executors
        self._wake = wake
        self._now = now
        self._groups = GroupQueues()
        self._placement = Placement()
        self._uids: dict[RunId, Uid] = {}
        self._granted: dict[RunId, dict[str, str]] = {}
        self._asked: dict[RunId, dict[str, tuple[Ask, int]]] = {}
        self._priorities: dict[RunId, int] = {}

    # groups

    def restore(self, live: LiveRun) -> None:
        """Take a run from the store, with what it has on executors."""
        self._uids[live.id] = live.uid
        running = live.state.run.phase is Phase.RUNNING
        self._groups.add(live.id, live.state.run.group, running=running)
        for task in live.state.tasks.values():
            if task.executor is not None:
                self.occupy(live, task)

    def arrive(self, live: LiveRun) -> None:
        """Take a new run."""
        self._uids[live.id] = live.uid
        self._groups.add(live.id, live.state.run.group)

    def suspend(self, live: LiveRun, *, suspended: bool) -> None:
        """Give up or take back a queued run's place in its group."""
        group = live.state.run.group
        before = self._groups.next(group)
        self._groups.suspend(live.id, suspended=suspended)
        after = self._groups.next(group)
        if after is not None and after not in (before, live.id):
            self._wake_run(after)

    def claim(self, live: LiveRun) -> None:
        """Have a run that is committed end the older ones of its group, if its concurrency says so; they are woken."""
        for older in self._groups.claim(live.id, live.state.config.concurrency):
            self._wake_run(older)

    def replaced_by(self, live: LiveRun) -> RunId | None:
        """Return the newer run of its group that ends this one, None if nobody does."""
        return self._groups.replaced_by(live.id)

    def may_start(self, live: LiveRun) -> bool:
        """Whether a queued run's turn has come."""
        return live.state.run.phase is Phase.QUEUED and self._groups.may_start(live.id)

    def started(self, live: LiveRun) -> None:
        """Note that a run has started."""
        self._groups.start(live.id)

    def leave(self, live: LiveRun) -> None:
        """Forget a run that is over; the next one of its group is woken."""
        group = live.state.run.group
        self._placement.withdraw(live.id)
        for name in self._granted.pop(live.id, {}):
            self._placement.release(live.id, name)
        self._groups.remove(live.id)
        self._uids.pop(live.id, None)
        self._asked.pop(live.id, None)
        self._priorities.pop(live.id, None)
        self._grant()
        following = self._groups.next(group)
        if following is not None:
            self._wake_run(following)

    def queued_behind(self, live: LiveRun) -> Wait | None:
        """Return what keeps a queued run from starting."""
        behind = self._groups.behind(live.id)
        if behind is None:
            return None
        run, place = behind
        message = f"waits for run {run} of group {live.state.run.group}; {place} in all before it"
        return Wait(Reason.QUEUED_BEHIND, message, live.state.run.created)

    # places

    def place(self, live: LiveRun, ready: Iterable[str], state: State, *, priority: int) -> dict[str, Assignment]:
        """Give ready tasks to executors, as far as there are places for them; the others wait their turn."""
        names = list(ready)
        run = state.run
        known = self._asked.setdefault(run.id, {})
        changed_priority = self._priorities.get(run.id) != priority
        self._priorities[run.id] = priority
        granted = self._granted.pop(run.id, {})
        wanted = set(names)
        for name in [name for name in known if name not in wanted]:
            del known[name]
        for name in [name for name in granted if name not in wanted]:
            self._placement.release(run.id, name)
            del granted[name]
        self._placement.withdraw(run.id, keep=names)
        asks = []
        for name in names:
            if name in granted:
                continue
            if name not in known or changed_priority:
                since = known[name][1] if name in known else self._now()
                known[name] = (self._ask(live, name, priority), since)
            asks.append(known[name][0])
        self._placement.ask(asks)
        self._grant(live.id)
        granted.update(self._granted.pop(run.id, {}))
        for name in granted:
            known.pop(name, None)
        return {
            name: Assignment(executor, pod_name(PodKey(run.id, name, state.tasks[name].attempt + 1)))
            for name, executor in granted.items()
        }

    def is_asked(self, live: LiveRun) -> bool:
        """Whether tasks of a run wait for a place, or have got one that they did not take yet."""
        return bool(self._asked.get(live.id) or self._granted.get(live.id))

    def _grant(self, working: RunId | None = None) -> None:
        """Give out all free places; runs other than the one being worked on are woken to take theirs."""
        for ask, executor in self._placement.place():
            self._granted.setdefault(ask.run, {})[ask.task] = executor
            if ask.run != working:
                self._wake_run(ask.run)

    def withdraw(self, live: LiveRun, assigned: dict[str, Assignment]) -> None:
        """Give back the places of assignments that were not committed."""
        for name in assigned:
            self._placement.release(live.id, name)

    def occupy(self, live: LiveRun, task: Task) -> None:
        """Count a task that the store says is on an executor."""
        if task.executor is not None:
            self._placement.occupy(self._ask(live, task.name, 0), task.executor)

    def release(self, live: LiveRun, task: str) -> None:
        """Free the place of a task that is over, and give it to the next one."""
        self._placement.release(live.id, task)
        self._grant()

    def waits(self, live: LiveRun) -> dict[str, Wait]:
        """Return why tasks of a run are on no executor."""
        waits, answers = {}, dict[tuple[object, ...], tuple[Reason, str]]()
        for name, (ask, since) in self._asked.get(live.id, {}).items():
            kind = (ask.arch, ask.privileged, id(ask.selector))  # the same for all variants of a task
            if kind not in answers:
                answers[kind] = self._placement.why(ask)
            waits[name] = Wait(*answers[kind], since)
        return waits

    def _ask(self, live: LiveRun, name: str, priority: int) -> Ask:
        task = live.graph.task(name)
        config = live.state.config
        return Ask(
            run=config.id,
            task=name,
            group=config.group,
            namespace=config.namespace,
            arch=task.arch,
            privileged=task.privileged,
            selector=task.executor_selector,
            priority=priority,
            run_limit=config.max_active_tasks,
            order=(live.graph.level(name), name),
        )

    # executors

    def executor_changed(self, executor: Executor) -> None:
        """Take an executor's settings and readiness; waiting tasks are placed again."""
        spec = executor.spec
        ready, _, message = self._executors.ready(executor)
        self._placement.set_place(
            Place(
                name=executor.name,
                archs=spec.archs if spec else (),
                labels=executor.labels,
                max_active=spec.max_active_tasks if spec else 0,
                ready=ready,
                paused=spec.paused if spec else False,
                allow_privileged=spec.allow_privileged if spec else False,
                namespace_selector=spec.namespace_selector.model_dump(by_alias=True, exclude_none=True)
                if spec and spec.namespace_selector
                else None,
                why_not_ready=message,
            )
        )
        self._again()

    def executor_removed(self, name: str) -> None:
        """Forget an executor."""
        self._placement.remove_place(name)
        self._again()

    def namespace_changed(self, name: str, labels: dict[str, str] | None) -> None:
        """Take a namespace's labels."""
        self._placement.set_namespace(name, labels)
        self._again()

    def load(self, executor: str) -> tuple[int, int]:
        """Return how many tasks are on an executor, and how many wait that it serves."""
        return self._placement.active(executor), self._placement.waiting(executor)

    @property
    def waiting(self) -> int:
        """How many tasks wait for an executor."""
        return len(self._placement)

    def _again(self) -> None:
        """Place what waits, and have every waiting run say anew what it waits for."""
        self._grant()
        for run, asked in self._asked.items():
            if asked:
                self._wake_run(run)

    def _wake_run(self, run: RunId) -> None:
        uid = self._uids.get(run)
        if uid is not None:
            self._wake(uid)
