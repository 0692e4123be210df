"""Configuration files of the native cluster, rendered: pure functions from places and facts to text.

JSON is YAML, so what Kubernetes reads is rendered as JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localcluster.settings import (
    BRIDGE,
    BRIDGE_IP,
    CLUSTER_DOMAIN,
    CNI_NETWORK,
    DNS_HEALTH_PORT,
    DNS_PORT,
    DNS_READY_PORT,
    KUBELET_HEALTH_PORT,
    KUBELET_PORT,
    PAUSE_IMAGE,
    POD_CIDR,
    PROXY_HEALTH_PORT,
    PROXY_METRICS_PORT,
)

if TYPE_CHECKING:
    from pathlib import Path

    from localcluster.settings import Places

CNI_PLUGINS = "/usr/lib/cni"


def containerd(places: Places) -> str:
    """Containerd with its own root, state and address, so that another containerd of the machine is not touched."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{places.home}/containerd"
state = "{places.run}/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = "{places.containerd_socket}"

[{cri}]
  # A machine may lack CAP_SYS_RESOURCE, and then no score may be lowered.
  restrict_oom_score_adj = true
  sandbox_image = "{PAUSE_IMAGE}"
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [{cri}.cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{places.config}/cni"
  [{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def cni(places: Places) -> str:
    """The pods' network: one bridge. Masquerading is one rule of ours and not the plugin's, which are some per pod."""
    return _json(
        {
            "cniVersion": "0.4.0",
            "name": CNI_NETWORK,
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": BRIDGE,
                    "isGateway": True,
                    "ipMasq": False,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(places.run / "addresses"),
                        "ranges": [[{"subnet": POD_CIDR, "gateway": BRIDGE_IP}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        }
    )


def kubelet(places: Places) -> str:
    """The kubelet: many small pods on a disk that may be nearly full, with and without cgroup v2."""
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": BRIDGE_IP,
            "port": KUBELET_PORT,
            "readOnlyPort": 0,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": KUBELET_HEALTH_PORT,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(places.pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(places.pki / "kubelet-server.crt"),
            "tlsPrivateKeyFile": str(places.pki / "kubelet-server.key"),
            "containerRuntimeEndpoint": f"unix://{places.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "makeIPTablesUtilChains": False,
            "clusterDNS": [BRIDGE_IP],
            "clusterDomain": CLUSTER_DOMAIN,
            "maxPods": 250,
            "podLogsDir": str(places.logs / "pods"),
            "containerLogMaxSize": "10Mi",
            "containerLogMaxFiles": 5,
            "volumePluginDir": str(places.kubelet / "volume-plugins"),
            "serializeImagePulls": False,
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
            },
            "evictionPressureTransitionPeriod": "10s",
            # Images come by `load-image` and from no registry: what is collected would be missing. Loading a new
            # version removes the one before it instead.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "shutdownGracePeriod": "0s",
        }
    )


def proxy(places: Places, *, masquerade_all: bool) -> str:
    """kube-proxy. Where bridged packets do not pass iptables, every packet to a Service must be masqueraded."""
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(places.pki / "proxy.kubeconfig")},
            "hostnameOverride": places.name,
            "mode": "iptables",
            "iptables": {"masqueradeAll": masquerade_all, "minSyncPeriod": "500ms", "localhostNodePorts": False},
            "clusterCIDR": POD_CIDR,
            "nodePortAddresses": [POD_CIDR],
            "healthzBindAddress": f"127.0.0.1:{PROXY_HEALTH_PORT}",
            "metricsBindAddress": f"127.0.0.1:{PROXY_METRICS_PORT}",
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
    )


def corefile(places: Places) -> str:
    """CoreDNS as a process of the host, on the bridge only."""
    return f""".:{DNS_PORT} {{
    bind {BRIDGE_IP}
    errors
    health 127.0.0.1:{DNS_HEALTH_PORT} {{
        lameduck 0s
    }}
    ready 127.0.0.1:{DNS_READY_PORT}
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {places.pki / "coredns.kubeconfig"}
        ttl 5
        fallthrough in-addr.arpa ip6.arpa
    }}
    forward . /etc/resolv.conf
    cache 5
}}
"""


def files(places: Places, *, masquerade_all: bool) -> dict[Path, str]:
    """Every configuration file of the cluster and its content."""
    return {
        places.config / "containerd.toml": containerd(places),
        places.config / "cni" / "10-runabout.conflist": cni(places),
        places.config / "kubelet.json": kubelet(places),
        places.config / "proxy.json": proxy(places, masquerade_all=masquerade_all),
        places.config / "Corefile": corefile(places),
    }


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
