"""What the first container and the services of a task have in common: names, mounts, privileges.

What always holds: nothing of it takes a name or a place that is ours, and nobody is privileged without the executor's
word.
"""

import posixpath
import re
from collections.abc import Mapping

from runabout.executors.errors import InvalidPodError
from runabout.records import TaskConfig

MAIN_CONTAINER = "main"
"""Name of the first container where its author gave none."""
MOUNT = "/runabout"
"""Directory that is ours in the first container, and kept free in all others."""
OWN_PREFIX = "runabout-"
PASSED_ON = ("imagePullPolicy", "resources")
"""Fields that go into the pod as they are."""

_NOT_FOR_THE_FIRST = ("command", "args", "readiness")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def containers_of(task: TaskConfig, where: str) -> tuple[Mapping[str, object], ...]:
    """Return the containers of a task, the first one runs the steps; `where` is the task's path, for messages.

    Raises:
        InvalidPodError: there is none, one has no image, or the first one has what only services can have.
    """
    given = task.body.get("containers")
    if not isinstance(given, list | tuple) or not given:
        raise InvalidPodError(f"{where}.containers: a task needs a container for its steps")
    found = tuple(mapping(item, f"{where}.containers[{place}]") for place, item in enumerate(given))
    for place, container in enumerate(found):
        if not isinstance(container.get("image"), str) or not container["image"]:
            raise InvalidPodError(f"{where}.containers[{place}].image: an image is needed")
    for key in _NOT_FOR_THE_FIRST:
        if found[0].get(key):
            raise InvalidPodError(
                f"{where}.containers[0].{key}: the first container runs the steps; only services can have this",
            )
    names: dict[str, int] = {}
    for place, container in enumerate(found):
        name = container_name(container, place, where)
        if names.setdefault(name, place) != place:
            raise InvalidPodError(
                f'{where}.containers[{place}].name: duplicate container "{name}"; choose another name'
            )
    return found


def mapping(value: object, where: str) -> Mapping[str, object]:
    """Return `value` if it is an object, an empty one for None.

    Raises:
        InvalidPodError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidPodError(f"{where}: expected an object, found {type(value).__name__}")
    return value


def default_name(place: int) -> str:
    """Return the name of the container at `place` where its author gave none: main, service-1 and so on."""
    return MAIN_CONTAINER if place == 0 else f"service-{place}"


def container_name(container: Mapping[str, object], place: int, where: str) -> str:
    """Return the name of the container at `place`: its own, else its default.

    Raises:
        InvalidPodError: it is no name, or one of ours.
    """
    name = container.get("name") or default_name(place)
    if not isinstance(name, str) or not _DNS_LABEL.fullmatch(name):
        raise InvalidPodError(f"{where}.containers[{place}].name: {name!r} is no DNS label")
    if name.startswith(OWN_PREFIX):
        raise InvalidPodError(
            f"{where}.containers[{place}].name: {name} is reserved, choose one without `{OWN_PREFIX}`"
        )
    return name


def is_privileged(container: Mapping[str, object], where: str, *, allowed: bool, restricted: bool) -> bool:
    """Return whether the container may do everything; `where` is its path.

    Raises:
        InvalidPodError: it asks for it, and the executor or the namespace forbids it.
    """
    if container.get("privileged") is not True:
        return False
    if not allowed:
        raise InvalidPodError(f"{where}.privileged: the executor does not allow privileged containers")
    if restricted:
        raise InvalidPodError(
            f"{where}.privileged: the namespace enforces Pod Security `restricted`, "
            "which forbids privileged containers; use another namespace",
        )
    return True


def is_our_place(path: str) -> bool:
    """Whether nothing can be mounted at a path in a container, however it is written."""
    parts = [part for part in posixpath.normpath(f"/{path}").split("/") if part]
    return not parts or parts[0] == MOUNT.strip("/") or parts == ["dev", "termination-log"]


def user_mounts(container: Mapping[str, object], where: str) -> list[object]:
    """Return where volumes of the pod appear in the container; `where` is its path.

    Raises:
        InvalidPodError: a mount is in a place that is ours, or of a volume that is.
    """
    mounts = container.get("volumeMounts") or []
    if not isinstance(mounts, list | tuple):
        raise InvalidPodError(f"{where}.volumeMounts: expected a list, found {type(mounts).__name__}")
    for index, mount in enumerate(mounts):
        path = mount.get("mountPath") if isinstance(mount, Mapping) else None
        if is_our_place(str(path or "")):
            raise InvalidPodError(
                f"{where}.volumeMounts[{index}].mountPath: {path!r} cannot be used; "
                f"{MOUNT} and /dev/termination-log are Runabout's own, choose another path",
            )
        volume = mount.get("name") if isinstance(mount, Mapping) else None
        if str(volume).startswith(OWN_PREFIX):
            raise InvalidPodError(
                f"{where}.volumeMounts[{index}].name: {volume} is Runabout's own and cannot be mounted; "
                "mount a volume of `pod.volumes`"
            )
    return list(mounts)
