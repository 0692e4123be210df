"""Log collection: an attempt's output is followed while its pod runs and stored per step before the pod may go.

One job for each attempt. A job reads the container's log until it is complete, or until the container has ended and
nothing more can be had; then it writes one object per step, `logs/<run>/<task>/<attempt>/<step>`, created once, never
overwritten (an attempt that is read again after a restart keeps what was stored first). Gaps are filled with what the
toolbox uploaded; output that nobody has is a line in the log that says so. The object storage is tried until it takes
the log; meanwhile the job says since when it waits, and nothing else is held up. What goes wrong in one job in a way
that nobody thought of ends that job alone: the log says that its rest is lost, and why.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from runabout.control.logending import Ending
from runabout.control.logfill import ChunkLostError, LogFill, Piece, remove_chunks, size_of
from runabout.control.metrics import Metrics
from runabout.control.spool import Budget, Spool
from runabout.executors.markers import SETUP
from runabout.executors.steplog import StepLogSplitter
from runabout.ost import AlreadyExistsError, ObjectStore, OstError
from runabout.records import Reason, RunId, Status

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Delays before a log that broke off is read again; the last one repeats."""
END_SECONDS = 60.0
"""How long a log that ended may wait for the news that its container has."""
QUIET_SECONDS = 15.0
"""How long a log that is followed may say nothing once its container has ended: a node that died never closes it."""
STORE_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Delays between tries of an object storage that does not take a log; the last one repeats."""

CLEANING = 8
"""Attempts whose chunks are deleted at once."""
CLEANING_SECONDS = 5.0
"""How long a collector that is stopped deletes on."""
LOST_CHARACTERS = 300
"""Of an error in the line of a log that was lost by it."""


class LogGoneError(Exception):
    """The log cannot be had now or ever; the message says why, in the server's words."""


class LogUnavailableError(Exception):
    """The log cannot be had now; it may be later. `answered` is whether anybody said so.

    `silent`: nobody did, but the API server was there, and nothing came of the log, or only a part.
    """

    def __init__(self, message: str, *, answered: bool = True, silent: bool = False) -> None:
        super().__init__(message)
        self.answered = answered
        self.silent = silent


class LogSource(Protocol):
    """Where a container's log comes from."""

    def read(
        self, namespace: str, pod: str, container: str, *, follow: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the log at its beginning; it comes in any pieces, with `follow` until the container ends.

        Raises:
            LogGoneError, LogUnavailableError
        """
        ...


@dataclass(frozen=True, slots=True)
class LogJob:
    """Whose log; `steps` are the names of the task's steps, in order."""

    run: RunId
    task: str
    attempt: int
    namespace: str
    pod: str
    container: str
    steps: tuple[str, ...]

    @property
    def names(self) -> dict[str, str | int]:
        """What our own log says of it."""
        return {"run": self.run, "task": self.task, "attempt": self.attempt, "pod": self.pod}

    def key(self, step: int) -> str:
        """Return the object that holds the log of a step (-1: the setup)."""
        return log_key(self.run, self.task, self.attempt, step)


def log_key(run: RunId, task: str, attempt: int, step: int) -> str:
    """Return the object that holds the log of one step of one attempt (-1: the setup)."""
    return f"logs/{run}/{task}/{attempt}/{'setup' if step == SETUP else step}"


@dataclass(frozen=True, slots=True)
class StoredLog:
    """Bytes stored for each step; steps without output have no object."""

    sizes: dict[int, int]


@dataclass(slots=True, eq=False)
class _Job:
    what: LogJob
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str | None = None
    sizes: tuple[int, ...] | None = None
    nonce: str | None = None
    stored: StoredLog | None = None
    trouble: str = ""
    trouble_since: int | None = None
    task: asyncio.Task[None] | None = None


class LogCollector:
    """Owns all jobs; `on_change` is called with a job when it is stored or when the storage does not take it.

    `uploads`: toolboxes upload their logs, so what is missing may be there.
    """

    def __init__(
        self,
        *,
        source: LogSource,
        ost: ObjectStore,
        scratch: Path,
        metrics: Metrics,
        on_change: Callable[[LogJob], None],
        now: Callable[[], int],
        streams: int,
        max_bytes: int,
        scratch_bytes: int,
        uploads: bool = False,
    ) -> None:
        self._source = source
        self._ost = ost
        self._scratch = scratch
        self._metrics = metrics
        self._on_change = on_change
        self._now = now
        self._streams = asyncio.Semaphore(streams)
        self._reads = asyncio.Semaphore(streams)
        """of containers that have ended, which takes moments"""
        self._max_bytes = max_bytes
        self._budget = Budget(scratch_bytes)
        self._uploads = uploads
        self._cleaning = asyncio.Semaphore(CLEANING)
        self._cleanings: set[asyncio.Task[None]] = set()
        self._jobs: dict[str, _Job] = {}
        self._left: list[_Job] = []
        """those that nobody waits for any more and that wait for the storage"""
        self._group: asyncio.TaskGroup | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Own the jobs until `stop` is set; what is being read then is read again by the next process."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for job in (*self._jobs.values(), *self._left):
                self._launch(job)
            await stop.wait()
            self._group = None
            for job in (*self._jobs.values(), *self._left):
                if job.task is not None:
                    job.task.cancel()
            if self._cleanings:
                _, late = await asyncio.wait(self._cleanings, timeout=CLEANING_SECONDS)
                for cleaning in late:
                    cleaning.cancel()

    def follow(self, what: LogJob) -> None:
        """Begin to collect a log; again has no effect."""
        if what.pod not in self._jobs:
            job = self._jobs[what.pod] = _Job(what)
            self._launch(job)

    def ended(self, pod: str, reason: str | None, sizes: tuple[int, ...] | None) -> None:
        """Say that the container has ended, or its pod is gone.

        `reason` ends a log that breaks off; `sizes` are the bytes of the setup and of each step, where the container's
        own summary says them.
        """
        job = self._jobs.get(pod)
        if job is not None and not job.ended.is_set():
            job.reason = reason
            job.sizes = sizes
            job.ended.set()

    def stored(self, pod: str) -> StoredLog | None:
        """Return what was stored, None while it is not."""
        job = self._jobs.get(pod)
        return None if job is None else job.stored

    def nonce(self, pod: str) -> str | None:
        """Return the nonce of the pod's log, once its first line was read."""
        job = self._jobs.get(pod)
        return None if job is None else job.nonce

    def knows(self, pod: str) -> bool:
        """Whether the pod's log has a job."""
        return pod in self._jobs

    def trouble(self, pod: str) -> tuple[str, int] | None:
        """Return why the storage does not take the log and since when, None if all is well."""
        job = self._jobs.get(pod)
        return None if job is None or job.trouble_since is None else (job.trouble, job.trouble_since)

    def forget(self, pod: str) -> None:
        """Drop a job: one whose container runs is ended, one that waits for the storage is stored all the same."""
        job = self._jobs.pop(pod, None)
        if job is None:
            return
        if job.ended.is_set() and job.stored is None:
            self._left.append(job)
        elif job.task is not None:
            job.task.cancel()

    @property
    def uploads(self) -> bool:
        """Whether toolboxes upload their logs."""
        return self._uploads

    def holds(self, pod: str) -> bool:
        """Whether the pod's log is being collected, or waits to be stored."""
        return pod in self._jobs or any(job.what.pod == pod for job in self._left)

    def salvage(self, what: LogJob, reason: str | None) -> None:
        """Store what there still is of the log of a pod that is gone, in nobody's way; `reason` as for `ended`."""
        self.follow(what)
        self.ended(what.pod, reason, None)
        self.forget(what.pod)

    def _launch(self, job: _Job) -> None:
        if self._group is not None and job.task is None:
            job.task = self._group.create_task(self._collect(job), name=f"log of {job.what.pod}")

    async def _collect(self, job: _Job) -> None:
        what = job.what

        def full(why: str) -> None:
            log.warning("output is not kept from here on", why=why, **what.names)

        elsewhere = what.steps if self._uploads else None
        spool = Spool(self._scratch, limit=self._max_bytes, budget=self._budget, on_full=full, elsewhere=elsewhere)
        with contextlib.closing(spool):
            splitter = StepLogSplitter(what.steps)
            try:
                await self._read_whole(job, splitter, spool)
            except Exception as error:
                log.exception("the rest of a log is lost", **what.names)
                with contextlib.suppress(Exception):  # the splitter may be what is broken
                    spool.take(splitter.reconnected())
                spool.note(max(spool.sizes, default=SETUP), _lost(error))
            for step, cut in sorted(spool.cut.items()):
                spool.note(step, f"[runabout: {cut} more bytes are not kept: {spool.full}]\n".encode())
            await self._store(job, spool)
        job.trouble_since = None
        if job in self._left:
            self._left.remove(job)
        self._on_change(what)

    async def _read_whole(self, job: _Job, splitter: StepLogSplitter, spool: Spool) -> None:
        reason = await self._read(job, splitter, spool)
        spool.take(splitter.finish(reason, job.sizes))
        if self._uploads:
            for step, gap in splitter.unseen(reason):
                spool.leave(step, gap)
        if reason is None:
            await self._say_who_stopped(job, splitter, spool)

    async def _read(self, job: _Job, splitter: StepLogSplitter, spool: Spool) -> str | None:
        """Read until nothing more can come; return why the log breaks off, None if it is complete."""
        connections = failures = 0
        ending = Ending(asyncio.get_running_loop().time)
        while True:
            over = job.ended.is_set()
            if connections:
                spool.take(splitter.reconnected())
            connections += 1
            try:
                size = await self._read_once(job, splitter, spool, follow=not over)
                failures, error = 0, ""
            except LogGoneError as gone:
                await self._wait_for_end(job)
                return f"{job.reason}: {gone}" if job.reason else str(gone)
            except LogUnavailableError as unavailable:
                failures, error = failures + 1, str(unavailable)
                final = over and (ending.refused() if unavailable.answered else unavailable.silent and ending.silent())
            else:
                final = ending.came(size, over=over, ends=job.sizes is not None)
            if splitter.complete:
                return None
            if final:
                return ": ".join(filter(None, (job.reason, error))) or "the container has ended"
            delay = RECONNECT_SECONDS[min(max(failures, connections) - 1, len(RECONNECT_SECONDS) - 1)]
            log.debug("log broke off", again_in=delay, why=error or "it has no end", **job.what.names)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter, not a secret
                    await job.ended.wait()
                    if failures or over:
                        await asyncio.sleep(delay)

    async def _read_once(self, job: _Job, splitter: StepLogSplitter, spool: Spool, *, follow: bool) -> int:
        """Return how many bytes came."""
        if not follow:
            async with self._reads:
                return await self._take(job, splitter, spool, follow=False)
        try:
            # A container that ends meanwhile needs no stream: others may hold theirs for hours.
            async with _limited_once_ended(job, 0):
                await self._streams.acquire()
            try:
                async with _limited_once_ended(job, QUIET_SECONDS) as patience:
                    return await self._take(job, splitter, spool, follow=True, patience=patience)
            finally:
                self._streams.release()
        except TimeoutError as error:
            raise LogUnavailableError("the log was not closed with its container", answered=False) from error

    async def _take(
        self,
        job: _Job,
        splitter: StepLogSplitter,
        spool: Spool,
        *,
        follow: bool,
        patience: asyncio.Timeout | None = None,
    ) -> int:
        what, size = job.what, 0
        self._metrics.log_streams.inc()
        try:
            async with self._source.read(what.namespace, what.pod, what.container, follow=follow) as pieces:
                async for piece in pieces:
                    size += len(piece)
                    spool.take(splitter.feed(piece))
                    job.nonce = splitter.nonce
                    if splitter.complete:
                        break
                    if patience is not None and job.ended.is_set():
                        patience.reschedule(asyncio.get_running_loop().time() + QUIET_SECONDS)
        finally:
            self._metrics.log_streams.dec()
        return size

    async def _say_who_stopped(self, job: _Job, splitter: StepLogSplitter, spool: Spool) -> None:
        """End a log that is complete with what only the cluster knows: who had a step stopped, if it was not a stop."""
        stopped = [
            (number, step.name) for number, step in enumerate(splitter.state.steps) if step.status is Status.STOPPED
        ]
        if not stopped:
            return
        await self._wait_for_end(job)
        if job.reason is not None and not job.reason.startswith(Reason.STOPPED.value):
            number, name = stopped[-1]
            spool.note(number, f"[runabout: step {name} was ended from outside: {job.reason}]\n".encode())

    async def _wait_for_end(self, job: _Job) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await job.ended.wait()

    async def _store(self, job: _Job, spool: Spool) -> None:
        """Write every step's log, each as often as it takes."""
        sizes: dict[int, int] = {}
        what = job.what
        fill = LogFill(self._ost, spool, run=what.run, task=what.task, attempt=what.attempt, uploads=self._uploads)
        self._metrics.logs_waiting.inc()
        try:
            for step in sorted(spool.sizes):
                size = await self._store_or_lose(job, fill, step)
                if size is not None:
                    sizes[step] = size
                    self._metrics.log_bytes.inc(size)
        finally:
            self._metrics.logs_waiting.dec()
        job.stored = StoredLog(sizes)
        if self._uploads and self._group is not None:
            cleaning = self._group.create_task(self._clean(what), name=f"chunks of {what.pod}")
            self._cleanings.add(cleaning)
            cleaning.add_done_callback(self._cleanings.discard)

    async def _clean(self, what: LogJob) -> None:
        """Delete what was uploaded of a log that is stored; what is left of it goes with its run."""
        try:
            async with self._cleaning:
                await remove_chunks(self._ost, what.run, what.task, what.attempt)
        except OstError as error:
            log.info("chunks of a log are left", error=str(error), **what.names)

    async def _store_or_lose(self, job: _Job, fill: LogFill, step: int) -> int | None:
        """Return how many bytes are stored: of the log, or of a line that says why it cannot be; None: it has none."""
        try:
            return await self._store_step(job, step, fill, fill.pieces)
        except Exception as error:
            log.exception("the log of a step is lost", step=step, **job.what.names)
            line = _lost(error)

        async def instead(_step: int) -> list[Piece]:
            return [line]

        try:
            return await self._store_step(job, step, fill, instead)
        except Exception:
            log.exception("the log of a step is lost, and nothing says so there", step=step, **job.what.names)
            return 0

    async def _store_step(
        self, job: _Job, step: int, fill: LogFill, find: Callable[[int], Awaitable[list[Piece]]]
    ) -> int | None:
        """Return how many bytes are stored: those of an earlier process, if it got so far; None: there are none."""
        failures, key = 0, job.what.key(step)
        while True:
            try:
                pieces = await find(step)
                size = size_of(pieces)
                if not size:
                    return None
                try:
                    await self._ost.write(key, fill.read(pieces), size=size, persist=True, create_only=True)
                except AlreadyExistsError:
                    return (await self._ost.stat(key)).size
            except ChunkLostError as error:
                log.warning("a chunk of a log is lost", error=str(error), **job.what.names)
            except OstError as error:
                if job.trouble_since is None:
                    job.trouble_since = self._now()
                if job.trouble != str(error):
                    job.trouble = str(error)
                    log.warning(
                        "log waits for the object storage", run=job.what.run, task=job.what.task, error=str(error)
                    )
                    self._on_change(job.what)
                delay = STORE_SECONDS[min(failures, len(STORE_SECONDS) - 1)]
                failures += 1
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            else:
                return size


@contextlib.asynccontextmanager
async def _limited_once_ended(job: _Job, seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """Raise TimeoutError from what is done inside `seconds` after the container has ended, but for more news of it."""

    async def limit(patience: asyncio.Timeout) -> None:
        await job.ended.wait()
        patience.reschedule(asyncio.get_running_loop().time() + seconds)

    async with asyncio.timeout(None) as patience:
        ending = asyncio.create_task(limit(patience), name=f"end of {job.what.pod}")
        try:
            yield patience
        finally:
            ending.cancel()


def lost_words(error: Exception) -> str:
    """Return the words of the line that stands for what is lost by an error that nobody thought of."""
    why = " ".join(f"{type(error).__name__}: {error}".split())
    return f"the rest of the log is lost: {why[:LOST_CHARACTERS]}"


def _lost(error: Exception) -> bytes:
    return f"[runabout: {lost_words(error)}]\n".encode(errors="replace")
