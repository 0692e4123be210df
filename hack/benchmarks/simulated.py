"""Simulated nodes: kwok plays kubelet for pods that are bound to them, and serves a log for each.

The scheduler, the API server and its etcd are real. A pod is Succeeded as soon as kwok has seen that it was bound, so
what is measured is everything but containers.
"""

import json
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from runabout.kube.errors import AlreadyExistsError, KubeError, NotFoundError
from runabout.kube.objects import NODES
from runabout.kube.session import Session

LABEL = "runabout.dev/simulated"
ADDRESS = "10.244.0.1"
PORT = 10350
LOG = b"a line of output\n"
READY_SECONDS = 30

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
_PODS = {
    "apiVersion": "kwok.x-k8s.io/v1alpha1",
    "kind": "Stage",
    "metadata": {"name": "pod-succeeds"},
    "spec": {
        "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
        "selector": {
            "matchExpressions": [
                {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
                {"key": ".status.phase", "operator": "In", "values": ["Pending"]},
            ]
        },
        "next": {
            "statusTemplate": """
{{ $now := Now }}
phase: Succeeded
startTime: {{ $now | Quote }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: false
  restartCount: 0
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
"""
        },
    },
}
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
        log.write_bytes(LOG)
        logs = {
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "ClusterLogs",
            "metadata": {"name": "all"},
            "spec": {"logs": [{"logsFile": str(log), "follow": False}]},
        }
        config = self._folder / "kwok.yaml"
        config.write_text("\n---\n".join(json.dumps(part) for part in (_NODES, _PODS, _GONE, logs)))
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
