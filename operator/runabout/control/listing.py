"""Lists of Runs and Executors: all there is when a replica begins, and later what a watch has missed.

A watch forgets deletions that happen during a gap; a list of metadata every few minutes finds them.
"""

import asyncio
from collections.abc import AsyncIterator

import structlog

from runabout.control.news import News
from runabout.control.objects import RunObject, RunObjects, Uid, run_object
from runabout.control.queue import Lane, WorkQueue
from runabout.kube.errors import KubeError
from runabout.kube.objects import EXECUTORS, RUNS, JsonObject, Resource, metadata, text
from runabout.kube.session import Session

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0
"""Before a list that failed is asked for again."""


class Listing:
    """Lists through one session; what it finds goes where news go."""

    def __init__(
        self, session: Session, *, news: News, objects: RunObjects, queue: WorkQueue[Uid], relist_seconds: float
    ) -> None:
        self._session = session
        self._news = news
        self._objects = objects
        self._queue = queue
        self._relist_seconds = relist_seconds

    async def everything(self) -> None:
        """Take all Runs and Executors there are, for as long as it takes.

        Runs come in the order in which they were created: so their ids follow the order of their arrival.
        """
        found: list[RunObject] = [run_object(item) async for item in self._pages(RUNS)]
        for run in sorted(found, key=lambda run: run.arrival):
            self._objects.put(run)
            self._queue.add(run.uid, Lane.NEW)
        async for item in self._pages(EXECUTORS):
            self._news.executor_seen(item, deleted=False)

    async def keep(self) -> None:
        """Find deletions that a gap in the watch has hidden, until cancelled."""
        while True:
            await asyncio.sleep(self._relist_seconds)
            try:
                await self._find_gone()
            except KubeError as error:
                log.info("runs not listed", error=str(error))

    async def _find_gone(self) -> None:
        before = set(self._objects.uids())
        token = ""
        while True:
            items, _, token = await self._session.list(RUNS, token=token, metadata_only=True)
            before.difference_update(Uid(text(metadata(item), "uid")) for item in items)
            if not token:
                break
        for uid in before:
            self._news.run_gone(uid)

    async def _pages(self, resource: Resource) -> AsyncIterator[JsonObject]:
        """List everything of one kind; after a failure from the beginning, so that some may come twice."""
        token = ""
        while True:
            try:
                items, _, token = await self._session.list(resource, token=token)
            except KubeError as error:
                log.warning("not listed, will be tried again", resource=resource.plural, error=str(error))
                token = ""
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            for item in items:
                yield item
            if not token:
                return
