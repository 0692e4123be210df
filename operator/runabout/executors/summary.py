"""The summary that the toolbox leaves in the termination message, and whether to believe it.

Pure. What a step wrote there itself, or anything else that is not exactly a summary, is no summary: then only the
container's exit code counts. The format is that of docs/internals/toolbox.md, section Summary.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runabout.records import Status

_MAX_TEXT: Final = 4_096


class EndReason(StrEnum):
    """Why a task ended as it did, in the toolbox's words; a closed list."""

    COMPLETED = "Completed"
    STEP_FAILED = "StepFailed"
    TIMEOUT = "Timeout"
    STOPPED = "Stopped"
    BAD_PLAN = "BadPlan"
    NO_SHELL = "NoShell"
    UNKNOWN_USER = "UnknownUser"
    USER_NOT_PERMITTED = "UserNotPermitted"
    WORKING_DIR = "WorkingDir"
    CANNOT_START = "CannotStart"
    MISSING_RESULT = "MissingResult"
    INTERNAL = "Internal"


@dataclass(frozen=True, slots=True)
class StepSummary:
    """The end of one step; times are milliseconds since 1970, None for a step that did not start."""

    status: Status
    exit_code: int | None
    size: int
    started: int | None
    ended: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a task. `started` is milliseconds since 1970; `setup_size` and the steps' sizes are bytes of log."""

    nonce: str
    toolbox: str
    started: int
    exit_code: int
    reason: EndReason
    message: str
    setup_size: int
    steps: tuple[StepSummary, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The bytes of the setup and of each step, as the log splitter's `finish` takes them."""
        return (self.setup_size, *(step.size for step in self.steps))


def parse_summary(text: str, *, nonce: str | None, exit_code: int | None, steps: int | None = None) -> Summary | None:
    """Return the summary in a termination message, None if there is none that can be believed.

    Args:
        text: the message of the terminated container.
        nonce: the log's, which a step cannot know; None if the log was not read.
        exit_code: the container's, None if it is not known; the summary must agree with it.
        steps: how many steps the task has; the summary must have as many, or none if its plan was not read.
    """
    try:
        wire = _Wire.model_validate_json(text)
    except ValidationError:
        return None
    expected = {steps, 0} if wire.reason in {EndReason.BAD_PLAN, EndReason.INTERNAL} else {steps}
    if (
        (nonce is not None and wire.nonce != nonce)
        or (exit_code is not None and wire.exit != exit_code)
        or (steps is not None and len(wire.steps) not in expected)
        or (wire.exit == 0) != (wire.reason == EndReason.COMPLETED)
    ):
        return None
    return Summary(
        nonce=wire.nonce,
        toolbox=wire.toolbox,
        started=wire.start,
        exit_code=wire.exit,
        reason=wire.reason,
        message=wire.message,
        setup_size=wire.setup,
        steps=tuple(_step(step, wire.start) for step in wire.steps),
    )


_Count = Annotated[int, Field(ge=0, lt=1 << 53)]
_ExitCode = Annotated[int, Field(ge=0, le=255)]
_State = Literal["success", "failed", "stopped", "notstarted", "skipped"]
_Row = tuple[_State, _ExitCode, _Count, _Count, _Count]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    runabout: Literal[1]
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    toolbox: Annotated[str, Field(max_length=64)]
    start: _Count
    exit: _ExitCode
    reason: EndReason
    message: Annotated[str, Field(max_length=_MAX_TEXT)]
    setup: _Count
    steps: Annotated[list[_Row], Field(max_length=64)]


def _step(row: _Row, start: int) -> StepSummary:
    state, exit_code, size, started, ended = row
    status = Status(state)
    if status in (Status.NOTSTARTED, Status.SKIPPED):
        return StepSummary(status, None, 0, None, None)
    return StepSummary(status, exit_code, size, start + started, start + ended)
