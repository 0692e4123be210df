"""Executors as the API server shows them: what they say about pods, whether they are ready, and their status.

An executor is ready when its spec can be used and, if it asks for it (`requireNodes`), the cluster has a ready node for
every architecture it serves. Architectures without nodes are otherwise a warning in its condition: pools that scale to
zero have none until a task asks.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from runabout.control.rules import executor_rules
from runabout.control.status import JsonDict, rfc3339
from runabout.executors.gatewayaccess import GatewayAccess
from runabout.executors.manifest import PodSettings
from runabout.executors.state import Limits
from runabout.records.json import JsonObject
from runabout.resources import API_VERSION, CheckedExecutor, ExecutorSpec, check

RESTRICTED_LABEL = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True, slots=True)
class Executor:
    """One Executor; `spec` is None where it cannot be read, then `error` says why."""

    name: str
    uid: str
    generation: int
    spec: ExecutorSpec | None
    error: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, object] = field(default_factory=dict)

    @property
    def pod(self) -> JsonObject:
        """The executor's pod defaults, as in its spec."""
        if self.spec is None or self.spec.pod is None:
            return {}
        return self.spec.pod.model_dump(by_alias=True, exclude_unset=True)


def executor_object(body: Mapping[str, object]) -> Executor:
    """Return the Executor in `body`, an object as the API server sends it."""
    metadata = body.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    status = body.get("status")
    spec: ExecutorSpec | None = None
    error = ""
    name = str(metadata.get("name", ""))
    checked = check(
        {"apiVersion": API_VERSION, "kind": "Executor", "metadata": {"name": name}, "spec": body.get("spec")}
    )
    if isinstance(checked, CheckedExecutor):
        wrong = tuple(executor_rules(checked.spec))
        spec = None if wrong else checked.spec
        error = "; ".join(str(problem) for problem in wrong[:3])
    elif isinstance(checked, tuple):
        error = "; ".join(str(problem) for problem in checked[:3])
    generation = metadata.get("generation")
    labels = metadata.get("labels")
    return Executor(
        name=name,
        uid=str(metadata.get("uid", "")),
        generation=generation if isinstance(generation, int) else 0,
        spec=spec,
        error=error,
        labels={str(key): str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {},
        status=status if isinstance(status, Mapping) else {},
    )


class Executors:
    """The Executors known to exist, the nodes by architecture, and the namespaces' labels."""

    def __init__(
        self,
        *,
        toolbox_image: str,
        toolbox_pull_policy: str,
        gateway: Callable[[], GatewayAccess | None] = lambda: None,
    ) -> None:
        self._gateway = gateway
        self._image = toolbox_image
        self._pull_policy = toolbox_pull_policy
        self._executors: dict[str, Executor] = {}
        self._nodes: dict[str, str] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}

    def __iter__(self) -> Iterator[Executor]:
        return iter(tuple(self._executors.values()))

    def put(self, executor: Executor) -> None:
        """Take what the API server showed."""
        self._executors[executor.name] = executor

    def remove(self, name: str) -> None:
        """Forget an Executor that is gone; its running tasks go on."""
        self._executors.pop(name, None)

    def get(self, name: str) -> Executor:
        """Return an Executor; one that is gone has no settings of its own."""
        return self._executors.get(name) or Executor(name, "", 0, None, error="it does not exist")

    def set_node(self, name: str, arch: str | None) -> bool:
        """Take a node's architecture, None when it is gone or not ready; return whether the counts changed."""
        before = self._nodes.get(name)
        if arch is None:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = arch
        return before != arch

    def nodes(self, arch: str) -> int:
        """Return how many ready nodes have this architecture."""
        return sum(1 for known in self._nodes.values() if known == arch)

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Take a namespace's labels, None when it is gone."""
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return a namespace's labels, empty if it is not known."""
        return self._namespaces.get(name, {})

    def limits(self, name: str) -> Limits:
        """Return how long an attempt on this executor may wait; task's own time-out not included."""
        spec = self.get(name).spec
        if spec is None:
            return Limits()
        return Limits(
            image_pull_seconds=spec.image_pull_timeout_seconds,
            pending_seconds=spec.pending_timeout_seconds,
            grace_seconds=spec.grace_period_seconds,
        )

    def pod_settings(self, name: str, namespace: str) -> PodSettings:
        """Return what pods of this executor in this namespace are made with."""
        spec = self.get(name).spec
        return PodSettings(
            toolbox_image=self._image,
            toolbox_pull_policy=self._pull_policy,
            grace_seconds=self.limits(name).grace_seconds,
            allow_privileged=spec is not None and spec.allow_privileged,
            restricted=self.namespace_labels(namespace).get(RESTRICTED_LABEL) == "restricted",
            gateway=self._gateway(),
        )

    def ready(self, executor: Executor) -> tuple[bool, str, str]:
        """Return whether tasks may be given to it, and the condition's reason and message."""
        if executor.spec is None:
            return (False, "InvalidSpec", executor.error)
        missing = [arch for arch in executor.spec.archs if not self.nodes(arch)]
        if missing and executor.spec.require_nodes:
            return (False, "NoNodes", f"requireNodes is set and there is no ready node for {', '.join(missing)}")
        if executor.spec.paused:
            return (True, "Paused", "takes no new tasks while spec.paused is true")
        if missing:
            return (True, "ArchsWithoutNodes", f"no ready node yet for {', '.join(missing)}")
        return (True, "Ready", "")

    def status(self, executor: Executor, *, active: int, waiting: int, now: int) -> JsonDict:
        """Return the whole status of an executor; `active` and `waiting` count tasks."""
        ready, reason, message = self.ready(executor)
        word = "True" if ready else "False"
        archs = executor.spec.archs if executor.spec is not None else ()
        most = executor.spec.max_active_tasks if executor.spec is not None else None
        return {
            "observedGeneration": executor.generation,
            "archs": ", ".join(archs),
            "maxActiveTasks": "" if most is None else str(most or "unlimited"),
            "activeTasks": active,
            "waitingTasks": waiting,
            "nodes": [{"arch": arch, "count": self.nodes(arch)} for arch in archs],
            "conditions": [
                {
                    "type": "Ready",
                    "status": word,
                    "reason": reason,
                    "message": message,
                    "lastTransitionTime": _since(executor.status, word) or rfc3339(now),
                }
            ],
        }


def _since(status: Mapping[str, object], word: str) -> str | None:
    conditions = status.get("conditions")
    for item in conditions if isinstance(conditions, list | tuple) else ():
        if isinstance(item, Mapping) and item.get("type") == "Ready" and item.get("status") == word:
            return str(item.get("lastTransitionTime"))
    return None
