"""The operator as one process: its life from the Lease to the orderly end.

A replica waits for the Lease, opens the store (which fences every older writer), takes the live runs from it, lists
what exists, and then works until it is told to stop, loses its Lease, or is fenced by another writer. Whatever goes
wrong beyond repair ends the process: the next one rebuilds everything.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TypeVar

import structlog

from runabout.control.condition import Condition, condition
from runabout.control.etcdaccess import connect_etcd, space_policy
from runabout.control.health import BEAT_SECONDS, HealthServer, Pulse
from runabout.control.lease import Lease
from runabout.control.metrics import Metrics
from runabout.control.news import News
from runabout.control.objects import Uid
from runabout.control.parts import Parts, compose, now_ms
from runabout.control.runrows import index_source
from runabout.control.settings import Settings
from runabout.control.tables import TABLES
from runabout.datamanager import Store, Unavailable, Unknown, open_store, vitals
from runabout.kube.connection import Connection
from runabout.kube.errors import KubeError
from runabout.kube.session import Session
from runabout.ost import ObjectStore

log = structlog.get_logger(__name__)

SHUTDOWN_SECONDS = 2.0
"""For passes that are under way when the process is told to stop."""
OPEN_AGAIN_SECONDS = 0.5

T = TypeVar("T")

Watch = Callable[[News, asyncio.Event], Coroutine[None, None, None]]
"""Feeds what it sees of Runs and Executors to the news until the event is set."""


class Operator:
    """One replica. `watch` is the shell that watches Runs and Executors."""

    def __init__(
        self, settings: Settings, *, connection: Connection, ost: ObjectStore, watch: Watch, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._ost = ost
        self._watch = watch
        self._metrics = metrics
        self._pulse = Pulse()
        self._trouble = "starting"
        self._parts: Parts | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set.

        Raises:
            what the process cannot go on with; the next one can.
        """
        health = HealthServer(
            alive=self._pulse.trouble, ready=self._ready, registry=self._metrics.registry, notes=self._notes
        )
        await health.start(
            host=self._settings.listen,
            health_port=self._settings.health_port,
            metrics_port=self._settings.metrics_port,
        )
        try:
            async with asyncio.TaskGroup() as group:
                beat = group.create_task(self._keep_beating())
                try:
                    await self._work_until(stop)
                finally:
                    beat.cancel()
        finally:
            await health.close()

    async def _work_until(self, stop: asyncio.Event) -> None:
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(Session(self._connection, observer=self._count))
            if self._settings.lease and not await self._hold_lease(session, stack, stop):
                return
            store = await stack.enter_async_context(self._opened_store(stop))
            if store is None:
                return
            self._parts = compose(self._settings, session=session, store=store, ost=self._ost, metrics=self._metrics)
            await self._live(self._parts, stop)

    async def _hold_lease(self, session: Session, stack: contextlib.AsyncExitStack, stop: asyncio.Event) -> bool:
        """Stand by until it is our turn; the Lease is kept until `stack` ends. False if `stop` was set first."""
        settings = self._settings
        lease = Lease(
            session,
            namespace=settings.namespace,
            name=f"runabout-operator-{settings.store}",
            holder=settings.pod_name or f"{socket.gethostname()}-{os.getpid()}",
            now=now_ms,
            clock=time.monotonic,
        )
        self._trouble = ""  # standing by is all there is to do
        if not await lease.acquire(stop):
            return False
        self._trouble = "opening the store"
        stack.push_async_callback(lease.release)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        keeping = group.create_task(lease.keep())
        stack.callback(keeping.cancel)
        return True

    @contextlib.asynccontextmanager
    async def _opened_store(self, stop: asyncio.Event) -> AsyncIterator[Store | None]:
        settings = self._settings
        etcd = connect_etcd(settings)
        store: Store | None = None
        try:
            while not stop.is_set():
                try:
                    opening = asyncio.create_task(
                        open_store(
                            etcd,
                            ost=self._ost,
                            number=settings.store,
                            deadline=settings.store_deadline_seconds,
                            durability=settings.durability,
                            tables=TABLES,
                            index=index_source(settings),
                            members=etcd,
                            space=space_policy(settings),
                            observer=self._metrics.store,
                        )
                    )
                    store = await _unless(stop, opening)
                    break
                except Unavailable as error:
                    self._trouble = f"the store cannot be opened: {error}"
                    log.warning("store not opened", error=str(error))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), OPEN_AGAIN_SECONDS)
            yield store
        finally:
            if store is not None:
                await store.close()
            await etcd.close()

    async def _live(self, parts: Parts, stop: asyncio.Event) -> None:
        restored = await self._restored(parts, stop)
        if restored is None:
            return
        _tell(parts.store, live_runs=restored)
        async with asyncio.TaskGroup() as group:
            background = [group.create_task(informer.run()) for informer in parts.informers]
            background.append(group.create_task(self._guard(parts.store)))
            listing = group.create_task(_list(parts))
            await _either(stop, listing)
            if not stop.is_set():
                parts.reconciler.claim()
                background += [
                    group.create_task(work)
                    for work in (
                        parts.listing.keep(),
                        parts.strays.run(),
                        parts.upkeep.report_executors(),
                        parts.upkeep.keep_deadlines(),
                        parts.retention.run(),
                        parts.cache_retention.run(),
                        parts.chunk_sweep.run(),
                    )
                ]
                await self._work(parts, group, stop)
            for task in (*background, listing):
                task.cancel()

    async def _restored(self, parts: Parts, stop: asyncio.Event) -> int | None:
        """Return how many runs go on, once the object storage has said which; None if `stop` was set first."""
        while not stop.is_set():
            try:
                return await _unless(stop, asyncio.create_task(parts.reconciler.restore()))
            except Unavailable as error:
                self._trouble = f"the live runs cannot be read: {error}"
                log.warning("live runs not read", error=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), OPEN_AGAIN_SECONDS)
        return None

    async def _work(self, parts: Parts, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Watch and reconcile until `stop` is set or the shell has ended; what is under way then comes to its end."""
        ending = asyncio.Event()
        collector = group.create_task(parts.logs.run(ending))
        services = group.create_task(parts.service_logs.run(ending))
        watch = group.create_task(self._watch(parts.news, ending))
        passes = group.create_task(
            parts.queue.work(parts.reconciler.reconcile, workers=self._settings.workers, on_error=self._failed)
        )
        self._trouble = ""
        self._metrics.active.set(1)
        log.info("working", runs=len(parts.objects))
        await _either(stop, watch)
        log.info("stopping")
        self._trouble = "stopping"
        parts.queue.close()
        ending.set()
        watch.cancel()
        _, late = await asyncio.wait((passes, collector, services), timeout=SHUTDOWN_SECONDS)
        for task in late:
            task.cancel()

    async def _keep_beating(self) -> None:
        while True:
            self._pulse.beat()
            if self._parts is not None:
                self._metrics.store.look(vitals(self._parts.store))
                self._metrics.queue_length.set(len(self._parts.queue))
                self._metrics.waiting_tasks.set(self._parts.order.waiting)
            await asyncio.sleep(BEAT_SECONDS)

    def _ready(self) -> str:
        return self._trouble or "\n".join(self._condition().troubles)

    def _notes(self) -> str:
        return "\n".join(self._condition().notes)

    def _condition(self) -> Condition:
        if self._parts is None:
            return Condition()
        seconds, trouble = self._metrics.store.writes_fail
        now, endpoints = vitals(self._parts.store), self._settings.etcd_endpoints
        return condition(now, endpoints=endpoints, writes_fail_seconds=seconds, writes_trouble=trouble)

    async def _guard(self, store: Store) -> None:
        """End the process when the store cannot be written any more."""
        raise await store.broken()

    def _failed(self, uid: Uid, error: Exception) -> None:
        """Say why a pass failed.

        Raises:
            Unknown: nobody knows what the store has; the next process reads it.
        """
        if isinstance(error, Unknown):
            raise error
        name = type(error).__name__
        self._metrics.reconcile_errors.labels(error=name).inc()
        run = self._parts.objects.get(uid) if self._parts is not None else None
        live = self._parts.reconciler.lives.get(uid) if self._parts is not None else None
        log.log(
            20 if isinstance(error, KubeError) else 40,
            "pass failed, will be tried again",
            run=live.id if live else None,
            namespace=run.namespace if run else None,
            name=run.name if run else None,
            error=f"{name}: {error}",
            exc_info=None if isinstance(error, KubeError) else error,
        )

    def _count(self, verb: str, resource: str, code: int) -> None:
        self._metrics.api_requests.labels(verb=verb, resource=resource, code=str(code)).inc()


def _tell(store: Store, *, live_runs: int) -> None:
    """Say what opening the store has found."""
    if store.recovery is not None:
        log.warning("store recovered from the object storage", why=str(store.recovery))
    for damage in store.damage:
        log.error("damage on the object storage, and what has replaced it", damage=damage)
    log.info("store opened", epoch=store.epoch, sequence=store.sequence, live_runs=live_runs)


async def _list(parts: Parts) -> None:
    """Return when caches and lists have what there is."""
    for informer in parts.informers:
        await informer.synced.wait()
    await parts.listing.everything()


async def _unless(stop: asyncio.Event, work: asyncio.Task[T]) -> T | None:
    """Return what `work` returns, or None once `stop` is set, which cancels it."""
    try:
        await _either(stop, work)
        return work.result() if work.done() else None
    finally:
        work.cancel()


async def _either(stop: asyncio.Event, work: asyncio.Task[T]) -> None:
    """Wait until `stop` is set or `work` has ended."""
    waiting = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((waiting, work), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
