"""The loads: bare pods, runs of one task, diamonds of four; created as fast as the API server takes them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.simulated import LABEL
from runabout.executors.names import SELECTOR, parse_labels
from runabout.kube.informer import Informer
from runabout.kube.objects import EXECUTORS, NAMESPACES, PODS, RUNS, JsonObject, metadata, text
from runabout.kube.session import Session

AT_ONCE = 32
"""Requests under way while creating."""
IMAGE = "runabout/steps:dev"
BARE = {"runabout.dev/bench": "bare"}
PATIENCE_SECONDS = 300
"""Without any progress for so long, a load has failed."""
PLACE: JsonObject = {
    "nodeSelector": {LABEL: "true"},
    "tolerations": [{"key": LABEL, "operator": "Exists", "effect": "NoSchedule"}],
}
Shape = Mapping[str, tuple[str, ...]]
"""task → its parents"""
ONE: Shape = {"a": ()}
DIAMOND: Shape = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


@dataclass
class Timing:
    """When a load was created and over; seconds of the monotonic clock."""

    number: int
    begin: float
    end: float = 0.0
    created: float = 0.0

    @property
    def per_minute(self) -> float:
        """How many per minute, from the first creation to the last end."""
        return self.number / (self.end - self.begin) * 60


@dataclass
class Watched:
    """What a watch has shown of the pods and Runs of one load."""

    shape: Shape
    pods_seen: dict[tuple[str, str], float] = field(default_factory=dict)
    pods_over: dict[tuple[str, str], float] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    changed: float = field(default_factory=time.monotonic)

    def child_delays(self) -> list[float]:
        """Return the seconds from the end of a task's last parent to the task's pod, both as the watch showed them."""
        found = []
        for (run, task), seen in self.pods_seen.items():
            parents = [self.pods_over.get((run, parent)) for parent in self.shape.get(task, ())]
            known = [moment for moment in parents if moment is not None]
            if parents and len(known) == len(parents):
                found.append(seen - max(known))
        return sorted(found)

    def pod_changed(self, _before: JsonObject | None, after: JsonObject | None) -> None:
        """Note when a task's pod was first seen and when it was first seen over."""
        if after is None:
            return
        labels = metadata(after).get("labels")
        key = parse_labels(labels) if isinstance(labels, Mapping) else None
        place = (key.run, key.task) if key is not None else (text(metadata(after), "name"), "")
        now = time.monotonic()
        self.pods_seen.setdefault(place, now)
        if text(after, "phase") == "Succeeded":
            self.pods_over.setdefault(place, now)
            self.changed = now

    def run_changed(self, _before: JsonObject | None, after: JsonObject | None) -> None:
        """Note that a Run is Completed."""
        if after is not None and after.get("completed") is True:
            self.over.add(text(metadata(after), "uid"))
            self.changed = time.monotonic()


def percentile(values: list[float], share: float) -> float:
    """Return a percentile of sorted values by the nearest rank; 0 for none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


async def bare_pods(session: Session, namespace: str, number: int, say: Callable[[str], None]) -> Timing:
    """Create pods without an operator and wait until all have succeeded: what the rest of the cluster can do."""
    watched = Watched({})
    selector = ",".join(f"{key}={value}" for key, value in BARE.items())
    informer = Informer(session, PODS, selector=selector, trim=trim_pod, on_change=watched.pod_changed)
    async with Watching(informer):
        body = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "main", "image": IMAGE}], **PLACE}}
        timing = Timing(number, time.monotonic())

        async def create(index: int) -> None:
            pod = {**body, "metadata": {"name": f"bare-{index}", "labels": BARE}}
            await session.create(PODS, pod, namespace=namespace)

        await _all(create, number)
        timing.created = time.monotonic()
        await _until(watched, lambda: len(watched.pods_over), number, "pods succeeded", say)
        timing.end = watched.changed
    return timing


async def runs(
    session: Session, namespace: str, number: int, shape: Shape, say: Callable[[str], None], *, at_once: int = AT_ONCE
) -> tuple[Timing, Watched]:
    """Create Runs and wait until all are Completed."""
    watched = Watched(shape)
    pods = Informer(session, PODS, selector=SELECTOR, trim=trim_pod, on_change=watched.pod_changed)
    informer = Informer(session, RUNS, trim=trim_run, on_change=watched.run_changed)
    async with Watching(pods, informer):
        watched.over.clear()
        timing = Timing(number, time.monotonic())

        async def create(index: int) -> None:
            await session.create(RUNS, run(f"bench-{index}", shape), namespace=namespace)
            if at_once == 1:
                await _until(watched, lambda: len(watched.over), index + 1, "", lambda _: None)

        await _all(create, number, at_once=at_once)
        timing.created = time.monotonic()
        await _until(watched, lambda: len(watched.over), number, "runs completed", say)
        timing.end = watched.changed
    return timing, watched


def run(name: str, shape: Shape) -> JsonObject:
    """Return a Run of this shape."""
    tasks = [
        {
            "name": task,
            "containers": [{"image": IMAGE, "imagePullPolicy": "IfNotPresent"}],
            "steps": [{"run": "true"}],
            "depends": [{"task": parent} for parent in parents],
        }
        for task, parents in shape.items()
    ]
    return {
        "apiVersion": RUNS.api_version,
        "kind": RUNS.kind,
        "metadata": {"name": name},
        "spec": {"group": f"/bench/{name}", "tasks": tasks},
    }


def executor(name: str, namespaces: str) -> JsonObject:
    """Return an Executor on the simulated nodes for the namespaces with this label."""
    return {
        "apiVersion": EXECUTORS.api_version,
        "kind": EXECUTORS.kind,
        "metadata": {"name": name},
        "spec": {"archs": ["amd64"], "namespaceSelector": {"matchLabels": {namespaces: "true"}}, "pod": PLACE},
    }


async def namespace(session: Session, name: str) -> None:
    """Create a namespace that the benchmark's Executor takes."""
    await session.create(NAMESPACES, {"metadata": {"name": name, "labels": {LABEL: "true"}}})


async def _all(create: Callable[[int], Awaitable[None]], number: int, *, at_once: int = AT_ONCE) -> None:
    indices = iter(range(number))

    async def work() -> None:
        for index in indices:
            await create(index)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


async def _until(
    watched: Watched, count: Callable[[], int], number: int, what: str, say: Callable[[str], None]
) -> None:
    said = time.monotonic()
    while count() < number:
        await asyncio.sleep(0.01)
        now = time.monotonic()
        if now - said >= 1:
            said = now
            say(f"{count()} of {number} {what}")
        if now - watched.changed > PATIENCE_SECONDS:
            raise RuntimeError(f"{count()} of {number} {what}, and nothing more in {PATIENCE_SECONDS} s")


class Watching:
    """Keep informers running; inside, they have listed what there was."""

    def __init__(self, *informers: Informer) -> None:
        self._informers = informers
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.create_task(informer.run()) for informer in self._informers]
        for informer in self._informers:
            await informer.synced.wait()

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def trim_pod(item: JsonObject) -> JsonObject:
    """Return what is needed of a pod: its phase beside its names."""
    status = item.get("status")
    found = metadata(item)
    kept = {key: found.get(key) for key in ("name", "namespace", "uid", "labels", "resourceVersion")}
    return {"metadata": kept, "phase": text(status, "phase") if isinstance(status, Mapping) else ""}


def trim_run(item: JsonObject) -> JsonObject:
    """Return what is needed of a Run: whether it is completed beside its names."""
    status = item.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    completed = any(
        isinstance(row, Mapping) and row.get("type") == "Completed" and row.get("status") == "True"
        for row in (conditions if isinstance(conditions, list) else ())
    )
    found = metadata(item)
    kept = {key: found.get(key) for key in ("name", "namespace", "uid", "resourceVersion")}
    return {"metadata": kept, "completed": completed}
