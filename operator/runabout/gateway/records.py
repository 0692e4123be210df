"""The records, for reading: what the operator has committed, as far as it has come here.

A reader that had to stop is opened again, for as long as it takes; until then every question is `Unavailable`. Reading
never waits for the newest; who must not miss it asks `catch_up` first, which costs one read of etcd.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from runabout.control.ledger import RUN, RUN_CONFIG, TASK
from runabout.datamanager import Follower, StoreError, Unavailable
from runabout.engine.graph import Graph
from runabout.etcd import EtcdError
from runabout.ost import OstError
from runabout.records import Run, RunConfig, RunId, Task
from runabout.records.encoding import decode

log = structlog.get_logger(__name__)

AGAIN_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Before a reader is opened again; the last one repeats."""
CATCH_UP_SECONDS = 2.0
"""On top of how old the view is."""
CONFIGS = 64
"""Configurations kept in memory: of the runs whose tasks ask most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for: the configuration of a run, and the graph of its tasks."""

    config: RunConfig
    graph: Graph


class Records:
    """Reads one store. Documents are of any moment between question and answer, the next ones never of an older one."""

    def __init__(self, follow: Callable[[], Awaitable[Follower]]) -> None:
        self._follow = follow
        self._follower: Follower | None = None
        self._plans: OrderedDict[RunId, Plan] = OrderedDict()
        self.trouble = "the records are not open yet"
        """Why nothing can be read; empty when all is well."""

    async def run(self) -> None:
        """Keep a reader open until cancelled."""
        failures = 0
        while True:
            try:
                follower = await self._follow()
            except (StoreError, EtcdError, OstError) as error:
                self._fail(f"the records cannot be opened: {error}")
                await asyncio.sleep(AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)])
                failures += 1
                continue
            failures = 0
            self._follower, self.trouble = follower, ""
            log.info("records open", sequence=follower.sequence)
            try:
                self._fail(f"the records cannot be followed: {await follower.broken()}")
            finally:
                self._follower = None
                await follower.close()

    async def plan(self, run: RunId) -> Plan | None:
        """Return what was asked for in a run, None if there is no such run here. Errors as for any reading."""
        known = self._plans.get(run)
        if known is not None:
            self._plans.move_to_end(run)
            return known
        body = await self._open().get(RUN_CONFIG, run)
        if body is None:
            return None
        config = decode(RunConfig, body)
        made = self._plans[run] = Plan(config, Graph(config.tasks))
        while len(self._plans) > CONFIGS:
            self._plans.popitem(last=False)
        return made

    async def state(self, run: RunId) -> Run | None:
        """Return the state of a run, None if there is no such run here.

        Raises:
            StoreError: `Unavailable` if it cannot be read now, `Damaged` if it is lost. RecordError.
        """
        body = await self._open().get(RUN, run)
        return None if body is None else decode(Run, body)

    async def task(self, run: RunId, name: str) -> Task | None:
        """Return the state of a task, None if there is none here. Errors as for any reading."""
        body = await self._open().get(TASK, f"{run}/{name}")
        return None if body is None else decode(Task, body)

    async def tasks(self, run: RunId) -> dict[str, Task]:
        """Return the states of all tasks of a run, by name. Errors as for any reading."""
        found = [decode(Task, body) for _, body in await self._open().scan(TASK, prefix=f"{run}/")]
        return {task.name: task for task in found}

    async def catch_up(self) -> None:
        """Return when all that had been committed before this call can be read here.

        Raises:
            Unavailable: that cannot be said now. What stopped the reader.
        """
        follower = self._open()
        await follower.sync(seconds=min(follower.stale_seconds, 10.0) + CATCH_UP_SECONDS)

    def _open(self) -> Follower:
        if self._follower is None:
            raise Unavailable(self.trouble)
        return self._follower

    def _fail(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("records not open", error=trouble)
        self.trouble = trouble
