"""The Executor resource: where tasks may run."""

from typing import Annotated

from pydantic import Field

from runabout.resources.base import Count, Model, Seconds
from runabout.resources.pod import PodSettings, Selector


class ExecutorSpec(Model):
    """Which architectures it serves, how many tasks it holds, and how their pods are made."""

    archs: Annotated[
        tuple[Annotated[str, Field(max_length=32, pattern="^[a-z0-9_]+$")], ...], Field(min_length=1, max_length=16)
    ] = Field(
        description="Architectures it serves, as amd64, arm64.", json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    max_active_tasks: Count = Field(default=0, description="Tasks at once; 0 is no limit.")
    paused: bool = Field(default=False, description="Takes no new tasks.")
    allow_privileged: bool = Field(default=False, description="Whether tasks may have privileged containers.")
    require_nodes: bool = Field(default=False, description="Ready only while every architecture has a ready node.")
    namespace_selector: Selector | None = Field(
        default=None, description="Namespaces it takes Runs from; empty is all."
    )
    grace_period_seconds: Seconds = Field(default=30, description="Between SIGTERM and SIGKILL.")
    image_pull_timeout_seconds: Seconds = Field(default=900, description="How long an image may be missing.")
    pending_timeout_seconds: Seconds = Field(default=3600, description="How long a pod may wait to start.")
    pod: PodSettings | None = Field(default=None, description="Pod settings of all its tasks.")
