"""What is stored about a task: its configuration (immutable) and its state (small, mutable)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

from pydantic import PlainSerializer

from runabout.records.ids import RunId
from runabout.records.json import JsonObject
from runabout.records.words import Condition, Reason, Status, Verdict

__all__ = [
    "Approval",
    "Approvers",
    "Attempt",
    "Dependency",
    "Retries",
    "StepState",
    "Task",
    "TaskConfig",
    "Tasks",
    "altered",
]


@dataclass(frozen=True, slots=True)
class Dependency:
    """One parent and the ends of it on which the child may start."""

    task: str
    conditions: Annotated[frozenset[Condition], PlainSerializer(sorted)] = frozenset({Condition.ON_SUCCESS})


@dataclass(frozen=True, slots=True)
class Approvers:
    """Whose approvals count, and how many distinct ones are needed; no names at all means anybody's."""

    min: int = 1
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retries:
    """How often the user's own failures are tried again."""

    limit: int = 0
    backoff_seconds: int = 0
    on_exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """What one authenticated caller said of one task; recorded with the time when it was seen (ms since 1970)."""

    task: str
    by: str
    verdict: Verdict = Verdict.APPROVED
    groups: tuple[str, ...] = ()
    time: int = 0


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """A task as submitted, after matrix expansion.

    `body` holds what only an executor's driver looks at (containers, steps, environment, workingDir, shell, user,
    pod, skipRestOnExitCodes), as in the Run's spec; the fields here are what deciding and placing need. `values` are
    those of a variant, by their keys. Only what is stored has a `matrix`: a task that stands for its variants.
    """

    name: str
    depends: tuple[Dependency, ...] = ()
    skip: bool = False
    ignore_failure: bool = False
    needs_approval: bool = False
    approvers: Approvers = Approvers()
    arch: str | None = None
    executor_selector: JsonObject | None = None
    privileged: bool = False
    retries: Retries = Retries()
    timeout_seconds: int = 0
    body: JsonObject = field(default_factory=dict)
    matrix: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepState:
    """How one step of the last attempt went, and where its log stands in the attempt's log object.

    `status` is notstarted, running, success, failed, stopped or skipped. `log_offset` and `log_size` are bytes.
    """

    name: str
    status: Status = Status.NOTSTARTED
    exit_code: int | None = None
    started: int | None = None
    ended: int | None = None
    log_offset: int = 0
    log_size: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """An earlier attempt of a task that did not decide it."""

    number: int
    pod: str
    executor: str
    reason: Reason
    message: str = ""
    exit_code: int | None = None
    started: int | None = None
    ended: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """The state of one task of one run.

    `attempt` is 0 until the task is first given to an executor, then 1, 2, …; `executor` is set exactly while it is
    on one. `executed_by` names the run that executed a task which a restart kept. `waiting_since` is set while the
    task waits for approval. `stored` says that logs and archives of the last attempt are stored (or that there are
    none); `archived` says the same of its workspace archives alone, which is what its children wait for.
    """

    run: RunId
    name: str
    status: Status = Status.NOTSTARTED
    attempt: int = 0
    executor: str | None = None
    pod: str | None = None
    executed_by: RunId | None = None
    approvals: tuple[Approval, ...] = ()
    waiting_since: int | None = None
    reason: Reason | None = None
    message: str = ""
    exit_code: int | None = None
    started: int | None = None
    ended: int | None = None
    steps: tuple[StepState, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    stored: bool = True
    archived: bool = True
    late_logs: bool = False

    @property
    def finished(self) -> bool:
        """Whether nothing will change the status any more."""
        return self.status not in (Status.NOTSTARTED, Status.RUNNING)


Tasks = Mapping[str, Task]

if TYPE_CHECKING:
    # to the type checker it is what it does: the names and types of what is changed are checked
    from dataclasses import replace as altered
else:
    _NAMES = tuple(each.name for each in fields(Task))
    _VALUES = attrgetter(*_NAMES)
    _WRITE = {name: getattr(Task, name).__set__ for name in _NAMES}
    _WRITES = tuple(_WRITE.values())

    def altered(task: Task, /, **changes: object) -> Task:
        """Return a task that differs in `changes`: `dataclasses.replace`, in half the time.

        One decision changes up to ten thousand tasks, and most of its time went into copies.
        """
        made = object.__new__(Task)
        for write, value in zip(_WRITES, _VALUES(task), strict=True):
            write(made, value)
        for name, value in changes.items():
            _WRITE[name](made, value)
        return made
