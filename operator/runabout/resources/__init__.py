"""What users write: models of Run and Executor, the one source of crds/, and what their schema says of a document."""

from runabout.resources.executor import ExecutorSpec
from runabout.resources.run import RunSpec, TaskSpec
from runabout.resources.schema_errors import schema_errors
from runabout.resources.unsupported import not_yet

__all__ = ["ExecutorSpec", "RunSpec", "TaskSpec", "not_yet", "schema_errors"]
