"""Versions, addresses and places: what the rest of the package agrees on.

Only 10.244.0.0/24 (bridge, pods), 10.96.0.0/16 (Services) and loopback are used, and no server listens anywhere else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from localcluster.console import LocalClusterError

KUBERNETES_VERSION = "v1.35.4"
ETCD_VERSION = "v3.6.16"

BRIDGE = "runabout0"
BRIDGE_IP = "10.244.0.1"
BRIDGE_MAC = "02:00:0a:f4:00:01"
"""Locally administered, with the IP address in it. A bridge without one of its own takes the lowest of its ports', so
it changes when pods come and go, and all others go on sending to the old one until they ask again: up to a minute."""
POD_CIDR = "10.244.0.0/24"
POD_PREFIX_LENGTH = 24
SERVICE_CIDR = "10.96.0.0/16"
SERVICE_IP = "10.96.0.1"
CLUSTER_DOMAIN = "cluster.local"
CNI_NETWORK = "runabout"

ETCD_PORT = 12379
ETCD_PEER_PORT = 12380
API_PORT = 6443
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
PROXY_METRICS_PORT = 10249
PROXY_HEALTH_PORT = 10256
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
DNS_PORT = 53
DNS_HEALTH_PORT = 10261
DNS_READY_PORT = 10262

PAUSE_IMAGE = "docker.io/runabout/pause:1"
STORAGE_CLASS = "runabout-local"
PROVISIONER = "runabout.dev/local"

DEFAULT_NAME = "runabout"
RUN_ROOT = Path("/run/runabout")
REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = Path(__file__).resolve().parent / "modules"


def cache_root() -> Path:
    """The user's cache of this project: binaries, image layers, cluster state. Never inside the repository."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "runabout"


def cluster_name(name: str | None = None) -> str:
    """The given name, or `$RUNABOUT_CLUSTER`, or the default; it must be a DNS label of at most 40 characters."""
    chosen = name or os.environ.get("RUNABOUT_CLUSTER") or DEFAULT_NAME
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", chosen):
        raise LocalClusterError(
            f"{chosen!r} is no cluster name",
            "Take lower-case letters, digits and '-', at most 40 (--name or RUNABOUT_CLUSTER).",
        )
    return chosen


@dataclass(frozen=True, slots=True)
class Places:
    """Where one cluster keeps things.

    `home` (in the cache) survives a reboot: data, certificates, logs, kubeconfig. `run` (below /run) does not need to:
    pid files, sockets and mounts of containers.
    """

    name: str
    home: Path
    run: Path

    @classmethod
    def of(cls, name: str) -> Places:
        """The places of the cluster with this name."""
        return cls(name=name, home=cache_root() / "cluster" / name, run=RUN_ROOT / name)

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig; its path never changes."""
        return self.home / "kubeconfig"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.home / "pki"

    @property
    def config(self) -> Path:
        """Rendered configuration files."""
        return self.home / "config"

    @property
    def logs(self) -> Path:
        """One log per component, and the logs of pods."""
        return self.home / "logs"

    @property
    def owner(self) -> Path:
        """Says whose cluster is running: `home` of its maker."""
        return self.run / "owner"

    @property
    def pids(self) -> Path:
        """One pid file per component."""
        return self.run / "pids"

    @property
    def containerd_socket(self) -> Path:
        """Containerd's address; short, because a socket's path may have 107 bytes."""
        return self.run / "containerd.sock"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root: volumes and mounts of pods."""
        return self.home / "kubelet"

    @property
    def volumes(self) -> Path:
        """Directories behind persistent volumes."""
        return self.home / "volumes"
