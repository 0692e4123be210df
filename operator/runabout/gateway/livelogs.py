"""The log of one step: the same bytes at one address, while it is written and ever after.

What is stored is sent as it is. Before that the container's log is read from its node and split as the operator splits
it, and what it has lost comes from what the toolbox uploaded. What always holds: sent are the step's own bytes in their
order, none left out. Where the next one is nowhere to be had, the reader waits: for it, or for the stored log, which
names what is missing. So a byte has one place for life. Services: see `liveservices.py`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from runabout.control.logchunks import Hole, cover, step_chunks
from runabout.control.logs import log_key
from runabout.control.servicelogs import HEAD_BYTES, service_log_key
from runabout.datamanager import Unavailable
from runabout.executors.containers import container_name, containers_of
from runabout.executors.errors import InvalidPodError
from runabout.executors.markers import SETUP
from runabout.executors.plan import step_names
from runabout.executors.services import services_of
from runabout.executors.splitstate import StepProgress
from runabout.executors.steplog import Chunk, StepLogSplitter
from runabout.gateway.errors import NotFoundError
from runabout.gateway.liveservices import service_log
from runabout.gateway.livesplit import BehindError, split, until_placed
from runabout.gateway.records import Plan, Records
from runabout.kube.errors import KubeError
from runabout.kube.logs import container_log
from runabout.kube.session import Session
from runabout.ost import ByteRange, ObjectInfo, ObjectStore
from runabout.ost import NotFoundError as NoObjectError
from runabout.records import RunId, Status, Task, TaskConfig

SETUP_NAME = "setup"
SERVICE = "service-"
POLL_SECONDS = (0.5, 1.0, 2.0)
"""Between two looks whether a log is stored, or a container has begun; the last one repeats until something comes."""
CHECK_SECONDS = 15.0
"""How long a log that is followed may say nothing until it is asked whether it is over: its node may have died."""
LEFT_MS = 10_000
"""For so long after the end of an attempt that another one follows its log may still come, stored behind that one."""

Batch = TypeVar("Batch", bytes, list[Chunk])


@dataclass(frozen=True, slots=True)
class StepLog:
    """Which log: `run` is the one that executed the task; `step` is -1 for the setup, None for a service's.

    `key` is the object in which it is or will be stored; `service` is the name of the service.
    """

    plan: Plan
    asked: RunId
    run: RunId
    task: TaskConfig
    attempt: int
    step: int | None
    key: str
    service: str = ""


class Logs:
    """Finds logs and reads them; `now` is milliseconds since 1970."""

    def __init__(self, session: Session, records: Records, ost: ObjectStore, *, now: Callable[[], int]) -> None:
        self._session = session
        self._records = records
        self._ost = ost
        self._now = now

    async def find(self, plan: Plan, task: str, attempt: int, step: str) -> StepLog:
        """Return which log is meant.

        A step is named by its name, by its number from 0 on, or `setup`; a service by `service-` and its name.

        Raises:
            NotFoundError: there is no such attempt or step. Errors of reading.
        """
        run = plan.config.id
        state = await self._records.task(run, task)
        if state is None or attempt > state.attempt:
            await self._records.catch_up()
            state = await self._records.task(run, task)
        if state is None or task not in plan.graph:
            raise NotFoundError(f"the run {run} has no task {task!r}")
        if not 1 <= attempt <= state.attempt:
            raise NotFoundError(f"the task {task} has {state.attempt} attempts, and no attempt {attempt}")
        config, by = plan.graph.task(task), state.executed_by or run
        number, service = _named(config, step)
        key = service_log_key(by, task, attempt, service) if number is None else log_key(by, task, attempt, number)
        return StepLog(plan, run, by, config, attempt, number, key, service)

    async def stored(self, log: StepLog) -> ObjectInfo | None:
        """Return the stored log, None if it is not stored (yet). Errors of the object storage."""
        try:
            return await self._ost.stat(log.key)
        except NoObjectError:
            return None

    async def over(self, log: StepLog) -> bool:
        """Whether nothing more will be stored of an attempt. Errors of reading."""
        state = await self._records.task(log.asked, log.task.name)
        if state is None or state.attempt <= log.attempt:
            return state is not None and state.finished and state.stored
        ended = next((past.ended for past in state.attempts if past.number == log.attempt), None)
        return ended is None or abs(self._now() - ended) >= LEFT_MS

    async def read(self, log: StepLog, first: int, *, follow: bool) -> AsyncGenerator[bytes]:
        """Yield a log from byte `first` on; with `follow` to its end, else as much of it as there is now.

        Errors of reading and of the object storage. That a node does not answer is waited out when following.
        """
        at, idle, anew = first, 0, False
        while True:
            if await self.stored(log) is not None:
                async for piece in self._from_storage(log, at):
                    yield piece
                return
            over = await self.over(log)
            ended = False
            if not over:
                written = (
                    self._service(log, at, follow=follow)
                    if log.step is None
                    else self._live(log, at, follow=follow, anew=anew)
                )
                anew = False
                try:
                    async with aclosing(written) as live:
                        async for data, last in live:
                            at += len(data)
                            ended = ended or last
                            if data:
                                idle = 0
                                yield data
                except BehindError:
                    anew = True
            if ended or not follow or (over and await self.stored(log) is None):
                return
            await asyncio.sleep(POLL_SECONDS[min(idle, len(POLL_SECONDS) - 1)])
            idle += 1

    async def _from_storage(self, log: StepLog, first: int) -> AsyncGenerator[bytes]:
        async with self._ost.open(log.key, ByteRange(first)) as reader:
            async for piece in reader:
                yield piece

    async def _live(self, log: StepLog, first: int, *, follow: bool, anew: bool) -> AsyncGenerator[tuple[bytes, bool]]:
        """Yield what there is of the step from byte `first` on; the last one says that it is all of it.

        `anew`: the reader was behind the log when it was open before.

        Raises:
            BehindError: it is, and was not, or has got something new since. Errors of reading and of the object
            storage.
        """
        state = await self._records.task(log.asked, log.task.name)
        pod, step, at = _pod(state, log.attempt), log.step, first
        if not pod or step is None:
            return
        splitter = StepLogSplitter(step_names(log.task))

        def stay() -> bool:
            return anew and at == first

        namespace, where = log.plan.config.namespace, f"tasks[{log.task.name}]"
        try:
            main = container_name(containers_of(log.task, where)[0], 0, where)
            async with container_log(self._session, namespace, pod, main, follow=follow) as pieces:
                batches = self._watched(log, split(splitter, pieces, follow=follow, stay=stay))
                async for chunks in until_placed(batches, step):
                    for chunk in (each for each in chunks if each.step == step):
                        async for data in self._bytes(log, at, chunk):
                            at += len(data)
                            yield data, False
                        if chunk.gap is not None and at < (chunk.gap.end or 0):
                            return  # not uploaded yet, or never; then the stored log says so
                    if splitter.complete or _has_ended(splitter, step):
                        yield b"", not _says_more(splitter, step)
                        return
        except (KubeError, InvalidPodError):  # no pod yet, or ever, or out of reach: the storage has it in the end
            async for data in self._uploaded(log, at, None):
                yield data, False

    async def _service(self, log: StepLog, first: int, *, follow: bool) -> AsyncGenerator[tuple[bytes, bool]]:
        """Yield what a service has written from byte `first` on; whether it is all of it the stored log says."""
        pod = _pod(await self._records.task(log.asked, log.task.name), log.attempt)
        if not pod or first >= HEAD_BYTES:
            return
        namespace = log.plan.config.namespace
        try:
            async with service_log(self._session, namespace, pod, log.service, first, follow=follow) as pieces:
                async for data in self._watched(log, pieces):
                    yield data, False
        except KubeError:
            return  # no container yet, or out of reach: the storage has it in the end

    async def _bytes(self, log: StepLog, at: int, chunk: Chunk) -> AsyncGenerator[bytes]:
        """Yield output of a step from byte `at` on: what a chunk has of it, or what fills a gap."""
        if chunk.gap is None:
            yield chunk.data[max(0, at - chunk.offset) :]
        else:
            async for data in self._uploaded(log, at, chunk.gap.end):
                yield data

    async def _watched(self, log: StepLog, batches: AsyncGenerator[Batch]) -> AsyncGenerator[Batch]:
        """Yield what comes, and end when nothing does and the log is stored, or will never be."""
        clock = asyncio.get_running_loop().time
        since = clock()
        async with aclosing(batches):
            async for chunks in batches:
                if chunks:
                    since = clock()
                elif clock() - since >= CHECK_SECONDS:
                    since = clock()
                    if await self.stored(log) is not None or await self._is_over(log):
                        return
                yield chunks

    async def _is_over(self, log: StepLog) -> bool:
        """As `over`, but for records that cannot be read now: they end no reader."""
        try:
            return await self.over(log)
        except Unavailable:
            return False

    async def _uploaded(self, log: StepLog, first: int, end: int | None) -> AsyncGenerator[bytes]:
        """Yield what was uploaded of the step from byte `first` on, to the first byte that was not, or to `end`."""
        if log.step is None or (end is not None and end <= first):
            return
        try:
            chunks = await step_chunks(self._ost, log.run, log.task.name, log.attempt, log.step, first=first)
            for part in cover(chunks, first, end):
                if isinstance(part, Hole):
                    return
                async for data in part.read(self._ost):
                    yield data
        except NoObjectError:
            return  # deleted: the log is stored


def _progress(splitter: StepLogSplitter, step: int) -> StepProgress:
    state = splitter.state
    return state.setup if step == SETUP else state.steps[step]


def _has_ended(splitter: StepLogSplitter, step: int) -> bool:
    progress = _progress(splitter, step)
    return progress.size is not None and progress.given >= progress.size


def _says_more(splitter: StepLogSplitter, step: int) -> bool:
    """Whether the stored log may end with a line that the container's has not: who stopped the step."""
    return _progress(splitter, step).status is Status.STOPPED


def _named(task: TaskConfig, step: str) -> tuple[int | None, str]:
    """Return the number of a step, or none and a service's name.

    Raises:
        NotFoundError
    """
    names = step_names(task)
    services = {f"{SERVICE}{service.name}": service.name for service in services_of(task)}
    if step == SETUP_NAME:
        return SETUP, ""
    if step in names:
        return names.index(step), ""
    if step.isascii() and step.isdecimal() and int(step[:4]) < len(names):
        return int(step[:4]), ""
    if step in services:
        return None, services[step]
    raise NotFoundError(
        f"the task {task.name} has no step {step!r}; it has {', '.join((SETUP_NAME, *names, *services))}"
    )


def _pod(state: Task | None, attempt: int) -> str:
    if state is None:
        return ""
    if state.attempt == attempt:
        return state.pod or "" if state.status is Status.RUNNING or not state.stored else ""
    return ""
