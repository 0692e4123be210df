"""One pass over one run: observe → decide → commit → act → report.

Every pass starts from what is, not from what happened; doing one twice does nothing more. What a pass decided is
committed before anything is done about it, and only this process (the store's one writer) decides.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from runabout.control.actions import Actions
from runabout.control.attempts import Attempt, Creation
from runabout.control.context import about
from runabout.control.ledger import Change, Ledger
from runabout.control.live import LiveRun
from runabout.control.metrics import Metrics
from runabout.control.objects import RunObject, RunObjects, Uid
from runabout.control.observer import Observation, Observer
from runabout.control.opener import Opener
from runabout.control.order import Order
from runabout.control.portions import portions
from runabout.control.queue import WorkQueue
from runabout.control.reporter import Reporter
from runabout.control.restarts import shared_by
from runabout.control.status import Wait
from runabout.control.waiting import task_waits
from runabout.datamanager import Conflict, Damaged, TooLarge
from runabout.engine.attempts import is_machinery
from runabout.engine.decide import Assignment, Decision, Facts, decide
from runabout.engine.state import State
from runabout.executors.names import PodKey
from runabout.records import TERMINAL_PHASES, Event, Phase, Reason, RunId, Task
from runabout.records.encoding import RecordError

log = structlog.get_logger(__name__)


PARTS = (256, 64, 16, 4, 1)
"""How many tasks' news one commit takes where all of it is more than the store takes at once."""


@dataclass(slots=True)
class _Pass:
    """What one pass changes, gathered until it is committed."""

    state: State
    events: list[Event]
    changed: dict[str, Task]
    assigned: dict[str, Assignment]
    stop: tuple[str, ...] = ()
    wake: int | None = None
    """when time alone changes something; milliseconds since 1970"""

    def take(self, decision: Decision) -> None:
        self.state = decision.state
        self.events.extend(decision.events)
        self.changed.update({task.name: task for task in decision.changed})
        self.stop = decision.stop
        self.wake = decision.wake


class Reconciler:
    """Owns the live runs; one pass over a run at a time (the work queue sees to that)."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        objects: RunObjects,
        queue: WorkQueue[Uid],
        order: Order,
        opener: Opener,
        observer: Observer,
        actions: Actions,
        reporter: Reporter,
        metrics: Metrics,
        now: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._objects = objects
        self._queue = queue
        self._order = order
        self._opener = opener
        self._observer = observer
        self._actions = actions
        self._reporter = reporter
        self._metrics = metrics
        self._now = now
        self._clock = clock
        self._uids: dict[RunId, Uid] = {}
        self.lives: dict[Uid, LiveRun] = {}

    async def restore(self) -> int:
        """Take all runs that are not over from the store, oldest first; return how many. Before any pass.

        Raises:
            Unavailable: the object storage does not answer; nothing was taken.
        """
        found: list[LiveRun] = []
        unreadable = 0
        for run in self._ledger.live():
            try:
                live = await self._opener.load(run)
            except (RecordError, Damaged) as error:  # one damaged record must not keep all other runs from going on
                log.exception("record unreadable", run=run, error=str(error))
                unreadable += 1
                continue
            if live is not None:
                found.append(live)
        self._metrics.records_unreadable.inc(unreadable)
        for live in found:
            self.lives[live.uid] = live
            self._uids[live.id] = live.uid
            self._order.restore(live)
            self._queue.add(live.uid)
        self._metrics.live_runs.set(len(self.lives))
        return len(self.lives)

    def claim(self) -> None:
        """Have restored runs end older ones as they did before; once all Runs are known, and before any pass.

        Else an older run, whose pass may come first, would begin although it has been replaced.
        """
        for live in self.lives.values():
            run = self._objects.get(live.uid)
            if run is None or _is_stopped(live, run):
                continue
            self._order.suspend(live, suspended=_is_suspended(run))
            self._order.claim(live)

    def uid_of(self, run: RunId) -> Uid | None:
        """Return the uid of a live run."""
        return self._uids.get(run)

    def in_hand(self, key: PodKey) -> bool:
        """Whether passes over its run take care of an attempt and its pod."""
        live = self.lives.get(self._uids.get(key.run, Uid("")))
        attempt = live.attempts.get(key.task) if live is not None else None
        return attempt is not None and attempt.number == key.attempt

    def heard(self, uid: Uid) -> None:
        """Note when news of a run's pods came, for the time from there to the next pods."""
        live = self.lives.get(uid)
        if live is not None and live.changed_at is None:
            live.changed_at = self._clock()

    async def reconcile(self, uid: Uid) -> None:
        """Bring one run a step further; safe at any time, for any uid.

        Raises:
            errors of the store and of the API server that are worth another try later; `Unknown` and `Fenced`, after
            which only another process can go on: what is in memory may not be what the store has.
        """
        self._metrics.reconciles.inc()
        run = self._objects.get(uid)
        live = self.lives.get(uid)
        if live is None and run is not None:
            live = await self._open(uid, run)
            run = self._objects.get(uid)
        if live is None:
            if run is not None and run.held and run.deleted is not None:
                await self._reporter.release(run)
            elif run is not None:
                await self._reporter.orphaned(run)
            return
        place = {"namespace": run.namespace, "name": run.name} if run is not None else {}
        with self._metrics.reconcile_seconds.time(), about({"run": live.id, **place}):
            await self._step(live, run)

    async def _step(self, live: LiveRun, run: RunObject | None) -> None:
        live.changed_at, changed_at = None, live.changed_at
        if not live.over or live.new or self._unstored(live):
            live.changed_at = changed_at
            try:
                await self._advance(live, run)
            except Conflict as error:
                self._give_up(live, error)
                return
            except TooLarge as error:
                if live.new:
                    live = self._refuse(live, error)
                    await self._advance(live, run)
                else:
                    await self._advance_in_parts(live, run, error)
            live.changed_at = None
        if run is not None:
            await self._report(live, run)
        if live.over:
            self._objects.over(live.uid)
            if not self._unstored(live):
                self._leave(live, run)

    async def _open(self, uid: Uid, run: RunObject) -> LiveRun | None:
        known_as = run.status.get("id")
        live = await self._opener.recorded(
            uid, submitted=run.created, known_as=known_as if isinstance(known_as, str) else ""
        )
        if live is None:
            if run.deleted is not None or known_as:
                return None  # what had a record once is not executed a second time
            live = await self._opener.create(run)
        self.lives[uid] = live
        self._uids[live.id] = uid
        if not live.over:
            self._order.arrive(live)
        self._metrics.live_runs.set(len(self.lives))
        return live

    def _refuse(self, live: LiveRun, error: TooLarge) -> LiveRun:
        """Return what is created in place of a new run that the store does not take: one with a setup error."""
        log.warning("run too large to be stored", error=str(error))
        self._order.leave(live)
        refused = self._opener.refused(live, f"the run cannot be stored: {error}")
        self.lives[live.uid] = refused
        return refused

    def _give_up(self, live: LiveRun, error: Conflict) -> None:
        """Forget a new run that is not what the store has any more, for the next pass to make it anew."""
        log.info("what is restarted is being removed, looking again", error=str(error))
        self._order.leave(live)
        self._opener.abandoned(live.state.config.group)
        del self.lives[live.uid], self._uids[live.id]
        self._metrics.live_runs.set(len(self.lives))
        self._queue.add(live.uid)

    def _leave(self, live: LiveRun, run: RunObject | None) -> None:
        """Let go of a run that is over and reported; its Run, if it still exists, is looked at again at its end."""
        if run is None or live.released:
            self.lives.pop(live.uid, None)
            self._uids.pop(live.id, None)
            if run is None:
                self._queue.forget(live.uid)
            self._metrics.live_runs.set(len(self.lives))

    def _unstored(self, live: LiveRun) -> bool:
        return bool(live.attempts)

    def _done_with(self, task: Task, attempt: Attempt) -> bool:
        return task.finished and task.stored and attempt.cleanup_due is None

    async def _advance_in_parts(self, live: LiveRun, run: RunObject | None, error: TooLarge) -> None:
        """Take some of what has happened, as after a long time in which nobody worked, and the rest in later passes.

        Raises:
            TooLarge: a single fact changes too much; it is tried again later, less and less often.
        """
        for most in PARTS:
            try:
                await self._advance(live, run, most=most)
            except TooLarge as again:
                error = again
            else:
                self._queue.add(live.uid)
                return
        raise error

    async def _advance(self, live: LiveRun, run: RunObject | None, *, most: int | None = None) -> None:
        now = self._now()
        stop = _is_stopped(live, run)
        found = self._observer.observe(live, now=now, stop=stop)
        if most is not None:
            found.narrow(most)
        done = self._decide(live, run, found, now=now, stop=stop)
        before = live.state
        if done.events or done.changed or done.state.run != before.run or live.new:
            await self._commit(live, done)
        self._after(live, done, found, before)
        if done.state.run.stop and not stop:  # what was observed was observed of a run that goes on
            self._queue.add(live.uid)
        await self._act(live, run, done, found)
        found.again(done.wake)
        live.waits = self._waits(live, found)
        live.run_wait = self._run_wait(live, run)
        if found.look_again is not None:
            self._queue.add_after(live.uid, max(0.05, (found.look_again - self._now()) / 1000))

    def _decide(self, live: LiveRun, run: RunObject | None, found: Observation, *, now: int, stop: bool) -> _Pass:
        self._order.suspend(live, suspended=_is_suspended(run))
        facts = Facts(
            now=now,
            start=self._order.may_start(live),
            stop=stop,
            replaced_by=self._order.replaced_by(live),
            ended=found.ended,
            retry=found.retry,
            approvals=run.approvals if run is not None else (),
            stored=found.stored,
            storage_late=found.storage_late,
        )
        done = _Pass(live.state, [], {}, {})
        decision = decide(live.graph, live.state, facts)
        done.take(decision)
        if decision.ready or self._order.is_asked(live):  # what is not ready any more, as after a stop, waits no more
            priority = run.spec.get("priority") if run is not None else 0
            done.assigned = self._order.place(
                live, decision.ready, done.state, priority=priority if isinstance(priority, int) else 0
            )
            if done.assigned:
                placed = Facts(now=now, stop=stop, approvals=facts.approvals, assigned=done.assigned)
                done.take(decide(live.graph, done.state, placed))
        if live.new:
            done.events = [*live.first_events, *done.events]
            done.changed = dict(done.state.tasks)
        for name in live.unwritten:
            done.changed.setdefault(name, done.state.tasks[name])
        return done

    async def _commit(self, live: LiveRun, done: _Pass) -> None:
        config = live.state.config
        counter = None
        if live.new:
            counter = self._opener.counter(config.group)
        change = Change(
            run=done.state.run,
            tasks=tuple(done.changed.values()),
            events=done.events,
            config=config if live.new else None,
            counter=counter,
            read_at=live.read_at if live.new else None,
            shares=shared_by(done.state) if live.new else (),
        )
        try:
            for portion in portions(change, before=live.state.run):
                with self._metrics.commit_seconds.time():
                    await self._ledger.commit(portion)
                self._metrics.commits.inc()
                self._committed(live, portion)
        except BaseException:
            self._order.withdraw(live, done.assigned)
            raise

    def _committed(self, live: LiveRun, portion: Change) -> None:
        """Take what a portion of a change says of the run itself; its tasks count once all of them are committed."""
        run = portion.run
        if live.new:
            self._opener.committed(live.state.config.group)
            live.unwritten = set(live.state.tasks)
        live.new = False
        if live.unwritten:
            live.unwritten.difference_update(task.name for task in portion.tasks)
        if run.phase is Phase.RUNNING and live.state.run.phase is Phase.QUEUED:
            self._order.started(live)
        live.state = replace(live.state, run=run)

    def _after(self, live: LiveRun, done: _Pass, found: Observation, before: State) -> None:
        """Take what was committed into memory: attempts that began, attempts that are over, the run's end."""
        live.state = done.state
        self._after_attempts(live, done, found, before)
        for task in done.changed.values():
            if before.run.phase is Phase.FINISHED and task.stored and not before.tasks[task.name].stored:
                self._metrics.logs_late.inc()
            if task.name not in before.tasks or task.status is not before.tasks[task.name].status:
                log.info(
                    "task changed",
                    task=task.name,
                    status=task.status.value,
                    attempt=task.attempt,
                    executor=task.executor,
                    reason=task.reason.value if task.reason is not None else None,
                )
        for event in done.events:
            log.info("run changed", phase=event.phase.value, result=event.result.value)
        if live.over and any(event.phase in TERMINAL_PHASES for event in done.events):
            run = live.state.run
            self._metrics.runs_ended.labels(phase=run.phase.value, result=run.result.value).inc()
            self._order.leave(live)
        if not live.over and not live.state.run.stop:
            self._order.claim(live)

    def _after_attempts(self, live: LiveRun, done: _Pass, found: Observation, before: State) -> None:
        now = self._now()
        for name, past in found.retry.items():
            attempt = live.attempts.pop(name, None)
            if attempt is not None:
                self._observer.forget(attempt)
                self._queue.add(live.uid)
                counter = self._metrics.attempts_lost if is_machinery(past.reason) else self._metrics.attempts_failed
                counter.labels(reason=past.reason.value).inc()
        for name, task in done.changed.items():
            if before.tasks[name].executor is not None and name not in done.assigned and task.executor is None:
                self._order.release(live, name)
        for name, assignment in done.assigned.items():
            task = done.state.tasks[name]
            live.attempts[name] = Attempt(assignment.pod, name, task.attempt, Creation.WANTED, now)
        for name, attempt in tuple(live.attempts.items()):
            if self._done_with(done.state.tasks[name], attempt):
                del live.attempts[name]
                self._observer.forget(attempt)

    async def _act(self, live: LiveRun, run: RunObject | None, done: _Pass, found: Observation) -> None:
        if run is not None and not live.over:
            await self._reporter.hold(run)
        if not live.over:
            await self._actions.create(live)
        to_end = tuple(dict.fromkeys((*done.stop, *found.end)))
        if to_end:
            found.again(await self._actions.stop(live, to_end))
        if found.remove:
            await self._actions.remove(live, found.remove)
        for attempt in found.check:
            await self._actions.check(live, attempt)
        for attempt in live.attempts.values():
            if attempt.invalid or (attempt.creation is Creation.WANTED and attempt.tries == 0):
                self._queue.add(live.uid)
            elif attempt.creation is Creation.WANTED:
                found.again(attempt.next_try)

    def _waits(self, live: LiveRun, found: Observation) -> dict[str, Wait]:
        waits = task_waits(live.graph, live.state.tasks)
        waits.update(self._order.waits(live))
        tasks = live.state.tasks
        waits.update(
            {name: wait for name, wait in found.waits.items() if not (tasks[name].finished and tasks[name].stored)}
        )
        for name, attempt in live.attempts.items():
            if attempt.refused:
                waits[name] = Wait(Reason.CREATION_REFUSED, attempt.refused, attempt.refused_since)
        return waits

    def _run_wait(self, live: LiveRun, run: RunObject | None) -> Wait | None:
        if live.state.run.phase is not Phase.QUEUED:
            return None
        since = live.state.run.created
        if _is_suspended(run):
            return Wait(Reason.SUSPENDED, "spec.suspend is true; set it to false to let the run start", since)
        return self._order.queued_behind(live)

    async def _report(self, live: LiveRun, run: RunObject) -> None:
        again = await self._reporter.status(live, run)
        settled = live.over and not self._unstored(live)
        if settled and again is None:
            await self._reporter.release(self._objects.get(run.uid) or run)
            live.released = True
            again = await self._reporter.expire(live, self._objects.get(run.uid) or run)
        if again is not None:
            self._queue.add_after(live.uid, again)


def _is_stopped(live: LiveRun, run: RunObject | None) -> bool:
    """Whether a run is to be stopped, or is being stopped; `run` is its Run, None if that is gone."""
    return run is None or run.deleted is not None or run.spec.get("stop") is True or live.state.run.stop


def _is_suspended(run: RunObject | None) -> bool:
    return run is not None and run.spec.get("suspend") is True
