"""Logs of services: read when their task needs them no more, and stored beside those of its steps.

Best effort, with a deadline: one read of what the kubelet still has, the last part of it kept in memory, one object for
each service, `logs/<run>/<task>/<attempt>/service-<name>`, created once. What always holds: an attempt is done within
`DEADLINE_SECONDS` whatever the API server and the object storage do; what is missing is said in a line of the log.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from runabout.control.logs import LogGoneError, LogUnavailableError
from runabout.executors.podview import last_lines
from runabout.ost import AlreadyExistsError, ObjectStore, OstError
from runabout.records import RunId

log = structlog.get_logger(__name__)

READ_SECONDS = 5.0
"""How long a service that does not end may keep its log open."""
DEADLINE_SECONDS = 20.0
"""For all services of one attempt, reading and storing: nobody waits longer for them."""
AGAIN_SECONDS = 1.0
"""Between tries of an object storage that does not take a log."""
MAX_BYTES = 1024 * 1024
"""Kept of each service's log, the end of it."""
AT_ONCE = 32
"""Services whose logs are in memory at the same time."""


@dataclass(frozen=True, slots=True)
class ServiceJob:
    """Whose logs: `services` are the names of those that were started, and whether each was started again."""

    run: RunId
    task: str
    attempt: int
    namespace: str
    pod: str
    services: tuple[tuple[str, bool], ...]


class ServiceLogSource(Protocol):
    """Where a container's log comes from; see :class:`runabout.control.logs.LogSource`."""

    def read(
        self, namespace: str, pod: str, container: str, *, follow: bool, previous: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the log, of the container before this one with `previous`.

        Raises:
            LogGoneError, LogUnavailableError
        """
        ...


def service_log_key(run: RunId, task: str, attempt: int, service: str) -> str:
    """Return the object that holds the log of one service of one attempt."""
    return f"logs/{run}/{task}/{attempt}/service-{service}"


@dataclass(slots=True)
class _Job:
    what: ServiceJob
    done: bool = False
    last: dict[str, str] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class _End:
    """The last `MAX_BYTES` of what is added."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._cut = 0

    def add(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > 2 * MAX_BYTES:
            self._trim()

    def note(self, words: str) -> None:
        """Add a line about the log, on a line of its own."""
        begin = b"" if not self._kept or self._kept.endswith(b"\n") else b"\n"
        self.add(begin + f"[runabout: {words}]\n".encode(errors="replace"))

    def _trim(self) -> None:
        over = max(0, len(self._kept) - MAX_BYTES)
        del self._kept[:over]
        self._cut += over

    def whole(self) -> bytes:
        """Return what is kept, with a line that says what is not."""
        self._trim()
        if not self._cut:
            return bytes(self._kept)
        words = f"[runabout: {self._cut} bytes before this are not kept: the limit is {MAX_BYTES} for a service]\n"
        return words.encode() + bytes(self._kept)

    def last_lines(self) -> str:
        return last_lines(self._kept[-4096:].decode(errors="replace"))


class ServiceLogs:
    """Owns the jobs of all attempts; `on_change` is called with each that is done."""

    def __init__(self, *, source: ServiceLogSource, ost: ObjectStore, on_change: Callable[[ServiceJob], None]) -> None:
        self._source = source
        self._ost = ost
        self._on_change = on_change
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._jobs: dict[str, _Job] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Own the jobs until `stop` is set; those under way then are begun again by the next process."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for job in self._jobs.values():
                self._launch(job)
            await stop.wait()
            self._group = None
            for job in self._jobs.values():
                if job.task is not None:
                    job.task.cancel()

    def collect(self, what: ServiceJob) -> None:
        """Begin to read and store the logs of an attempt's services; again has no effect."""
        if what.pod not in self._jobs:
            job = self._jobs[what.pod] = _Job(what)
            self._launch(job)

    def waits(self, pod: str) -> bool:
        """Whether logs of the pod's services are still being collected."""
        job = self._jobs.get(pod)
        return job is not None and not job.done

    def last_lines(self, pod: str, service: str) -> str:
        """Return what a service wrote before it ended first, or wrote last; empty if nothing is known."""
        job = self._jobs.get(pod)
        return "" if job is None else job.last.get(service, "")

    def forget(self, pod: str) -> None:
        """Drop a job; one that is not done is ended."""
        job = self._jobs.pop(pod, None)
        if job is not None and job.task is not None:
            job.task.cancel()

    def _launch(self, job: _Job) -> None:
        if self._group is not None and job.task is None:
            job.task = self._group.create_task(self._collect(job), name=f"logs of the services of {job.what.pod}")

    async def _collect(self, job: _Job) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
                for service, again in job.what.services:
                    group.create_task(self._one(job, service, again=again))
        except TimeoutError:
            log.warning("logs of services are lost: no time is left", run=job.what.run, task=job.what.task)
        job.done = True
        self._on_change(job.what)

    async def _one(self, job: _Job, service: str, *, again: bool) -> None:
        """Read and store one log; what nobody thought of costs this log alone."""
        try:
            async with self._slots:
                end = _End()
                if again:
                    await self._read(job.what, service, end, previous=True)
                    job.last[service] = end.last_lines()
                    end.note(f"service {service} ended here and was started again")
                await self._read(job.what, service, end, previous=False)
                if not again:
                    job.last[service] = end.last_lines()
                await self._store(job.what, service, end.whole())
        except Exception:
            log.exception("the log of a service is lost", run=job.what.run, task=job.what.task, service=service)

    async def _read(self, what: ServiceJob, service: str, end: _End, *, previous: bool) -> None:
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._source.read(what.namespace, what.pod, service, follow=not previous, previous=previous) as pieces,
            ):
                async for piece in pieces:
                    end.add(piece)
        except TimeoutError:
            end.note(f"service {service} did not end in time; what it wrote from here on is not kept")
        except (LogGoneError, LogUnavailableError) as error:
            end.note(f"the log of service {service} cannot be had: {error}")

    async def _store(self, what: ServiceJob, service: str, data: bytes) -> None:
        key = service_log_key(what.run, what.task, what.attempt, service)
        while data:
            try:
                with contextlib.suppress(AlreadyExistsError):  # an earlier process stored it
                    await self._ost.write(key, data, size=len(data), persist=True, create_only=True)
            except OstError as error:
                log.info("the log of a service waits for the object storage", key=key, error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return
