"""How a task reaches the gateway: what its plan says, and the token in its pod, where it needs them.

The token is a service account's, for the gateway alone, bound to the pod and gone with it. It is no right to anything
else: the gateway asks the API server whose it is, and gives what that attempt may have.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runabout.executors.errors import InvalidPodError
from runabout.executors.results import referring_steps
from runabout.records import TaskConfig

AUDIENCE = "runabout-gateway"
TOKEN_VOLUME = "runabout-token"  # noqa: S105 - a volume's name
TOKEN_FOLDER = "/runabout/token"  # noqa: S105 - a folder
TOKEN_FILE = f"{TOKEN_FOLDER}/token"
TOKEN_SECONDS = 3600
"""The kubelet renews it when four fifths have passed."""
KINDS = ("saveToWorkspace", "restoreWorkspace", "saveCache", "restoreCache")
"""Kinds of steps that need the gateway."""
ADVICE = "needs the gateway: set gateway.enabled in the chart"


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """Where the gateway is, and the authorities (PEM) that tasks trust for it and for the object storage."""

    url: str
    ca: str = ""

    def planned(self) -> dict[str, str]:
        """Return what a plan says."""
        return {"url": self.url, **({"ca": self.ca} if self.ca else {}), "tokenFile": TOKEN_FILE}


def needing_steps(body: Mapping[str, object]) -> Iterator[tuple[int, str]]:
    """Yield place and kind (or field) of each step that needs the gateway; `body` is the task as users write it."""
    steps = body.get("steps")
    for place, step in enumerate(steps if isinstance(steps, list | tuple) else ()):
        kinds = [kind for kind in KINDS if isinstance(step, Mapping) and step.get(kind) is not None]
        yield from ((place, kind) for kind in kinds)
    yield from referring_steps(body)


def access_for(task: TaskConfig, access: GatewayAccess | None, where: str) -> GatewayAccess | None:
    """Return the access that a task gets, None where there is none.

    Raises:
        InvalidPodError: it needs one, and the installation has no gateway.
    """
    needing = next(needing_steps(task.body), None)
    if needing is not None and access is None:
        raise InvalidPodError(f"{where}.steps[{needing[0]}].{needing[1]}: {ADVICE}")
    return access


def token_mount() -> dict[str, object]:
    """Return the mount of the token, in the container that runs the steps."""
    return {"name": TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": True}


def token_volume() -> dict[str, object]:
    """Return the pod's volume with the token."""
    source = {"audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    return {"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": source}]}}
