"""Steps that clone a repository: what the plan says of them, and how the pod brings what they log in with.

A Secret is mounted as files into the container of the steps and nowhere else; its values are in no plan, argument or
variable. The volume is optional, so that the toolbox can say at once that a Secret is missing; the pod would wait.
"""

from collections.abc import Mapping

from runabout.executors.errors import InvalidPodError
from runabout.records import TaskConfig

KIND = "clone"
FOLDER = "/runabout/credentials"
VOLUME = "runabout-credentials"
MODE = 0o444
"""Readable for whichever user the steps run as, whom only the image may know; no other container has the mount."""
INSTALL = "clone"
"""What the toolbox is told to install besides itself."""
_PASSED_ON = ("url", "ref", "destDir", "depth", "submodules", "knownHosts")


def clones(task: TaskConfig) -> bool:
    """Whether a step of the task clones a repository."""
    return any(True for _ in _clones(task))


def credentials(task: TaskConfig) -> tuple[str, ...]:
    """Return the names of the Secrets that the task's steps log in with, each once, in the order of the steps."""
    return tuple(dict.fromkeys(filter(None, map(_secret, _clones(task)))))


def planned(source: object, secrets: tuple[str, ...], where: str) -> dict[str, object]:
    """Return a clone step's part of the plan; `secrets` are the task's.

    Raises:
        InvalidPodError: it is no object, or has no address.
    """
    if not isinstance(source, Mapping):
        raise InvalidPodError(f"{where}: expected an object, found {type(source).__name__}")
    if not isinstance(source.get("url"), str) or not source["url"]:
        raise InvalidPodError(f"{where}.url: an address is needed")
    made = {field: source[field] for field in _PASSED_ON if source.get(field) is not None}
    secret = _secret(source)
    if secret:
        made["credentials"] = {"secret": secret, "folder": _folder(secrets.index(secret))}
    return made


def mounts(secrets: tuple[str, ...]) -> list[dict[str, object]]:
    """Return the mounts of the container that runs the steps."""
    return [{"name": _volume(place), "mountPath": _folder(place), "readOnly": True} for place, _ in enumerate(secrets)]


def volumes(secrets: tuple[str, ...]) -> list[dict[str, object]]:
    """Return the pod's volumes for them."""
    return [
        {"name": _volume(place), "secret": {"secretName": secret, "defaultMode": MODE, "optional": True}}
        for place, secret in enumerate(secrets)
    ]


def _clones(task: TaskConfig) -> list[Mapping[str, object]]:
    steps = task.body.get("steps")
    found = [step.get(KIND) for step in (steps if isinstance(steps, list | tuple) else ()) if isinstance(step, Mapping)]
    return [clone for clone in found if isinstance(clone, Mapping)]


def _secret(clone: Mapping[str, object]) -> str:
    reference = clone.get("credentials")
    name = reference.get("name") if isinstance(reference, Mapping) else None
    return name if isinstance(name, str) else ""


def _folder(place: int) -> str:
    return f"{FOLDER}/{place}"


def _volume(place: int) -> str:
    return f"{VOLUME}-{place}"
