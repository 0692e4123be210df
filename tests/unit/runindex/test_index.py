"""What the index promises beyond its answers: numbers, last runs, memory, threads, and files that fit together."""

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic import History
from fixtures.tools import REPOSITORY
from runabout.records import Phase, Result, Run, RunId
from runabout.runindex import Archive, DamagedIndex, IndexRow, NewFile, Query, RunIndex, Segment, load, row_of
from runabout.runindex.marks import Marks
from runabout.runindex.query import Wanted
from runabout.runindex.segment import Column, Rows

Make = Callable[..., IndexRow]
Index = Callable[..., RunIndex]
Files = Callable[..., list[NewFile]]
Hidden = Marks | None
Segments = Callable[[list[NewFile]], list[Segment]]

PROCESS = """
import os, sys, tempfile
from pathlib import Path
sys.path[:0] = ["operator", "hack"]
from benchmarks.synthetic import History
from runabout.runindex import Archive, Query, RunIndex, load, rewrite, plan
before = len(os.listdir("/proc/self/task"))
files = list(History().files(100_000))
with tempfile.TemporaryDirectory() as folder:
    segments = [load(file.info, file.body, labels=(), scratch=Path(folder)) for file in files]
    index = RunIndex()
    index.install(Archive(segments), covers=0)
    row = index.page(Query(prefix="/team-1"), limit=1).rows[0]
    index.put(row, sequence=1)
    for stretch in plan([file.info for file in files], index.changes()):
        bodies = [file.body for file in files if file.info in stretch.files]
        list(rewrite(stretch, bodies, index.changes(), labels=()))
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_a_run_is_found_by_its_number_in_its_root_group(run: Make, index: Index) -> None:
    made = index(
        [
            run(1, "/ci/project/web/branch/main", counter=7),
            run(2, "/ci/project/web-2", counter=7),
            run(3, "/ci/project/web", counter=8),
        ]
    )
    made.put(run(4, "/ci/project/web/branch/x", counter=9), sequence=1)
    assert made.numbered("/ci/project/web", 7) == run(1, "/ci/project/web/branch/main", counter=7)
    assert made.numbered("/ci/project/web", 8) == run(3, "/ci/project/web", counter=8)
    assert made.numbered("/ci/project/web", 9) == run(4, "/ci/project/web/branch/x", counter=9)
    assert made.numbered("/ci/project/web", 10) is None
    assert made.numbered("/ci/project/nothing", 7) is None


def test_a_short_group_has_its_own_numbers_and_not_those_below_it(run: Make, index: Index) -> None:
    made = index([run(1, "/ci/project", counter=6), run(2, "/ci/project/a", counter=7)])
    made.put(run(3, "/ci/project/b", counter=6), sequence=1)
    assert made.numbered("/ci/project", 6) == run(1, "/ci/project", counter=6)
    assert made.numbered("/ci/project", 7) is None
    assert made.numbered("/ci", 6) is None
    assert made.numbered("/ci/project/a", 7) == run(2, "/ci/project/a", counter=7)


def test_a_number_is_asked_of_a_root_group_only(index: Index) -> None:
    with pytest.raises(ValueError, match="no root group: that is /ci/project/web"):
        index([]).numbered("/ci/project/web/branch/main", 1)


def test_the_last_run_of_a_group_steps_back_when_it_is_deleted(run: Make, index: Index) -> None:
    made = index([run(place, f"/ci/project/p{place % 2}") for place in range(1, 7)], full=2)
    query = Query(last_of_group=True)
    assert [row.counter for row in made.page(query).rows] == [6, 5]
    made.delete(run(6).id, sequence=1)
    made.delete(run(4).id, sequence=2)
    assert [row.counter for row in made.page(query).rows] == [5, 2]
    made.put(run(7, "/ci/project/p1"), sequence=3)
    assert [row.counter for row in made.page(query).rows] == [7, 2]


def test_groups_whose_hashes_are_the_same_do_not_hide_one_another(run: Make, files: Files, segments: Segments) -> None:
    made = RunIndex(labels=("team",))
    loaded = segments(files([run(place, f"/ci/project/p{place}") for place in range(1, 9)], full=2))
    for segment in loaded:
        segment.group_hashes = np.zeros_like(segment.group_hashes)
    made.install(Archive(loaded), covers=0)
    assert made.count(Query(last_of_group=True)) == 8


def test_what_a_checkpoint_covers_leaves_the_overlay_and_what_is_newer_stays(
    run: Make, files: Files, segments: Segments
) -> None:
    made = RunIndex(labels=("team",))
    made.put(run(1), sequence=1)
    made.put(run(2), sequence=2)
    archive = Archive(segments(files([run(1)])))
    made.put(run(3), sequence=3)
    made.install(archive, covers=1)
    assert made.changed == 2
    assert [row.counter for row in made.page().rows] == [3, 2, 1]


def test_a_row_has_what_the_record_says() -> None:
    record = Run(
        RunId("1il7g1c000001"),
        "ci",
        "web-118",
        "c0ffee",
        "/ci/project/web",
        118,
        Phase.FINISHED,
        Result.FAILED,
        started=1_762_000_000_000,
        ended=1_762_000_060_000,
    )
    assert row_of(record, {"team": "shop"}) == IndexRow(
        RunId("1il7g1c000001"),
        "/ci/project/web",
        "ci",
        Phase.FINISHED,
        Result.FAILED,
        118,
        1_762_000_000_000,
        1_762_000_060_000,
        {"team": "shop"},
    )


def test_an_older_state_in_a_file_does_not_come_back_after_a_checkpoint(
    run: Make, files: Files, segments: Segments
) -> None:
    made = RunIndex(labels=("team",))
    made.put(run(1, phase=Phase.QUEUED), sequence=1)
    made.put(run(1, phase=Phase.RUNNING), sequence=2)
    made.put(run(2, phase=Phase.QUEUED), sequence=3)
    made.delete(run(2).id, sequence=4)
    covered = [run(1, phase=Phase.QUEUED), run(2, phase=Phase.QUEUED)]
    made.install(Archive(segments(files(covered))), covers=1)
    assert [row.phase for row in made.page().rows] == [Phase.RUNNING]
    assert made.count() == 1


def test_files_for_other_labels_are_refused(run: Make, files: Files, segments: Segments) -> None:
    with pytest.raises(ValueError, match="was loaded for the labels"):
        RunIndex(labels=("tier",)).install(Archive(segments(files([run(1)]))), covers=0)


def test_files_that_cover_the_same_runs_are_refused(run: Make, files: Files, segments: Segments) -> None:
    loaded = segments(files([run(1), run(3)]) + files([run(2)]))
    with pytest.raises(DamagedIndex, match="cover the same runs"):
        Archive(loaded)


@pytest.mark.parametrize("text", ["", "1il7g1c00000", "1IL7G1C000001", "vvvvvvvvvvvvv"])
def test_what_is_no_id_is_refused(index: Index, text: str) -> None:
    with pytest.raises(ValueError, match="no run id"):
        index([]).get(RunId(text))
    with pytest.raises(ValueError, match="no run id"):
        index([]).delete(RunId(text), sequence=1)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), 299),
        (Query(group="/team-1/project/p1"), 49),
        (Query(prefix="/team-1"), 149),
        (Query(namespace="team-0"), 150),
        (Query(labels={"team": "t1"}), 99),
        (Query(phases=frozenset({Phase.RUNNING})), 2),
        (Query(results=frozenset({Result.FAILED})), 60),
    ],
    ids=["all", "group", "prefix", "namespace", "label", "phase", "result"],
)
def test_archived_runs_are_counted_without_a_look_at_each(
    run: Make, index: Index, monkeypatch: pytest.MonkeyPatch, query: Query, expected: int
) -> None:
    made = index(
        [
            run(
                place,
                f"/team-{place % 2}/project/p{place % 6}",
                result=Result.FAILED if place % 5 == 0 else Result.SUCCESS,
                labels={"team": f"t{place % 3}"},
            )
            for place in range(1, 301)
        ],
        full=100,
    )
    made.put(run(8, "/team-0/project/p2", phase=Phase.RUNNING, labels={"team": "t2"}), sequence=1)
    made.put(run(301, "/team-1/project/p1", phase=Phase.RUNNING, labels={"team": "t1"}), sequence=2)
    made.delete(run(1).id, sequence=3)
    made.delete(run(7).id, sequence=4)
    assert sum(1 for _ in each_of(made, query)) == expected

    def walked(*_: object, **__: object) -> None:
        raise AssertionError("it looks at each run")

    monkeypatch.setattr(RunIndex, "_walk", walked)
    monkeypatch.setattr(Segment, "matches", walked)
    monkeypatch.setattr(Segment, "row", walked)
    looked: list[int] = []
    filtered = Segment._filtered

    def counted(
        segment: Segment, rows: Rows, wanted: Wanted, spans: list[tuple[Column, int, int]], hidden: Hidden
    ) -> Rows:
        looked.append(len(rows))
        return filtered(segment, rows, wanted, spans, hidden)

    monkeypatch.setattr(Segment, "_filtered", counted)
    assert made.count(query) == expected
    assert sum(looked) <= 3  # those that the overlay hides


def each_of(index: RunIndex, query: Query) -> Iterator[IndexRow]:
    page = index.page(query, limit=100)
    yield from page.rows
    while page.older is not None:
        page = index.page(query, limit=100, cursor=page.older)
        yield from page.rows


def test_archived_runs_are_not_on_the_heap(tmp_path: Path) -> None:
    file = next(History().files(65_536))
    load(file.info, file.body, labels=(), scratch=tmp_path)
    gc.collect()
    objects = len(gc.get_objects())
    tracemalloc.start()
    segment = load(file.info, file.body, labels=(), scratch=tmp_path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(segment) == 65_536
    assert len(gc.get_objects()) - objects < 200
    assert kept < 100_000


def test_scratch_files_have_no_name_once_they_are_mapped(tmp_path: Path) -> None:
    file = next(History().files(1_000))
    segment = load(file.info, file.body, labels=(), scratch=tmp_path)
    assert len(segment) == 1_000
    assert not list(tmp_path.iterdir())


def test_a_process_starts_no_thread_for_the_index_and_ends_well() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROCESS], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "0"), ended.stderr
