"""Observe: what the pods and logs of a run say, as facts for the engine and waits for people. No I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from runabout.control.attempts import Attempt, Creation
from runabout.control.executors import Executors
from runabout.control.live import LiveRun
from runabout.control.logs import LogCollector, LogJob
from runabout.control.servicelogs import ServiceJob, ServiceLogs
from runabout.control.status import Wait, short
from runabout.engine.attempts import MACHINERY_ATTEMPTS, is_machinery, tries_again
from runabout.engine.decide import TaskEnd
from runabout.executors.faults import with_last_lines
from runabout.executors.observe import observe, pod_grace
from runabout.executors.plan import step_names
from runabout.executors.podview import main_container, pod_view
from runabout.executors.services import services_of
from runabout.executors.state import Absent, Cleanup, Ended, Limits, Machinery, Outcome, Pending, PodState, Running
from runabout.records import Attempt as PastAttempt
from runabout.records import Reason, Status, StepState, Task
from runabout.records.json import JsonObject

MAX_PAST_MESSAGE = 200
MAX_PAST_BYTES = 256
"""Characters and bytes that a record keeps of the message of an attempt that another one followed: there may be 100."""
UNSEEN_MS = 30_000
"""How long a pod that was created may stay unseen before the API server is asked for it."""
CLEANUP_MS = 15_000
"""How long a pod may go on after its main container has ended; it ends by itself unless something was added to it."""
REMOVED_MS = 2_000
"""How long after a removal it is looked at again."""
NOTICED_MS = 1_000
"""How long a pod waits before the status says so."""
SLOW_START_MS = 10_000
"""The same for a node that is setting the pod up, which takes a second or two."""

_STATUS = {Outcome.SUCCESS: Status.SUCCESS, Outcome.FAILED: Status.FAILED, Outcome.STOPPED: Status.STOPPED}


@dataclass(slots=True)
class Observation:
    """What one look at a run's attempts found; `look_again` is when time alone can change it (ms since 1970)."""

    ended: dict[str, TaskEnd] = field(default_factory=dict)
    retry: dict[str, PastAttempt] = field(default_factory=dict)
    stored: dict[str, tuple[StepState, ...]] = field(default_factory=dict)
    waits: dict[str, Wait] = field(default_factory=dict)
    end: list[str] = field(default_factory=list)
    """tasks whose attempts have to be ended because of a fault of their own"""
    remove: list[Attempt] = field(default_factory=list)
    check: list[Attempt] = field(default_factory=list)
    storage_late: bool = False
    look_again: int | None = None

    def narrow(self, most: int) -> None:
        """Leave all but the first `most` facts of each kind to a later look, which finds them again."""
        for facts in (self.ended, self.retry, self.stored):
            for name in tuple(facts)[most:]:
                del facts[name]

    def again(self, at: int | None) -> None:
        """Ask for another look at `at`, if that is earlier."""
        if at is not None and (self.look_again is None or at < self.look_again):
            self.look_again = at


class Observer:
    """Looks at the attempts of one run at a time; `pod` returns a pod as last seen, trimmed."""

    def __init__(
        self,
        *,
        pod: Callable[[str, str], JsonObject | None],
        logs: LogCollector,
        services: ServiceLogs,
        executors: Executors,
        storage_late_ms: int,
    ) -> None:
        self._pod = pod
        self._logs = logs
        self._services = services
        self._executors = executors
        self._storage_late = storage_late_ms

    def observe(self, live: LiveRun, *, now: int, stop: bool) -> Observation:
        """Return what is new since the state was committed; `stop` says that the run is being stopped."""
        found = Observation()
        for attempt in tuple(live.attempts.values()):
            task = live.state.tasks[attempt.task]
            self._look(live, attempt)
            if task.executor is not None and not task.finished:
                self._running(live, task, attempt, found, now=now, stop=stop)
            elif not task.stored:
                self._storing(live, task, attempt, found, now=now)
            if attempt.cleanup_due is not None:
                self._cleanup(attempt, found, now=now)
        return found

    def forget(self, attempt: Attempt) -> None:
        """Drop what is kept of an attempt whose end is committed and whose log is stored."""
        self._logs.forget(attempt.pod)
        self._services.forget(attempt.pod)

    def _look(self, live: LiveRun, attempt: Attempt) -> None:
        pod = self._pod(live.state.run.namespace, attempt.pod)
        if pod is not None:
            attempt.last, attempt.gone = pod, False
            attempt.creation = Creation.DONE
            metadata = pod.get("metadata")
            if isinstance(metadata, Mapping):
                attempt.uid = str(metadata.get("uid"))
        elif attempt.last is not None:
            attempt.gone = True

    def _running(
        self, live: LiveRun, task: Task, attempt: Attempt, found: Observation, *, now: int, stop: bool
    ) -> None:
        limits = self._limits(live, task)
        state = self._verdict(attempt, self._state(live, task, attempt, limits, now=now))
        if isinstance(state, Absent):
            self._absent(live, task, attempt, found, now=now, stop=stop, limits=limits)
        elif isinstance(state, Pending):
            self._pending(task, state, found, now=now)
            self._condemn(task, attempt, state, found, stop=stop)
            if stop or attempt.stop_sent is not None or attempt.fault is not None:
                self._collect_services(live, task, attempt)  # no step begins any more, and their pod may go soon
        elif isinstance(state, Running):
            self._logs.follow(self._job(live, task, attempt))
            if state.reason is not None:
                found.waits[task.name] = Wait(state.reason, state.message, state.since)
            found.again(state.look_again)
            self._condemn(task, attempt, state, found, stop=stop)
        else:
            self._over(live, task, attempt, state, found, now=now, stop=stop)

    def _condemn(
        self, task: Task, attempt: Attempt, state: Pending | Running, found: Observation, *, stop: bool
    ) -> None:
        """Have an attempt ended that cannot come to a good end; one that is being stopped is ended anyway."""
        if state.fault is not None and (attempt.fault is not None or not stop):
            attempt.fault = attempt.fault or state.fault
            found.end.append(task.name)

    def _verdict(self, attempt: Attempt, state: PodState) -> PodState:
        """Return why an attempt was lost, whatever becomes of its pod since: that is our own doing.

        A node that never says that the pod is gone is another matter: it may still execute it.
        """
        if attempt.lost is None:
            return state
        if isinstance(state, Ended) and state.reason is Reason.NODE_LOST:
            attempt.lost, attempt.removed, attempt.cleanup_due = None, False, None
            return state
        return attempt.lost

    def _state(self, live: LiveRun, task: Task, attempt: Attempt, limits: Limits, *, now: int) -> PodState:
        return observe(
            attempt.last,
            now=now,
            limits=limits,
            steps=step_names(live.graph.task(task.name)),
            services=services_of(live.graph.task(task.name)),
            stopped_at=attempt.stop_sent,
            fault=attempt.fault,
            gone=attempt.gone,
            nonce=self._logs.nonce(attempt.pod),
        )

    def _pending(self, task: Task, state: Pending, found: Observation, *, now: int) -> None:
        """Say why a pod does not start, once it takes longer than it usually does."""
        shown = state.since + (SLOW_START_MS if state.reason is Reason.CONTAINER_CREATING else NOTICED_MS)
        if now >= shown:
            found.waits[task.name] = Wait(state.reason, state.message, state.since)
        else:
            found.again(shown)
        found.again(state.look_again)

    def _absent(
        self, live: LiveRun, task: Task, attempt: Attempt, found: Observation, *, now: int, stop: bool, limits: Limits
    ) -> None:
        """Judge an attempt whose pod was never seen."""
        if attempt.invalid:
            found.ended[task.name] = TaskEnd(
                Status.FAILED, reason=Reason.INVALID_POD, message=attempt.invalid, ended=now
            )
        elif stop and (attempt.gone or attempt.creation in (Creation.WANTED, Creation.FOREIGN)):
            found.ended[task.name] = TaskEnd(Status.STOPPED, reason=Reason.STOPPED, ended=now)
        elif attempt.creation is Creation.FOREIGN:
            message = f"pod {attempt.pod} is not there"
            # It may have run while no operator worked: what was uploaded of its log is stored behind the next attempt.
            self._logs.follow(self._job(live, task, attempt))
            self._logs.ended(attempt.pod, f"{Reason.POD_LOST.value}: {message}", None)
            self._lost(live, task, found, Reason.POD_LOST, message, now=now, attempt=attempt)
        elif attempt.refused:
            since = attempt.refused_since or now
            found.waits[task.name] = Wait(Reason.CREATION_REFUSED, attempt.refused, since)
            limit = limits.pending_seconds * 1000
            if limit and now - since >= limit:
                found.ended[task.name] = TaskEnd(
                    Status.FAILED, reason=Reason.CREATION_REFUSED, message=attempt.refused, ended=now
                )
            found.again(attempt.next_try if not limit else min(attempt.next_try, since + limit))
        elif attempt.creation is Creation.WANTED:
            found.again(max(attempt.next_try, now))
        elif now - attempt.since < UNSEEN_MS:
            found.again(attempt.since + UNSEEN_MS)
        else:
            found.check.append(attempt)
        if task.name in found.ended:
            found.again(now)  # what is left of its log is looked for once its end is committed

    def _over(
        self,
        live: LiveRun,
        task: Task,
        attempt: Attempt,
        state: Ended | Machinery,
        found: Observation,
        *,
        now: int,
        stop: bool,
    ) -> None:
        ran = self._collect(live, task, attempt, state)
        self._collect_services(live, task, attempt)
        settled = self._is_settled(attempt, now) if ran else not self._services.waits(attempt.pod)
        fault = state.fault if isinstance(state, Ended) else None
        if isinstance(state, Ended) and fault is not None and fault.service is not None and not fault.told:
            if self._services.waits(attempt.pod):
                found.waits[task.name] = Wait(fault.reason, fault.message, state.ended or now)
                return
            lines = self._services.last_lines(attempt.pod, fault.service)
            told = replace(fault, told=True)  # what is kept of a lost attempt comes here again
            state = replace(state, message=with_last_lines(state.message, lines), fault=told)
        reason = state.reason
        if reason is not None and not stop and self._is_followed(live, task, state):
            services_due = self._services_due(live, task, attempt, state)
            if not settled or now < services_due or not self._is_cleared(attempt, state, now=now):
                found.waits[task.name] = Wait(reason, state.message, state.ended or now)
                found.again((services_due if now < services_due else None) if settled else now + self._storage_late)
                return
            self._lost(live, task, found, reason, state.message, now=now, attempt=attempt, state=state)
        else:
            if settled:
                self._tidy(attempt, state, due=now if not ran or state.cleanup is Cleanup.FORCE else now + CLEANUP_MS)
            found.ended[task.name] = _end(live, task, state, now=now)
        if self._services.waits(attempt.pod):
            pass
        elif not ran:
            found.stored[task.name] = ()
        elif (stored := self._logs.stored(attempt.pod)) is not None:
            found.stored[task.name] = _with_sizes(state.steps or _steps(live, task), stored.sizes)

    def _is_followed(self, live: LiveRun, task: Task, state: Ended | Machinery) -> bool:
        """Whether an attempt is one of the machinery's failures, or a failure of the user that is tried again.

        A node that does not answer may still execute the attempt: that is the end of the task.
        """
        if isinstance(state, Machinery):
            return True
        return (
            state.outcome is Outcome.FAILED
            and state.reason is not None
            and not is_machinery(state.reason)
            and tries_again(live.graph.task(task.name), task, reason=state.reason, exit_code=state.exit_code)
        )

    def _services_due(self, live: LiveRun, task: Task, attempt: Attempt, state: Ended | Machinery) -> int:
        """Return until when (ms since 1970) the services of an attempt that is over may go on; 0 if none does.

        Their kubelet ends them; if its node has died since, what may go on there is no step.
        """
        if attempt.last is None or state.ended is None or _is_over(attempt) or not pod_view(attempt.last).services_run:
            return 0
        return state.ended + pod_grace(self._limits(live, task)) * 1000

    def _tidy(self, attempt: Attempt, state: Ended | Machinery, *, due: int) -> None:
        """Have the pod of an attempt that is over deleted at `due`, if it does not end by itself."""
        if state.cleanup is Cleanup.NONE or attempt.removed or attempt.cleanup_due is not None or _is_over(attempt):
            return
        attempt.force = state.cleanup is Cleanup.FORCE
        attempt.cleanup_due = due

    def _is_cleared(self, attempt: Attempt, state: Ended | Machinery, *, now: int) -> bool:
        """Whether nothing of an attempt that another one follows can run any more; until then its pod is being removed.

        Two attempts of a task are never executed side by side: a pod that waited for its image may still begin.
        """
        if state.cleanup is Cleanup.NONE or _is_over(attempt):
            attempt.cleanup_due = None
            return True
        if attempt.lost is None:
            attempt.lost = state
            attempt.force = state.cleanup is Cleanup.FORCE
            ends = isinstance(state, Ended) and state.started is not None  # by itself, unless something goes on in it
            attempt.cleanup_due = now + CLEANUP_MS if ends else now
        return False

    def _cleanup(self, attempt: Attempt, found: Observation, *, now: int) -> None:
        """Have a pod deleted that would go on after its attempt; the pod of a lost one until it is gone."""
        if _is_over(attempt) or (attempt.removed and attempt.lost is None):
            attempt.cleanup_due = None
        elif attempt.cleanup_due is not None and now >= attempt.cleanup_due:
            found.remove.append(attempt)
            found.again(now + REMOVED_MS)  # whether it was removed, or has to be asked for again
        else:
            found.again(attempt.cleanup_due)

    def _lost(
        self,
        live: LiveRun,
        task: Task,
        found: Observation,
        reason: Reason,
        message: str,
        *,
        now: int,
        attempt: Attempt,
        state: Ended | Machinery | None = None,
    ) -> None:
        """Have a new attempt follow, or fail the task where the machinery's budget is used up.

        An attempt ends when its pod says so, but not later than now: a node's clock does not make a pause longer.
        """
        past = PastAttempt(
            number=attempt.number,
            pod=attempt.pod,
            executor=task.executor or "",
            reason=reason,
            message=_brief(message),
            exit_code=state.exit_code if state else None,
            started=state.started if state else None,
            ended=min((state.ended if state else None) or now, now),
        )
        if tries_again(live.graph.task(task.name), task, reason=reason, exit_code=past.exit_code):
            found.retry[task.name] = past
        else:
            found.ended[task.name] = TaskEnd(
                Status.FAILED,
                reason=reason,
                message=f"lost {MACHINERY_ATTEMPTS} attempts; the last one: {message}",
                ended=now,
            )

    def _collect(self, live: LiveRun, task: Task, attempt: Attempt, state: Ended | Machinery) -> bool:
        """Have the log of an attempt that is over collected; return False if there never was one."""
        if self._has_no_log(attempt, state):
            return False
        self._logs.follow(self._job(live, task, attempt))
        self._logs.ended(attempt.pod, _last_words(state), state.summary.sizes if state.summary else None)
        return True

    def _has_no_log(self, attempt: Attempt, state: Ended | Machinery) -> bool:
        """Whether the steps of an attempt that is over never began, as far as its pod was seen."""
        return attempt.last is None or (state.started is None and not self._logs.knows(attempt.pod))

    def _collect_services(self, live: LiveRun, task: Task, attempt: Attempt) -> None:
        """Have the logs of the services read that have begun, as far as the kubelet still has them."""
        services = services_of(live.graph.task(task.name))
        if not services or attempt.last is None:
            return
        view = pod_view(attempt.last)
        begun = tuple(
            (service.name, container.restarts > 0 and container.state != "waiting")
            for service in services
            if (container := view.init(service.name)).died is not None or container.state in ("running", "terminated")
        )
        run = live.state.run
        if begun:
            self._services.collect(ServiceJob(run.id, task.name, attempt.number, run.namespace, attempt.pod, begun))

    def _storing(self, live: LiveRun, task: Task, attempt: Attempt, found: Observation, *, now: int) -> None:
        """Judge the logs of a task that has ended."""
        self._collect_services(live, task, attempt)
        state = self._state(live, task, attempt, self._limits(live, task), now=now)
        stored = self._logs.stored(attempt.pod)
        if isinstance(state, Ended | Machinery) and self._has_no_log(attempt, state):
            if not self._services.waits(attempt.pod):
                found.stored[task.name] = ()
        elif stored is not None and not self._services.waits(attempt.pod):
            found.stored[task.name] = _with_sizes(task.steps or _steps(live, task), stored.sizes)
        elif not self._logs.knows(attempt.pod):
            self._logs.follow(self._job(live, task, attempt))
            self._logs.ended(attempt.pod, task.reason.value if task.reason else None, None)
        elif self._is_late(attempt, now):
            found.storage_late = True
        if isinstance(state, Pending | Running):
            # Its creation was given up, and yet it was carried out: nobody waits for this pod.
            if attempt.stop_sent is None and attempt.cleanup_due is None and not attempt.removed:
                attempt.cleanup_due = now
        elif isinstance(state, Ended | Machinery) and self._is_settled(attempt, now):
            self._tidy(attempt, state, due=now if state.cleanup is Cleanup.FORCE else now + CLEANUP_MS)
        trouble = self._logs.trouble(attempt.pod)
        if trouble is not None and stored is None:
            message, since = trouble
            found.waits[task.name] = Wait(Reason.STORAGE_UNAVAILABLE, message, since)
            found.again(since + self._storage_late)

    def _is_settled(self, attempt: Attempt, now: int) -> bool:
        """Whether nothing is kept by a pod any more: its log is stored, or is not waited for."""
        kept = self._logs.stored(attempt.pod) is not None or self._is_late(attempt, now)
        return kept and not self._services.waits(attempt.pod)

    def _is_late(self, attempt: Attempt, now: int) -> bool:
        trouble = self._logs.trouble(attempt.pod)
        return trouble is not None and now - trouble[1] >= self._storage_late

    def _limits(self, live: LiveRun, task: Task) -> Limits:
        limits = self._executors.limits(task.executor or "")
        return replace(limits, timeout_seconds=live.graph.task(task.name).timeout_seconds)

    def _job(self, live: LiveRun, task: Task, attempt: Attempt) -> LogJob:
        run = live.state.run
        return LogJob(
            run=run.id,
            task=task.name,
            attempt=attempt.number,
            namespace=run.namespace,
            pod=attempt.pod,
            container=main_container(attempt.last or {}),
            steps=step_names(live.graph.task(task.name)),
        )


def _brief(message: str) -> str:
    text = short(message, MAX_PAST_MESSAGE)
    return text if len(text.encode(errors="replace")) <= MAX_PAST_BYTES else short(message, MAX_PAST_BYTES // 4)


def _is_over(attempt: Attempt) -> bool:
    """Whether nothing of the pod runs any more, or ever will."""
    phase = pod_view(attempt.last).phase if attempt.last is not None else ""
    return attempt.gone or phase in ("Succeeded", "Failed")


def _end(live: LiveRun, task: Task, state: Ended | Machinery, *, now: int) -> TaskEnd:
    """Return the end of a task; what the machinery ends while the run is being stopped is stopped."""
    return TaskEnd(
        Status.STOPPED if isinstance(state, Machinery) else _STATUS[state.outcome],
        reason=Reason.STOPPED if isinstance(state, Machinery) else state.reason,
        message=state.message,
        exit_code=state.exit_code,
        ended=state.ended or now,
        steps=state.steps or _steps(live, task),
    )


def _steps(live: LiveRun, task: Task) -> tuple[StepState, ...]:
    """Return the steps of a task as they stand before any of them began."""
    return tuple(StepState(name) for name in step_names(live.graph.task(task.name)))


def _with_sizes(steps: tuple[StepState, ...], sizes: dict[int, int]) -> tuple[StepState, ...]:
    return tuple(replace(step, log_size=sizes.get(number, 0)) for number, step in enumerate(steps))


def _last_words(state: Ended | Machinery) -> str | None:
    """Return the text with which a log ends that broke off."""
    if state.reason is None:
        return None
    return f"{state.reason.value}: {state.message}" if state.message else state.reason.value
