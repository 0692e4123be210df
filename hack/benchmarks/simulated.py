"""Simulated nodes: kwok plays kubelet for pods that are bound to them, and serves a log for each.

The scheduler, the API server and its etcd are real. A pod is Running as soon as kwok has seen that it was bound, and
Succeeded as soon as kwok has seen that it runs, with the log and the summary that a toolbox leaves after one step that
printed a line. So what is measured is everything but containers.
"""

import json
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from runabout.kube.errors import AlreadyExistsError, KubeError, NotFoundError
from runabout.kube.objects import NODES, JsonObject
from runabout.kube.session import Session

LABEL = "runabout.dev/simulated"
ADDRESS = "10.244.0.1"
PORT = 10350
NONCE = "0f3c9d2e8b7a65544332211000ffeea9"
SETUP = b"toolbox, simulated\n"
OUTPUT = b"a line of output\n"
READY_SECONDS = 30
_OPTIONS = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    # Without this document kwok has its defaults, with it none. Its default of 4 pods at once, for all nodes together,
    # would be the limit: real nodes do not wait for each other.
    "options": {
        "enableDebuggingHandlers": True,
        "nodeLeaseParallelism": 4,
        "nodePlayStageParallelism": 4,
        "podPlayStageParallelism": 64,
    },
}

_NODES = {
    "apiVersion": "kwok.x-k8s.io/v1alpha1",
    "kind": "Stage",
    "metadata": {"name": "node-is-ready"},
    "spec": {
        "resourceRef": {"apiGroup": "v1", "kind": "Node"},
        "selector": {
            "matchExpressions": [
                {
                    "key": '.status.conditions.[] | select( .type == "Ready" ) | .status',
                    "operator": "NotIn",
                    "values": ["True"],
                }
            ]
        },
        "next": {
            "statusTemplate": f"""
{{{{ $now := Now }}}}
addresses: [{{type: InternalIP, address: {ADDRESS}}}]
daemonEndpoints: {{kubeletEndpoint: {{Port: {PORT}}}}}
conditions:
- type: Ready
  status: "True"
  reason: Simulated
  message: kwok plays the kubelet
  lastHeartbeatTime: {{{{ $now | Quote }}}}
  lastTransitionTime: {{{{ $now | Quote }}}}
"""
        },
    },
}


def pod_log() -> bytes:
    """Return the log of a task of one step, in the files' format of container runtimes."""
    sizes = f"{len(SETUP)},{len(OUTPUT)}"
    lines = (
        marker("v1 simulated task 1"),
        SETUP,
        marker(f"end setup {len(SETUP)} success 0 1795507200010"),
        marker(f"begin 0 1795507200011 {len(SETUP)} step"),
        OUTPUT,
        marker(f"end 0 {len(OUTPUT)} success 0 1795507200012"),
        marker(f"done 0 Completed {sizes}"),
    )
    return b"".join(b"2026-11-24T00:00:00.000000000Z stdout F " + line for line in lines)


def marker(fields: str) -> bytes:
    """Return a line of the toolbox's own."""
    return f"[runabout {NONCE} {fields}]\n".encode()


def summary() -> str:
    """Return the termination message that belongs to `pod_log`."""
    return json.dumps(
        {
            "runabout": 1,
            "nonce": NONCE,
            "toolbox": "simulated",
            "start": 1795507200009,
            "exit": 0,
            "reason": "Completed",
            "message": "",
            "setup": len(SETUP),
            "steps": [["success", 0, len(OUTPUT), 2, 3]],
        }
    )


_NOW = "startedAt: {{ $now | Quote }}"
_ENDED = f"exitCode: 0, reason: Completed, {_NOW}, finishedAt: {{{{ $now | Quote }}}}"


def _containers(kind: str, state: str, *, ready: bool) -> str:
    return f"""
{kind[:-1]}Statuses:
{{{{ range .spec.{kind} }}}}
- name: {{{{ .name | Quote }}}}
  image: {{{{ .image | Quote }}}}
  ready: {str(ready).lower()}
  restartCount: 0
  state: {{{state}}}
{{{{ end }}}}
"""


def _pod_stage(name: str, before: str, after: str, statuses: str) -> JsonObject:
    """Return the stage that takes a pod from one phase to the next at once."""
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {
                "matchExpressions": [
                    {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
                    {"key": ".status.phase", "operator": "In", "values": [before]},
                ]
            },
            "next": {"statusTemplate": f"{{{{ $now := Now }}}}\nphase: {after}\n{statuses}"},
        },
    }


_RUNS = _pod_stage(
    "pod-runs",
    "Pending",
    "Running",
    "startTime: {{ $now | Quote }}"
    + _containers("initContainers", f"terminated: {{{_ENDED}}}", ready=True)
    + _containers("containers", f"running: {{{_NOW}}}", ready=True),
)
_SUCCEEDS = _pod_stage(
    "pod-succeeds",
    "Running",
    "Succeeded",
    _containers("containers", f"terminated: {{{_ENDED}, message: {json.dumps(summary())}}}", ready=False),
)
_GONE = {
    "apiVersion": "kwok.x-k8s.io/v1alpha1",
    "kind": "Stage",
    "metadata": {"name": "pod-goes"},
    "spec": {
        "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
        "selector": {"matchExpressions": [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}]},
        "next": {"delete": True},
    },
}


class SimulatedNodes:
    """`number` nodes named bench-<n>; as a context they are gone with kwok in the end."""

    def __init__(self, *, kwok: Path, kubeconfig: Path, pki: Path, folder: Path, number: int) -> None:
        self._kwok = kwok
        self._kubeconfig = kubeconfig
        self._pki = pki
        self._folder = folder
        self._names = [f"bench-{index}" for index in range(number)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        log = self._folder / "pod.log"
        log.write_bytes(pod_log())
        logs = {
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "ClusterLogs",
            "metadata": {"name": "all"},
            "spec": {"logs": [{"logsFile": str(log), "follow": False}]},
        }
        config = self._folder / "kwok.yaml"
        config.write_text(
            "\n---\n".join(json.dumps(part) for part in (_OPTIONS, _NODES, _RUNS, _SUCCEEDS, _GONE, logs))
        )
        with (self._folder / "kwok.log").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    str(self._kwok),
                    f"--kubeconfig={self._kubeconfig}",
                    f"--config={config}",
                    f"--manage-nodes-with-label-selector={LABEL}=true",
                    f"--node-ip={ADDRESS}",
                    f"--node-port={PORT}",
                    f"--server-address={ADDRESS}:{PORT}",
                    f"--tls-cert-file={self._pki / 'kubelet-server.crt'}",
                    f"--tls-private-key-file={self._pki / 'kubelet-server.key'}",
                    "--node-lease-duration-seconds=40",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # so that it outlives a Ctrl-C: the pods that are left go through it
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)

    async def create(self, session: Session) -> None:
        """Create the nodes and wait until kwok has made them ready.

        Raises:
            RuntimeError: kwok does not make them ready; the message has the end of its log.
        """
        capacity = {"cpu": "100000", "memory": "100Ti", "pods": "100000"}
        for name in self._names:
            body = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {LABEL: "true", "kubernetes.io/arch": "amd64"}},
                "spec": {"taints": [{"key": LABEL, "value": "true", "effect": "NoSchedule"}]},
                "status": {"allocatable": capacity, "capacity": capacity},
            }
            try:
                await session.create(NODES, body)
            except AlreadyExistsError:
                continue
        deadline = time.monotonic() + READY_SECONDS
        while not await self._ready(session):
            if time.monotonic() > deadline:
                raise RuntimeError(f"kwok's nodes are not ready:\n{(self._folder / 'kwok.log').read_text()[-2000:]}")

    async def remove(self, session: Session) -> None:
        """Delete the nodes."""
        for name in self._names:
            try:
                await session.delete(NODES, name)
            except NotFoundError:
                continue

    async def _ready(self, session: Session) -> bool:
        try:
            items, _, _ = await session.list(NODES, selector=f"{LABEL}=true")
        except KubeError:
            return False
        return len(items) == len(self._names) and all(_is_ready(item) for item in items)


def _is_ready(node: object) -> bool:
    conditions = node.get("status", {}).get("conditions", []) if isinstance(node, dict) else []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
