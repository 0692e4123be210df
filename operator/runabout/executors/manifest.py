"""A task's pod as JSON: pure, from the records and the executor's settings; nothing is looked up.

What always holds: what we need (owner, labels, annotations, volumes, variables) cannot be overridden; no secret value
is in it; the same arguments give the same pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from runabout.records import RunConfig, TaskConfig
from runabout.records.json import JsonObject


class InvalidPodError(ValueError):
    """The task asks for a pod that cannot be: the user's failure (reason InvalidPod); the message says what to do."""


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the installation and the executor say about every task pod."""

    toolbox_image: str
    toolbox_pull_policy: str = "IfNotPresent"
    grace_seconds: int = 30
    allow_privileged: bool = False
    restricted: bool = False
    """Whether the Run's namespace enforces Pod Security `restricted`."""
    add_capabilities: tuple[str, ...] = ()
    """Given back to containers outside restricted namespaces (all are dropped otherwise)."""


@dataclass(frozen=True, slots=True)
class PodManifest:
    """What to create: the pod, and before it the ConfigMap with the plan where an annotation is too small."""

    namespace: str
    name: str
    pod: Mapping[str, object]
    config_map: Mapping[str, object] | None = None


def pod_manifest(
    config: RunConfig,
    task: TaskConfig,
    *,
    attempt: int,
    counter: int,
    executor_pod: JsonObject,
    settings: PodSettings,
) -> PodManifest:
    """Return the pod of one attempt of a task; `counter` is the run's number in its root group.

    `executor_pod` is `spec.pod` of the Executor, over which the Run's and the task's pod settings are laid.

    Raises:
        InvalidPodError: the task collides with what we need, asks for privileges that the executor does not allow, or
            has a plan above the size of a ConfigMap.
    """
    raise NotImplementedError
