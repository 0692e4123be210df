"""Stores with an index in tests: small records that stand for runs, and the model of what is asked about them."""

import json
from collections.abc import Mapping
from pathlib import Path

from lab.stores import View
from models.run_index import NaiveIndex
from runabout.datamanager import Action, Delete, IndexSource, Put, Runs
from runabout.records import Phase, Result, RunId
from runabout.runindex import IndexRow, Query
from runabout.runindex.row import id_of

RUN = "run"
CONFIG = "runconfig"
LABELS = ("team",)
GROUPS = ("/ci/project/a", "/ci/project/a/branch/x", "/ci/project/ab", "/dev/run/one")
QUERIES = (
    Query(),
    Query(last_of_group=True),
    Query(prefix="/ci/project/a"),
    Query(group="/ci/project/a", last_of_group=True),
    Query(namespace="dev"),
    Query(phases=frozenset({Phase.RUNNING})),
    Query(prefix="/ci", results=frozenset({Result.UNKNOWN}), last_of_group=True),
)


def run_id(place: int) -> RunId:
    return id_of(place << 23)


def record(place: int, *, group: int = 0, phase: Phase = Phase.RUNNING, result: Result = Result.UNKNOWN) -> Put:
    """Return the writing of a run's record."""
    body = {"group": GROUPS[group], "counter": place % 4, "phase": phase, "result": result}
    return Put(RUN, run_id(place), json.dumps(body).encode())


def labelled(place: int, team: str) -> Put:
    """Return the writing of the document that has a run's labels."""
    return Put(CONFIG, run_id(place), json.dumps({"team": team, "other": "x"}).encode())


def gone(place: int, kind: str = RUN) -> Delete:
    return Delete(kind, run_id(place))


def created(place: int, *, group: int = 0, team: str = "red") -> tuple[Action, ...]:
    """Return the actions that create a run."""
    return labelled(place, team), record(place, group=group)


def read_row(key: str, body: bytes) -> IndexRow:
    found = json.loads(body)
    if "group" not in found:
        raise ValueError(f"{key} is no record")
    return IndexRow(
        id=RunId(key),
        group=found["group"],
        namespace=found["group"].split("/")[1],
        phase=Phase(found["phase"]),
        result=Result(found["result"]),
        counter=found["counter"],
        end=None if found["phase"] == Phase.RUNNING else 1_577_836_900_000,
    )


def read_labels(_key: str, body: bytes) -> Mapping[str, str]:
    return dict(json.loads(body))


def source(scratch: Path, *, labels: tuple[str, ...] = LABELS) -> IndexSource:
    return IndexSource(RUN, read_row, scratch, labels, CONFIG, read_labels)


def naive(view: View, *, labels: tuple[str, ...] = LABELS) -> NaiveIndex:
    """Return the model for all documents."""
    made = NaiveIndex()
    using = source(Path(), labels=labels)
    for key, body in view[RUN].items():
        row = using.row_of(key, body, using.labels_of(key, view.get(CONFIG, {}).get(key)))
        if row is not None:
            made.rows[row.id] = row
    return made


def answers(runs: Runs, query: Query, *, limit: int = 5) -> list[IndexRow]:
    """Return all rows of a query, page by page."""
    rows: list[IndexRow] = []
    cursor = None
    while True:
        page = runs.page(query, limit=limit, cursor=cursor)
        rows += page.rows
        if page.older is None:
            return rows
        cursor = page.older


def check(runs: Runs, view: View, *, labels: tuple[str, ...] = LABELS) -> None:
    """Make sure that the index answers as the model of all documents does."""
    model = naive(view, labels=labels)
    queries = (*QUERIES, *(Query(labels={name: "red"}) for name in labels))
    for query in queries:
        expected = model.matching(query)
        assert answers(runs, query) == expected, query
        assert runs.count(query) == len(expected), query
    for root in ("/ci/project/a", "/dev/run/one"):
        for number in range(4):
            assert runs.numbered(root, number) == model.numbered(root, number)
    for run in (*model.rows, run_id(999)):
        assert runs.get(run) == model.rows.get(run)
