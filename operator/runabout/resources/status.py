"""The status of a Run and of an Executor, as their schema says it; the operator writes it."""

from typing import Annotated

from pydantic import Field

from runabout.resources.base import Model, Short, Text, keyed


class StatusCondition(Model):
    """A condition in Kubernetes' standard form."""

    type: Short = Field(description="What it speaks of.")
    status: Annotated[str, Field(max_length=16, pattern="^(True|False|Unknown)$")] = Field(
        description="Whether it is so."
    )
    reason: Short = Field(description="One word of a closed list.")
    message: Text = Field(default="", description="For people.")
    last_transition_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})] = Field(
        description="When the status changed."
    )


class TaskCounts(Model):
    """How many tasks there are in each status; `waiting` counts those that say why."""

    total: int = Field(default=0, description="All tasks.")
    notstarted: int = Field(default=0, description="Not started yet.")
    waiting: int = Field(default=0, description="Waiting, with a reason.")
    running: int = Field(default=0, description="On an executor, or between two attempts.")
    success: int = Field(default=0, description="Succeeded.")
    failed: int = Field(default=0, description="Failed.")
    skipped: int = Field(default=0, description="Skipped.")
    cancelled: int = Field(default=0, description="Cancelled.")
    stopped: int = Field(default=0, description="Stopped.")


class Notable(Model):
    """A task worth a look."""

    task: Short = Field(description="Its name.")
    status: Short = Field(description="Its status.")
    reason: Short | None = Field(default=None, description="Why, in one word.")
    message: Text | None = Field(default=None, description="Why, for people.")
    since: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})] | None = Field(
        default=None, description="Since when."
    )


class SetupErrors(Model):
    """What is wrong with the spec."""

    count: int = Field(default=0, description="How many there are.")
    first: Annotated[tuple[Text, ...], Field(max_length=20)] = Field(default=(), description="The first 20.")


class RunStatus(Model):
    """A window on the run's progress."""

    observed_generation: int = Field(default=0, description="Generation of the spec that is taken into account.")
    id: Short | None = Field(default=None, description="The run's id; sorts by creation.")
    counter: int | None = Field(default=None, description="The run's number in its root group.")
    phase: Short | None = Field(default=None, description="setuperror, queued, cancelled, running or finished.")
    result: Short | None = Field(default=None, description="unknown, success, failed or stopped.")
    start_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})] | None = Field(
        default=None, description="When it began to run."
    )
    completion_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})] | None = Field(
        default=None, description="When it was over."
    )
    tasks: TaskCounts | None = Field(default=None, description="Tasks by status.")
    conditions: tuple[StatusCondition, ...] = keyed("For programs.", "type", limit=16)
    notable: Annotated[tuple[Notable, ...], Field(max_length=20)] = Field(
        default=(),
        description="Tasks worth a look: failed, or waiting for something.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    setup_errors: SetupErrors | None = Field(default=None, description="What is wrong with the spec.")


class ArchNodes(Model):
    """Ready nodes of one architecture."""

    arch: Short = Field(description="The architecture.")
    count: int = Field(description="Ready nodes.")


class ExecutorStatus(Model):
    """What an executor does."""

    observed_generation: int = Field(default=0, description="Generation of the spec that is taken into account.")
    active_tasks: int = Field(default=0, description="Tasks on it.")
    waiting_tasks: int = Field(default=0, description="Waiting tasks that it serves.")
    nodes: tuple[ArchNodes, ...] = keyed("Ready nodes by architecture.", "arch", limit=16)
    conditions: tuple[StatusCondition, ...] = keyed("For programs.", "type", limit=16)
