"""Which rows of a segment are not read any more, since the overlay knows better: a bit each, at most 8 KiB a file."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Row = TypeVar("Row", np.uint16, np.int64)

_BITS = 8
_LAST = _BITS - 1
_SHIFT = 3


class Marks:
    """Marks on the rows 0 to `rows` - 1; none at first."""

    def __init__(self, rows: int) -> None:
        self._bits = np.zeros(-(-rows // _BITS), np.uint8)
        self.count = 0
        """How many rows are marked."""

    def add(self, row: int) -> bool:
        """Mark a row; return whether it was not marked before."""
        bit = 1 << (row & _LAST)
        if self._bits[row >> _SHIFT] & bit:
            return False
        self._bits[row >> _SHIFT] |= bit
        self.count += 1
        return True

    def without(self, rows: npt.NDArray[Row]) -> npt.NDArray[Row]:
        """Return those of `rows` that are not marked, in their order."""
        bits = self._bits[rows >> _SHIFT] >> (rows & _LAST).astype(np.uint8) & 1
        found: npt.NDArray[Row] = rows[bits == 0]
        return found

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the marked rows."""
        return np.flatnonzero(np.unpackbits(self._bits, bitorder="little"))
