"""What is done every few seconds, whatever the passes do: the status of Executors, and the finalizer's deadline.

The deadline is kept here because it matters most when a pass cannot end: the store is away, or a record is damaged.
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from runabout.control.executors import Executors
from runabout.control.objects import RunObjects
from runabout.control.order import Order
from runabout.control.reporter import Reporter
from runabout.control.runs_api import RunsApi
from runabout.kube.errors import KubeError

log = structlog.get_logger(__name__)

REPORT_SECONDS = 2.0
"""Between two statuses of one Executor."""
DEADLINE_SECONDS = 2.0
"""Between two looks for Runs whose deletion has waited for too long."""


class Upkeep:
    """`now` gives milliseconds since 1970."""

    def __init__(
        self,
        *,
        api: RunsApi,
        objects: RunObjects,
        executors: Executors,
        order: Order,
        reporter: Reporter,
        now: Callable[[], int],
    ) -> None:
        self._api = api
        self._objects = objects
        self._executors = executors
        self._order = order
        self._reporter = reporter
        self._now = now
        self._reported: dict[str, Mapping[str, object]] = {}

    async def report_executors(self) -> None:
        """Keep the status of every Executor up to date, until cancelled."""
        while True:
            await self.report_executors_once()
            await asyncio.sleep(REPORT_SECONDS)

    async def report_executors_once(self) -> None:
        """Write the statuses that have changed; what fails is written the next time."""
        there = {executor.uid for executor in self._executors}
        self._reported = {uid: status for uid, status in self._reported.items() if uid in there}
        for executor in self._executors:
            active, waiting = self._order.load(executor.name)
            status = self._executors.status(executor, active=active, waiting=waiting, now=self._now())
            if self._reported.get(executor.uid, executor.status) == status:
                continue
            try:
                await self._api.apply_executor_status(executor.name, executor.uid, status)
            except KubeError as error:
                log.info("status of an executor not written", executor=executor.name, error=str(error))
            else:
                self._reported[executor.uid] = status

    async def keep_deadlines(self) -> None:
        """Let Runs go at the finalizer's deadline, until cancelled."""
        while True:
            await asyncio.sleep(DEADLINE_SECONDS)
            await self.keep_deadlines_once()

    async def keep_deadlines_once(self) -> None:
        """Let those Runs go whose deletion has waited for too long; what fails is tried the next time."""
        for run in self._objects.leaving():
            if not run.held or self._reporter.overdue(run) != 0:
                continue
            try:
                await self._reporter.release_overdue(run)
            except KubeError as error:
                log.info(
                    "finalizer not taken off",
                    run=run.status.get("id"),
                    namespace=run.namespace,
                    name=run.name,
                    error=str(error),
                )
