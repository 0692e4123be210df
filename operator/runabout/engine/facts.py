"""What is observed of a run, and what a decision makes of it: the two sides of `decide`.

Facts may come in any order, together or one by one, and again: one that does not fit the state any more (an end of an
earlier attempt, an assignment of a task that is over, a task that does not exist) has no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from runabout.engine.state import State
from runabout.records import Approval, Attempt, Event, Reason, Run, RunId, Status, StepState, Task

_ENDS = frozenset({Status.SUCCESS, Status.FAILED, Status.STOPPED})


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task was given to an executor, as a pod of this name.

    `attempt` is the number the attempt gets; with 0 it is the next one, whichever that is.
    """

    executor: str
    pod: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """An attempt ended and decided its task: success, failed or stopped; `ended` in ms since 1970.

    `attempt` is the attempt's number; with 0 it is the one under way. `archived` says that its workspace archives are
    stored, or that it has none.

    Raises:
        ValueError: the status is none in which an attempt ends.
    """

    status: Status
    ended: int
    reason: Reason | None = None
    message: str = ""
    exit_code: int | None = None
    steps: tuple[StepState, ...] = ()
    attempt: int = 0
    archived: bool = True

    def __post_init__(self) -> None:
        if self.status not in _ENDS:
            raise ValueError(f"an attempt ends in success, failed or stopped, not in {self.status.value}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is observed.

    `now` (ms since 1970) is written down, and compared with the run's time-out and with the pauses between attempts.
    `start`: the group's order lets the run start. `stop`: the run is to be stopped; cannot be taken back.
    `replaced_by`: the newer run of its group that has it stopped by its `concurrency`; has no effect after a stop.
    `assigned`: tasks given to executors. `ended`: attempts that decided their tasks. `retry`: attempts that are over
    without deciding their tasks. `approvals`: what people said, all of it or only what is new. `stored`: tasks whose
    last attempt's logs and archives are stored, with the steps as they then stand (empty: as they were). `archived`:
    tasks whose workspace archives are stored. `storage_late`: the ost was away too long, finish without waiting for it.
    """

    now: int
    start: bool = False
    stop: bool = False
    replaced_by: RunId | None = None
    assigned: Mapping[str, Assignment] = field(default_factory=dict)
    ended: Mapping[str, TaskEnd] = field(default_factory=dict)
    retry: Mapping[str, Attempt] = field(default_factory=dict)
    approvals: tuple[Approval, ...] = ()
    stored: Mapping[str, tuple[StepState, ...]] = field(default_factory=dict)
    archived: frozenset[str] = frozenset()
    storage_late: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, what changed, the events in order, and what to do.

    `changed` and all names are in level order, then by name. `ready` may be given to an executor now; `stop` are on one
    and have to be stopped; `blocked` could start but for archives of parents that are not stored yet. `wake` is when
    time alone changes something (ms since 1970): the run's time-out, or the end of a pause before another attempt.
    """

    state: State
    changed: tuple[Task, ...] = ()
    events: tuple[Event, ...] = ()
    ready: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    wake: int | None = None

    @property
    def run(self) -> Run:
        """The run after the decision."""
        return self.state.run
