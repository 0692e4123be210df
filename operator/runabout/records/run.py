"""What is stored about a run: its configuration (immutable), its state (small, mutable), its root group's counter."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from runabout.records.ids import RunId
from runabout.records.json import JsonObject
from runabout.records.matrix import StoredTasks
from runabout.records.words import Phase, Reason, RestartFrom, Result


@dataclass(frozen=True, slots=True)
class EnvVarSource:
    """A key of a Secret or ConfigMap in the Run's namespace; the value itself is never stored."""

    kind: str
    """`secretKeyRef` or `configMapKeyRef`"""
    name: str
    key: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class EnvVar:
    """A variable with either a value or the place where Kubernetes finds it."""

    name: str
    value: str | None = None
    value_from: EnvVarSource | None = None


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What was asked for; never changes.

    `group` and `cache_group` are effective: they begin with `/<namespace>`. `setup_errors` is the full list, the
    spec's own first. `tasks` are expanded (matrix) and in the order of the spec; stored they are not.
    `pod` is the Run's pod defaults.
    """

    id: RunId
    namespace: str
    name: str
    uid: str
    group: str
    cache_group: str
    created: int
    tasks: StoredTasks = ()
    setup_errors: tuple[str, ...] = ()
    setup_error_count: int = 0
    """of all of them, also those that a record has no room for; 0: as many as there are lines"""
    environment: tuple[EnvVar, ...] = ()
    static_environment: tuple[EnvVar, ...] = ()
    concurrency: str = "queue"
    max_active_tasks: int = 0
    timeout_seconds: int = 0
    restarted_from: RunId | None = None
    restart_from: RestartFrom | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    submitted: int = 0
    """when the Run was created, by the API server's clock, in milliseconds since 1970; 0: not known"""
    pod: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """The state of one run; small, written at each change."""

    id: RunId
    namespace: str
    name: str
    uid: str
    group: str
    counter: int
    phase: Phase
    result: Result = Result.UNKNOWN
    reason: Reason | None = None
    stop: bool = False
    created: int = 0
    started: int | None = None
    ended: int | None = None
    restarted_from: RunId | None = None
    submitted: int = 0
    """as in its configuration"""
    replaced_by: RunId | None = None
    """the newer run of its group that has it stopped"""


@dataclass(frozen=True, slots=True)
class Counter:
    """The last number given in a root group (`/<namespace>/project/web`)."""

    root_group: str
    last: int
