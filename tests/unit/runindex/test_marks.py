"""Marks are a set of rows, whatever its size and whatever the type of the rows that are asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runabout.runindex.marks import Marks


@given(st.integers(1, 65_536), st.lists(st.integers(0, 65_535), max_size=30))
def test_marked_rows_are_left_out_and_counted_once(size: int, drawn: list[int]) -> None:
    marks, expected = Marks(size), set[int]()
    for row in (each % size for each in drawn):
        assert marks.add(row) == (row not in expected)
        expected.add(row)
    assert (marks.count, marks.rows().tolist()) == (len(expected), sorted(expected))
    asked = sorted({0, size - 1, size // 2, *expected, *(min(size - 1, row + 1) for row in expected)}, reverse=True)
    left = [row for row in asked if row not in expected]
    assert marks.without(np.array(asked, np.int64)).tolist() == left
    assert marks.without(np.array(asked, np.uint16)).tolist() == left
