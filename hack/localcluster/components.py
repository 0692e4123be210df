"""The programs of the native cluster: how each is started, where it listens and how its health is seen."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster import gobuild, processes, settings
from localcluster.settings import BRIDGE_IP

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcluster.settings import Places

LOOPBACK = "127.0.0.1"
PROVISIONER = Path(__file__).with_name("provisioner.py")

GOGC = "400"
"""Of all parts: at Go's own 100, a fifth of the API server's work is to collect garbage; memory is not scarce here."""


@dataclass(frozen=True, slots=True)
class Component:
    """One program. `healthy` is asked while it is alive only; `listens` are its fixed addresses."""

    name: str
    argv: tuple[str, ...]
    healthy: Callable[[], bool]
    listens: tuple[tuple[str, int], ...] = ()
    needs: tuple[str, ...] = ()
    start_seconds: float = 60.0
    environment: dict[str, str] = field(default_factory=dict)
    too_early: str = ""
    """What it says when it ends because what it needs is not quite ready; then it is started again."""

    def pid_file(self, places: Places) -> Path:
        """Where its pid is kept."""
        return places.pids / f"{self.name}.pid"

    def log(self, places: Places) -> Path:
        """Where its output goes."""
        return places.logs / f"{self.name}.log"

    def alive(self, places: Places) -> bool:
        """Whether the process we started still runs."""
        return processes.living(self.pid_file(places)) is not None


def answers(port: int, path: str, *, host: str = LOOPBACK, tls: bool = False, timeout: float = 2.0) -> bool:
    """Whether a health endpoint says 200. Its certificate is not checked: it says nothing secret."""
    try:
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False


def accepts(path: Path) -> bool:
    """Whether somebody accepts connections at a socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def environment() -> dict[str, str]:
    """What our programs inherit: no proxies, no Go or Kubernetes settings of the user."""
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "TZ", "XDG_CACHE_HOME") if key in os.environ}
    return {**kept, "GOGC": GOGC, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def api_server(places: Places) -> Component:
    """The API server, on the bridge only, so that pods and this machine reach it at one address."""
    pki = places.pki
    return Component(
        name="apiserver",
        argv=(
            str(gobuild.KUBERNETES.folder / "kube-apiserver"),
            f"--etcd-servers=http://{LOOPBACK}:{settings.ETCD_PORT}",
            f"--bind-address={BRIDGE_IP}",
            f"--advertise-address={BRIDGE_IP}",
            f"--secure-port={settings.API_PORT}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={pki}/ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
            f"--service-account-issuer=https://kubernetes.default.svc.{settings.CLUSTER_DOMAIN}",
            f"--service-account-key-file={pki}/service-account.pub",
            f"--service-account-signing-key-file={pki}/service-account.key",
            f"--service-cluster-ip-range={settings.SERVICE_CIDR}",
            # Benchmarks with simulated nodes send more at once than the defaults of 400 and 200 let through.
            "--max-requests-inflight=1200",
            "--max-mutating-requests-inflight=600",
        ),
        listens=((BRIDGE_IP, settings.API_PORT),),
        needs=("etcd",),
        healthy=lambda: answers(settings.API_PORT, "/readyz", host=BRIDGE_IP, tls=True),
    )


def etcd(places: Places) -> Component:
    """The cluster's own etcd. It does not wait for the disk: its data need not survive a power cut."""
    url = f"http://{LOOPBACK}:{settings.ETCD_PORT}"
    peer = f"http://{LOOPBACK}:{settings.ETCD_PEER_PORT}"
    return Component(
        name="etcd",
        argv=(
            str(gobuild.ETCD.folder / "etcd"),
            f"--name={places.name}",
            f"--data-dir={places.home}/etcd",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={places.name}={peer}",
            "--unsafe-no-fsync",
            "--quota-backend-bytes=8589934592",
            "--log-level=warn",
        ),
        listens=((LOOPBACK, settings.ETCD_PORT), (LOOPBACK, settings.ETCD_PEER_PORT)),
        healthy=lambda: answers(settings.ETCD_PORT, "/readyz"),
    )


def containerd(places: Places) -> Component:
    """The container runtime."""
    return Component(
        name="containerd",
        argv=("containerd", "--config", str(places.config / "containerd.toml"), "--log-level", "warn"),
        healthy=lambda: accepts(places.containerd_socket),
    )


def controller_manager(places: Places) -> Component:
    """The controllers, with enough requests a second to collect the pods of thousands of runs."""
    pki = places.pki
    kubeconfig = f"{pki}/controller-manager.kubeconfig"
    return Component(
        name="controller-manager",
        argv=(
            str(gobuild.KUBERNETES.folder / "kube-controller-manager"),
            f"--bind-address={LOOPBACK}",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--use-service-account-credentials=true",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/service-account.key",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--kube-api-qps=2000",
            "--kube-api-burst=2000",
            "--concurrent-gc-syncs=50",
            "--leader-elect=false",
        ),
        listens=((LOOPBACK, settings.CONTROLLER_MANAGER_PORT),),
        needs=("apiserver",),
        healthy=lambda: answers(settings.CONTROLLER_MANAGER_PORT, "/healthz", tls=True),
    )


def scheduler(places: Places) -> Component:
    """The scheduler; with its default of 50 requests a second it would be the limit of every benchmark."""
    kubeconfig = f"{places.pki}/scheduler.kubeconfig"
    return Component(
        name="scheduler",
        argv=(
            str(gobuild.KUBERNETES.folder / "kube-scheduler"),
            f"--bind-address={LOOPBACK}",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--kube-api-qps=2000",
            "--kube-api-burst=2000",
            "--leader-elect=false",
        ),
        listens=((LOOPBACK, settings.SCHEDULER_PORT),),
        needs=("apiserver",),
        healthy=lambda: answers(settings.SCHEDULER_PORT, "/healthz", tls=True),
    )


def kubelet(places: Places) -> Component:
    """The node."""
    return Component(
        name="kubelet",
        argv=(
            str(gobuild.KUBERNETES.folder / "kubelet"),
            f"--config={places.config}/kubelet.json",
            f"--kubeconfig={places.pki}/kubelet.kubeconfig",
            f"--root-dir={places.kubelet}",
            f"--cert-dir={places.kubelet}/pki",
            f"--hostname-override={places.name}",
            f"--node-ip={BRIDGE_IP}",
        ),
        listens=((BRIDGE_IP, settings.KUBELET_PORT), (LOOPBACK, settings.KUBELET_HEALTH_PORT)),
        needs=("apiserver", "containerd"),
        healthy=lambda: answers(settings.KUBELET_HEALTH_PORT, "/healthz"),
        # containerd listens before it has found all its containers again.
        too_early="validate CRI v1 runtime API",
    )


def proxy(places: Places) -> Component:
    """kube-proxy: Service addresses."""
    return Component(
        name="proxy",
        argv=(str(gobuild.KUBERNETES.folder / "kube-proxy"), f"--config={places.config}/proxy.json"),
        listens=((LOOPBACK, settings.PROXY_METRICS_PORT), (LOOPBACK, settings.PROXY_HEALTH_PORT)),
        needs=("apiserver",),
        # Its healthz turns bad when the node is not there yet; its rules do not need it.
        healthy=lambda: answers(settings.PROXY_METRICS_PORT, "/proxyMode"),
    )


def dns(places: Places) -> Component:
    """CoreDNS as a process of the host."""
    return Component(
        name="dns",
        argv=(str(gobuild.COREDNS.folder / "coredns"), "-conf", str(places.config / "Corefile")),
        listens=(
            (BRIDGE_IP, settings.DNS_PORT),
            (LOOPBACK, settings.DNS_HEALTH_PORT),
            (LOOPBACK, settings.DNS_READY_PORT),
        ),
        needs=("apiserver",),
        healthy=lambda: answers(settings.DNS_READY_PORT, "/ready"),
    )


def provisioner(places: Places) -> Component:
    """Volumes for claims of the default StorageClass."""
    return Component(
        name="provisioner",
        argv=(sys.executable, str(PROVISIONER), "--name", places.name),
        needs=("apiserver",),
        healthy=lambda: True,
    )


def all_components(places: Places) -> tuple[Component, ...]:
    """Every component, each after those it needs."""
    makers = (etcd, containerd, api_server, controller_manager, scheduler, kubelet, proxy, dns, provisioner)
    return tuple(make(places) for make in makers)
