"""The index as its owner uses it: rows come in with the log, files with checkpoints, and pages go out.

Single-threaded, except for :func:`load` and :class:`Archive`, which may run elsewhere while the index is in use.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from heapq import merge
from itertools import islice
from pathlib import Path

from runabout.engine.groups import covers, root_group
from runabout.records import RunId, parse_run_id
from runabout.runindex.archive import Archive
from runabout.runindex.files import FileInfo, read_file
from runabout.runindex.marks import Marks
from runabout.runindex.overlay import Overlay
from runabout.runindex.query import Cursor, Direction, Page, Query, Wanted, parse_cursor, wanted_of
from runabout.runindex.row import MAX_ID, IndexRow, checked, number_of
from runabout.runindex.segment import Segment, build_segment
from runabout.runindex.words import bucket, group_key

EVERYTHING = Query()
MAX_LIMIT = 1_000
_BEYOND = MAX_ID + 1


def load(info: FileInfo, body: bytes, *, labels: tuple[str, ...], scratch: Path) -> Segment:
    """Return a file's rows, mapped from the folder `scratch`; takes some milliseconds, in any thread.

    Raises:
        DamagedIndex: these are not the bytes that were stored.
        NewerIndex: the file was written by a newer version.
    """
    return build_segment(info, read_file(info, body, labels), scratch)


class RunIndex:
    """Every run once: as the overlay has it if it was changed since the last checkpoint, else as the files do."""

    def __init__(self, *, labels: tuple[str, ...] = ()) -> None:
        self.labels = labels
        self._overlay = Overlay(labels)
        self._archive = Archive(())
        self._hidden: dict[int, Marks] = {}
        self._touched: dict[str, tuple[bytes, int]] = {}

    @property
    def archive(self) -> Archive:
        """What is archived: its segments can be part of the next archive."""
        return self._archive

    @property
    def rows(self) -> int:
        """How many runs there are."""
        hidden = sum(marks.count for marks in self._hidden.values())
        return self._archive.rows - hidden + self._overlay.rows

    @property
    def changed(self) -> int:
        """How many runs are newer than the files, deletes included: what memory and the next checkpoint depend on."""
        return len(self._overlay)

    def changes(self) -> Mapping[int, IndexRow | None]:
        """Return what the next files have to take in, by the number of the id: a copy, None for what is deleted.

        It is the state at the last sequence given, so that is what files made of it cover.
        """
        return self._overlay.changes()

    def put(self, row: IndexRow, *, sequence: int) -> None:
        """Take a new or changed run that was committed at `sequence`; of its labels only those that are indexed.

        Raises:
            ValueError: no index can hold this row.
        """
        checked(row)
        kept = {name: row.labels[name] for name in self.labels if name in row.labels}
        if kept != row.labels:
            row = replace(row, labels=kept)
        number = number_of(row.id)
        self._hide(number)
        self._overlay.change(number, row, sequence)

    def delete(self, run: RunId, *, sequence: int) -> None:
        """Take note that a run was deleted at `sequence`."""
        number = number_of(parse_run_id(run))
        self._hide(number)
        self._overlay.change(number, None, sequence)

    def install(self, archive: Archive, *, covers: int) -> None:
        """Read from these files from now on; they have all that was changed up to the sequence `covers`.

        Raises:
            ValueError: the files are made for other labels.
        """
        for segment in archive.segments:
            if segment.labels != self.labels:
                raise ValueError(f"index file {segment.info.name} was loaded for the labels {segment.labels}")
        self._overlay = self._overlay.newer_than(covers)
        self._archive = archive
        self._hidden = {}
        self._touched = {}
        for number in self._overlay.changes():
            self._hide(number)

    def get(self, run: RunId) -> IndexRow | None:
        """Return a run, None if there is none."""
        number = number_of(parse_run_id(run))
        if number in self._overlay:
            return self._overlay.get(number)
        return self._archive.row(number)

    def numbered(self, root: str, number: int) -> IndexRow | None:
        """Return the newest run with this number in a root group (`/<namespace>/project/web`).

        Raises:
            ValueError: it is not a root group.
        """
        if root_group(root) != root:
            raise ValueError(f"{root} is no root group: that is {root_group(root)}")
        # a group of fewer elements is a root group for itself, not for what is below it
        below = root_group(f"{root}/x") == root
        query = Query(prefix=root) if below else Query(group=root)
        wanted = wanted_of(query, self.labels)
        best = -1
        for place, _, _ in self._archive.covering(wanted, 0, _BEYOND, newest=True):
            segment = self._archive.segments[place]
            rows = segment.numbered(wanted, number)
            if place in self._hidden:
                rows = self._hidden[place].without(rows)
            if len(rows):
                best = int(segment.ids[rows[-1]])
                break
        for each in self._overlay.walk(query, best + 1, _BEYOND, newest=True):
            if self._overlay.row(each).counter == number:
                return self._overlay.row(each)
        return self._row(best) if best >= 0 else None

    def page(self, query: Query = EVERYTHING, *, limit: int = 25, cursor: str | None = None) -> Page:
        """Return up to `limit` runs, the newest first: the newest ones, or those that a cursor leads to.

        Raises:
            BadCursor: no page has given this cursor.
            NotIndexed: the query names a label that is not indexed.
            ValueError: the limit is not between 1 and 1,000.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise ValueError(f"a page has 1 to {MAX_LIMIT} runs, not {limit}")
        at = Cursor(Direction.OLDER, _BEYOND) if cursor is None else parse_cursor(cursor)
        newest = at.direction is Direction.OLDER
        low, high = (0, at.number) if newest else (at.number + 1, _BEYOND)
        found = list(islice(self._walk(query, low, high, newest=newest), limit + 1))
        more = len(found) > limit
        numbers = found[:limit] if newest else found[:limit][::-1]
        # An empty page stands between its cursor's two sides; the run it came from may be gone, or may be there.
        last, first = (numbers[-1], numbers[0]) if numbers else (min(low, MAX_ID), max(high - 1, 0))
        older = more if newest else self._any(query, 0, last)
        newer = more if not newest else self._any(query, first + 1, _BEYOND)
        return Page(
            tuple(self._row(number) for number in numbers),
            Cursor(Direction.OLDER, last).text() if older else None,
            Cursor(Direction.NEWER, first).text() if newer else None,
        )

    def count(self, query: Query = EVERYTHING) -> int:
        """Return how many runs a query has.

        One group, prefix, namespace or label, or any phases and results, are counted without looking at rows; several
        together by looking at the rows of the narrowest one; the last runs of groups by looking at each group.
        """
        if query.last_of_group:
            return sum(1 for _ in self._walk(query, 0, _BEYOND, newest=True))
        wanted = wanted_of(query, self.labels)
        archived = sum(
            self._archive.segments[place].count(wanted, self._hidden.get(place))
            for place, _, _ in self._archive.covering(wanted, 0, _BEYOND, newest=True)
        )
        return archived + sum(1 for _ in self._overlay.walk(query, 0, _BEYOND, newest=True))

    def _any(self, query: Query, low: int, high: int) -> bool:
        return next(self._walk(query, low, high, newest=False), None) is not None

    def _walk(self, query: Query, low: int, high: int, *, newest: bool) -> Iterator[int]:
        """Yield the ids of a query's runs from `low` to below `high`, in order."""
        wanted = wanted_of(query, self.labels)
        archived = self._lasts if query.last_of_group else self._archived
        both = merge(
            archived(query, wanted, low, high, newest=newest),
            self._overlay.walk(query, low, high, newest=newest),
            reverse=newest,
        )
        if not query.last_of_group:
            yield from both
            return
        for number in both:
            if self._is_last(number):
                yield number

    def _archived(self, _: Query, wanted: Wanted, low: int, high: int, *, newest: bool) -> Iterator[int]:
        for place, begin, end in self._archive.covering(wanted, low, high, newest=newest):
            segment = self._archive.segments[place]
            for rows in segment.matches(wanted, self._hidden.get(place), begin, end, newest=newest):
                yield from segment.ids[rows].tolist() if rows else ()

    def _lasts(self, query: Query, wanted: Wanted, low: int, high: int, *, newest: bool) -> Iterator[int]:
        inside = [group for group in self._touched if query.prefix in {None, "/"} or covers(str(query.prefix), group)]
        touched = [self._touched[group] for group in inside]
        for place, begin, end in self._archive.covering(wanted, low, high, newest=newest):
            segment = self._archive.segments[place]
            rows = segment.lasts(wanted, self._hidden.get(place), self._archive.lasts[place], touched)
            rows = rows[(rows >= begin) & (rows < end)]
            yield from segment.ids[rows[::-1] if newest else rows].tolist()

    def _is_last(self, number: int) -> bool:
        """Whether no newer run has the group of this one."""
        group = self._row(number).group
        if self._overlay.last_of(group) > number:
            return False
        query = Query(group=group)
        return (
            next(self._archived(query, wanted_of(query, self.labels), number + 1, _BEYOND, newest=True), None) is None
        )

    def _row(self, number: int) -> IndexRow:
        if number in self._overlay:
            return self._overlay.row(number)
        found = self._archive.row(number)
        if found is None:
            raise LookupError(f"run number {number} is not in the index")
        return found

    def _hide(self, number: int) -> None:
        """Do not read an archived run any more: the overlay knows better."""
        found = self._archive.find(number)
        if found is None:
            return
        place, row = found
        segment = self._archive.segments[place]
        marks = self._hidden.get(place)
        if marks is None:
            marks = self._hidden[place] = Marks(len(segment))
        if marks.add(row):
            group = segment.row(row).group
            if group not in self._touched:
                key = group_key(group)
                self._touched[group] = (key, bucket("group", key))
