"""One run with one task on an executor, its pod in each state, and an observer with a log collector at work."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from fixtures.logs import Collecting, Container, Reading, ServiceContainers, collecting
from fixtures.states import NOW, RUN, created, live, running, task_spec, with_task
from models.container_log import toolbox_log
from runabout.control.attempts import Attempt, Creation
from runabout.control.executors import Executors, executor_object
from runabout.control.live import LiveRun
from runabout.control.logs import LogGoneError
from runabout.control.observer import (
    Observation,
    Observer,
)
from runabout.control.servicelogs import ServiceLogs
from runabout.ost import MemoryObjectStore
from runabout.records import Attempt as PastAttempt
from runabout.records import Reason, Status

POD = f"{RUN}-build-1"
LATE_MS = 600_000
PENDING_MS = 3_600_000
LOG = toolbox_log([b"one\n", b"two"])


def time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(phase: str, state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:  # noqa: ANN401 - a pod's JSON
    rows = [{"name": "main", "state": state}] if state else []
    return {
        "metadata": {"name": POD, "uid": "pod-uid", "creationTimestamp": time(NOW)},
        "spec": {"nodeName": "n1"},
        "status": {"phase": phase, "containerStatuses": rows, **status},
    }


PLACED = {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": time(NOW)}]}
CREATING = pod("Pending", {"waiting": {"reason": "ContainerCreating"}}, **PLACED)
UNPLACED = pod(
    "Pending",
    conditions=[
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available",
            "lastTransitionTime": time(NOW),
        }
    ],
)
RUNS = pod("Running", {"running": {"startedAt": time(NOW)}})


def ended(code: int = 0, **status: Any) -> dict[str, Any]:  # noqa: ANN401 - a pod's JSON
    terminated = {"exitCode": code, "startedAt": time(NOW), "finishedAt": time(NOW + 9000)}
    return pod("Succeeded" if code == 0 else "Failed", {"terminated": terminated}, **status)


def with_sidecar(body: dict[str, Any]) -> dict[str, Any]:
    """Return a pod to which somebody added a container that goes on."""
    mesh = {"name": "mesh", "state": {"running": {"startedAt": time(NOW)}}}
    rows = [*body["status"]["containerStatuses"], mesh]
    return {**body, "status": {**body["status"], "phase": "Running", "containerStatuses": rows}}


WITH_SIDECAR = with_sidecar(ended())
EVICTED = pod("Failed", reason="Evicted", message="disk pressure")
EVICTED_RUNNING = ended(137, reason="Evicted", message="disk pressure")


@dataclass
class Scene:
    """A run with one task on an executor; `pods` is what the informer has."""

    live: LiveRun
    work: Collecting
    observer: Observer
    services: ServiceLogs
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)

    def look(self, shown: dict[str, Any] | None = None, *, at: int = NOW, stop: bool = False) -> Observation:
        """Observe, after the informer has shown the pod; {} takes it away."""
        if shown is not None:
            self.pods.pop(POD, None)
            if shown:
                self.pods[POD] = shown
        return self.observer.observe(self.live, now=at, stop=stop)

    @property
    def attempt(self) -> Attempt:
        return self.live.attempts["build"]

    async def services_read(self) -> None:
        await self.work.until(lambda: not self.services.waits(POD))

    async def stored(self) -> None:
        await self.work.until(lambda: self.work.collector.stored(POD) is not None)

    def task_ended(self, status: Status = Status.SUCCESS) -> None:
        """Take the end into the record, as a commit does."""
        self.live.state = with_task(self.live.state, "build", status=status, executor=None)


@asynccontextmanager
async def scene(
    *,
    creation: Creation = Creation.DONE,
    lost: int = 0,
    failed: int = 0,
    ost: MemoryObjectStore | None = None,
    log: bytes = LOG,
    vanished: bool = False,
    services: Mapping[str, Sequence[bytes | None]] = MappingProxyType({}),
    **task: object,
) -> AsyncIterator[Scene]:
    """Set it up; `services` has what each service writes, the last of its containers first.

    What has `vanished` has no log any more, and toolboxes upload theirs.
    The machinery has `lost` attempts of the task, and so many more have `failed` by themselves.
    """
    steps = [{"name": "compile", "run": "go build"}, {"name": "test", "run": "go test"}]
    containers = [{"image": "a"}, *({"name": name, "image": "b"} for name in services)]
    state = running(created(task_spec("build") | {"steps": steps, "containers": containers, **task}))
    reasons = [Reason.EVICTED] * lost + [Reason.EXIT_CODE] * failed
    past = tuple(PastAttempt(number, "p", "linux", reason) for number, reason in enumerate(reasons))
    number = len(past) + 1
    state = with_task(
        state, "build", status=Status.RUNNING, attempt=number, executor="linux", pod=POD, attempts=past, stored=False
    )
    what = live(state)
    what.attempts["build"] = Attempt(POD, "build", number, creation, NOW)
    executors = Executors(toolbox_image="toolbox", toolbox_pull_policy="Never")
    executors.put(executor_object({"metadata": {"name": "linux"}, "spec": {"archs": ["amd64"]}}))
    gone = Reading(stop=0, ends=LogGoneError("the pod is gone"))
    container = Container(log, (gone,) if vanished else (Reading(),))
    async with collecting(container, ost, uploads=vanished) as work:
        pods: dict[str, dict[str, Any]] = {}
        beside = ServiceLogs(source=ServiceContainers(services), ost=work.ost, on_change=work.changed)
        stop = asyncio.Event()
        observer = Observer(
            pod=lambda namespace, name: pods.get(name) if namespace == "ci" else None,
            logs=work.collector,
            services=beside,
            executors=executors,
            storage_late_ms=LATE_MS,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(beside.run(stop))
            try:
                yield Scene(what, work, observer, beside, pods)
            finally:
                stop.set()
