"""A container of a pod in Podman's words: pure, from the pod's JSON.

What always holds: what the pod's security context says counts here as on a cluster, as far as Podman has a flag for it;
no value of a Secret is in the words, where everybody on the machine could read it, unless the variable is one of those
that Podman itself obeys.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import orjson

from runabout.executors.podview import items, mapping, text
from runabout.records.json import JsonObject

_PODMANS_OWN = re.compile(
    r"""
      PATH | HOME | USER | LOGNAME | SHELL | PWD | TMPDIR | TZ | TERM | LANG | NOTIFY_SOCKET | container
    | GO (?: COVERDIR | DEBUG | GC | MAXPROCS | MEMLIMIT | RACE | ROOT | TRACEBACK )
    | REGISTRY_AUTH_FILE | REGISTRIES_CONFIG_PATH | STORAGE_DRIVER | STORAGE_OPTS | SSH_AUTH_SOCK
    | SSL_CERT_(?: FILE | DIR )
    | (?: _?CONTAINERS? | PODMAN | BUILDAH | XDG | DBUS | LISTEN | LC | LD )(?: _.* )?
    | .*_PROXY
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Variables that mean something to Podman, which therefore cannot be handed them in its own environment.

No more than these: everybody on the machine can read arguments, and secrets are called GOOGLE_… and SSH_…, too.
"""
_QUANTITY = re.compile(r"([0-9.]+)([eE][+-]?[0-9]+|[A-Za-z]*)")
_UNITS: dict[str, Decimal] = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this machine in a container."""

    source: str
    target: str
    read_only: bool = False

    def words(self) -> tuple[str, str]:
        """Return the flag."""
        fields = ["type=bind", f"src={self.source}", f"dst={self.target}", *(["ro"] if self.read_only else [])]
        return "--mount", ",".join(map(_csv, fields))


@dataclass(frozen=True, slots=True)
class Flags:
    """Words between `podman run` and the end, and what has to be in Podman's environment for them."""

    words: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


def container_flags(
    container: JsonObject,
    *,
    image: str,
    pod_security: JsonObject,
    variables: Mapping[str, str],
    mounts: Sequence[Mount],
    limits: Collection[str],
) -> Flags:
    """Return the flags, the image and the arguments of a container.

    Args:
        container: as in the pod.
        image: under which name its image is here.
        pod_security: the pod's security context.
        variables: of the container, with their values.
        mounts: all that it has.
        limits: what can be limited here.
    """
    words: list[str] = ["--pull", "never", "--no-healthcheck", "--security-opt", "label=disable"]
    words += _security(container, pod_security)
    words += _limits(mapping(mapping(container.get("resources")).get("limits")), limits)
    for mount in mounts:
        words += mount.words()
    secret = {text(item.get("name")) for item in items(container.get("env")) if item.get("valueFrom") is not None}
    passed: dict[str, str] = {}
    for name, value in variables.items():
        if name in secret and not _PODMANS_OWN.fullmatch(name):
            passed[name] = value
            words += ("--env", name)
        else:
            words += ("--env", f"{name}={value}")
    command, arguments = (_expanded(container.get(key), variables) for key in ("command", "args"))
    if command:
        words += ("--entrypoint", orjson.dumps(command).decode())
    return Flags((*words, image, *arguments), passed)


def amount(quantity: object) -> Decimal | None:
    """Return a Kubernetes quantity (`500m`, `2Gi`, `1e3`) as a number, None for what is none."""
    found = _QUANTITY.fullmatch(str(quantity).strip())
    if found is None:
        return None
    number, unit = found.groups()
    if unit[:1] in ("e", "E") and len(unit) > 1 and unit != "Ei":
        return Decimal(number + unit)
    return Decimal(number) * _UNITS[unit] if unit in _UNITS else None


def _security(container: JsonObject, pod: JsonObject) -> list[str]:
    own = mapping(container.get("securityContext"))
    words: list[str] = []
    if own.get("privileged") is True:
        words.append("--privileged")
    if own.get("allowPrivilegeEscalation") is False:
        words += ("--security-opt", "no-new-privileges")
    capabilities = mapping(own.get("capabilities"))
    for key, flag in (("drop", "--cap-drop"), ("add", "--cap-add")):
        for name in _texts(capabilities.get(key)):
            words += (flag, name)
    user, group = (own.get(key, pod.get(key)) for key in ("runAsUser", "runAsGroup"))
    if user is not None:
        words += ("--user", str(user) if group is None else f"{user}:{group}")
    for extra in (pod.get("fsGroup"), *_list(pod.get("supplementalGroups"))):
        if extra is not None:
            words += ("--group-add", str(extra))
    if mapping(pod.get("seccompProfile")).get("type") == "Unconfined":
        words += ("--security-opt", "seccomp=unconfined")
    return words


def _limits(limits: JsonObject, possible: Collection[str]) -> list[str]:
    words: list[str] = []
    cpus, memory = amount(limits.get("cpu")), amount(limits.get("memory"))
    if cpus and "cpu" in possible:
        words += ("--cpus", str(float(cpus)))
    if memory and "memory" in possible:
        words += ("--memory", f"{int(memory)}b")
    return words


def _expanded(words: object, variables: Mapping[str, str]) -> list[str]:
    """Return words with `$(NAME)` filled in, as Kubernetes does; `$$` is a `$`."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else variables.get(found[1], found[0])

    return [_REFERENCE.sub(value, word) for word in _texts(words)]


def _texts(value: object) -> list[str]:
    return [str(item) for item in _list(value)]


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _csv(value: str) -> str:
    if not any(each in value for each in ',"\n'):
        return value
    doubled = value.replace('"', '""')
    return f'"{doubled}"'
