"""How the containers of an attempt are, and the pod's status that says so, as a kubelet's would."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from runabout.executors.localdriver import time_text
from runabout.executors.podview import milliseconds, text
from runabout.records.json import JsonObject

NOT_STARTED = "StartError"
"""A kubelet's word for a container whose program could not be begun."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container; it waits until it has `started`, and runs until it has `ended` (ms since 1970, both)."""

    name: str
    reason: str = "PodInitializing"
    message: str = ""
    started: int | None = None
    ended: int | None = None
    exit_code: int | None = None
    ready: bool = False

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return self.started is not None and self.ended is None

    def waiting(self, reason: str, message: str) -> "ContainerState":
        """Return it as it waits for something."""
        return replace(self, reason=reason, message=message)

    def going(self, *, started: int | None, ready: bool | None) -> "ContainerState":
        """Return it as it begins, or gets ready."""
        return replace(self, started=self.started or started, ready=self.ready if ready is None else ready)

    def unstarted(self, message: str, *, now: int) -> "ContainerState":
        """Return it as one that could not be started."""
        return replace(self, reason=NOT_STARTED, message=message, ended=now, exit_code=128)

    def over(self, inspected: JsonObject, *, message: str, now: int) -> "ContainerState":
        """Return it as it ended, by what `podman inspect` says of its state; `now` where that says no time."""
        code = inspected.get("ExitCode")
        code = code if isinstance(code, int) else 137
        reason = "OOMKilled" if inspected.get("OOMKilled") is True else "Completed" if code == 0 else "Error"
        ended = milliseconds(text(inspected.get("FinishedAt")))
        return replace(
            self,
            reason=reason,
            message=message,
            started=began(inspected) or self.started or now,
            ended=ended if ended is not None and ended > 0 else now,
            exit_code=code,
        )

    def shown(self) -> JsonObject:
        """Return the status of the container in a pod."""
        if self.ended is not None:
            state: dict[str, object] = {
                "terminated": {
                    "exitCode": self.exit_code,
                    "reason": self.reason,
                    "message": self.message,
                    "startedAt": time_text(self.started),
                    "finishedAt": time_text(self.ended),
                }
            }
        elif self.started is not None:
            state = {"running": {"startedAt": time_text(self.started)}}
        else:
            state = {"waiting": {"reason": self.reason, "message": self.message}}
        return {"name": self.name, "state": state, "started": self.ready, "restartCount": 0}


def began(inspected: JsonObject) -> int | None:
    """Return when a container began, in milliseconds since 1970; None for one that did not."""
    found = milliseconds(text(inspected.get("StartedAt")))
    return found if found is not None and found > 0 else None


def pod_status(
    main: ContainerState, services: Sequence[ContainerState], *, created: int, broken: str | None
) -> JsonObject:
    """Return the status of the pod; `broken` is why it was given up without an end of its main container."""
    phase = "Pending" if main.started is None else "Running"
    if main.ended is not None and not _any_runs(services):
        phase = "Succeeded" if main.exit_code == 0 else "Failed"
    said: dict[str, object] = {}
    if broken is not None and main.ended is None:
        # A kubelet's word for a pod that its node cannot take: not the user's doing, so that another attempt follows.
        phase, said = "Failed", {"reason": "UnexpectedAdmissionError", "message": broken}
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": time_text(created)}
    return {
        "phase": phase,
        **said,
        "conditions": [placed],
        "initContainerStatuses": [service.shown() for service in services],
        "containerStatuses": [main.shown()],
    }


def _any_runs(states: Iterable[ContainerState]) -> bool:
    return any(state.runs for state in states)
