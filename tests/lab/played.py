"""A cluster that is played: an API server that fails on demand, a kubelet of a few lines, a real etcd and operator."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.etcd_server import EtcdServer
from fixtures.fake_kube import FakeKube, Fault, Kind
from fixtures.fake_objects import now
from fixtures.operator_process import OperatorProcess
from models.container_log import toolbox_log
from runabout.executors.names import PodKey, parse_labels

Obj = dict[str, Any]
NAMESPACE, NODE = "ci", "n1"
OUTPUT = b"hello\n"
"""of every task"""
TURN_SECONDS = 0.02
"""of the kubelet"""
ExitCodes = Mapping[str, int | Sequence[int | None] | None]
"""By task, 0 for all others; None: it runs until it is stopped; several: of its attempts, 0 for those after them."""
LASTS = "lasts"
"""A task that ends only if it is stopped, where its exit code is None."""
TERMINATED = 143
"""Exit code of what SIGTERM has ended."""
Answer = tuple[int, str, int]
"""Code, reason, Retry-After in seconds."""
CONFLICT: Answer = (409, "Conflict", 0)
EXPIRED: Answer = (410, "Expired", 0)
PATIENCE: Answer = (429, "TooManyRequests", 1)
INVALID: Answer = (422, "Invalid", 0)


def task(name: str, *parents: str, **more: object) -> Obj:
    """Return a task of one step, as in a Run's spec, that depends on its parents; `more` are fields of it."""
    depends = [{"task": parent} for parent in parents]
    return {"name": name, "containers": [{"image": "x"}], "steps": [{"run": "true"}], "depends": depends, **more}


def several(verb: str, plural: str, *kinds: Kind | int | Answer) -> list[Fault]:
    """Return faults of one verb on one resource: kinds, codes, or codes with reason and Retry-After."""
    found = []
    for kind in kinds:
        if isinstance(kind, Kind):
            found.append(Fault(verb, plural, kind))
        elif isinstance(kind, tuple):
            found.append(Fault(verb, plural, code=kind[0], reason=kind[1], retry_after=kind[2]))
        else:
            found.append(Fault(verb, plural, code=kind))
    return found


@dataclass(frozen=True)
class Bench:
    """The fake API server, and the operator that works on it."""

    fake: FakeKube
    operator: OperatorProcess
    etcd: EtcdServer
    folder: Path

    async def metrics(self) -> dict[str, float]:
        return await asyncio.to_thread(self.operator.metrics)

    async def delete(self, name: str) -> None:
        """Delete a Run, as the API server does with one that has a finalizer."""
        body = self.run(name)
        body["metadata"]["deletionTimestamp"] = now()
        await self.fake.put("runs", body)

    async def ready(self) -> str:
        """Return what the operator's readiness probe says."""
        return await asyncio.to_thread(self.operator.readiness)

    async def reached(self, metric: str, value: float) -> None:
        """Return when one of the operator's metrics has at least this value."""
        async with asyncio.timeout(60):
            while (await self.metrics())[metric] < value:  # noqa: ASYNC110 - another process's
                await asyncio.sleep(TURN_SECONDS)

    def run(self, name: str) -> Obj:
        [found] = [item for item in self.fake.items("runs") if item["metadata"]["name"] == name]
        return found

    def status(self, name: str) -> Obj:
        found: Obj = self.run(name).get("status", {})
        return found

    async def create(self, name: str, spec: object) -> None:
        body = {
            "apiVersion": "runabout.dev/v1alpha1",
            "kind": "Run",
            "metadata": {"name": name, "namespace": NAMESPACE, "generation": 1},
            "spec": spec,
        }
        await self.fake.put("runs", body)

    async def change(self, name: str, **spec: object) -> None:
        """Change fields of a Run's spec, as a user does."""
        body = self.run(name)
        body["spec"].update(spec)
        body["metadata"]["generation"] += 1
        await self.fake.put("runs", body)

    def log(self, run: str, task: str, attempt: int, name: str = "0") -> bytes:
        folder = self.folder / "ost" / "objects" / "logs+" / f"{run}+" / f"{task}+" / f"{attempt}+"
        return (folder / name).read_bytes()


def code_of(exit_codes: ExitCodes, key: PodKey) -> int | None:
    """Return the exit code of an attempt, None if it runs until it is stopped."""
    codes = exit_codes.get(key.task, 0)
    if codes is None or isinstance(codes, int):
        return codes
    return codes[key.attempt - 1] if key.attempt <= len(codes) else 0


def died(service: Obj) -> bool:
    """Whether a service has died before."""
    return "lastState" in service


LAST_WORDS = "out of luck"
"""of a service that dies"""


def services(pod: Obj, *, dead: bool, over: Obj | None) -> list[Obj]:
    """Return the states of a pod's services; with `over` they have ended with it."""
    state = {"terminated": over} if over else {"running": {"startedAt": now()}}
    died = {"terminated": {"exitCode": 3, "reason": "Error", "finishedAt": now(), "message": LAST_WORDS}}
    more = {"restartCount": 1, "lastState": died} if dead else {}
    return [
        {"name": each["name"], "started": not over, "state": state, **more}
        for each in pod["spec"].get("initContainers", ())
        if each.get("restartPolicy") == "Always"
    ]


async def play_kubelet(fake: FakeKube, exit_codes: ExitCodes, turn_seconds: float, dying: Collection[str] = ()) -> None:
    """Let every pod run, and end with the exit code of its task; one without waits for its deadline.

    The services of tasks in `dying` die once their steps run.
    """
    while True:
        for pod in fake.items("pods"):
            phase = pod.get("status", {}).get("phase", "Pending")
            key = parse_labels(pod["metadata"].get("labels", {}))
            if key is None or phase in ("Succeeded", "Failed"):
                continue
            started = {"startedAt": now()}
            code = code_of(exit_codes, key)
            if code is None:
                if phase == "Running" and "activeDeadlineSeconds" not in pod["spec"]:
                    if key.task in dying and not any(map(died, pod["status"]["initContainerStatuses"])):
                        pod["status"]["initContainerStatuses"] = services(pod, dead=True, over=None)
                        await fake.put("pods", pod)
                    continue
                code = TERMINATED
            over = {**started, "finishedAt": now(), "exitCode": code, "reason": "Completed"}
            ended = phase == "Running"
            state = {"terminated": over} if ended else {"running": started}
            name = pod["spec"]["containers"][0]["name"]
            pod["spec"]["nodeName"] = NODE
            pod["status"] = {
                "phase": ("Failed" if code else "Succeeded") if ended else "Running",
                "containerStatuses": [{"name": name, "state": state}],
                "initContainerStatuses": services(pod, dead=ended and key.task in dying, over=over if ended else None),
            }
            if (pod["metadata"]["namespace"], pod["metadata"]["name"]) in fake.stores["pods"].objects:
                await fake.put("pods", pod)
        await asyncio.sleep(turn_seconds)


@asynccontextmanager
async def played(
    folder: Path,
    *,
    exit_codes: ExitCodes | None = None,
    executor: Obj | None = None,
    environment: Mapping[str, str] | None = None,
    turn_seconds: float = TURN_SECONDS,
    dying: Collection[str] = (),
) -> AsyncIterator[Bench]:
    """Play a cluster with one node and one Executor, on which an operator works."""
    with EtcdServer(folder / "etcd", fsync=False) as etcd:
        async with FakeKube() as fake:
            fake.logs = lambda _namespace, _pod: toolbox_log([OUTPUT])
            await fake.put("namespaces", {"metadata": {"name": NAMESPACE}})
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            node = {"metadata": {"name": NODE, "labels": {"kubernetes.io/arch": "amd64"}}, "status": ready}
            await fake.put("nodes", node)
            spec = {"archs": ["amd64"], **(executor or {})}
            await fake.put("executors", {"metadata": {"name": "any", "generation": 1}, "spec": spec})
            config = folder / "kubeconfig"
            config.write_text(json.dumps(kubeconfig(fake.url)))
            process = OperatorProcess(
                workdir=folder,
                kubeconfig=str(config),
                etcd=etcd.endpoint,
                environment={"RUNABOUT_RELIST_SECONDS": "5", **(environment or {})},
            )
            await asyncio.to_thread(process.start)
            bench = Bench(fake, process, etcd, folder)
            await bench.reached("runabout_active", 1)  # a standby is ready, too
            kubelet = asyncio.create_task(play_kubelet(fake, exit_codes or {}, turn_seconds, dying))
            try:
                yield bench
            finally:
                kubelet.cancel()
                await asyncio.gather(kubelet, return_exceptions=True)
                await asyncio.to_thread(process.kill)


def kubeconfig(server: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "users": [{"name": "fake", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    }
