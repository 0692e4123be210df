"""Runs for the tests of the index, and an index with all of them in files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runabout.records import Phase, Result
from runabout.runindex import Archive, IndexRow, NewFile, RunIndex, Segment, load, plan, rewrite
from runabout.runindex.row import id_of, number_of

LABELS = ("team",)


@pytest.fixture
def run() -> Callable[..., IndexRow]:
    """Return a function that makes a run by its place in time."""

    def make(place: int, group: str = "/ci/project/web", **changes: object) -> IndexRow:
        values: dict[str, object] = {
            "id": id_of(place << 23),
            "group": group,
            "namespace": group.split("/")[1],
            "phase": Phase.FINISHED,
            "result": Result.SUCCESS,
            "counter": place,
        }
        return IndexRow(**(values | changes))  # type: ignore[arg-type]  # tests know the types

    return make


@pytest.fixture
def files() -> Callable[..., list[NewFile]]:
    """Return a function that makes files of runs."""

    def make(rows: list[IndexRow], *, full: int = 65_536, labels: tuple[str, ...] = LABELS) -> list[NewFile]:
        changes = {number_of(row.id): row for row in rows}
        return [
            file for stretch in plan([], changes) for file in rewrite(stretch, [], changes, labels=labels, full=full)
        ]

    return make


@pytest.fixture
def segments(tmp_path: Path) -> Callable[[list[NewFile]], list[Segment]]:
    """Return a function that loads files."""
    return lambda files: [load(file.info, file.body, labels=LABELS, scratch=tmp_path) for file in files]


@pytest.fixture
def index(
    files: Callable[..., list[NewFile]], segments: Callable[[list[NewFile]], list[Segment]]
) -> Callable[..., RunIndex]:
    """Return a function that makes an index with runs in its files."""

    def make(rows: list[IndexRow], *, full: int = 65_536) -> RunIndex:
        made = RunIndex(labels=LABELS)
        made.install(Archive(segments(files(rows, full=full))), covers=0)
        return made

    return make
