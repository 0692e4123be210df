"""The operator's parts, put together around processes of this machine, and the one place where that is done."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runabout.control.actions import Actions
from runabout.control.executors import Executors
from runabout.control.ledger import Ledger
from runabout.control.logs import LogCollector
from runabout.control.metrics import Metrics
from runabout.control.news import News
from runabout.control.objects import RunObject, RunObjects, Uid
from runabout.control.observer import Observer
from runabout.control.opener import Opener
from runabout.control.order import Order
from runabout.control.queue import WorkQueue
from runabout.control.reconciler import Reconciler
from runabout.control.reporter import Reporter
from runabout.control.restarts import Restarts
from runabout.control.servicelogs import ServiceLogs
from runabout.control.strays import Strays
from runabout.datamanager import Store
from runabout.executors.gatewayaccess import GatewayAccess
from runabout.executors.local import ProcessDriver
from runabout.executors.localcontainers import ContainerDriver
from runabout.executors.localdriver import NODE, LocalDriver
from runabout.executors.localsecrets import LocalSecrets
from runabout.executors.plan import step_names
from runabout.local.lines import Lines, LocalLogs
from runabout.ost import ObjectStore
from runabout.records.json import JsonObject
from runabout.resources import API_VERSION

MAX_LOG_BYTES = 2 * 1024**3
SCRATCH_BYTES = 6 * 1024**3
GRACE_SECONDS = 10
"""For a task's processes, between SIGTERM and SIGKILL."""
STORAGE_LATE_MS = 60_000
"""After which a run ends although the folder does not take its logs."""
IMAGE_SECONDS = 30
"""For an image that cannot be had; one that comes may take its time."""
FOREVER_SECONDS = 10 * 365 * 86_400


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class LocalRuns:
    """See :class:`runabout.control.reporter.Runs`: the Runs of this process, whose writes only it sees."""

    def __init__(self, objects: RunObjects) -> None:
        self._objects = objects

    async def apply_status(self, run: RunObject, status: Mapping[str, object]) -> None:
        """Keep a status."""
        self._change(run.uid, lambda known: replace(known, status=status))

    async def set_finalizers(self, run: RunObject, finalizers: tuple[str, ...]) -> None:
        """Keep the finalizers."""
        self._change(run.uid, lambda known: replace(known, finalizers=finalizers))

    async def delete(self, run: RunObject) -> None:
        """Leave it: it goes with the process."""

    def set_spec(self, uid: Uid, **fields: object) -> None:
        """Change fields of a Run's spec, as a person would."""
        self._change(uid, lambda known: replace(known, spec={**known.spec, **fields}))

    def _change(self, uid: Uid, made: Callable[[RunObject], RunObject]) -> None:
        known = self._objects.get(uid)
        if known is not None:
            self._objects.put(made(known))


@dataclass(frozen=True, slots=True)
class Parts:
    """What works together once the store is open."""

    objects: RunObjects
    queue: WorkQueue[Uid]
    runs: LocalRuns
    ledger: Ledger
    driver: LocalDriver
    logs: LogCollector
    service_logs: ServiceLogs
    reconciler: Reconciler


def compose(
    *,
    store: Store,
    ost: ObjectStore,
    folder: Path,
    toolbox: Path,
    secrets: Path | None,
    jobs: int,
    arch: str,
    gateway: GatewayAccess | None,
    socket: Path | None,
    podman: str | None,
    show: Lines,
    notice: Callable[[str], None],
) -> Parts:
    """Put the parts together; nothing begins to work by that.

    Args:
        store: Where the records are.
        ost: Where the logs go.
        folder: For the attempts' folders, and for output that waits to be stored.
        toolbox: The program that executes steps.
        secrets: The folder of `LocalSecrets`.
        jobs: Tasks at once.
        arch: This machine's.
        gateway: Where tasks reach it; None if no task needs it.
        socket: The folder of the gateway's socket, for containers; None without a gateway.
        podman: The program, where tasks are containers; None: they are processes.
        show: Is told the lines of the logs of Runs that this process has.
        notice: Is told sentences about images.
    """
    objects, queue, metrics = RunObjects(), WorkQueue[Uid](clock=time.monotonic), Metrics()
    executors = Executors(toolbox_image="none", toolbox_pull_policy="Never", gateway=lambda: gateway)
    order = Order(executors=executors, wake=queue.add, now=now_ms)
    ledger, runs = Ledger(store), LocalRuns(objects)
    news = News(objects=objects, queue=queue, executors=executors, order=order)
    driver: LocalDriver
    if podman is None:
        driver = ProcessDriver(
            work=folder,
            toolbox=toolbox,
            secrets=LocalSecrets(secrets),
            on_change=news.pod_changed,
            now=now_ms,
        )
    else:
        driver = ContainerDriver(
            podman=podman,
            work=folder,
            toolbox=toolbox,
            secrets=LocalSecrets(secrets),
            gateway=socket,
            on_change=news.pod_changed,
            notice=notice,
            now=now_ms,
        )

    def steps(pod: str) -> tuple[str, tuple[str, ...]] | None:
        for uid, live in reconciler.lives.items():
            for attempt in live.attempts.values():
                if attempt.pod == pod and objects.get(uid) is not None:
                    return attempt.task, step_names(live.graph.task(attempt.task))
        return None

    source = LocalLogs(driver, steps=steps, show=show)
    logs = LogCollector(
        source=source,
        ost=ost,
        scratch=folder,
        metrics=metrics,
        on_change=news.log_changed,
        now=now_ms,
        streams=max(jobs, 16),
        max_bytes=MAX_LOG_BYTES,
        scratch_bytes=SCRATCH_BYTES,
        uploads=gateway is not None,
    )
    service_logs = ServiceLogs(source=source, ost=ost, on_change=news.log_changed)
    reconciler = Reconciler(
        ledger=ledger,
        objects=objects,
        queue=queue,
        order=order,
        opener=Opener(ledger=ledger, restarts=Restarts(ledger=ledger, objects=objects), store=0, now=now_ms),
        observer=Observer(
            pod=driver.pod, logs=logs, services=service_logs, executors=executors, storage_late_ms=STORAGE_LATE_MS
        ),
        actions=Actions(driver=driver, executors=executors, metrics=metrics, now=now_ms),
        reporter=Reporter(
            api=runs,
            metrics=metrics,
            now=now_ms,
            clock=time.monotonic,
            ttl_seconds=FOREVER_SECONDS,
            deadline_seconds=FOREVER_SECONDS,
        ),
        metrics=metrics,
        now=now_ms,
        clock=time.monotonic,
    )
    strays = Strays(pods=lambda: iter(()), in_hand=reconciler.in_hand, ledger=ledger, driver=driver, metrics=metrics)
    news.attach(reconciler=reconciler, strays=strays)
    news.executor_seen(_executor(jobs=jobs, arch=arch), deleted=False)
    return Parts(objects, queue, runs, ledger, driver, logs, service_logs, reconciler)


def _executor(*, jobs: int, arch: str) -> JsonObject:
    """Return this machine as an Executor."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Executor",
        "metadata": {"name": NODE, "uid": NODE, "generation": 1},
        "spec": {
            "archs": [arch],
            "maxActiveTasks": jobs,
            "allowPrivileged": True,
            "gracePeriodSeconds": GRACE_SECONDS,
            "imagePullTimeoutSeconds": IMAGE_SECONDS,
        },
    }
