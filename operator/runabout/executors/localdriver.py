"""The port of drivers that execute attempts on this machine, and what they have in common.

Such a driver is what a cluster's API server and kubelet are, too: it shows each attempt as the pod that it stands for,
so that whoever observes pods observes it, has its logs, and knows the tokens that it gave to attempts.
"""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

from runabout.executors.driver import Driver
from runabout.executors.manifest import PLAN_ANNOTATION, PLAN_FILE, PodManifest
from runabout.executors.podview import mapping
from runabout.records.json import JsonObject

NODE = "local"
TOOLBOX = "toolbox"
PROGRAMS = (TOOLBOX, "runabout-clone")
"""What executes steps; the second one is needed by those that clone, and lies beside the first."""

Changed = Callable[[JsonObject | None, JsonObject | None], None]
"""Is told of a pod before and after it has changed; None: it is not there."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """The file with the log of one container."""

    path: Path
    framed: bool = False
    """Whether each line has a time and a stream before it; see `framedlog`."""
    of_service: bool = False
    """Whether its container is no steps'."""


class LocalDriver(Driver, Protocol):
    """An async context, at whose end nothing runs any more."""

    async def __aenter__(self) -> Self:
        """Begin."""
        ...

    async def __aexit__(self, *error: object) -> None:
        """End everything, and wait for that."""
        ...

    def kill(self) -> None:
        """End everything at once; each attempt is shown to have ended in a moment."""
        ...

    def pod(self, namespace: str, name: str) -> JsonObject | None:
        """Return an attempt as the pod that it stands for."""
        ...

    def log(self, pod: str, container: str) -> LogFile | None:
        """Return the log of a container, which grows until that is over; None if there is none.

        That of an earlier process, which was killed, is as good.
        """
        ...

    def is_over(self, pod: str, container: str) -> bool:
        """Whether nothing of a container runs any more."""
        ...

    def holder(self, token: str) -> tuple[str, str] | None:
        """Return namespace and pod to which a token was given, while that runs."""
        ...


def put_programs(toolbox: Path, folder: Path) -> None:
    """Copy the programs beside `toolbox` into a folder; a link would not do, for a toolbox takes notes beside itself.

    Raises:
        OSError: the toolbox is not there, or cannot be copied.
    """
    for name in PROGRAMS:
        with suppress(FileNotFoundError):
            shutil.copy2(toolbox.with_name(name) if name != TOOLBOX else toolbox, folder)
    (folder / toolbox.name).rename(folder / TOOLBOX)


def plan_of(manifest: PodManifest) -> str:
    """Return the plan that a pod carries, as JSON."""
    if manifest.config_map is not None:
        return str(mapping(manifest.config_map["data"])[PLAN_FILE])
    return str(mapping(mapping(manifest.pod["metadata"])["annotations"])[PLAN_ANNOTATION])


def shown_pod(manifest: PodManifest, *, uid: str, created: int, status: Mapping[str, object]) -> JsonObject:
    """Return the pod that an attempt stands for; `created` is in milliseconds since 1970."""
    metadata = {**mapping(manifest.pod["metadata"]), "uid": uid, "creationTimestamp": time_text(created)}
    return {"metadata": metadata, "spec": {"nodeName": NODE}, "status": status}


def time_text(ms: int | None) -> str | None:
    """Return milliseconds since 1970 as Kubernetes writes times, but exactly."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
