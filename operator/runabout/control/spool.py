"""Where an attempt's output waits until it is stored: in memory while small, in an unnamed file beyond that.

Output arrives step after step, so each step is one range of the spool. What exceeds the limit is counted, not kept.
"""

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

IN_MEMORY = 128 * 1024
"""Bytes of one attempt's output that are held without a file."""
PIECE = 1024 * 1024
"""Bytes read at a time when a range is uploaded."""


@dataclass(slots=True)
class Range:
    """A step's place in the spool, in bytes."""

    start: int
    size: int = 0


class Spool:
    """One attempt's output; `limit` bytes are kept."""

    def __init__(self, directory: Path, *, limit: int) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - lives as long as the spool
            max_size=IN_MEMORY, dir=str(directory), prefix="runabout-log-"
        )
        self._limit = limit
        self._size = 0
        self._cut = 0
        self.ranges: dict[int, Range] = {}

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._size

    def append(self, step: int, data: bytes, *, always: bool = False) -> None:
        """Add output of `step`; `always` is for our own lines, which are kept beyond the limit."""
        room = len(data) if always else max(0, self._limit - self._size)
        kept = data[:room]
        self._cut += len(data) - len(kept)
        if not kept:
            return
        place = self.ranges.get(step)
        if place is None:
            place = self.ranges[step] = Range(self._size)
        self._file.write(kept)
        place.size += len(kept)
        self._size += len(kept)

    @property
    def cut(self) -> int:
        """Bytes that were over the limit and are not kept."""
        return self._cut

    async def read(self, step: int) -> AsyncIterator[bytes]:
        """Return the bytes of one step, in pieces; pieces come from memory or the page cache."""
        place = self.ranges[step]
        position, end = place.start, place.start + place.size
        while position < end:
            self._file.seek(position)
            piece = self._file.read(min(PIECE, end - position))
            position += len(piece)
            yield piece

    def close(self) -> None:
        """Drop everything."""
        self._file.close()
