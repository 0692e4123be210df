"""The spec of an Executor: where tasks may run, and how many."""

from typing import Annotated

from pydantic import Field

from runabout.resources.fields import LIST, Arch, ListSet, Seconds, Slots
from runabout.resources.model import Model
from runabout.resources.pod import PodDefaults
from runabout.resources.selector import LabelSelector


class ExecutorSpec(Model):
    """A place for tasks: nodes of some architectures, and a number of tasks at once."""

    archs: Annotated[tuple[Arch, ...], LIST, Field(min_length=1, max_length=16), ListSet()]
    """Architectures it serves, such as amd64 and arm64."""
    max_active_tasks: Slots = 0
    """How many tasks may be on it at once; 0 for no limit."""
    paused: bool = False
    """Whether it takes no new tasks; those it has go on."""
    allow_privileged: bool = False
    """Whether tasks with privileged containers, or with hostPath volumes of their own, may run here."""
    require_nodes: bool = False
    """Whether it is ready only with a node for every architecture; otherwise a missing one is a warning."""
    namespace_selector: LabelSelector | None = None
    """Namespaces whose tasks it takes, by their labels; default: all."""
    grace_period_seconds: Seconds = 30
    """Time between asking a task to end and ending it by force."""
    image_pull_timeout_seconds: Seconds = 900
    """How long an image may take to be pulled before the task fails; 0 for no limit."""
    pending_timeout_seconds: Seconds = 3600
    """How long a pod may wait for a node, a quota or a volume before the task fails; 0 for no limit."""
    pod: PodDefaults | None = None
    """Settings of all pods that run here; the run's and the task's are laid over them."""
