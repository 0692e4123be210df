"""The status of both kinds: written by the operator only, here to describe it to the API server.

Small whatever the run's size: counts, the first errors, the tasks worth a look. The record has the rest.
"""

from typing import Annotated, Literal

from pydantic import Field

from runabout.resources.fields import LIST, Arch, Count, Int64, ListAtomic, ListMap, Message, Time, Word
from runabout.resources.model import Model

MAX_NOTABLE = 20
MAX_SETUP_ERRORS = 20
MAX_ARCHS = 1024
"""Characters of all of an executor's architectures; there are at most 16."""

PhaseWord = Literal["setuperror", "queued", "cancelled", "running", "finished"]
ResultWord = Literal["unknown", "success", "failed", "stopped"]
StatusWord = Literal["notstarted", "running", "success", "failed", "stopped", "cancelled", "skipped"]


class Condition(Model):
    """One statement about the object, as everywhere in Kubernetes."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Word | None = None
    """Why, in one word of a closed list."""
    message: Message | None = None
    """Why, for people."""
    last_transition_time: Time | None = None
    """When `status` last changed."""
    observed_generation: Int64 | None = None
    """The generation of the spec it is about."""


Conditions = Annotated[tuple[Condition, ...], LIST, Field(max_length=16), ListMap(("type",))]


class TaskCounts(Model):
    """How many tasks there are, by status."""

    total: Count = 0
    """All of them."""
    notstarted: Count = 0
    """Not decided yet, or waiting."""
    waiting: Count = 0
    """Of notstarted and running: those that wait for an approval, an executor, a node, an image."""
    running: Count = 0
    """On an executor."""
    success: Count = 0
    """Ended well."""
    failed: Count = 0
    """Ended badly."""
    skipped: Count = 0
    """Passed over: skip, conditions that did not match, or a stop."""
    cancelled: Count = 0
    """Root tasks that were not started because the run had its result."""
    stopped: Count = 0
    """Ended by a stop."""


class NotableTask(Model):
    """A task worth a look."""

    task: Annotated[str, Field(max_length=253)]
    """Its name."""
    status: StatusWord | None = None
    """Its status."""
    reason: Word | None = None
    """Why it failed or what it waits for."""
    message: Message | None = None
    """The same for people."""
    since: Time | None = None
    """Since when."""


class SetupErrors(Model):
    """What keeps the run from being one."""

    count: Count = 0
    """How many there are; the record has them all."""
    first: Annotated[tuple[Message, ...], LIST, Field(max_length=MAX_SETUP_ERRORS), ListAtomic()] = ()
    """The first ones."""


class RunStatus(Model):
    """A small window on the run's progress."""

    observed_generation: Int64 | None = None
    """The generation of the spec that the status takes into account."""
    id: Word | None = None
    """Id of the run's record; ids sort by creation."""
    counter: Int64 | None = None
    """Number of the run in its root group."""
    phase: PhaseWord | None = None
    """Where the run is in its life."""
    result: ResultWord | None = None
    """What came of it; set once."""
    start_time: Time | None = None
    """When it began to run."""
    completion_time: Time | None = None
    """When it was over."""
    tasks: TaskCounts | None = None
    """How many tasks there are, by status."""
    conditions: Conditions = ()
    """Succeeded, Completed, Started, Waiting, Stored; ApprovalsValid if an approval has no effect."""
    notable: Annotated[tuple[NotableTask, ...], LIST, Field(max_length=MAX_NOTABLE), ListAtomic()] = ()
    """Tasks worth a look: failed, or waiting, with the reason."""
    setup_errors: SetupErrors | None = None
    """What keeps the run from being one."""


class ArchNodes(Model):
    """Nodes of one architecture."""

    arch: Arch
    """The architecture."""
    count: Count = 0
    """How many ready nodes have it."""


class ExecutorStatus(Model):
    """What an Executor does."""

    observed_generation: Int64 | None = None
    """The generation of the spec that the status takes into account."""
    conditions: Conditions = ()
    """Ready."""
    archs: Annotated[str, Field(max_length=MAX_ARCHS)] | None = None
    """The architectures it serves, for people: with commas between them."""
    active_tasks: Count | None = None
    """Tasks that are on it."""
    max_active_tasks: Annotated[str, Field(max_length=16)] | None = None
    """How many may be on it at once, for people: a number, or unlimited."""
    waiting_tasks: Count | None = None
    """Tasks that could go to it and wait."""
    nodes: Annotated[tuple[ArchNodes, ...], LIST, Field(max_length=16), ListMap(("arch",))] = ()
    """Ready nodes by architecture."""
