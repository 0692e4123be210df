"""The parts of a working replica, and the one place where they are put together."""

import time
from dataclasses import dataclass

from runabout.control.actions import Actions
from runabout.control.cacheretention import CacheRetention
from runabout.control.chunksweep import ChunkSweep
from runabout.control.executors import Executors
from runabout.control.gatewaysettings import KnownGateway
from runabout.control.ledger import Ledger
from runabout.control.listing import Listing
from runabout.control.logs import LogCollector
from runabout.control.logsource import PodLogs
from runabout.control.metrics import Metrics
from runabout.control.news import News, trim_labels, trim_node
from runabout.control.objects import RunObjects, Uid
from runabout.control.observer import Observer
from runabout.control.opener import Opener
from runabout.control.order import Order
from runabout.control.queue import WorkQueue
from runabout.control.reconciler import Reconciler
from runabout.control.reporter import Reporter
from runabout.control.restarts import Restarts
from runabout.control.retention import Retention
from runabout.control.runs_api import RunsApi
from runabout.control.servicelogs import ServiceLogs
from runabout.control.settings import Settings
from runabout.control.strays import Strays
from runabout.control.upkeep import Upkeep
from runabout.datamanager import Store
from runabout.executors.names import SELECTOR
from runabout.executors.pods import PodDriver
from runabout.executors.trim import trim_pod
from runabout.kube.informer import Informer
from runabout.kube.objects import NAMESPACES, NODES, PODS
from runabout.kube.session import Session
from runabout.ost import ObjectStore


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Parts:
    """What works together once the store is open."""

    store: Store
    objects: RunObjects
    queue: WorkQueue[Uid]
    order: Order
    informers: tuple[Informer, ...]
    news: News
    listing: Listing
    logs: LogCollector
    service_logs: ServiceLogs
    reconciler: Reconciler
    strays: Strays
    upkeep: Upkeep
    retention: Retention
    cache_retention: CacheRetention
    chunk_sweep: ChunkSweep


def compose(settings: Settings, *, session: Session, store: Store, ost: ObjectStore, metrics: Metrics) -> Parts:
    """Put the parts together; nothing begins to work by that."""
    objects, queue = RunObjects(), WorkQueue[Uid](clock=time.monotonic)
    executors = Executors(
        toolbox_image=settings.toolbox_image,
        toolbox_pull_policy=settings.toolbox_pull_policy,
        gateway=KnownGateway(settings).access,
    )
    order = Order(executors=executors, wake=queue.add, now=now_ms)
    ledger, driver = Ledger(store), PodDriver(session)
    news = News(objects=objects, queue=queue, executors=executors, order=order)
    api = RunsApi(session, seen=lambda body: news.run_seen(body, deleted=False))
    pods = Informer(
        session,
        PODS,
        selector=SELECTOR,
        trim=trim_pod,
        on_change=news.pod_changed,
    )
    nodes = Informer(session, NODES, trim=trim_node, on_change=news.node_changed)
    namespaces = Informer(session, NAMESPACES, trim=trim_labels, on_change=news.namespace_changed)
    logs = LogCollector(
        source=PodLogs(session),
        ost=ost,
        scratch=settings.scratch_dir,
        metrics=metrics,
        on_change=news.log_changed,
        now=now_ms,
        streams=settings.log_streams,
        max_bytes=settings.max_log_bytes,
        scratch_bytes=settings.scratch_bytes,
        uploads=bool(settings.gateway_url),
    )
    service_logs = ServiceLogs(source=PodLogs(session), ost=ost, on_change=news.log_changed)
    reporter = Reporter(
        api=api,
        metrics=metrics,
        now=now_ms,
        clock=time.monotonic,
        ttl_seconds=settings.ttl_seconds_after_finished,
        deadline_seconds=settings.finalizer_deadline_seconds,
    )
    reconciler = Reconciler(
        ledger=ledger,
        objects=objects,
        queue=queue,
        order=order,
        opener=Opener(
            ledger=ledger,
            restarts=Restarts(ledger=ledger, objects=objects),
            store=settings.store,
            now=now_ms,
            gateway=bool(settings.gateway_url),
        ),
        observer=Observer(
            pod=pods.get,
            logs=logs,
            services=service_logs,
            executors=executors,
            storage_late_ms=settings.storage_late_seconds * 1000,
        ),
        actions=Actions(driver=driver, executors=executors, metrics=metrics, now=now_ms),
        reporter=reporter,
        metrics=metrics,
        now=now_ms,
        clock=time.monotonic,
    )
    strays = Strays(pods=pods.items, in_hand=reconciler.in_hand, ledger=ledger, driver=driver, metrics=metrics)
    news.attach(reconciler=reconciler, strays=strays)
    return Parts(
        store=store,
        objects=objects,
        queue=queue,
        order=order,
        informers=(pods, nodes, namespaces),
        news=news,
        listing=Listing(session, news=news, objects=objects, queue=queue, relist_seconds=settings.relist_seconds),
        logs=logs,
        service_logs=service_logs,
        reconciler=reconciler,
        strays=strays,
        upkeep=Upkeep(api=api, objects=objects, executors=executors, order=order, reporter=reporter, now=now_ms),
        chunk_sweep=ChunkSweep(ledger=ledger, ost=ost, logs=logs, in_hand=reconciler.in_hand, now=now_ms),
        cache_retention=CacheRetention(
            ost=ost,
            metrics=metrics,
            rules=settings.retention,
            days=settings.cache_days,
            most=settings.caches_per_group,
            now=now_ms,
        ),
        retention=Retention(
            ledger=ledger,
            ost=ost,
            metrics=metrics,
            rules=settings.retention,
            keep_events=settings.keep_events,
            event_days=settings.event_days,
            now=now_ms,
        ),
    )
