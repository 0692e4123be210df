"""What is stored about runs: frozen types, their ids and their encoding.

The words (phases, results, statuses, conditions) are the same everywhere: in the resources, here, in the API,
the CLI and the pages. Nothing here does I/O or reads a clock; times are milliseconds since 1970-01-01 UTC and
come in as arguments.
"""

from runabout.records.event import Event
from runabout.records.ids import IdGenerator, RunId, parse_run_id, run_id_time
from runabout.records.matrix import ARCH_KEY, Variant, expanded, templates_of, variants
from runabout.records.run import Counter, EnvVar, EnvVarSource, Run, RunConfig
from runabout.records.task import (
    Approval,
    Approvers,
    Attempt,
    Dependency,
    Retries,
    StepState,
    Task,
    TaskConfig,
    altered,
)
from runabout.records.words import (
    FINISHED_STATUSES,
    MACHINERY_REASONS,
    TERMINAL_PHASES,
    Condition,
    Phase,
    Reason,
    RestartFrom,
    Result,
    Status,
    Verdict,
)

__all__ = [
    "ARCH_KEY",
    "FINISHED_STATUSES",
    "MACHINERY_REASONS",
    "TERMINAL_PHASES",
    "Approval",
    "Approvers",
    "Attempt",
    "Condition",
    "Counter",
    "Dependency",
    "EnvVar",
    "EnvVarSource",
    "Event",
    "IdGenerator",
    "Phase",
    "Reason",
    "RestartFrom",
    "Result",
    "Retries",
    "Run",
    "RunConfig",
    "RunId",
    "Status",
    "StepState",
    "Task",
    "TaskConfig",
    "Variant",
    "Verdict",
    "altered",
    "expanded",
    "parse_run_id",
    "run_id_time",
    "templates_of",
    "variants",
]
