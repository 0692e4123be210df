"""Any history of puts, deletes and checkpoints, and any query: the index answers as the naive model does."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from models.run_index import NaiveIndex
from runabout.records import Phase, Result, RunId
from runabout.runindex import Archive, FileInfo, IndexRow, NewFile, Query, RunIndex, Segment, load, plan, rewrite
from runabout.runindex.row import id_of

LABELS = ("team", "tier")
GROUPS = (
    "/ci/project/a",
    "/ci/project/a/branch/x",
    "/ci/project/a/branch/x/pr/7",
    "/ci/project/a-b",
    "/ci/project/ab",
    "/ci/project/a%2Fb/branch/é",
    "/dev/project/a",
    "/dev/run/one",
    "/dev",
    "/",
    "/ci/project/a/branch/xy",
)
PREFIXES = (*GROUPS, "/ci", "/ci/project", "/ci/project/a/branch", "/ci/proj", "/nobody/project/a")
ROOTS = ("/ci/project/a", "/ci/project/ab", "/ci/project/a-b", "/dev/run/one", "/dev", "/ci/project", "/x/y/z")
FULL = 8

identifiers = st.integers(1, 60).map(lambda number: id_of(number << 23 | number % 3))
times = st.none() | st.integers(1_577_836_800_000, 1_577_836_900_000)
rows = st.builds(
    IndexRow,
    id=identifiers,
    group=st.sampled_from(GROUPS),
    namespace=st.sampled_from(["ci", "dev"]),
    phase=st.sampled_from(Phase),
    result=st.sampled_from(Result),
    counter=st.integers(0, 5),
    start=times,
    end=times,
    labels=st.dictionaries(st.sampled_from(LABELS), st.sampled_from(["", "red", "blue"])),
)
queries = st.builds(
    Query,
    group=st.none() | st.sampled_from(GROUPS),
    prefix=st.none() | st.sampled_from(PREFIXES),
    namespace=st.none() | st.sampled_from(["ci", "dev", "nobody"]),
    phases=st.frozensets(st.sampled_from(Phase), max_size=2),
    results=st.frozensets(st.sampled_from(Result), max_size=2),
    labels=st.dictionaries(st.sampled_from(LABELS), st.sampled_from(["", "red", "none"]), max_size=1),
    last_of_group=st.booleans(),
)


class Histories(RuleBasedStateMachine):
    """One index, its files, and the model."""

    @initialize()
    def begin(self) -> None:
        self.scratch = tempfile.TemporaryDirectory()
        self.naive = NaiveIndex()
        self.index = RunIndex(labels=LABELS)
        self.files: dict[FileInfo, NewFile] = {}
        self.segments: dict[FileInfo, Segment] = {}
        self.sequence = 0

    def teardown(self) -> None:
        if hasattr(self, "scratch"):
            assert not list(Path(self.scratch.name).iterdir()), "scratch files have no name"
            self.scratch.cleanup()

    @rule(some=st.lists(rows, min_size=1, max_size=12))
    def put(self, some: list[IndexRow]) -> None:
        for row in some:
            self.sequence += 1
            self.index.put(row, sequence=self.sequence)
            self.naive.rows[row.id] = row

    @rule(run=identifiers)
    def delete(self, run: RunId) -> None:
        self.sequence += 1
        self.index.delete(run, sequence=self.sequence)
        self.naive.rows.pop(run, None)

    @rule(meanwhile=st.lists(rows, max_size=4), gone=st.none() | identifiers)
    def checkpoint(self, meanwhile: list[IndexRow], gone: RunId | None) -> None:
        changes, covers = self.index.changes(), self.sequence
        new: list[NewFile] = []
        replaced: set[FileInfo] = set()
        for stretch in plan(list(self.files), changes, full=FULL):
            bodies = (self.files[info].body for info in stretch.files)
            new += rewrite(stretch, bodies, changes, labels=LABELS, full=FULL)
            replaced.update(stretch.files)
        if meanwhile:
            self.put(meanwhile)
        if gone is not None:
            self.delete(gone)
        self._install([file for info, file in self.files.items() if info not in replaced] + new, covers)

    @rule()
    def restart(self) -> None:
        """Read the files as another process would, then what the log has beyond them."""
        changes = self.index.changes()
        self.index = RunIndex(labels=LABELS)
        self.segments = {}
        self._install(list(self.files.values()), self.sequence)
        for number, row in changes.items():
            self.sequence += 1
            if row is None:
                self.index.delete(id_of(number), sequence=self.sequence)
            else:
                self.index.put(row, sequence=self.sequence)

    @rule(query=queries, limit=st.integers(1, 7))
    def page_forth_and_back(self, query: Query, limit: int) -> None:
        expected = self.naive.matching(query)
        pages = []
        cursor: str | None = None
        while True:
            page = self.index.page(query, limit=limit, cursor=cursor)
            pages.append(page)
            if page.older is None:
                break
            cursor = page.older
        assert [row for page in pages for row in page.rows] == expected
        assert pages[0].newer is None
        back = [pages[-1]]
        while back[-1].newer is not None:
            back.append(self.index.page(query, limit=limit, cursor=back[-1].newer))
        assert [row for page in reversed(back) for row in page.rows] == expected
        assert all(page.older is not None for page in back[1:])

    @rule(query=queries)
    def count(self, query: Query) -> None:
        assert self.index.count(query) == len(self.naive.matching(query))

    @rule(root=st.sampled_from(ROOTS), number=st.integers(0, 6))
    def by_number(self, root: str, number: int) -> None:
        assert self.index.numbered(root, number) == self.naive.numbered(root, number)

    @invariant()
    def every_run_is_there_once(self) -> None:
        if hasattr(self, "index"):
            assert list(self.index.page(limit=100).rows) == self.naive.matching(Query())
            assert self.index.count() == self.index.rows == len(self.naive.rows)

    def _install(self, files: Iterable[NewFile], covers: int) -> None:
        self.files = {file.info: file for file in files}
        folder = Path(self.scratch.name)
        for info, file in self.files.items():
            if info not in self.segments:
                self.segments[info] = load(info, file.body, labels=LABELS, scratch=folder)
        self.segments = {info: self.segments[info] for info in self.files}
        self.index.install(Archive(list(self.segments.values())), covers=covers)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@given(st.lists(rows, max_size=40, unique_by=lambda row: row.id), identifiers)
@settings(max_examples=60, deadline=None)
def test_a_run_is_found_by_its_id_or_is_not_there(some: list[IndexRow], run: RunId) -> None:
    index = RunIndex(labels=LABELS)
    for row in some:
        index.put(row, sequence=1)
    assert index.get(run) == next((row for row in some if row.id == run), None)
