"""What a task's pod says, in the words of a run: the answer of :func:`runabout.executors.observe.observe`.

A state is one of five classes. `Ended` and `Machinery` are final for the attempt, even if the pod still exists (an
image that never came): `cleanup` says what to do about it. Times are milliseconds since 1970.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from runabout.executors.summary import Summary
from runabout.records import Reason, StepState


class Cleanup(StrEnum):
    """What the caller has to do about the pod of an attempt that is over, once its log is stored."""

    NONE = "none"
    """Nothing: it has ended by itself, or is gone."""
    DELETE = "delete"
    """Delete it: it would wait or run on."""
    FORCE = "force"
    """Delete it without waiting for its node, which does not answer."""


class Outcome(StrEnum):
    """How an attempt ended when the task itself, or whoever stopped it, ended it."""

    SUCCESS = "success"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an attempt may wait before it is given up; from the executor's spec and the task's. 0 is no limit."""

    image_pull_seconds: int = 900
    pending_seconds: int = 3_600
    timeout_seconds: int = 0
    """The task's own, from the start of its main container. The toolbox enforces it; this is for one that does not."""
    grace_seconds: int = 30


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt that still runs, or waits, cannot come to a good end: its own failure, never the machinery's.

    `service` is the one whose failure it is; `told` says that `message` has what that one wrote last.
    """

    reason: Reason
    message: str
    service: str | None = None
    told: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such pod, and none was seen."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The main container has not started. `message` is for people; `since` is when this wait began.

    `look_again` is when time alone can change the answer: observe again then, even if the pod says nothing new.
    `fault` is set where the pod has to be ended because of it, gracefully, then by force; see `Running`.
    """

    reason: Reason
    message: str
    since: int
    look_again: int | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """The main container runs; `reason` is set while something is ending it (Stopping, PodDeleted, NodeLost…).

    `fault` is set where the caller has to end it. Nothing is decided by that: the attempt ends with its container, and
    one that ends well by itself meanwhile has ended well.
    """

    since: int
    reason: Reason | None = None
    message: str = ""
    look_again: int | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt is over and counts: a success, the user's own failure, a stop that we asked for, or a lost node.

    `reason` is None exactly for a success. `steps` is empty where there is no summary that can be trusted: then only
    `exit_code` counts, None if not even that is known. A lost node is the only failure of the machinery here: another
    attempt could be executed beside this one. `summary` has what the end of the log is checked against, `fault` is what
    explains the end, where anything beside the steps does.
    """

    outcome: Outcome
    reason: Reason | None = None
    message: str = ""
    exit_code: int | None = None
    started: int | None = None
    ended: int | None = None
    steps: tuple[StepState, ...] = ()
    summary: Summary | None = None
    cleanup: Cleanup = Cleanup.NONE
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Machinery:
    """The attempt is over and was none of the user's doing: a new one may be opened from the machinery's budget."""

    reason: Reason
    message: str
    exit_code: int | None = None
    started: int | None = None
    ended: int | None = None
    steps: tuple[StepState, ...] = ()
    summary: Summary | None = None
    cleanup: Cleanup = Cleanup.NONE


PodState: TypeAlias = Absent | Pending | Running | Ended | Machinery
