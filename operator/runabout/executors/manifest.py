"""A task's pod as JSON: pure, from the records and the executor's settings; nothing is looked up.

What always holds: what we need (owner, labels, annotations, volumes, variables) cannot be overridden; no secret value
is in it; the same arguments give the same pod. What toolbox and pod agree on is in docs/internals/toolbox.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runabout.executors import cloning
from runabout.executors.containers import (
    MAIN_CONTAINER,
    MOUNT,
    OWN_PREFIX,
    PASSED_ON,
    container_name,
    containers_of,
    is_privileged,
    mapping,
    user_mounts,
)
from runabout.executors.environment import checked, container_variable, environment, merged
from runabout.executors.errors import InvalidPodError
from runabout.executors.gatewayaccess import GatewayAccess, access_for, token_mount, token_volume
from runabout.executors.names import DOMAIN, MANAGED_BY_LABEL, PodKey, labels, pod_name
from runabout.executors.nodeaccess import check_node_access
from runabout.executors.plan import Plan, plan
from runabout.executors.podsettings import merged_settings
from runabout.executors.security import container_security, container_user, needs_other_users, pod_security
from runabout.executors.services import service_containers
from runabout.records import EnvVar, RunConfig, TaskConfig
from runabout.records.json import JsonObject

__all__ = ["MAIN_CONTAINER", "InvalidPodError", "PodManifest", "PodSettings", "pod_manifest"]

PLAN_ANNOTATION = f"{DOMAIN}/plan"
MAIN_ANNOTATION = "kubectl.kubernetes.io/default-container"
"""Names the main container, for us and for kubectl, also where an admission webhook adds containers of its own."""
KEEP_ANNOTATION = "cluster-autoscaler.kubernetes.io/safe-to-evict"
TOOLBOX_CONTAINER = "runabout-toolbox"
BIN_VOLUME = "runabout-bin"
PLAN_VOLUME = "runabout-plan"
PLAN_FILE = "plan.json"
MAX_ANNOTATION_PLAN = 48 * 1024
"""Bytes; a larger plan goes into a ConfigMap, so that no pod comes near the 64 KiB that an object may have."""
MAX_PLAN = 1024 * 1024
"""Bytes; what a ConfigMap can hold and the toolbox reads."""
TOOLBOX_GRACE_SECONDS = 15
"""What the toolbox gets on top of the steps' grace period, to write the last output and the summary."""

_BIN = f"{MOUNT}/bin"
_PLAN = f"{MOUNT}/plan"
_COPIED_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_OWN_LABELS = frozenset({MANAGED_BY_LABEL})
_OWN_ANNOTATIONS = frozenset({MAIN_ANNOTATION, KEEP_ANNOTATION})


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the installation and the executor say about every task pod."""

    toolbox_image: str
    toolbox_pull_policy: str = "IfNotPresent"
    grace_seconds: int = 30
    """For the task's own processes, between SIGTERM and SIGKILL; the pod's is longer by what the toolbox needs."""
    allow_privileged: bool = False
    restricted: bool = False
    """Whether the Run's namespace enforces Pod Security `restricted`."""
    add_capabilities: tuple[str, ...] = ()
    """Given back to containers outside restricted namespaces (all are dropped otherwise)."""
    gateway: GatewayAccess | None = None
    """None where the installation has none."""


@dataclass(frozen=True, slots=True)
class PodManifest:
    """What to create: the pod, and before it the ConfigMap with the plan where an annotation is too small.

    `container` is the one whose log is the task's. `run` is the uid of the Run that owns both.
    """

    namespace: str
    name: str
    run: str
    container: str
    pod: JsonObject
    config_map: JsonObject | None = None


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
    where = f"tasks[{task.name}]"
    key = PodKey(run=config.id, task=task.name, attempt=attempt)
    try:
        name = pod_name(key)
    except ValueError as error:
        raise InvalidPodError(f"{where}.name: {error}") from error
    containers = containers_of(task, where)
    container = containers[0]
    theirs = (("pod", config.pod), (f"{where}.pod", mapping(task.body.get("pod"), f"{where}.pod")))
    if not settings.allow_privileged:
        check_node_access(*theirs)
    own = merged_settings(("the executor's pod", executor_pod), *theirs)
    asked = task.body.get("user")
    user = container_user(container.get("user") if asked is None or asked == "" else asked)
    environments = [
        _variables(config, task, item, place, attempt=attempt, counter=counter) for place, item in enumerate(containers)
    ]
    gateway = access_for(task, settings.gateway, where)
    made = plan(
        key,
        task,
        user=user.text,
        grace_seconds=settings.grace_seconds,
        gateway=None if gateway is None else gateway.planned(),
        environment=environments[0],
    )
    logins = cloning.credentials(task)
    size = len(made.body.encode())
    if size > MAX_PLAN:
        raise InvalidPodError(
            f"{where}.steps: together with their environments they take {size} bytes, more than the {MAX_PLAN} that "
            "a pod can be given; move long scripts into the repository or the image",
        )
    in_annotation = size <= MAX_ANNOTATION_PLAN
    main = container_name(container, 0, where)
    ours = labels(key, run_name=config.name)
    metadata = {
        "name": name,
        "namespace": config.namespace,
        "labels": {**_free(own.get("labels"), _OWN_LABELS, f"{where}.pod.labels"), **ours},
        "annotations": {
            **_free(own.get("annotations"), _OWN_ANNOTATIONS, f"{where}.pod.annotations"),
            MAIN_ANNOTATION: main,
            KEEP_ANNOTATION: "false",
            **({PLAN_ANNOTATION: made.body} if in_annotation else {}),
        },
        "ownerReferences": [_owner(config)],
    }
    privileged = [
        is_privileged(
            item,
            f"{where}.containers[{place}]",
            allowed=settings.allow_privileged,
            restricted=settings.restricted,
        )
        for place, item in enumerate(containers)
    ]
    first = {
        "name": main,
        "image": container["image"],
        "command": [f"{_BIN}/toolbox", "run", "--plan", f"{_PLAN}/{PLAN_FILE}"],
        "env": [*environments[0], *made.variables],
        "volumeMounts": [
            *user_mounts(container, f"{where}.containers[0]"),
            *_own_mounts(),
            *cloning.mounts(logins),
            *([token_mount()] if gateway is not None else []),
        ],
        "securityContext": container_security(
            privileged=privileged[0],
            restricted=settings.restricted,
            user=user,
            add=settings.add_capabilities,
            other_users=needs_other_users(task.body, user),
        ),
        "terminationMessagePolicy": "File",
        **{passed: container[passed] for passed in PASSED_ON if container.get(passed) is not None},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            **_scheduling(own, task, where),
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": own.get("automountServiceAccountToken") is True,
            "terminationGracePeriodSeconds": settings.grace_seconds + TOOLBOX_GRACE_SECONDS,
            "securityContext": pod_security(own.get("securityContext"), restricted=settings.restricted),
            "initContainers": [
                _toolbox_container(container, settings, clone=cloning.clones(task)),
                *service_containers(
                    containers,
                    where,
                    environments=environments,
                    privileged=privileged,
                    restricted=settings.restricted,
                    add_capabilities=settings.add_capabilities,
                ),
            ],
            "containers": [first],
            "volumes": [
                *_volumes(own, name if not in_annotation else None, where),
                *cloning.volumes(logins),
                *([token_volume()] if gateway is not None else []),
            ],
        },
    }
    return PodManifest(
        namespace=config.namespace,
        name=name,
        run=config.uid,
        container=main,
        pod=pod,
        config_map=None if in_annotation else _config_map(config, name, ours, made),
    )


def _free(given: object, taken: frozenset[str], where: str) -> dict[str, object]:
    chosen = dict(given) if isinstance(given, Mapping) else {}
    for key in chosen:
        if key in taken or key.split("/", 1)[0] == DOMAIN:
            raise InvalidPodError(f"{where}: {key} is set by Runabout and cannot be chosen")
    return chosen


def _owner(config: RunConfig) -> dict[str, object]:
    return {
        "apiVersion": f"{DOMAIN}/v1alpha1",
        "kind": "Run",
        "name": config.name,
        "uid": config.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _variables(
    config: RunConfig,
    task: TaskConfig,
    container: Mapping[str, object],
    place: int,
    *,
    attempt: int,
    counter: int,
) -> list[dict[str, object]]:
    """Return the variables of a container; those of the task are for the first one, whose steps they are made for."""
    where = f"tasks[{task.name}]"
    built_in = (
        EnvVar("RUNABOUT_RUN_ID", config.id),
        EnvVar("RUNABOUT_RUN", config.name),
        EnvVar("RUNABOUT_NAMESPACE", config.namespace),
        EnvVar("RUNABOUT_GROUP", config.group.removeprefix(f"/{config.namespace}")),
        EnvVar("RUNABOUT_COUNTER", str(counter)),
        EnvVar("RUNABOUT_TASK", task.name),
        EnvVar("RUNABOUT_ATTEMPT", str(attempt)),
    )
    theirs = merged(
        environment(container.get("environment"), f"{where}.containers[{place}].environment"),
        environment(task.body.get("environment") if place == 0 else None, f"{where}.environment"),
        checked((EnvVar(name, value) for name, value in task.values.items() if place == 0), f"{where}.matrix"),
        checked(config.static_environment, "staticEnvironment"),
        checked(config.environment, "environment"),
    )
    return [*map(container_variable, (*built_in, *theirs))]


def _own_mounts() -> list[dict[str, object]]:
    return [
        {"name": BIN_VOLUME, "mountPath": _BIN},
        {"name": PLAN_VOLUME, "mountPath": _PLAN, "readOnly": True},
    ]


def _volumes(own: Mapping[str, object], config_map: str | None, where: str) -> list[object]:
    theirs = own.get("volumes")
    volumes: list[object] = list(theirs) if isinstance(theirs, Sequence) else []
    for volume in volumes:
        name = volume.get("name") if isinstance(volume, Mapping) else None
        if str(name).startswith(OWN_PREFIX):
            raise InvalidPodError(
                f"{where}.pod.volumes: the name {name} is reserved, choose one without `{OWN_PREFIX}`"
            )
    plan_source: dict[str, object] = (
        {"configMap": {"name": config_map}}
        if config_map is not None
        else {
            "downwardAPI": {
                "items": [
                    {"path": PLAN_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{PLAN_ANNOTATION}']"}},
                ],
            },
        }
    )
    return [*volumes, {"name": BIN_VOLUME, "emptyDir": {}}, {"name": PLAN_VOLUME, **plan_source}]


def _toolbox_container(container: Mapping[str, object], settings: PodSettings, *, clone: bool) -> dict[str, object]:
    """Return the init container; it asks for what the main one asks for, which a pod has to have anyway.

    So it never makes a pod larger, and a quota that demands requests and limits is met where the task meets it.
    """
    made: dict[str, object] = {
        "name": TOOLBOX_CONTAINER,
        "image": settings.toolbox_image,
        "imagePullPolicy": settings.toolbox_pull_policy,
        "command": ["/toolbox", "install", _BIN, *([cloning.INSTALL] if clone else [])],
        "volumeMounts": [{"name": BIN_VOLUME, "mountPath": _BIN}],
        "securityContext": container_security(
            privileged=False, restricted=True, user=container_user("65532:65532"), add=(), other_users=False
        ),
    }
    resources = container.get("resources")
    if isinstance(resources, Mapping):
        copied = {
            kind: {name: amount for name, amount in amounts.items() if name in _COPIED_RESOURCES}
            for kind, amounts in resources.items()
            if kind in {"requests", "limits"} and isinstance(amounts, Mapping)
        }
        made["resources"] = {kind: amounts for kind, amounts in copied.items() if amounts}
    return made


def _scheduling(own: Mapping[str, object], task: TaskConfig, where: str) -> dict[str, object]:
    made = {
        key: own[key]
        for key in (
            "tolerations",
            "affinity",
            "serviceAccountName",
            "imagePullSecrets",
            "priorityClassName",
            "runtimeClassName",
        )
        if own.get(key)
    }
    chosen = own.get("nodeSelector")
    selector = dict(chosen) if isinstance(chosen, Mapping) else {}
    if task.arch is not None:
        if selector.get("kubernetes.io/arch", task.arch) != task.arch:
            raise InvalidPodError(
                f"{where}.pod.nodeSelector: kubernetes.io/arch {selector['kubernetes.io/arch']} contradicts the task's "
                f"arch {task.arch}; leave one of them",
            )
        selector["kubernetes.io/arch"] = task.arch
    if selector:
        made["nodeSelector"] = selector
    return made


def _config_map(config: RunConfig, name: str, ours: Mapping[str, str], made: Plan) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": config.namespace,
            "labels": dict(ours),
            "ownerReferences": [_owner(config)],
        },
        "immutable": True,
        "data": {PLAN_FILE: made.body},
    }
