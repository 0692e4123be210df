"""Chunks of logs that nobody waits for any more: what they have is stored where it is missing, and they go.

They are left where a process ended between a log and the deletion of its chunks; where a log was lost that waited for
the object storage with its process; and where a pod vanished with its node while no operator worked. So the logs of
young runs are walked now and then. What always holds: chunks of an attempt that may still be executed, or whose log is
being collected, are not touched; a log that is stored stays as it is. What is older than that goes with its run.
"""

import asyncio
import re
from collections.abc import Callable

import structlog

from runabout.control.ledger import Ledger
from runabout.control.logchunks import attempt_chunks, chunks_folder
from runabout.control.logfill import remove_chunks
from runabout.control.logs import LogCollector, LogJob, log_key
from runabout.datamanager import Damaged, Unavailable
from runabout.engine.graph import Graph
from runabout.executors.containers import container_name, containers_of
from runabout.executors.errors import InvalidPodError
from runabout.executors.names import PodKey, pod_name
from runabout.executors.plan import step_names
from runabout.ost import NotFoundError, ObjectStore, OstError
from runabout.records import IdGenerator, RunId, Task
from runabout.records.encoding import RecordError

log = structlog.get_logger(__name__)

REST_SECONDS = 6 * 3600.0
"""Between two walks."""
AGAIN_SECONDS = 60.0
"""After one that failed, or did not come to its end; and before the first."""
PAGE = 1000
PAGE_SECONDS = 0.2
"""Between two pages: a hundred thousand objects take half a minute."""
YOUNG_MS = 7 * 86_400_000
"""Age of the oldest runs that are looked at."""
MOST_LOGS = 100
"""Stored by one walk: they are read and filled beside those of attempts that have just ended."""
_CHUNK = re.compile(r"logs/([0-9a-v]{13})/([^/]+)/([1-9][0-9]{0,8})/chunks/")


class ChunkSweep:
    """Walks them; `in_hand` is whether passes take care of an attempt, `now` is milliseconds since 1970."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        ost: ObjectStore,
        logs: LogCollector,
        in_hand: Callable[[PodKey], bool],
        now: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._ost = ost
        self._logs = logs
        self._in_hand = in_hand
        self._now = now

    async def run(self) -> None:
        """Work until cancelled, if logs are uploaded at all; what fails is tried again."""
        over = False
        while self._logs.uploads:
            await asyncio.sleep(REST_SECONDS if over else AGAIN_SECONDS)
            try:
                over = await self.walk()
            except (Unavailable, OstError) as error:
                over = False
                log.info("chunks of logs are looked for again", error=str(error))

    async def walk(self) -> bool:
        """Look at all chunks once; return False where it was enough before the end.

        Raises:
            errors of the store and of the object storage
        """
        after, begun = f"logs/{IdGenerator(store=0).next(self._now() - YOUNG_MS)}", 0
        while page := await self._ost.list("logs/", start_after=after, limit=PAGE):
            after = page[-1].key
            for key in dict.fromkeys(filter(None, (_attempt(item.key) for item in page))):
                begun += await self._look(key)
                if begun >= MOST_LOGS:
                    return False
                after = max(after, f"{chunks_folder(key.run, key.task, key.attempt)}~")  # behind all of its chunks
            await asyncio.sleep(PAGE_SECONDS)
        return True

    async def _look(self, key: PodKey) -> bool:
        """Look at an attempt that has chunks; return whether its log is being stored now."""
        try:
            task = await self._ledger.task(key.run, key.task)
            if task is None or not self._is_over(key, task) or not await self._ledger.has_logs(key.run):
                return False
            if await self._is_stored(key):
                await remove_chunks(self._ost, key.run, key.task, key.attempt)
                log.info("chunks that were left of a log are deleted", **_names(key))
                return False
            job = await self._job(key)
        except (Damaged, RecordError, InvalidPodError) as error:
            log.warning("chunks of a log are left", error=str(error), **_names(key))
            return False
        if job is None:
            return False
        log.info("a log that was lost is stored from its chunks", **_names(key))
        self._logs.salvage(job, _why(task, key.attempt))
        return True

    def _is_over(self, key: PodKey, task: Task) -> bool:
        """Whether an attempt is over, and nobody collects its log."""
        over = key.attempt < task.attempt or (key.attempt == task.attempt and task.finished)
        return over and not self._in_hand(key) and not self._logs.holds(pod_name(key))

    async def _is_stored(self, key: PodKey) -> bool:
        """Whether all steps of which there are chunks have their log."""
        steps = {chunk.step for chunk in await attempt_chunks(self._ost, key.run, key.task, key.attempt)}
        for step in sorted(steps):
            try:
                await self._ost.stat(log_key(key.run, key.task, key.attempt, step))
            except NotFoundError:
                return False
        return True

    async def _job(self, key: PodKey) -> LogJob | None:
        state = await self._ledger.state(key.run)
        graph = Graph(state.config.tasks) if state is not None else None
        if state is None or graph is None or key.task not in graph:
            return None
        task, where = graph.task(key.task), f"tasks[{key.task}]"
        return LogJob(
            run=key.run,
            task=key.task,
            attempt=key.attempt,
            namespace=state.run.namespace,
            pod=pod_name(key),
            container=container_name(containers_of(task, where)[0], 0, where),  # its pod may still be there
            steps=step_names(task),
        )


def _attempt(key: str) -> PodKey | None:
    found = _CHUNK.match(key)
    return PodKey(RunId(found[1]), found[2], int(found[3])) if found is not None else None


def _names(key: PodKey) -> dict[str, str | int]:
    return {"run": key.run, "task": key.task, "attempt": key.attempt}


def _why(task: Task, attempt: int) -> str | None:
    """Return with what reason an attempt ended, as its log says it."""
    for past in task.attempts:
        if past.number == attempt:
            return past.reason.value
    return task.reason.value if task.reason is not None and task.attempt == attempt else None
