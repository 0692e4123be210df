"""What people write: Run and Executor as pydantic models, and everything that can be said about them without a cluster.

The models are the one source of `crds/*.yaml` (see `hack/generate`): what they accept the API server accepts, and the
other way round. Attributes are snake_case, fields of the resources camelCase; everything is frozen.
"""

from runabout.resources.check import CheckedExecutor, CheckedRun, check
from runabout.resources.containers import Container, Readiness, Resources, VolumeMount
from runabout.resources.environment import EnvironmentVariable, KeyRef, ValueSource
from runabout.resources.executor import ExecutorSpec
from runabout.resources.pod import PodDefaults
from runabout.resources.problems import Problem
from runabout.resources.run import ApprovalSpec, RestartSpec, RunSpec
from runabout.resources.selector import LabelSelector
from runabout.resources.status import ExecutorStatus, RunStatus
from runabout.resources.steps import Step
from runabout.resources.task import ApproversSpec, DependencySpec, RetriesSpec, TaskSpec

GROUP = "runabout.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

__all__ = [
    "API_VERSION",
    "GROUP",
    "VERSION",
    "ApprovalSpec",
    "ApproversSpec",
    "CheckedExecutor",
    "CheckedRun",
    "Container",
    "DependencySpec",
    "EnvironmentVariable",
    "ExecutorSpec",
    "ExecutorStatus",
    "KeyRef",
    "LabelSelector",
    "PodDefaults",
    "Problem",
    "Readiness",
    "Resources",
    "RestartSpec",
    "RetriesSpec",
    "RunSpec",
    "RunStatus",
    "Step",
    "TaskSpec",
    "ValueSource",
    "VolumeMount",
    "check",
]
