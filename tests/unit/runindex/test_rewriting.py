"""From old files to new ones: what is touched, what is written, and how much of it is in memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from runabout.records import Phase
from runabout.runindex import FileInfo, IndexRow, NewFile, plan, rewrite
from runabout.runindex.files import read_file
from runabout.runindex.row import number_of

Make = Callable[..., IndexRow]
Files = Callable[..., list[NewFile]]

FULL = 8


def spans(files: list[NewFile]) -> list[tuple[int, int, int]]:
    return [(number_of(file.info.first) >> 23, number_of(file.info.last) >> 23, file.info.rows) for file in files]


def rewritten(files: list[NewFile], changes: dict[int, IndexRow | None]) -> list[NewFile]:
    """Return all files after a checkpoint, by id."""
    after = {file.info: file for file in files}
    for stretch in plan([file.info for file in files], changes, full=FULL):
        bodies = [after.pop(info).body for info in stretch.files]
        after |= {file.info: file for file in rewrite(stretch, bodies, changes, labels=(), full=FULL)}
    return sorted(after.values(), key=lambda file: file.info.first)


def test_new_runs_fill_the_last_file_and_then_begin_another(run: Make, files: Files) -> None:
    old = files([run(place) for place in range(1, 13)], full=FULL, labels=())
    assert spans(old) == [(1, 8, 8), (9, 12, 4)]
    new = rewritten(old, {place << 23: run(place) for place in range(13, 20)})
    assert spans(new) == [(1, 8, 8), (9, 16, 8), (17, 19, 3)]
    assert new[0] is old[0]


def test_new_runs_after_a_full_file_leave_it_alone(run: Make, files: Files) -> None:
    old = files([run(place) for place in range(1, 9)], full=FULL, labels=())
    new = rewritten(old, {20 << 23: run(20)})
    assert spans(new) == [(1, 8, 8), (20, 20, 1)]
    assert new[0] is old[0]


def test_a_changed_run_replaces_its_file_and_no_other(run: Make, files: Files) -> None:
    old = files([run(place) for place in range(1, 25)], full=FULL, labels=())
    new = rewritten(old, {12 << 23: run(12, phase=Phase.RUNNING)})
    assert spans(new) == spans(old)
    assert [new[place] is old[place] for place in range(3)] == [True, False, True]
    assert read_file(new[1].info, new[1].body, ()).table.column("phase").to_pylist().count("running") == 1


def test_a_file_whose_runs_are_all_deleted_is_replaced_by_nothing(run: Make, files: Files) -> None:
    old = files([run(place) for place in range(1, 17)], full=FULL, labels=())
    assert spans(rewritten(old, {place << 23: None for place in range(1, 9)})) == [(9, 16, 8)]
    assert rewritten(old, {place << 23: None for place in range(1, 17)}) == []


def test_a_small_file_is_written_with_its_neighbour(run: Make, files: Files) -> None:
    old = files([run(place) for place in range(1, 25)], full=FULL, labels=())
    small = rewritten(old, {place << 23: None for place in range(9, 16)})
    assert spans(small) == [(1, 8, 8), (16, 16, 1), (17, 24, 8)]
    assert spans(rewritten(small, {place << 23: None for place in (2, 3)})) == [(1, 16, 7), (17, 24, 8)]


def test_a_delete_of_a_run_that_is_nowhere_changes_nothing(run: Make, files: Files) -> None:
    old = files([run(place) for place in range(1, 9)], full=FULL, labels=())
    assert rewritten(old, {30 << 23: None}) == old
    assert rewritten([], {30 << 23: None}) == []


def test_a_file_that_gets_too_large_is_split(run: Make, files: Files) -> None:
    old = files([run(place) for place in range(2, 41, 2)], full=FULL, labels=())
    new = rewritten(old, {place << 23: run(place) for place in range(1, 41, 2)})
    assert [number for place in new for number in spans([place])[0][:2]] == [1, 8, 9, 16, 17, 24, 25, 32, 33, 40]
    assert sum(file.info.rows for file in new) == 40


def test_files_are_read_one_after_the_other(run: Make, files: Files) -> None:
    old = files([run(place) for place in range(1, 33)], full=FULL, labels=())
    changes = {place << 23: run(place, phase=Phase.RUNNING) for place in range(1, 33, 3)}
    (stretch,) = plan([file.info for file in old], changes, full=FULL)
    read = 0

    def bodies() -> Iterator[bytes]:
        nonlocal read
        for file in old:
            read += 1
            yield file.body

    ahead = [read - written for written, _ in enumerate(rewrite(stretch, bodies(), changes, labels=(), full=FULL))]
    assert max(ahead) <= 2


def test_a_stretch_without_all_of_its_files_is_refused(run: Make, files: Files) -> None:
    old = files([run(place) for place in range(1, 17)], full=FULL, labels=())
    changes: dict[int, IndexRow | None] = {1 << 23: None, 9 << 23: None}
    (stretch,) = plan([file.info for file in old], changes, full=FULL)
    with pytest.raises(ValueError, match="shorter"):
        list(rewrite(stretch, [old[0].body], changes, labels=(), full=FULL))


def test_a_name_says_what_is_inside(run: Make, files: Files) -> None:
    (file,) = files([run(1), run(2)], labels=())
    assert file.info.name == f"{run(1).id}-2-{file.info.sha256.hex()[:8]}.parquet"
    other: FileInfo = replace(file.info, sha256=bytes(32))
    assert other.name != file.info.name
