"""Kubernetes objects as JSON, and how resources are addressed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

JsonObject: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, as the API's paths name it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`group/version`, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of an object, or of a collection (all namespaces without one)."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace is not None:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts.extend(part for part in (name, subresource) if part is not None)
        return "/".join(parts)


RUNS = Resource("runabout.dev", "v1alpha1", "runs", "Run")
EXECUTORS = Resource("runabout.dev", "v1alpha1", "executors", "Executor", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)


def metadata(item: JsonObject) -> JsonObject:
    """Return an object's metadata, empty if it has none."""
    found = item.get("metadata")
    return found if isinstance(found, Mapping) else {}


def text(item: JsonObject, key: str) -> str:
    """Return a text, empty if there is none."""
    found = item.get(key)
    return found if isinstance(found, str) else ""


def key_of(item: JsonObject) -> tuple[str, str]:
    """Return an object's namespace (empty for cluster-scoped ones) and name."""
    found = metadata(item)
    return (text(found, "namespace"), text(found, "name"))
