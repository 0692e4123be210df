"""Pages and their cursors, on what is archived and what is live."""

import base64
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.run_index import NaiveIndex
from runabout.records import Phase, Result
from runabout.runindex import BadCursor, IndexRow, NotIndexed, Page, Query, RunIndex
from runabout.runindex.query import Cursor, Direction, parse_cursor

Make = Callable[..., IndexRow]
Index = Callable[..., RunIndex]

MANY = 20_000


def places(page: Page) -> list[int]:
    return [row.counter for row in page.rows]


def test_live_and_archived_runs_are_in_one_page_each_once(run: Make, index: Index) -> None:
    made = index([run(place) for place in range(1, 5)])
    made.put(run(2, phase=Phase.RUNNING), sequence=1)
    made.put(run(5), sequence=2)
    made.delete(run(3).id, sequence=3)
    page = made.page()
    assert places(page) == [5, 4, 2, 1]
    assert page.rows[2].phase is Phase.RUNNING
    assert made.count(Query(phases=frozenset({Phase.FINISHED}))) == 3


def test_a_prefix_covers_whole_elements(run: Make, index: Index) -> None:
    groups = ["/ci/project/a", "/ci/project/a/branch/x", "/ci/project/ab", "/ci/project/a-b", "/ci/project/a%2Fx"]
    made = index([run(place, group) for place, group in enumerate(groups, 1)])
    assert places(made.page(Query(prefix="/ci/project/a"))) == [2, 1]
    assert made.count(Query(prefix="/ci/project/a")) == 2
    assert made.count(Query(prefix="/ci/project")) == 5
    assert made.count(Query(prefix="/ci/proj")) == 0


def test_paging_shows_what_stays_exactly_once_whatever_comes_and_goes(run: Make, index: Index) -> None:
    made = index([run(place) for place in range(1, 41)])
    seen: list[int] = []
    cursor: str | None = None
    for step in range(100):
        page = made.page(limit=3, cursor=cursor)
        seen += places(page)
        made.put(run(100 + step), sequence=step)
        made.delete(run(40 - step).id, sequence=step) if step % 7 == 0 and step < 40 else None
        if page.rows:
            made.delete(page.rows[-1].id, sequence=step)
        if page.older is None:
            break
        cursor = page.older
    assert seen == sorted(set(seen), reverse=True)
    assert set(seen) >= set(range(1, 41)) - {40, 33, 26, 19, 12, 5}


def test_newer_runs_are_found_with_the_first_cursor(run: Make, index: Index) -> None:
    made = index([run(place) for place in range(1, 11)])
    first = made.page(limit=3)
    assert first.newer is None
    second = made.page(limit=3, cursor=first.older)
    assert places(made.page(limit=3, cursor=second.newer)) == [10, 9, 8]
    made.put(run(11), sequence=1)
    page = made.page(limit=3, cursor=second.newer)
    assert places(page) == [10, 9, 8]
    assert page.newer is not None
    assert places(made.page(limit=3, cursor=page.newer)) == [11]


def test_a_page_leads_to_nothing_newer_when_all_that_was_newer_is_gone(run: Make, index: Index) -> None:
    made = index([run(place) for place in range(1, 7)])
    older = made.page(limit=2).older
    assert made.page(limit=2, cursor=older).newer is not None
    for place in (5, 6):
        made.delete(run(place).id, sequence=place)
    page = made.page(limit=2, cursor=older)
    assert places(page) == [4, 3]
    assert page.newer is None


def test_a_page_that_became_empty_leads_back(run: Make, index: Index) -> None:
    made = index([run(place) for place in range(1, 5)])
    older = made.page(limit=2).older
    assert older is not None
    newer = made.page(limit=2, cursor=older).newer
    for place in (1, 2):
        made.delete(run(place).id, sequence=place)
    empty = made.page(limit=2, cursor=older)
    assert (empty.rows, empty.older) == ((), None)
    assert places(made.page(limit=2, cursor=empty.newer)) == [4, 3]
    made.put(run(1), sequence=5)
    for place in (3, 4):
        made.delete(run(place).id, sequence=place)
    empty = made.page(limit=2, cursor=newer)
    assert (empty.rows, empty.newer) == ((), None)
    assert places(made.page(limit=2, cursor=empty.older)) == [1]


def test_an_empty_index_has_an_empty_page() -> None:
    assert RunIndex().page() == Page((), None, None)
    assert RunIndex().count() == 0


@given(st.sampled_from(Direction), st.integers(0, (1 << 64) - 1))
def test_a_cursor_is_read_back(direction: Direction, number: int) -> None:
    cursor = Cursor(direction, number)
    assert parse_cursor(cursor.text()) == cursor


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_garbage_is_no_cursor(text: str) -> None:
    with pytest.raises(BadCursor, match="no cursor"):
        RunIndex().page(cursor=text)


def test_a_changed_cursor_is_refused() -> None:
    text = Cursor(Direction.OLDER, 123 << 23).text()
    for place, character in enumerate(text):
        for other in "Az09-_":
            changed = text[:place] + other + text[place + 1 :]
            if other != character and changed != text and place < len(text) - 1:
                with pytest.raises(BadCursor):
                    parse_cursor(changed)


def test_a_cursor_of_another_version_is_told_apart_from_garbage() -> None:
    import struct  # noqa: PLC0415 - the layout of the cursor is this test's subject
    import zlib  # noqa: PLC0415

    body = struct.pack(">BBQ", 2, 0, 5)
    text = base64.urlsafe_b64encode(body + struct.pack(">I", zlib.crc32(body))).decode().rstrip("=")
    with pytest.raises(BadCursor, match="version 2, and this program knows 1"):
        parse_cursor(text)


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_limit_that_is_too_small_or_large_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        RunIndex().page(limit=limit)


@pytest.mark.parametrize("path", ["", "ci", "/ci/", "//"])
def test_what_is_no_group_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no group"):
        Query(prefix=path)
    with pytest.raises(ValueError, match="is no group"):
        Query(group=path)


def test_a_label_that_is_not_indexed_is_refused_with_those_that_are(index: Index) -> None:
    made = index([])
    with pytest.raises(NotIndexed, match="tier is not indexed; those that are: team"):
        made.page(Query(labels={"tier": "gold"}))
    with pytest.raises(NotIndexed, match="tier"):
        made.count(Query(labels={"tier": "gold"}))


def test_only_indexed_labels_are_kept(run: Make, index: Index) -> None:
    made = index([])
    made.put(run(1, labels={"team": "shop", "commit": "3f2a9c1"}), sequence=1)
    assert made.page().rows[0].labels == {"team": "shop"}


def test_a_large_history_is_answered_as_the_model_does(run: Make, index: Index) -> None:
    """Postings and columns read in pieces, at sizes that the histories of single runs do not reach."""
    source = np.random.default_rng(7)
    naive = NaiveIndex()
    for place in range(1, MANY + 1):
        project = min(int(source.pareto(1.0)), 60)
        row = run(
            place,
            f"/team-{project % 4}/project/p{project}" + ("/branch/main" if source.random() < 0.5 else ""),
            phase=Phase.RUNNING if place % 6_000 == 1 else Phase.FINISHED,
            result=Result(str(source.choice([result.value for result in Result]))),
            labels={"team": f"t{project % 3}"} if source.random() < 0.7 else {},
        )
        naive.rows[row.id] = row
    made = index(list(naive.rows.values()), full=8_192)
    for place in range(1, MANY, 37):
        row = run(place, f"/team-1/project/p{place % 5}", phase=Phase.CANCELLED)
        naive.rows[row.id] = row
        made.put(row, sequence=1)
    for place in range(5, MANY, 41):
        naive.rows.pop(run(place).id, None)
        made.delete(run(place).id, sequence=2)
    middle = Cursor(Direction.OLDER, (MANY // 2) << 23)
    for query in (
        Query(),
        Query(prefix="/team-0"),
        Query(prefix="/team-1/project/p1"),
        Query(group="/team-1/project/p1"),
        Query(group="/team-2/project/p58/branch/main"),
        Query(namespace="team-3"),
        Query(phases=frozenset({Phase.RUNNING})),
        Query(phases=frozenset({Phase.RUNNING, Phase.CANCELLED})),
        Query(results=frozenset({Result.FAILED})),
        Query(phases=frozenset({Phase.FINISHED}), results=frozenset({Result.SUCCESS, Result.STOPPED})),
        Query(prefix="/team-0", phases=frozenset({Phase.RUNNING})),
        Query(labels={"team": "t1"}),
        Query(labels={"team": "t2"}, prefix="/team-2", results=frozenset({Result.FAILED})),
        Query(last_of_group=True),
        Query(last_of_group=True, prefix="/team-1", results=frozenset({Result.UNKNOWN})),
    ):
        expected = naive.matching(query)
        assert list(made.page(query, limit=1_000).rows) == expected[:1_000], query
        older = [row for row in expected if row.id < run(MANY // 2).id]
        newer = [row for row in expected if row.id > run(MANY // 2).id]
        assert list(made.page(query, limit=50, cursor=middle.text()).rows) == older[:50], query
        other = Cursor(Direction.NEWER, middle.number).text()
        assert list(made.page(query, limit=50, cursor=other).rows) == newer[-50:], query
        assert made.count(query) == len(expected), query
