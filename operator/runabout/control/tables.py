"""Which columns the records of runs and tasks have in the history's files, for people who query it with other programs.

docs/guides/query-history.md says how. A name once given keeps its meaning: queries outlive the program that wrote them.
"""

from runabout.control.ledger import RUN, TASK
from runabout.datamanager import Column, Kind, Table, Tables, Value
from runabout.records import Run, Task
from runabout.records.encoding import decode

_RUN = (
    Column("namespace", Kind.TEXT),
    Column("name", Kind.TEXT),
    Column("group", Kind.TEXT),
    Column("counter", Kind.INTEGER),
    Column("phase", Kind.TEXT),
    Column("result", Kind.TEXT),
    Column("reason", Kind.TEXT),
    Column("created", Kind.TIME),
    Column("started", Kind.TIME),
    Column("ended", Kind.TIME),
)
_TASK = (
    Column("run", Kind.TEXT),
    Column("task", Kind.TEXT),
    Column("status", Kind.TEXT),
    Column("reason", Kind.TEXT),
    Column("attempt", Kind.INTEGER),
    Column("exit_code", Kind.INTEGER),
    Column("started", Kind.TIME),
    Column("ended", Kind.TIME),
)


def _run(_key: str, body: bytes) -> dict[str, Value]:
    run = decode(Run, body)
    return {
        "namespace": run.namespace,
        "name": run.name,
        "group": run.group,
        "counter": run.counter,
        "phase": run.phase.value,
        "result": run.result.value,
        "reason": run.reason.value if run.reason is not None else None,
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
    }


def _task(_key: str, body: bytes) -> dict[str, Value]:
    task = decode(Task, body)
    return {
        "run": task.run,
        "task": task.name,
        "status": task.status.value,
        "reason": task.reason.value if task.reason is not None else None,
        "attempt": task.attempt,
        "exit_code": task.exit_code,
        "started": task.started,
        "ended": task.ended,
    }


TABLES: Tables = {RUN: Table(_RUN, _run), TASK: Table(_TASK, _task)}
"""By type of document; a document that cannot be read (`RecordError` is a ValueError) has nulls in its columns."""
