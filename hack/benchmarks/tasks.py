"""What a task of one step takes beyond its command: Runs on the cluster's own node beside bare pods with that command.

Kubelet, container runtime, scheduler and API server are real; the operator is a process beside them, with its defaults
and an etcd of its own. Both kinds take turns, so that whatever else the machine does meets both. The command looks at
process 1 of its container, which is the toolbox in a task and the command's own shell in a bare pod.
"""

import asyncio
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import leftovers, loads
from benchmarks.account import account
from benchmarks.figures import Figure
from benchmarks.simulated import LABEL
from fixtures.etcd_server import EtcdServer
from fixtures.operator_process import OperatorProcess
from localcluster.console import LocalClusterError
from localcluster.settings import REPOSITORY, Places
from runabout.executors.names import SELECTOR, parse_labels
from runabout.kube.connection import connect
from runabout.kube.informer import Informer
from runabout.kube.logs import container_log
from runabout.kube.objects import EXECUTORS, PODS, RUNS, JsonObject, metadata, text
from runabout.kube.session import Session
from runabout.ost import OstSettings, iterate, open_ost

SPACE = "bench-tasks"
AT_ONCE = 8
PATIENCE_SECONDS = 120.0
COMMAND = "while read -r key value rest; do case $key in VmHWM:|VmRSS:) echo $key $value;; esac; done </proc/1/status"
"""Prints how much memory process 1 has, in KiB; the shell alone does that."""


@dataclass(frozen=True)
class Sizes:
    """How many pods of each kind, one after the other, and how many times eight of them at once."""

    alone: int = 10
    batches: int = 3


@dataclass
class Seen:
    """What watches have shown, in seconds of the monotonic clock by name: of a bare pod, of a task, of its Run."""

    pods: dict[str, float] = field(default_factory=dict)
    runs: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def pod_changed(self, _before: JsonObject | None, after: JsonObject | None) -> None:
        """Note that a pod is over; a task's by the task's name, which is its Run's, too."""
        if after is None or not ours(after):
            return
        labels = metadata(after).get("labels")
        key = parse_labels(labels) if isinstance(labels, Mapping) else None
        name = key.task if key is not None else text(metadata(after), "name")
        phase = text(after, "phase")
        if phase == "Succeeded":
            self.pods.setdefault(name, time.monotonic())
        elif phase == "Failed":
            self.failed = f"the pod {text(metadata(after), 'name')} has failed"
        self.changed.set()

    def run_changed(self, _before: JsonObject | None, after: JsonObject | None) -> None:
        """Note that a Run is Completed."""
        if after is not None and ours(after) and after.get("completed") is True:
            self.runs.setdefault(text(metadata(after), "name"), time.monotonic())
            self.changed.set()

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for it.

        Raises:
            LocalClusterError: a pod has failed, or it takes too long.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds():
                    if self.failed:
                        raise LocalClusterError(self.failed, "Pods and their events say more; nothing was measured.")
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError as error:
            raise LocalClusterError(
                f"{what} has not ended in {PATIENCE_SECONDS:g} s",
                "Is the node ready, and does it have the images (hack/images load)?",
            ) from error


@dataclass
class Times:
    """Seconds of each pod from the creation, of its own or its Run's."""

    bare: list[float] = field(default_factory=list)
    task: list[float] = field(default_factory=list)
    """until its pod is over"""
    run: list[float] = field(default_factory=list)
    """until its Run is Completed"""


@dataclass(frozen=True)
class Bench:
    """One measurement on a cluster that is up and has the images; leaves nothing behind."""

    places: Places
    kubectl: Path
    folder: Path
    sizes: Sizes
    say: Callable[[str], None]

    async def measure(self) -> list[Figure]:
        """Return every figure.

        Raises:
            LocalClusterError: another operator is at work, or a pod does not end well.
        """
        command = [str(self.kubectl), f"--kubeconfig={self.places.kubeconfig}", "apply", "--server-side"]
        crds = ["--force-conflicts", "-f", str(REPOSITORY / "crds")]
        await asyncio.to_thread(subprocess.run, [*command, *crds], check=True, capture_output=True, timeout=120)
        with account(self.kubectl, self.places.kubeconfig, self.folder) as client:
            async with Session(connect(str(client))) as session:
                try:
                    await leftovers.refuse_company(session)
                    await leftovers.remove(session, self.say)
                    return await self._figures(session, client)
                finally:
                    await leftovers.remove(session, self.say)

    async def _figures(self, session: Session, client: Path) -> list[Figure]:
        with (
            EtcdServer(self.folder / "etcd") as etcd,
            OperatorProcess(workdir=self.folder / "operator", kubeconfig=str(client), etcd=etcd.endpoint) as operator,
        ):
            await session.create(EXECUTORS, executor(leftovers.EXECUTOR))
            await loads.namespace(session, SPACE)
            seen = Seen()
            bare = ",".join(f"{key}={value}" for key, value in loads.BARE.items())
            informers = (
                Informer(session, PODS, selector=bare, trim=loads.trim_pod, on_change=seen.pod_changed),
                Informer(session, PODS, selector=SELECTOR, trim=loads.trim_pod, on_change=seen.pod_changed),
                Informer(session, RUNS, trim=loads.trim_run, on_change=seen.run_changed),
            )
            async with loads.Watching(*informers):
                self.say("one of each, which does not count …")
                await self._turn(session, seen, Times(), ["first"])
                alone, together = Times(), Times()
                self.say(f"{self.sizes.alone} of each, one after the other …")
                for number in range(self.sizes.alone):
                    await self._turn(session, seen, alone, [f"alone-{number}"])
                for batch in range(self.sizes.batches):
                    self.say(f"{AT_ONCE} of each at once, {batch + 1} of {self.sizes.batches} …")
                    names = [f"together-{batch}-{number}" for number in range(AT_ONCE)]
                    await self._turn(session, seen, together, names)
            shell = [await _bare_log(session, name) for name in seen.runs]
            toolbox = await _task_logs(operator.ost)
            if len(toolbox) != len(seen.runs):
                raise LocalClusterError(f"{len(seen.runs)} tasks have run, and {len(toolbox)} have left a log")
        return figures(alone, together, shell=[peak(log) for log in shell], toolbox=[peak(log) for log in toolbox])

    async def _turn(self, session: Session, seen: Seen, times: Times, names: list[str]) -> None:
        """Run bare pods of these names all at once, then tasks."""
        begins: dict[str, float] = {}

        async def create(name: str) -> None:
            begins[name] = time.monotonic()
            await session.create(PODS, pod(f"bare-{name}"), namespace=SPACE)

        async def run(name: str) -> None:
            begins[name] = time.monotonic()
            await session.create(RUNS, task(name), namespace=SPACE)

        await asyncio.gather(*(create(name) for name in names))
        await seen.until(lambda: all(f"bare-{name}" in seen.pods for name in names), "a bare pod")
        times.bare += [seen.pods[f"bare-{name}"] - begins[name] for name in names]
        await asyncio.gather(*(run(name) for name in names))
        await seen.until(lambda: all(name in seen.pods and name in seen.runs for name in names), "a Run")
        times.task += [seen.pods[name] - begins[name] for name in names]
        times.run += [seen.runs[name] - begins[name] for name in names]


def pod(name: str) -> JsonObject:
    """Return a bare pod with the command."""
    container = {"name": "main", "image": loads.IMAGE, "imagePullPolicy": "IfNotPresent"}
    command = ["/bin/sh", "-e", "-c", COMMAND]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": loads.BARE},
        "spec": {"containers": [{**container, "command": command}], "restartPolicy": "Never"},
    }


def task(name: str) -> JsonObject:
    """Return a Run whose only task, of the same name, has the command as its only step."""
    container = {"image": loads.IMAGE, "imagePullPolicy": "IfNotPresent"}
    tasks = [{"name": name, "containers": [container], "steps": [{"run": COMMAND}]}]
    return {
        "apiVersion": RUNS.api_version,
        "kind": RUNS.kind,
        "metadata": {"name": name},
        "spec": {"group": f"/bench/{name}", "tasks": tasks},
    }


def executor(name: str) -> JsonObject:
    """Return an Executor on real nodes for the namespaces of benchmarks."""
    spec = {"archs": ["amd64", "arm64"], "namespaceSelector": {"matchLabels": {LABEL: "true"}}}
    return {
        "apiVersion": EXECUTORS.api_version,
        "kind": EXECUTORS.kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def ours(item: JsonObject) -> bool:
    """Whether an object is one of this measurement's."""
    return text(metadata(item), "namespace") == SPACE


async def _bare_log(session: Session, name: str) -> str:
    async with container_log(session, SPACE, f"bare-{name}", "main", follow=False) as pieces:
        return b"".join([piece async for piece in pieces]).decode()


async def _task_logs(folder: Path) -> list[str]:
    """Return what all steps wrote, from where the operator has stored it."""
    ost = await open_ost(OstSettings(f"file://{folder}"))
    try:
        keys = [item.key async for item in iterate(ost, "logs/")]
        return [(await ost.read(key)).decode() for key in keys if key.endswith("/1/0")]
    finally:
        await ost.close()


def peak(log: str) -> float:
    """Return the most memory of process 1, in MiB, as the command has printed it.

    Raises:
        LocalClusterError: it has printed something else.
    """
    found = dict(line.split() for line in log.splitlines() if len(line.split()) == len(("VmHWM:", "KiB")))
    if not found.get("VmHWM:", "").isdecimal():
        raise LocalClusterError(f"the command of a pod was to print the memory of process 1, and printed {log[:200]!r}")
    return int(found["VmHWM:"]) / 1024


def figures(alone: Times, together: Times, *, shell: list[float], toolbox: list[float]) -> list[Figure]:
    """Return the figures: medians, each of a task beside that of the bare pods of the same turns."""
    found = []
    for when, times in (("one after the other", alone), (f"{AT_ONCE} at once", together)):
        bare = statistics.median(times.bare)
        found.append(Figure(f"bare pod, {when}, p50", bare, "s", beside=f"the limit; {len(times.bare)} pods"))
        for until, seconds in (("its pod is over", times.task), ("its Run is Completed", times.run)):
            took = statistics.median(seconds)
            beside = f"{took - bare:+.2f} s, {took / bare:.2f} of a bare pod"
            found.append(Figure(f"task of one step, {when}, until {until}, p50", took, "s", beside=beside))
    beside = f"the bare pod's shell: {statistics.median(shell):.1f} MiB"
    return [*found, Figure("toolbox's memory, its peak, p50", statistics.median(toolbox), "MiB", beside=beside)]
