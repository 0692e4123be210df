"""Act: create, stop and remove the pods that committed records ask for. Every action is safe to repeat."""

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from runabout.control.attempts import Attempt, Creation
from runabout.control.executors import Executors
from runabout.control.live import LiveRun
from runabout.control.metrics import Metrics
from runabout.executors.driver import Created, Done, Driver, Invalid, PodRef, Removal, Unavailable
from runabout.executors.driver import Creation as Answer
from runabout.executors.errors import InvalidPodError
from runabout.executors.manifest import pod_manifest
from runabout.executors.podview import pod_view
from runabout.records import Task

log = structlog.get_logger(__name__)

RETRY_MS = (1_000, 2_000, 5_000, 10_000, 30_000)
"""Delays before a pod that the API server did not take is tried again; the last one repeats."""
FORCE_MARGIN_MS = 30_000
"""Beyond the grace period, after which a pod that does not end is removed by force."""


UNBEGUN_GRACE_SECONDS = 5
"""What services have to end where no step has begun; the whole grace is for steps."""
BEGUN_MS = 3_000
"""After a stop, in which a pod that a node has may still turn out to have begun: then its log is kept."""


class Actions:
    """Carries out what one run's records ask for; `now` gives milliseconds since 1970."""

    def __init__(self, *, driver: Driver, executors: Executors, metrics: Metrics, now: Callable[[], int]) -> None:
        self._driver = driver
        self._executors = executors
        self._metrics = metrics
        self._now = now

    async def create(self, live: LiveRun) -> None:
        """Create the pods of all assignments committed here whose time has come."""
        now = self._now()
        wanted = [
            attempt
            for attempt in live.attempts.values()
            if attempt.creation is Creation.WANTED
            and not attempt.invalid
            and attempt.next_try <= now
            and live.state.tasks[attempt.task].executor is not None
        ]
        if len(wanted) == 1:
            await self._create(live, wanted[0])
        elif wanted:
            async with asyncio.TaskGroup() as group:
                for attempt in wanted:
                    group.create_task(self._create(live, attempt))

    async def _create(self, live: LiveRun, attempt: Attempt) -> None:
        state = live.state
        task = state.tasks[attempt.task]
        executor = self._executors.get(task.executor or "")
        try:
            manifest = pod_manifest(
                state.config,
                live.graph.task(task.name),
                attempt=attempt.number,
                counter=state.run.counter,
                executor_pod=executor.pod,
                settings=self._executors.pod_settings(executor.name, state.run.namespace),
            )
        except InvalidPodError as error:
            attempt.invalid = str(error)
            return
        attempt.creation = Creation.SENT
        try:
            answer = await self._driver.create(manifest)
        except BaseException:
            attempt.creation = Creation.WANTED  # the same name: creating it again finds it or makes it, never twice
            raise
        self._created(live, task, attempt, answer)

    def _created(self, live: LiveRun, task: Task, attempt: Attempt, answer: Answer) -> None:
        now = self._now()
        if isinstance(answer, Created):
            attempt.creation, attempt.uid, attempt.since = Creation.DONE, answer.uid, now
            attempt.refused, attempt.refused_since, attempt.tries = "", None, 0
            self._metrics.pods_created.inc()
            if live.changed_at is not None and live.graph.parents(task.name):
                self._metrics.child_start_seconds.observe(time.monotonic() - live.changed_at)
            return
        attempt.creation = Creation.WANTED
        if isinstance(answer, Invalid):
            attempt.invalid = answer.message
            return
        attempt.refused = answer.message
        attempt.refused_since = attempt.refused_since or now
        delay = _patience(answer, RETRY_MS[min(attempt.tries, len(RETRY_MS) - 1)])
        attempt.tries += 1
        attempt.next_try = now + delay
        log.info(
            "pod not created", run=live.id, task=task.name, pod=attempt.pod, why=answer.message, again_in=delay / 1000
        )

    async def stop(self, live: LiveRun, tasks: Iterable[str]) -> int | None:
        """Stop the pods of `tasks`, gracefully, then by force; return when to look again (ms since 1970).

        Why does not matter here: because of a stop, or of a fault of theirs.
        """
        now = self._now()
        again: int | None = None
        for name in tasks:
            attempt = live.attempts.get(name)
            if attempt is None or not attempt.known or attempt.gone:
                continue
            grace = self._executors.limits(live.state.tasks[name].executor or "").grace_seconds
            ref = PodRef(live.state.run.namespace, attempt.pod, attempt.uid)
            force_at = (attempt.stop_sent or now) + grace * 1000 + FORCE_MARGIN_MS
            if attempt.stop_sent is None:
                answer = await self._driver.stop(ref, started=_may_have_begun(attempt), grace_seconds=grace)
                if isinstance(answer, Done):
                    attempt.stop_sent = now
                    attempt.gone = answer.gone
                    force_at = now + BEGUN_MS if _may_have_begun(attempt) else force_at
                else:
                    log.info("pod not stopped", run=live.id, task=name, pod=attempt.pod, why=answer.message)
                    force_at = now + _patience(answer, RETRY_MS[0])
            elif now < force_at and not _has_begun(attempt) and not _is_going(attempt):
                delete_at = attempt.stop_sent + BEGUN_MS
                if now >= delete_at:  # it waits for its image, perhaps: only its deletion ends that at once
                    answer = await self._driver.stop(
                        ref, started=False, grace_seconds=min(grace, UNBEGUN_GRACE_SECONDS)
                    )
                    delete_at = now + _patience(answer, RETRY_MS[0])
                force_at = min(delete_at, force_at)
            elif now >= force_at and attempt.force_sent is None:
                log.warning("pod does not end, removing it by force", run=live.id, task=name, pod=attempt.pod)
                answer = await self._driver.remove(ref, force=True)
                if isinstance(answer, Done):
                    attempt.force_sent = now
                    force_at = now + FORCE_MARGIN_MS
                else:
                    log.info("pod not removed", run=live.id, task=name, pod=attempt.pod, why=answer.message)
                    force_at = now + _patience(answer, RETRY_MS[0])
            again = force_at if again is None else min(again, force_at)
        return again

    async def remove(self, live: LiveRun, attempts: Iterable[Attempt]) -> None:
        """Delete the pods of attempts that are over but whose pods would never end.

        What the API server forbids is left to whoever deletes the Run; while it does not answer nothing is `removed`.
        The pod of a lost attempt has to go before the next one: it is asked for again until it is gone, in the end by
        force if no node has it. What a node has may still be executed, whatever the API server forgets.
        """
        for attempt in attempts:
            answer = await self._driver.remove(
                PodRef(live.state.run.namespace, attempt.pod, attempt.uid), force=attempt.force
            )
            if not isinstance(answer, Done):
                attempt.removed = attempt.lost is None and not isinstance(answer, Unavailable)
                log.info("pod not removed", run=live.id, task=attempt.task, pod=attempt.pod, why=answer.message)
                continue
            attempt.removed, attempt.gone = True, answer.gone
            if attempt.lost is not None and not attempt.force:
                grace = self._executors.limits(live.state.tasks[attempt.task].executor or "").grace_seconds
                attempt.force = not _may_have_begun(attempt)
                attempt.cleanup_due = self._now() + grace * 1000 + FORCE_MARGIN_MS

    async def check(self, live: LiveRun, attempt: Attempt) -> None:
        """Ask the API server for a pod that was created but never seen; one that is gone is lost."""
        if not await self._driver.exists(PodRef(live.state.run.namespace, attempt.pod, attempt.uid)):
            attempt.creation = Creation.FOREIGN
        attempt.since = self._now()


def _patience(answer: Answer | Removal, delay: int) -> int:
    """Return after how many ms to ask again: `delay`, longer where the API server asked for it."""
    asked = answer.retry_after if isinstance(answer, Unavailable) else None
    return max(delay, int((asked or 0) * 1000))


def _has_begun(attempt: Attempt) -> bool:
    """Whether the pod's main container was seen to run."""
    return attempt.last is not None and pod_view(attempt.last).main.started is not None


def _may_have_begun(attempt: Attempt) -> bool:
    """Whether a node may have the pod: what we see may be older than what it does, and a deletion takes its log."""
    return attempt.last is None or bool(pod_view(attempt.last).node)


def _is_going(attempt: Attempt) -> bool:
    """Whether the pod was seen to be deleted."""
    return attempt.last is not None and pod_view(attempt.last).deleted is not None
