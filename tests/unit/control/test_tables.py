"""The columns of the history's files."""

import pytest

from fixtures.states import NOW, created, finished, task_spec
from runabout.control.ledger import RUN, TASK
from runabout.control.tables import TABLES
from runabout.datamanager import Kind
from runabout.records import Reason, Result, Status
from runabout.records.encoding import encode
from runabout.records.task import altered

STATE = finished(created(task_spec("a")), Result.FAILED)
FAILED = altered(
    STATE.tasks["a"],
    status=Status.FAILED,
    reason=Reason.OOM_KILLED,
    attempt=2,
    exit_code=137,
    started=NOW,
    ended=NOW + 5,
)


def test_a_run_has_the_columns_that_people_ask_for() -> None:
    run = STATE.run
    assert TABLES[RUN].values(run.id, encode(run)) == {
        "namespace": run.namespace,
        "name": run.name,
        "group": run.group,
        "counter": run.counter,
        "phase": "finished",
        "result": "failed",
        "reason": None,
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
    }


def test_a_task_has_the_columns_that_people_ask_for() -> None:
    assert TABLES[TASK].values(f"{FAILED.run}/a", encode(FAILED)) == {
        "run": FAILED.run,
        "task": "a",
        "status": "failed",
        "reason": "OOMKilled",
        "attempt": 2,
        "exit_code": 137,
        "started": NOW,
        "ended": NOW + 5,
    }


@pytest.mark.parametrize("kind", [RUN, TASK])
def test_every_value_has_a_column_of_its_kind(kind: str) -> None:
    table = TABLES[kind]
    values = table.values("key", encode(STATE.run if kind == RUN else FAILED))
    kinds = {Kind.TEXT: str, Kind.INTEGER: int, Kind.TIME: int}
    assert set(values) == {column.name for column in table.columns}
    for column in table.columns:
        assert values[column.name] is None or isinstance(values[column.name], kinds[column.kind])


@pytest.mark.parametrize("kind", [RUN, TASK])
@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff"])
def test_a_document_that_cannot_be_read_has_no_values(kind: str, body: bytes) -> None:
    assert TABLES[kind].values("key", body) == {}
