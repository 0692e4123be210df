"""Logs of services: read when their task needs them no more, and stored beside those of its steps.

Best effort, with a deadline: one read of what the kubelet still has, its first and its last part kept in memory, one
object for each service, `logs/<run>/<task>/<attempt>/service-<name>`, created once. What always holds: an attempt is
done within `DEADLINE_SECONDS` whatever the API server and the object storage do; what is missing is said in a line of
the log; the first `HEAD_BYTES` of what the kubelet has are the first of the log (docs/decisions/0103).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from runabout.control.logs import LogGoneError, LogUnavailableError, lost_words
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
HEAD_BYTES = 1024 * 1024
"""Kept of the beginning of each service's log: what is shown of it while it runs."""
END_BYTES = 1024 * 1024
"""Kept of its end."""
SLACK_BYTES = 256 * 1024
"""By which the end in memory may be longer for a moment."""
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

    @property
    def names(self) -> dict[str, str | int]:
        """What our own log says of it."""
        return {"run": self.run, "task": self.task, "attempt": self.attempt, "pod": self.pod}


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


class _Kept:
    """The first `HEAD_BYTES` and the last `END_BYTES` of what is added."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._end = bytearray()
        self._cut = 0
        self._open = False
        """whether the last byte is none of a newline"""

    def add(self, data: bytes) -> None:
        self._open = not data.endswith(b"\n") if data else self._open
        room = HEAD_BYTES - len(self._head)  # never less than none
        self._head += data[:room]
        self._end += data[room:]
        if len(self._end) > END_BYTES + SLACK_BYTES:
            self._trim()

    def note(self, words: str) -> None:
        """Add a line about the log, on a line of its own."""
        self.add((b"\n" if self._open else b"") + _line(words))

    def _trim(self) -> None:
        over = max(0, len(self._end) - END_BYTES)
        del self._end[:over]
        self._cut += over

    def whole(self) -> bytes:
        """Return what is kept, with a line that says what is not."""
        self._trim()
        if not self._cut:
            return bytes(self._head + self._end)
        words = f"{self._cut} bytes are not kept here: of a service the first {HEAD_BYTES} and the last {END_BYTES} are"
        begin = b"" if self._head.endswith(b"\n") else b"\n"
        return bytes(self._head) + begin + _line(words) + bytes(self._end)

    def last_lines(self) -> str:
        return last_lines((self._head[-4096:] + self._end[-4096:])[-4096:].decode(errors="replace"))


def _line(words: str) -> bytes:
    return f"[runabout: {words}]\n".encode(errors="replace")


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
            log.warning("logs of services are lost: no time is left", **job.what.names)
        job.done = True
        self._on_change(job.what)

    async def _one(self, job: _Job, service: str, *, again: bool) -> None:
        """Read and store one log; what nobody thought of costs its rest, and a line says so."""
        async with self._slots:
            kept = _Kept()
            try:
                if again:
                    await self._read(job.what, service, kept, previous=True)
                    job.last[service] = kept.last_lines()
                    kept.note(f"service {service} ended here and was started again")
                await self._read(job.what, service, kept, previous=False)
                if not again:
                    job.last[service] = kept.last_lines()
            except Exception as error:
                log.exception("the rest of the log of a service is lost", **job.what.names, service=service)
                kept.note(lost_words(error))
            await self._store_or_lose(job.what, service, kept)

    async def _read(self, what: ServiceJob, service: str, kept: _Kept, *, previous: bool) -> None:
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._source.read(what.namespace, what.pod, service, follow=not previous, previous=previous) as pieces,
            ):
                async for piece in pieces:
                    kept.add(piece)
        except TimeoutError:
            kept.note(f"service {service} did not end in time; what it wrote from here on is not kept")
        except (LogGoneError, LogUnavailableError) as error:
            kept.note(f"the log of service {service} cannot be had: {error}")

    async def _store_or_lose(self, what: ServiceJob, service: str, kept: _Kept) -> None:
        """Store a log, or the line that says why it cannot be."""
        try:
            await self._store(what, service, kept.whole())
        except Exception as error:
            log.exception("the log of a service is lost", **what.names, service=service)
            lost = _line(lost_words(error))
        else:
            return
        try:
            await self._store(what, service, lost)
        except Exception:
            log.exception("the log of a service is lost, and nothing says so there", **what.names, service=service)

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
