"""The vocabulary: one lower-case word for each phase, result, task status and condition.

Reasons are CamelCase and closed: each value of :class:`Reason` is documented in docs/reference/reasons.md.
"""

from enum import StrEnum


class Phase(StrEnum):
    """Where a run is in its life."""

    SETUPERROR = "setuperror"
    QUEUED = "queued"
    CANCELLED = "cancelled"
    RUNNING = "running"
    FINISHED = "finished"


TERMINAL_PHASES = frozenset({Phase.SETUPERROR, Phase.CANCELLED, Phase.FINISHED})


class Result(StrEnum):
    """What came out of a run; set once, while it is running."""

    UNKNOWN = "unknown"
    SUCCESS = "success"
    FAILED = "failed"
    STOPPED = "stopped"


class Status(StrEnum):
    """Where a task is in its life."""

    NOTSTARTED = "notstarted"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


FINISHED_STATUSES = frozenset(
    {Status.SUCCESS, Status.FAILED, Status.STOPPED, Status.CANCELLED, Status.SKIPPED},
)


class Condition(StrEnum):
    """On which end of a parent a task may start."""

    ON_SUCCESS = "on_success"
    ON_FAILURE = "on_failure"
    ON_SKIPPED = "on_skipped"


class Verdict(StrEnum):
    """What a person says of a task that needs approval."""

    APPROVED = "approved"
    REFUSED = "refused"


class RestartFrom(StrEnum):
    """Which tasks a restart recreates."""

    START = "start"
    FAILED = "failed"


class Reason(StrEnum):
    """Why something waits, ended or went wrong; a closed list."""

    # the user's own failures and decisions
    EXIT_CODE = "ExitCode"
    OOM_KILLED = "OOMKilled"
    TIMEOUT = "Timeout"
    REFUSED = "Refused"
    STOPPED = "Stopped"
    REPLACED = "Replaced"
    STEP_ERROR = "StepError"
    MISSING_RESULT = "MissingResult"
    INVALID_POD = "InvalidPod"
    CONFIG_ERROR = "ConfigError"
    IMAGE_PULL = "ImagePull"
    SERVICE_FAILED = "ServiceFailed"
    SERVICE_NOT_READY = "ServiceNotReady"

    # the machinery's failures, with their own budget of attempts
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    PREEMPTED = "Preempted"
    POD_DELETED = "PodDeleted"
    POD_LOST = "PodLost"
    REGISTRY_ERROR = "RegistryError"
    MACHINERY_ERROR = "MachineryError"

    # waits
    QUEUED_BEHIND = "QueuedBehind"
    SUSPENDED = "Suspended"
    NO_EXECUTOR = "NoExecutor"
    NO_FREE_SLOT = "NoFreeSlot"
    AWAITING_APPROVAL = "AwaitingApproval"
    BACK_OFF = "BackOff"
    UNSCHEDULABLE = "Unschedulable"
    CREATION_REFUSED = "CreationRefused"
    CONTAINER_CREATING = "ContainerCreating"
    STOPPING = "Stopping"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    RECORD_MISSING = "RecordMissing"


MACHINERY_REASONS = frozenset(
    {
        Reason.EVICTED,
        Reason.NODE_LOST,
        Reason.PREEMPTED,
        Reason.POD_DELETED,
        Reason.POD_LOST,
        Reason.REGISTRY_ERROR,
        Reason.CONTAINER_CREATING,
        Reason.MACHINERY_ERROR,
    }
)
"""Why an attempt was lost through no fault of its task; such attempts have a budget of their own."""
