"""What a fresh cluster has to hold: rights of its own programs, the DNS Service's place, the default StorageClass.

Pure: every function returns manifests as JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localcluster.settings import PROVISIONER, STORAGE_CLASS

if TYPE_CHECKING:
    from localcluster.api import Json

LABELS = {"app.kubernetes.io/managed-by": "runabout-local-cluster"}


def _role(name: str, rules: list[Json]) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": LABELS},
        "rules": rules,
    }


def _binding(name: str) -> Json:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": LABELS},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
    }


def storage_class() -> Json:
    """The default StorageClass: directories of this machine, made when the first pod needs them."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "labels": LABELS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": False,
    }


def bootstrap() -> list[tuple[str, Json]]:
    """Each manifest of a fresh cluster, with the path to apply it to."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    read = ["get", "list", "watch"]
    dns: list[Json] = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods", "endpoints"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    storage: list[Json] = [
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": read},
        {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": [*read, "create", "delete"]},
    ]
    return [
        (f"{rbac}/clusterroles/runabout:coredns", _role("runabout:coredns", dns)),
        (f"{rbac}/clusterrolebindings/runabout:coredns", _binding("runabout:coredns")),
        (f"{rbac}/clusterroles/runabout:provisioner", _role("runabout:provisioner", storage)),
        (f"{rbac}/clusterrolebindings/runabout:provisioner", _binding("runabout:provisioner")),
        (f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}", storage_class()),
    ]


def wants_a_volume(claim: Json, node: str) -> bool:
    """Whether a claim is ours to serve and waits for a volume on this node.

    With WaitForFirstConsumer the scheduler first writes the node it has chosen on the claim.
    """
    spec, metadata = claim["spec"], claim["metadata"]
    annotations = metadata.get("annotations") or {}
    return (
        spec.get("storageClassName") == STORAGE_CLASS
        and not spec.get("volumeName")
        and "deletionTimestamp" not in metadata
        and annotations.get("volume.kubernetes.io/selected-node") == node
    )


def volume(claim: Json, folder: str, node: str) -> Json:
    """The PersistentVolume for a claim: a directory of the node. Its name is the claim's uid, so it is made once."""
    spec, metadata = claim["spec"], claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            "labels": LABELS,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "hostPath": {"path": folder, "type": "DirectoryOrCreate"},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
                            ]
                        }
                    ]
                }
            },
        },
    }


def volume_name(claim: Json) -> str:
    """The name of a claim's volume."""
    return f"pvc-{claim['metadata']['uid']}"


def is_released(persistent_volume: Json) -> bool:
    """Whether a volume of ours has lost its claim and can go."""
    annotations = persistent_volume["metadata"].get("annotations") or {}
    return (
        annotations.get("pv.kubernetes.io/provisioned-by") == PROVISIONER
        and persistent_volume.get("status", {}).get("phase") in {"Released", "Failed"}
        and "deletionTimestamp" not in persistent_volume["metadata"]
    )
