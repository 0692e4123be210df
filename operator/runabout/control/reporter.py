"""Report: what people see of a run, and what holds its Run in place.

Status is written by server-side apply, only if it differs from what was written last, and at most four times a second
per run. What is neither a run's first status nor its end is progress: under load it waits for its turn, some seconds at
most, so that the API server has time for pods, and several changes become one write. The finalizer goes on before
anything can be lost and off when record and logs are stored, or at its deadline.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from runabout.control.live import LiveRun
from runabout.control.metrics import Metrics
from runabout.control.objects import FINALIZER, RunObject
from runabout.control.status import run_status, without_record
from runabout.records import TERMINAL_PHASES

log = structlog.get_logger(__name__)

REPORT_SECONDS = 0.25
"""Between two statuses of one run."""
PROGRESS_PER_SECOND = 20
"""Statuses of all runs together that only say how far they are: a fifth of a core of the API server."""
PROGRESS_SECONDS = 5.0
"""The longest that one of them waits for its turn."""
STORING_SECONDS = 3.0
"""After the end of the last task was seen: the run is over as soon as its logs are stored, and one status says both."""


class Runs(Protocol):
    """Where Runs are written; errors are those of :class:`runabout.control.runs_api.RunsApi`."""

    async def apply_status(self, run: RunObject, status: Mapping[str, object]) -> None:
        """Write the status of a Run."""
        ...

    async def set_finalizers(self, run: RunObject, finalizers: tuple[str, ...]) -> None:
        """Replace a Run's finalizers."""
        ...

    async def delete(self, run: RunObject) -> None:
        """Delete a Run."""
        ...


class Reporter:
    """Writes to Runs through `api`; `now` is in milliseconds since 1970, `clock` in seconds and never goes back."""

    def __init__(
        self,
        *,
        api: Runs,
        metrics: Metrics,
        now: Callable[[], int],
        clock: Callable[[], float],
        ttl_seconds: int,
        deadline_seconds: int,
    ) -> None:
        self._api = api
        self._metrics = metrics
        self._now = now
        self._clock = clock
        self._ttl = ttl_seconds
        self._deadline = deadline_seconds
        self._turn = 0.0

    async def status(self, live: LiveRun, run: RunObject) -> float | None:
        """Bring the status up to date; return in how many seconds it may be written, None if it is."""
        previous = live.reported if live.reported is not None else run.status
        status = run_status(
            live.state,
            generation=run.generation,
            waits=live.waits,
            run_wait=live.run_wait,
            judged=run.approvals,
            previous=previous,
            now=self._now(),
        )
        if status == previous:
            live.reported = status
            return None
        wait = live.reported_at + REPORT_SECONDS - self._clock()
        if not live.over and all(task.finished for task in live.state.tasks.values()):
            if live.storing_since is None:
                live.storing_since = self._clock()
            wait = max(wait, live.storing_since + STORING_SECONDS - self._clock())
        if not (live.over and not _says_end(previous)):  # the end itself is never kept back
            if previous.get("phase"):
                wait = max(wait, self._until_turn(live))
            if wait > 0:
                return wait
        live.turn = None
        live.reported_at = self._clock()
        await self._api.apply_status(run, status)
        live.reported = status
        return None

    def _until_turn(self, live: LiveRun) -> float:
        """Return in how many seconds it is a run's turn to show its progress; 0 or less is now."""
        now = self._clock()
        if live.turn is None:
            live.turn = min(max(now, self._turn), now + PROGRESS_SECONDS)
            self._turn = live.turn + 1 / PROGRESS_PER_SECOND
        return live.turn - now

    async def orphaned(self, run: RunObject) -> None:
        """Say of a Run that was not over that its record is not in the store (any more); one that had none is left."""
        if not run.status.get("id"):
            return
        status = without_record(run.status, now=self._now())
        if status is not None and status != run.status:
            log.warning("record missing", run=run.status.get("id"), namespace=run.namespace, name=run.name)
            await self._api.apply_status(run, status)

    async def hold(self, run: RunObject) -> None:
        """Put our finalizer on a Run that has none and is not being deleted."""
        if not run.held and run.deleted is None:
            await self._api.set_finalizers(run, (*run.finalizers, FINALIZER))

    async def release(self, run: RunObject) -> None:
        """Take our finalizer off."""
        if run.held:
            await self._api.set_finalizers(run, tuple(name for name in run.finalizers if name != FINALIZER))

    def overdue(self, run: RunObject) -> float | None:
        """Return in how many seconds a deleted Run has to be let go, None if it is not deleted; 0 is now."""
        if run.deleted is None:
            return None
        return max(0.0, (run.deleted - self._now()) / 1000 + self._deadline)

    async def release_overdue(self, run: RunObject) -> None:
        """Let a Run go whose record or logs are not stored yet, and say so."""
        await self.release(run)
        log.warning(
            "released at the finalizer's deadline, before record and logs were stored",
            run=run.status.get("id"),
            namespace=run.namespace,
            name=run.name,
        )
        self._metrics.finalizers_forced.inc()

    async def expire(self, live: LiveRun, run: RunObject) -> float | None:
        """Delete a Run whose time is over; return in how many seconds that will be, None if it is being deleted."""
        if run.deleted is not None:
            return None
        ttl = run.spec.get("ttlSecondsAfterFinished")
        seconds = ttl if isinstance(ttl, int) else self._ttl
        ended = live.state.run.ended or live.state.run.created
        left = (ended - self._now()) / 1000 + seconds
        if left > 0:
            return left
        await self._api.delete(run)
        return None


def _says_end(status: Mapping[str, object]) -> bool:
    return status.get("phase") in {phase.value for phase in TERMINAL_PHASES}
