"""Tasks: the nodes of a run's graph, each a pod."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from runabout.resources.containers import Container
from runabout.resources.environment import Environment
from runabout.resources.fields import (
    ENTRIES,
    LIST,
    Approvals,
    Arch,
    DnsLabel,
    ExitCode,
    ListAtomic,
    ListMap,
    ListSet,
    MatrixValue,
    Name,
    Path,
    RetryLimit,
    Seconds,
    Shell,
    User,
)
from runabout.resources.model import Found, Model, Rule
from runabout.resources.pod import PodDefaults
from runabout.resources.selector import LabelSelector
from runabout.resources.steps import Step

ConditionWord = Literal["on_success", "on_failure", "on_skipped"]
Names = Annotated[tuple[Name, ...], LIST, Field(max_length=64), ListSet()]


class DependencySpec(Model):
    """A parent, and the ends of it that let the task start."""

    task: DnsLabel
    """Name of the parent; of a task with a matrix: all its variants, or one by its full name."""
    conditions: Annotated[tuple[ConditionWord, ...], LIST, Field(max_length=3), ListSet()] = ("on_success",)
    """Ends of the parent that match; an empty list means on_success."""


class ApproversSpec(Model):
    """Whose approvals count, and how many."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.groups) && self.groups.size() > 0) || !has(self.users) || self.users.size() == 0"
            " || self.users.size() >= self.min",
            "more approvals are asked for than there are users: lower min, or name more users or a group",
            field="min",
        ),
    )

    min: Approvals = 1
    """How many different people have to approve."""
    users: Names = ()
    """User names whose word counts; without users and groups everybody's does who may change the Run."""
    groups: Names = ()
    """Groups of users whose word counts."""

    def broken(self) -> Iterable[Found]:
        """Return what is wrong with the object as a whole."""
        if not self.groups and self.users and len(self.users) < self.min:
            yield ("min",), self.rules[0].message


class RetriesSpec(Model):
    """How often a failed task is tried again."""

    limit: RetryLimit = 0
    """How many times at most, after the first."""
    backoff_seconds: Seconds = 0
    """Time between an attempt's end and the next one; doubled each further time."""
    on_exit_codes: Annotated[tuple[ExitCode, ...], LIST, Field(max_length=64), ListSet()] = ()
    """Only after these exit codes; none means after any."""


class TaskSpec(Model):
    """A task: one pod, whose first container runs the steps in order."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.depends) || self.depends.all(d, d.task != self.name)",
            "a task cannot depend on itself: remove this dependency",
            field="depends",
        ),
        Rule(
            "!has(self.approvers) || self.needsApproval",
            "approvers have no effect without needsApproval: true; set it, or remove them",
            field="approvers",
        ),
    )

    name: DnsLabel
    """Name, unique in the run."""
    depends: Annotated[tuple[DependencySpec, ...], LIST, Field(max_length=256), ListMap(("task",))] = ()
    """Parents; the task is decided when all of them have ended: it starts if every one matches, else it is skipped."""
    arch: Arch | None = None
    """Architecture it needs, such as arm64; default: any."""
    executor_selector: LabelSelector | None = None
    """Which Executors may take it, by their labels; default: any."""
    containers: Annotated[tuple[Container, ...], LIST, Field(min_length=1, max_length=16), ListAtomic()]
    """The first one runs the steps; the others are services that live as long as the task."""
    steps: Annotated[tuple[Step, ...], LIST, Field(max_length=64), ListAtomic()] = ()
    """What to do, in this order."""
    environment: Environment = ()
    """Variables for all steps; stronger than the container's, weaker than the run's."""
    working_dir: Path = "~/project"
    """Directory the steps run in, created if missing; ~ is the home directory in the container."""
    shell: Shell | None = None
    """Program and arguments that get the scripts; default: /bin/sh -e."""
    user: User | None = None
    """Who runs the steps: NAME, UID, NAME:GROUP or UID:GID; default: the container's."""
    skip: bool = False
    """Whether the task is skipped from the start."""
    ignore_failure: bool = False
    """Whether its failure does not fail the run; it is failed all the same, and children see that."""
    needs_approval: bool = False
    """Whether somebody has to approve before it starts."""
    approvers: ApproversSpec | None = None
    """Whose approvals count, and how many; with needsApproval."""
    retries: RetriesSpec | None = None
    """How often it is tried again when it fails, instead of the run's; lost nodes have a budget of their own."""
    skip_rest_on_exit_codes: Annotated[tuple[ExitCode, ...], LIST, Field(max_length=64), ListSet()] = ()
    """Exit codes of a step with which the task is done, and successful; the steps after it are skipped."""
    timeout_seconds: Seconds = 0
    """An attempt fails after this time; 0 for no limit."""
    matrix: (
        Annotated[
            dict[str, Annotated[tuple[MatrixValue, ...], LIST, Field(min_length=1, max_length=256), ListAtomic()]],
            Field(max_length=8),
            ENTRIES,
        ]
        | None
    ) = None
    """Names with lists of values: a variant for each combination, named <task>-<value>-<value>…, with the values in
    variables of these names; a key arch is its arch, too."""
    pod: PodDefaults | None = None
    """Settings of the pod, over the run's and the executor's."""

    def broken(self) -> Iterable[Found]:
        """Return what is wrong with the object as a whole."""
        if any(dependency.task == self.name for dependency in self.depends):
            yield ("depends",), self.rules[0].message
        if self.approvers is not None and not self.needs_approval:
            yield ("approvers",), self.rules[1].message
