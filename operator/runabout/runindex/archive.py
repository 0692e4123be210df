"""All segments of an index, by id: one view on what is archived. Immutable; made in any thread."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from runabout.runindex.errors import DamagedIndex
from runabout.runindex.query import Wanted
from runabout.runindex.row import IndexRow
from runabout.runindex.segment import Segment

Mask = npt.NDArray[np.bool_]


class Archive:
    """Segments that do not overlap.

    `lasts` says of each group of each segment whether it may be that no newer segment has it.

    Raises:
        DamagedIndex: two files cover the same ids.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = tuple(sorted(segments, key=lambda segment: segment.first))
        for before, after in zip(self.segments, self.segments[1:], strict=False):
            if before.last >= after.first:
                raise DamagedIndex(f"the index files {before.info.name} and {after.info.name} cover the same runs")
        self._firsts = [segment.first for segment in self.segments]
        self.lasts = _lasts(self.segments)
        self.rows = sum(len(segment) for segment in self.segments)
        self.mapped = sum(segment.mapped for segment in self.segments)
        """Bytes that are mapped into memory."""
        self.stored = sum(segment.info.size for segment in self.segments)
        """Bytes of the files."""

    def find(self, number: int) -> tuple[int, int] | None:
        """Return a run's segment and its row there."""
        place = bisect_right(self._firsts, number) - 1
        if place < 0 or number > self.segments[place].last:
            return None
        row = self.segments[place].place(number)
        return (place, row) if int(self.segments[place].ids[row]) == number else None

    def row(self, number: int) -> IndexRow | None:
        """Return a run, None if there is none."""
        found = self.find(number)
        return None if found is None else self.segments[found[0]].row(found[1])

    def covering(self, wanted: Wanted, low: int, high: int, *, newest: bool) -> Iterator[tuple[int, int, int]]:
        """Yield the segments that may have wanted rows with ids from `low` to below `high`, and the range of rows."""
        begin = max(0, bisect_right(self._firsts, low) - 1)
        end = bisect_right(self._firsts, high - 1)
        bits = wanted.bits
        for place in range(end - 1, begin - 1, -1) if newest else range(begin, end):
            segment = self.segments[place]
            if low > segment.last or not segment.may_have(bits):
                continue
            first = 0 if low <= segment.first else segment.place(low)
            last = len(segment) if high > segment.last else segment.place(high)
            if first < last:
                yield place, first, last


def _lasts(segments: Sequence[Segment]) -> tuple[Mask, ...]:
    """Return for each segment which of its groups may have no newer segment; wrong only by naming too many."""
    if not segments:
        return ()
    hashes = np.concatenate([segment.group_hashes for segment in segments])
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    last = np.ones(len(order), np.bool_)
    last[:-1] = ordered[1:] != ordered[:-1]
    del hashes, ordered
    # Different strings with one hash would hide one another: a second hash tells them apart, and then all of them stay.
    others = np.concatenate([segment.group_others for segment in segments])[order]
    run = np.cumsum(np.concatenate(([0], last[:-1])))
    begins = np.flatnonzero(np.concatenate(([True], last[:-1])))
    mixed = np.minimum.reduceat(others, begins) != np.maximum.reduceat(others, begins)
    last |= mixed[run]
    masks = np.zeros(len(order), np.bool_)
    masks[order] = last
    return tuple(np.split(masks, np.cumsum([len(segment.group_hashes) for segment in segments])[:-1]))
