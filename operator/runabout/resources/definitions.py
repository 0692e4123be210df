"""The CustomResourceDefinitions of both kinds, from the models; `hack/generate` writes them to `crds/`."""

from dataclasses import dataclass

from runabout.resources.check import API_VERSION
from runabout.resources.executor import ExecutorSpec
from runabout.resources.model import Model
from runabout.resources.run import RunSpec
from runabout.resources.schema import Schema, structural
from runabout.resources.status import ExecutorStatus, RunStatus

GROUP, VERSION = API_VERSION.split("/")
CATEGORY = "runabout"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; priority 1 shows up with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource."""

    kind: str
    plural: str
    scope: str
    short_names: tuple[str, ...]
    description: str
    spec: type[Model]
    status: type[Model]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...]


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


RUN = Kind(
    kind="Run",
    plural="runs",
    scope="Namespaced",
    short_names=("rn",),
    description="A graph of tasks, each of them a pod, and how it goes.",
    spec=RunSpec,
    status=RunStatus,
    columns=(
        Column("Phase", ".status.phase", description="setuperror, queued, cancelled, running or finished"),
        Column("Result", ".status.result", description="unknown, success, failed or stopped"),
        Column("Tasks", ".status.tasks.total", "integer", description="All tasks"),
        Column("Running", ".status.tasks.running", "integer", description="Tasks on an executor"),
        Column("Success", ".status.tasks.success", "integer", description="Tasks that ended well"),
        Column("Failed", ".status.tasks.failed", "integer", description="Tasks that failed"),
        Column("Reason", _condition("Succeeded", "reason"), description="How it ended, or what it waits for"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Group", ".spec.group", priority=1, description="Runs of a group run one after the other"),
        Column("Number", ".status.counter", "integer", priority=1, description="Number in the root group"),
        Column("Skipped", ".status.tasks.skipped", "integer", priority=1, description="Tasks that were passed over"),
        Column("Stopped", ".status.tasks.stopped", "integer", priority=1, description="Tasks that a stop ended"),
        Column("ID", ".status.id", priority=1, description="Id of the record"),
        Column("Message", _condition("Succeeded", "message"), priority=1, description="How it stands"),
    ),
    selectable=(".status.phase", ".status.result", ".status.id", ".spec.group"),
)

EXECUTOR = Kind(
    kind="Executor",
    plural="executors",
    scope="Cluster",
    short_names=("exr",),
    description="A place where tasks may run.",
    spec=ExecutorSpec,
    status=ExecutorStatus,
    columns=(
        Column("Archs", ".status.archs", description="Architectures it serves"),
        Column("Ready", _condition("Ready", "status"), description="Whether tasks may be given to it"),
        Column("Reason", _condition("Ready", "reason"), description="Why, or a warning"),
        Column("Paused", ".spec.paused", "boolean", description="Whether it takes no new tasks"),
        Column("Active", ".status.activeTasks", "integer", description="Tasks on it"),
        Column("Max", ".status.maxActiveTasks", description="Tasks it takes at once"),
        Column("Waiting", ".status.waitingTasks", "integer", description="Tasks that could go to it and wait"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Message", _condition("Ready", "message"), priority=1, description="Why, for people"),
    ),
    selectable=(),
)

KINDS = (RUN, EXECUTOR)


def definition(kind: Kind) -> Schema:
    """Return the CustomResourceDefinition of a kind."""
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    version["schema"] = {"openAPIV3Schema": _root(kind)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": list(kind.short_names),
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def _column(column: Column) -> Schema:
    made: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        made["description"] = column.description
    if column.priority:
        made["priority"] = column.priority
    return made


def _root(kind: Kind) -> Schema:
    return {
        "description": kind.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": {"description": _first_line(kind.spec), **structural(kind.spec)},
            "status": {"description": _first_line(kind.status), **structural(kind.status)},
        },
    }


def _first_line(model: type[Model]) -> str:
    return (model.__doc__ or "").split("\n", maxsplit=1)[0]
