"""The port through which the control plane runs tasks: few verbs, each safe to repeat, each with a typed answer.

A driver never decides anything: what to create, stop or remove was committed before it is called. It raises nothing
that its caller has to know: what a server refused or could not do comes back as a value, in the server's words.
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from runabout.executors.manifest import PodManifest


@dataclass(frozen=True, slots=True)
class PodRef:
    """One pod, told apart from any other of the same name by its uid (None: whichever has the name)."""

    namespace: str
    name: str
    uid: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """The pod exists and is ours, whether this call made it or an earlier one did."""

    uid: str
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The server understood and said no: quota, admission, a webhook. A wait (reason CreationRefused), tried again."""

    message: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """The server can never accept this: the user's failure (reason InvalidPod)."""

    message: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The server did not answer, or asked for patience; nothing is known to have happened.

    `retry_after` is in seconds, None where the server named no time.
    """

    message: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The request was accepted; `gone` says that there is no such pod any more (or never was)."""

    gone: bool = False


Creation: TypeAlias = Created | Refused | Invalid | Unavailable
Removal: TypeAlias = Done | Refused | Unavailable


class Driver(Protocol):
    """Starts, stops and removes what executes one attempt of a task."""

    async def create(self, manifest: PodManifest) -> Creation:
        """Create the pod (its ConfigMap first, where it has one) unless it is already there."""
        ...

    async def stop(self, pod: PodRef, *, started: bool, grace_seconds: int) -> Removal:
        """End the pod gracefully: SIGTERM now, SIGKILL after the grace period.

        `started` says whether its main container was seen to run: one that did not has nothing to say and is deleted,
        with `grace_seconds`; one that did ends within its own grace period, and stays with its log and its summary
        until `remove`.
        """
        ...

    async def exists(self, pod: PodRef) -> bool:
        """Ask the server itself, not a cache; False only if it said so, True while it cannot be asked."""
        ...

    async def remove(self, pod: PodRef, *, force: bool = False) -> Removal:
        """Delete the pod; `force` also from a node that no longer answers."""
        ...
