"""The spec of a Run."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from runabout.resources.environment import Environment
from runabout.resources.fields import (
    LIST,
    DnsLabel,
    DnsName,
    GroupPath,
    ListAtomic,
    ListMap,
    ListSet,
    Message,
    Name,
    Priority,
    Seconds,
    Slots,
)
from runabout.resources.model import Found, Model, Rule
from runabout.resources.pod import PodDefaults
from runabout.resources.task import RetriesSpec, TaskSpec

IMMUTABLE = (
    "group",
    "tasks",
    "environment",
    "staticEnvironment",
    "setupErrors",
    "cacheGroup",
    "restartFrom",
    "concurrency",
    "maxActiveTasks",
    "timeoutSeconds",
    "retries",
    "pod",
)
"""Fields that cannot be changed, added or removed once a Run exists."""

NO_TASKS_IN_A_RESTART = "a restart takes its tasks from the old run: remove tasks"


def _unchanged(field: str) -> Rule:
    """A rule of the spec, not of the field: those of a field alone are not looked at when it is removed."""
    return Rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        "cannot be changed: create another Run",
        field=field,
        forbidden=True,
    )


class RestartSpec(Model):
    """Which run this one restarts, and how much of it."""

    run: DnsName
    """The old run: its id, or the name of its Run in this namespace."""
    from_: Annotated[Literal["start", "failed"], Field(alias="from")]
    """start: every task again; failed: those that were not successful, and what depends on them."""


class ApprovalSpec(Model):
    """What one person says of one task."""

    task: DnsLabel
    """Name of the task."""
    by: Name
    """Who says it: the user name of whoever adds this entry; the API server checks it."""
    verdict: Literal["approved", "refused"] = "approved"
    """Their word. One refusal fails the task."""
    groups: Annotated[tuple[Name, ...], LIST, Field(max_length=64), ListSet()] = ()
    """Groups they are in, as far as approvers.groups needs them; the API server checks them."""


class RunSpec(Model):
    """A run: a graph of tasks. Only stop, suspend, approvals, priority and ttlSecondsAfterFinished can change."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.restartFrom) || !has(self.tasks) || self.tasks.size() == 0",
            NO_TASKS_IN_A_RESTART,
            field="tasks",
        ),
        *map(_unchanged, IMMUTABLE),
        Rule(
            "!oldSelf.stop || self.stop",
            "a stop cannot be taken back: create another Run, or restart this one",
            field="stop",
            forbidden=True,
        ),
        Rule(
            "!has(oldSelf.approvals) || (has(self.approvals) && self.approvals + oldSelf.approvals == self.approvals)",
            "an approval cannot be changed or removed: only add others",
            field="approvals",
            forbidden=True,
        ),
    )

    group: GroupPath | None = None
    """Path such as /project/web/branch/main. Runs of a group run one after the other, and the first two elements number
    them; default: /run/<name>."""
    tasks: Annotated[tuple[TaskSpec, ...], LIST, Field(max_length=1000), ListMap(("name",))] = ()
    """The tasks; at most 10,000 after expanding matrices."""
    environment: Environment = ()
    """Variables for all tasks; a restart replaces them."""
    static_environment: Environment = ()
    """Variables for all tasks, weaker than environment; a restart keeps them."""
    setup_errors: Annotated[tuple[Message, ...], LIST, Field(max_length=1000), ListAtomic()] = ()
    """Errors found by whoever creates the Run, such as a config file that cannot be read: no task starts then."""
    cache_group: GroupPath | None = None
    """Path under which caches are kept; default: the first two elements of the group."""
    restart_from: RestartSpec | None = None
    """Makes this a restart of another run, whose tasks it takes."""
    concurrency: Literal["queue", "cancelInProgress", "replaceQueued"] = "queue"
    """What to do about older runs of the group: wait; cancel the queued ones and stop the running one; cancel only the
    queued ones. It waits until the group is free in any case."""
    max_active_tasks: Slots = 0
    """How many of its tasks may run at once; 0 for no limit."""
    timeout_seconds: Seconds = 0
    """The run is ended, and failed, after this time from its start; 0 for no limit."""
    retries: RetriesSpec | None = None
    """How often its tasks are tried again when they fail; a task's own retries replace this as a whole."""
    pod: PodDefaults | None = None
    """Settings of all its pods, over the executor's."""
    suspend: bool = False
    """Keeps the run from starting; no effect once it runs."""
    stop: bool = False
    """Stops the run, for good."""
    approvals: Annotated[tuple[ApprovalSpec, ...], LIST, Field(max_length=1000), ListMap(("task", "by"))] = ()
    """What people said of tasks that need approval; entries can only be added, each in one's own name."""
    priority: Priority = 0
    """Between runs of different groups, the higher one gets executors first."""
    ttl_seconds_after_finished: Seconds | None = None
    """When the Run is deleted after its end; the record stays. Default: the installation's."""

    def broken(self) -> Iterable[Found]:
        """Return what is wrong with the object as a whole."""
        if self.restart_from is not None and self.tasks:
            yield ("tasks",), NO_TASKS_IN_A_RESTART
