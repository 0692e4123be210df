"""The Run resource: a graph of tasks."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runabout.resources.base import Count, Model, Name, Seconds, Short, Text, keyed, passthrough
from runabout.resources.pod import PodSettings, Selector, Variable, variables
from runabout.resources.steps import Step

Path = Annotated[str, Field(min_length=1, max_length=1024)]


class DependencyCondition(StrEnum):
    """On which end of its parent a task may start."""

    ON_SUCCESS = "on_success"
    ON_FAILURE = "on_failure"
    ON_SKIPPED = "on_skipped"


class Depend(Model):
    """A parent and the ends of it on which this task may start."""

    task: Name = Field(description="Name of the parent.")
    conditions: Annotated[tuple[DependencyCondition, ...], Field(max_length=3)] = Field(
        default=(),
        description="on_success (the default for an empty list), on_failure, on_skipped.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Container(Model):
    """A container of the task's pod: the first runs the steps, later ones are services."""

    name: Name | None = Field(default=None, description="Default: main for the first one.")
    image: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="The image.")
    environment: tuple[Variable, ...] = variables("Variables of this container; all others win over them.")
    command: Annotated[tuple[Text, ...], Field(max_length=64)] = Field(
        default=(), description="Of a service; the first container runs the steps instead."
    )
    args: Annotated[tuple[Text, ...], Field(max_length=64)] = Field(default=(), description="Of a service.")
    user: Short | None = Field(default=None, description="User or uid that the container runs as.")
    privileged: bool = Field(default=False, description="Needs an executor that allows it.")
    resources: dict[str, object] | None = passthrough("Requests and limits, as in a pod.")
    image_pull_policy: Annotated[str, Field(max_length=16, pattern="^(Always|IfNotPresent|Never)$")] | None = Field(
        default=None, description="Always, IfNotPresent or Never."
    )
    readiness: dict[str, object] | None = passthrough("Of a service: a probe, as in a pod.")
    volume_mounts: tuple[dict[str, object], ...] | None = passthrough("As in a pod.")


class Approvers(Model):
    """Whose approvals count; without names anybody's who may change the Run."""

    min: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="Distinct people that are needed.")
    users: Annotated[tuple[Short, ...], Field(max_length=64)] = Field(default=(), description="User names.")
    groups: Annotated[tuple[Short, ...], Field(max_length=64)] = Field(default=(), description="Groups of users.")


class Retries(Model):
    """How often a failing task is tried again."""

    limit: Annotated[int, Field(ge=0, le=100)] = Field(default=0, description="Attempts after the first one.")
    backoff_seconds: Seconds = Field(default=0, description="Before the second attempt; doubles each time.")
    on_exit_codes: Annotated[tuple[Annotated[int, Field(ge=1, le=255)], ...], Field(max_length=64)] = Field(
        default=(), description="Only these exit codes; empty is any."
    )


class TaskSpec(Model):
    """A task: one pod, its steps, and when it may start."""

    name: Name = Field(description="Unique in the Run; a DNS label.")
    depends: tuple[Depend, ...] = keyed("Parents, all of which have to end first.", "task", limit=64)
    arch: Annotated[str, Field(max_length=32, pattern="^[a-z0-9_]+$")] | None = Field(
        default=None, description="Architecture it needs, as amd64; none is any."
    )
    executor_selector: Selector | None = Field(default=None, description="Labels of the Executors it may run on.")
    containers: Annotated[tuple[Container, ...], Field(min_length=1, max_length=16)] = Field(
        description="The first one runs the steps."
    )
    steps: Annotated[tuple[Step, ...], Field(max_length=64)] = Field(default=(), description="Run in order.")
    environment: tuple[Variable, ...] = variables("Variables of all its steps.")
    working_dir: Text = Field(default="~/project", description="Created if it is not there.")
    shell: Short = Field(default="/bin/sh -e", description="Runs the scripts.")
    user: Short | None = Field(default=None, description="User or uid of the steps.")
    skip: bool = Field(default=False, description="Skips the task from the start.")
    ignore_failure: bool = Field(default=False, description="Its failure does not fail the run.")
    needs_approval: bool = Field(default=False, description="Waits for an approval before it starts.")
    approvers: Approvers | None = Field(default=None, description="Whose approvals count.")
    retries: Retries | None = Field(default=None, description="How often it is tried again.")
    timeout_seconds: Seconds = Field(default=0, description="Of one attempt; 0 is none.")
    matrix: (
        Annotated[dict[Name, Annotated[tuple[Short, ...], Field(min_length=1, max_length=64)]], Field(max_length=8)]
        | None
    ) = Field(default=None, description="The task once for each combination of these values.")
    pod: PodSettings | None = Field(default=None, description="Pod settings over the run's and the executor's.")


class Approval(Model):
    """What one person says of a task that needs approval; only in one's own name."""

    task: Name = Field(description="The task.")
    by: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Your user name.")
    verdict: Annotated[str, Field(max_length=16, pattern="^(approved|refused)$")] = Field(
        default="approved", description="approved or refused."
    )
    groups: Annotated[tuple[Short, ...], Field(max_length=64)] = Field(
        default=(), description="Groups of yours that the approval should count for."
    )


class RestartFrom(Model):
    """Restarts an earlier run as a new one."""

    run: Short = Field(description="Id of the run to restart.")
    from_: Annotated[str, Field(max_length=16, pattern="^(start|failed)$")] = Field(
        alias="from", description="start: every task; failed: what did not succeed, and what depends on it."
    )


class RunSpec(Model):
    """A graph of tasks."""

    group: Path | None = Field(
        default=None, description="Path as /project/web/branch/main; runs of one group take turns. Default: /run/NAME."
    )
    tasks: tuple[TaskSpec, ...] = keyed("The tasks.", "name", limit=1000)
    environment: tuple[Variable, ...] = variables("Variables of all steps; a restart replaces them.")
    static_environment: tuple[Variable, ...] = variables("Variables of all steps; a restart keeps them.")
    setup_errors: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=1000)] = Field(
        default=(), description="Errors that a client found; the run then only shows them."
    )
    cache_group: Path | None = Field(default=None, description="Whose caches it shares. Default: its root group.")
    restart_from: RestartFrom | None = Field(default=None, description="Restarts an earlier run; then no tasks.")
    concurrency: Annotated[str, Field(max_length=16, pattern="^(queue|cancelInProgress|replaceQueued)$")] = Field(
        default="queue", description="What happens to earlier runs of its group."
    )
    max_active_tasks: Count = Field(default=0, description="Of this run at once; 0 is no limit.")
    timeout_seconds: Seconds = Field(default=0, description="Of the whole run; 0 is none.")
    pod: PodSettings | None = Field(default=None, description="Pod settings of all its tasks.")
    suspend: bool = Field(default=False, description="Keeps a queued run from starting.")
    stop: bool = Field(default=False, description="Stops the run; cannot be taken back.")
    approvals: tuple[Approval, ...] = keyed("What people said of tasks that need approval.", "task", "by", limit=256)
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = Field(
        default=0, description="Between groups; a higher one goes first."
    )
    ttl_seconds_after_finished: Seconds | None = Field(
        default=None, description="When the Run is deleted; its record stays. Default: the installation's."
    )


MUTABLE = ("suspend", "stop", "approvals", "priority", "ttlSecondsAfterFinished")
"""Fields of the spec that may change; all others are fixed when the Run is created."""
