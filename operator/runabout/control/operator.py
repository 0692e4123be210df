"""The operator as one process: composes the parts, runs them, and ends them in order.

A replica waits for the Lease, opens the store (which fences every older writer), takes the live runs from it, lists
what exists, and then works until it is told to stop, loses its Lease, or is fenced by another writer. Whatever goes
wrong beyond repair ends the process: the next one rebuilds everything.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from runabout.control.actions import Actions
from runabout.control.executors import Executors, executor_object
from runabout.control.health import HealthServer
from runabout.control.lease import Lease
from runabout.control.ledger import Ledger
from runabout.control.logs import LogCollector, LogJob
from runabout.control.logsource import PodLogs
from runabout.control.metrics import Metrics
from runabout.control.objects import RunObject, RunObjects, Uid, run_object
from runabout.control.observer import Observer
from runabout.control.opener import Opener
from runabout.control.order import Order
from runabout.control.queue import WorkQueue
from runabout.control.reconciler import Reconciler
from runabout.control.reporter import Reporter
from runabout.control.runs_api import RunsApi
from runabout.control.settings import Settings
from runabout.datamanager import Store, Unavailable, open_store
from runabout.etcd import Etcd, TlsFiles, connect
from runabout.executors.names import SELECTOR, parse_labels
from runabout.executors.pods import PodDriver
from runabout.executors.trim import trim_pod
from runabout.kube.connection import Connection
from runabout.kube.errors import KubeError
from runabout.kube.informer import Informer
from runabout.kube.objects import EXECUTORS, NAMESPACES, NODES, PODS, RUNS, JsonObject, Resource, metadata, text
from runabout.kube.session import Session
from runabout.ost import ObjectStore

log = structlog.get_logger(__name__)

BEAT_SECONDS = 1.0
STALLED_SECONDS = 15.0
"""Without a turn of the event loop for this long, the process is not healthy."""
EXECUTOR_REPORT_SECONDS = 2.0
SHUTDOWN_SECONDS = 3.0
"""For passes that are under way when the process is told to stop."""
STORE_DEADLINE = 3600.0
"""Seconds a commit waits for etcd: nothing can go on without it, and nothing is lost by waiting."""

T = TypeVar("T")

Watch = Callable[["Operator", asyncio.Event], Coroutine[None, None, None]]
"""Feeds what it sees of Runs and Executors to the operator until the event is set."""


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


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
        self._beat = time.monotonic()
        self._trouble = "starting"
        self.objects = RunObjects()
        self.queue: WorkQueue[Uid] = WorkQueue(clock=time.monotonic)
        self.executors = Executors(
            toolbox_image=settings.toolbox_image, toolbox_pull_policy=settings.toolbox_pull_policy
        )
        self.order = Order(executors=self.executors, wake=self.queue.add, now=now_ms)
        self._store: Store | None = None
        self._reconciler: Reconciler | None = None

    # what the watches show (handlers.Sink)

    def run_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        """Take a Run; one that says nothing new is not looked at again."""
        run = run_object(body)
        if deleted:
            self.objects.remove(run.uid)
            self.queue.add(run.uid)
            return
        known = self.objects.get(run.uid)
        self.objects.put(run)
        if known is None or _says_more(known, run):
            self.queue.add(run.uid, new=known is None)

    def executor_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        """Take an Executor."""
        executor = executor_object(body)
        if deleted:
            self.executors.remove(executor.name)
            self.order.executor_removed(executor.name)
            return
        known = self.executors.get(executor.name)
        self.executors.put(executor)
        if (known.uid, known.generation, known.labels) != (executor.uid, executor.generation, executor.labels):
            self.order.executor_changed(executor)

    # life

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set.

        Raises:
            what the process cannot go on with; the next one can.
        """
        health = HealthServer(alive=self._alive, ready=lambda: self._trouble, registry=self._metrics.registry)
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
            self._store = store
            parts = self._compose(session, store)
            await self._live(parts, stop)

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
        tls = None
        if settings.etcd_ca_file is not None:
            tls = TlsFiles(settings.etcd_ca_file, settings.etcd_cert_file, settings.etcd_key_file)
        etcd: Etcd = connect(settings.etcd_endpoints, tls=tls)
        store: Store | None = None
        try:
            while not stop.is_set():
                try:
                    opening = asyncio.create_task(open_store(etcd, number=settings.store, deadline=STORE_DEADLINE))
                    store = await _unless(stop, opening)
                    break
                except Unavailable as error:
                    self._trouble = f"etcd at {settings.etcd_endpoints} does not answer: {error}"
                    log.warning("store not opened", error=str(error))
                    await asyncio.sleep(0.5)
            yield store
        finally:
            if store is not None:
                await store.close()
            await etcd.close()

    def _compose(self, session: Session, store: Store) -> "_Parts":
        settings, metrics = self._settings, self._metrics
        pods = Informer(session, PODS, selector=SELECTOR, trim=trim_pod, on_change=self._pod_changed)
        nodes = Informer(session, NODES, trim=_trim_node, on_change=self._node_changed)
        namespaces = Informer(session, NAMESPACES, trim=_trim_labels, on_change=self._namespace_changed)
        logs = LogCollector(
            source=PodLogs(session),
            ost=self._ost,
            scratch=settings.scratch_dir,
            metrics=metrics,
            on_change=self._log_changed,
            now=now_ms,
            streams=settings.log_streams,
            max_bytes=settings.max_log_bytes,
        )
        ledger = Ledger(store)
        api = RunsApi(session, seen=lambda body: self.run_seen(body, deleted=False))
        self._reconciler = Reconciler(
            ledger=ledger,
            objects=self.objects,
            queue=self.queue,
            order=self.order,
            opener=Opener(ledger=ledger, store=settings.store, now=now_ms),
            observer=Observer(
                pod=pods.get,
                logs=logs,
                executors=self.executors,
                storage_late_ms=settings.storage_late_seconds * 1000,
            ),
            actions=Actions(driver=PodDriver(session), executors=self.executors, metrics=metrics, now=now_ms),
            reporter=Reporter(
                api=api,
                metrics=metrics,
                now=now_ms,
                clock=time.monotonic,
                ttl_seconds=settings.ttl_seconds_after_finished,
                deadline_seconds=settings.finalizer_deadline_seconds,
            ),
            metrics=metrics,
            now=now_ms,
            clock=time.monotonic,
        )
        return _Parts(session, store, api, logs, (pods, nodes, namespaces), self._reconciler)

    async def _live(self, parts: "_Parts", stop: asyncio.Event) -> None:
        restored = parts.reconciler.restore()
        log.info("store opened", epoch=parts.store.epoch, sequence=parts.store.sequence, live_runs=restored)
        ending = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            background = [group.create_task(informer.run()) for informer in parts.informers]
            for informer in parts.informers:
                await _first(informer.synced, stop)
            await self._list_runs(parts.session, stop)
            collector = group.create_task(parts.logs.run(ending))
            watch = group.create_task(self._watch(self, ending))
            await self._list_executors(parts.session, stop)
            work = group.create_task(
                self.queue.work(parts.reconciler.reconcile, workers=self._settings.workers, on_error=self._failed)
            )
            background.append(group.create_task(self._report_executors(parts.api)))
            background.append(group.create_task(self._relist(parts.session)))
            background.append(group.create_task(self._guard(parts.store)))
            self._trouble = ""
            self._metrics.active.set(1)
            log.info("working", runs=len(self.objects))
            await _either(stop, watch)
            log.info("stopping")
            self._trouble = "stopping"
            self.queue.close()
            ending.set()
            for task in background:
                task.cancel()
            watch.cancel()
            _, late = await asyncio.wait((work, collector), timeout=SHUTDOWN_SECONDS)
            for task in late:
                task.cancel()

    async def _keep_beating(self) -> None:
        while True:
            self._beat = time.monotonic()
            self._metrics.queue_length.set(len(self.queue))
            self._metrics.waiting_tasks.set(self.order.waiting)
            await asyncio.sleep(BEAT_SECONDS)

    def _alive(self) -> str:
        stalled = time.monotonic() - self._beat
        return f"the event loop has not turned for {stalled:.0f} s" if stalled > STALLED_SECONDS else ""

    async def _guard(self, store: Store) -> None:
        """End the process when the store cannot be written any more."""
        raise await store.broken()

    def _failed(self, uid: Uid, error: Exception) -> None:
        name = type(error).__name__
        self._metrics.reconcile_errors.labels(error=name).inc()
        run = self.objects.get(uid)
        live = self._reconciler.lives.get(uid) if self._reconciler is not None else None
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

    # news

    def _pod_changed(self, before: JsonObject | None, after: JsonObject | None) -> None:
        pod = after if after is not None else before
        if pod is None:
            return
        labels = metadata(pod).get("labels")
        key = parse_labels(labels) if isinstance(labels, Mapping) else None
        if key is not None and self._reconciler is not None:
            uid = self._reconciler.uid_of(key.run)
            if uid is not None:
                self._reconciler.heard(uid)
                self.queue.add(uid)

    def _log_changed(self, job: LogJob) -> None:
        if self._reconciler is not None:
            uid = self._reconciler.uid_of(job.run)
            if uid is not None:
                self.queue.add(uid)

    def _node_changed(self, before: JsonObject | None, after: JsonObject | None) -> None:
        node = after if after is not None else before
        if node is None:
            return
        arch = text(node, "arch") if after is not None and after.get("ready") is True else None
        if self.executors.set_node(text(metadata(node), "name"), arch):
            for executor in self.executors:
                self.order.executor_changed(executor)

    def _namespace_changed(self, before: JsonObject | None, after: JsonObject | None) -> None:
        item = after if after is not None else before
        if item is None:
            return
        name = text(metadata(item), "name")
        labels = metadata(item).get("labels") if after is not None else None
        found = {str(key): str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {}
        self.executors.set_namespace(name, found if after is not None else None)
        self.order.namespace_changed(name, found if after is not None else None)

    # lists

    async def _list_runs(self, session: Session, stop: asyncio.Event) -> None:
        """Take all Runs there are, in the order in which they were created: so ids follow the order of arrival."""
        found: list[RunObject] = []
        async for item in _pages(session, RUNS, stop):
            found.append(run_object(item))  # noqa: PERF401 - asynchronous
        for run in sorted(found, key=lambda run: (run.created, run.namespace, run.name)):
            self.objects.put(run)
            self.queue.add(run.uid, new=True)

    async def _list_executors(self, session: Session, stop: asyncio.Event) -> None:
        async for item in _pages(session, EXECUTORS, stop):
            self.executor_seen(item, deleted=False)

    async def _relist(self, session: Session) -> None:
        """Find deletions that a gap in the watch has hidden."""
        while True:
            await asyncio.sleep(self._settings.relist_seconds)
            try:
                await self._relist_once(session)
            except KubeError as error:
                log.info("runs not listed", error=str(error))

    async def _relist_once(self, session: Session) -> None:
        before = set(self.objects.uids())
        token = ""
        while True:
            items, _, token = await session.list(RUNS, token=token, metadata_only=True)
            before.difference_update(Uid(text(metadata(item), "uid")) for item in items)
            if not token:
                break
        for uid in before:
            self.objects.remove(uid)
            self.queue.add(uid)

    async def _report_executors(self, api: RunsApi) -> None:
        reported: dict[str, Mapping[str, object]] = {}
        while True:
            for executor in self.executors:
                active, waiting = self.order.load(executor.name)
                status = self.executors.status(executor, active=active, waiting=waiting, now=now_ms())
                if reported.get(executor.uid, executor.status) != status:
                    with contextlib.suppress(KubeError):
                        await api.apply_executor_status(executor.name, executor.uid, status)
                        reported[executor.uid] = status
            await asyncio.sleep(EXECUTOR_REPORT_SECONDS)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is composed once the store is open."""

    session: Session
    store: Store
    api: RunsApi
    logs: LogCollector
    informers: tuple[Informer, ...]
    reconciler: Reconciler


def _says_more(known: RunObject, run: RunObject) -> bool:
    """Whether a Run changed in a way that a pass looks at; our own writes are none."""
    return (known.generation, known.deleted) != (run.generation, run.deleted)


async def _first(event: asyncio.Event, stop: asyncio.Event) -> None:
    """Wait until one of two events is set."""
    waiting = [asyncio.ensure_future(item.wait()) for item in (event, stop)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _unless(stop: asyncio.Event, work: asyncio.Task[T]) -> T | None:
    """Return what `work` returns, or None once `stop` is set, which cancels it."""
    try:
        await _either(stop, work)
        return work.result() if work.done() else None
    finally:
        work.cancel()


async def _either(stop: asyncio.Event, watch: asyncio.Task[object]) -> None:
    """Wait until `stop` is set or the shell has ended: it takes the process's signals while it runs."""
    waiting = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((waiting, watch), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _pages(session: Session, resource: Resource, stop: asyncio.Event) -> AsyncIterator[JsonObject]:
    """List everything of one kind; a server that does not answer is asked again until `stop` is set."""
    token = ""
    while not stop.is_set():
        try:
            items, _, token = await session.list(resource, token=token)
        except KubeError as error:
            log.warning("not listed, will be tried again", resource=resource.plural, error=str(error))
            token = ""
            await asyncio.sleep(1)
            continue
        for item in items:
            yield item
        if not token:
            return


def _trim_labels(item: JsonObject) -> JsonObject:
    found = metadata(item)
    return {"metadata": {"name": found.get("name"), "uid": found.get("uid"), "labels": found.get("labels")}}


def _trim_node(item: JsonObject) -> JsonObject:
    """Keep a node's name, its architecture, and whether it takes pods."""
    status = item.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    ready = any(
        isinstance(entry, Mapping) and entry.get("type") == "Ready" and entry.get("status") == "True"
        for entry in (conditions if isinstance(conditions, list) else ())
    )
    spec = item.get("spec")
    closed = isinstance(spec, Mapping) and spec.get("unschedulable") is True
    labels = metadata(item).get("labels")
    arch = labels.get("kubernetes.io/arch") if isinstance(labels, Mapping) else ""
    return {
        "metadata": {"name": metadata(item).get("name"), "uid": metadata(item).get("uid")},
        "arch": arch,
        "ready": ready and not closed,
    }
