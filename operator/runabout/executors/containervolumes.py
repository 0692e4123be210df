"""A pod's volumes as folders of this machine, for containers of Podman.

What always holds: what is made for an attempt is below its folder; an emptyDir can be written to by every user, what
comes from a Secret or ConfigMap can be read by every user of the containers that have it, and by nobody else, since
the folder above it is ours alone.
"""

import posixpath
import shutil
from collections.abc import Mapping
from pathlib import Path

from runabout.executors.containerflags import Mount
from runabout.executors.gatewayaccess import TOKEN_VOLUME
from runabout.executors.localsecrets import LocalSecrets, UnusableError
from runabout.executors.manifest import BIN_VOLUME, PLAN_VOLUME
from runabout.executors.podview import items, mapping, text
from runabout.records.json import JsonObject

FOLDER = "volumes"
OWN = {BIN_VOLUME: "bin", PLAN_VOLUME: "plan", TOKEN_VOLUME: "token"}
"""Volumes that the driver itself fills, and their folders in the attempt's."""


def make_volumes(pod: JsonObject, folder: Path, secrets: LocalSecrets) -> dict[str, Path]:
    """Make the volumes of a pod's spec below an attempt's `folder`; return where each is.

    Raises:
        UnusableError: one is of a kind that only a cluster has, or its content is missing.
        OSError: the disk does not take it.
    """
    made: dict[str, Path] = {}
    for volume in items(pod.get("volumes")):
        name = text(volume.get("name"))
        if name in OWN:
            made[name] = folder / OWN[name]
            continue
        place = folder / FOLDER / name
        host = mapping(volume.get("hostPath"))
        if host:
            made[name] = _on_host(name, text(host.get("path")))
            continue
        source = next((key for key in ("secret", "configMap") if volume.get(key) is not None), None)
        if source is None and "emptyDir" not in volume:
            kinds = ", ".join(key for key in volume if key != "name")
            raise UnusableError(
                f"the volume {name} is of a kind that only a cluster has ({kinds}): use emptyDir, secret, configMap or "
                "hostPath"
            )
        place.mkdir(parents=True)
        place.chmod(0o777)
        if source is not None:
            _fill(place, name, mapping(volume.get(source)), secrets)
        made[name] = place
    return made


def mounts_of(container: JsonObject, volumes: Mapping[str, Path]) -> list[Mount]:
    """Return the mounts of a container.

    Raises:
        UnusableError: a volume is not there, or a subPath leaves its volume.
        OSError: the folder of a subPath cannot be made.
    """
    made = []
    for mount in items(container.get("volumeMounts")):
        name, target = text(mount.get("name")), text(mount.get("mountPath"))
        if name not in volumes:
            raise UnusableError(f"the volume {name}, to be mounted at {target}, is not among pod.volumes")
        source = volumes[name]
        part = posixpath.normpath(text(mount.get("subPath")) or ".")
        if part.startswith(("/", "..")):
            raise UnusableError(f"the subPath {part} of the volume {name} is not in it")
        if part != ".":
            source /= part
            if not source.exists():
                source.mkdir(parents=True)
                source.chmod(0o777)
        made.append(Mount(str(source), target, mount.get("readOnly") is True))
    return made


def _on_host(name: str, path: str) -> Path:
    if not Path(path).exists():
        raise UnusableError(f"the volume {name} is {path} of this machine, which is not there: make it")
    return Path(path)


def _fill(place: Path, volume: str, source: JsonObject, secrets: LocalSecrets) -> None:
    name = text(source.get("secretName")) or text(source.get("name"))
    values = secrets.volume(volume, name, optional=source.get("optional") is True)
    if values is None:
        return
    chosen = {text(item.get("key")): text(item.get("path")) for item in items(source.get("items"))}
    for key in chosen or {file.name: file.name for file in values.iterdir() if file.is_file()}:
        file = place / posixpath.normpath(chosen.get(key) or key).lstrip("/")
        if not file.is_relative_to(place) or ".." in file.parts:
            raise UnusableError(f"the volume {volume} puts the key {key} outside of itself")
        if not (values / key).is_file():
            raise UnusableError(
                f"the volume {volume} has the key {key} of {name}: put its value into the file {values / key}"
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(values / key, file)
        mode = source.get("defaultMode")
        file.chmod((mode if isinstance(mode, int) else 0o644) | 0o444)
