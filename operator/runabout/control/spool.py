"""Where an attempt's output waits until it is stored: in memory while small, in an unnamed file beyond that.

Output arrives step after step, so each step is one range of the spool, and a few more where lines about it came later.
What exceeds the limit is counted for its step, not kept.
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
class _Range:
    """A part of a step's output, in bytes."""

    start: int
    size: int


class Spool:
    """One attempt's output; `limit` bytes are kept, and every line of our own."""

    def __init__(self, directory: Path, *, limit: int) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - lives as long as the spool
            max_size=IN_MEMORY, dir=str(directory), prefix="runabout-log-"
        )
        self._limit = limit
        self._size = 0
        self._cut: dict[int, int] = {}
        self._ranges: dict[int, list[_Range]] = {}
        self._open_lines: set[int] = set()
        """steps whose last byte kept is no newline"""

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._size

    @property
    def sizes(self) -> dict[int, int]:
        """Bytes kept of each step that has any."""
        return {step: sum(part.size for part in parts) for step, parts in self._ranges.items()}

    @property
    def cut(self) -> dict[int, int]:
        """Bytes of each step that were over the limit and are not kept."""
        return dict(self._cut)

    def append(self, step: int, data: bytes) -> None:
        """Add output of `step`; what is over the limit is cut off."""
        kept = data[: max(0, self._limit - self._size)]
        if len(kept) < len(data):
            self._cut[step] = self._cut.get(step, 0) + len(data) - len(kept)
        self._keep(step, kept)

    def note(self, step: int, line: bytes) -> None:
        """Add a line about the output of `step`, on a line of its own, whatever the limit."""
        begins = step in self._open_lines and not line.startswith(b"\n")
        self._keep(step, b"\n" + line if begins else line)

    def _keep(self, step: int, data: bytes) -> None:
        if not data:
            return
        parts = self._ranges.setdefault(step, [])
        if not parts or parts[-1].start + parts[-1].size != self._size:
            parts.append(_Range(self._size, 0))
        self._file.write(data)
        parts[-1].size += len(data)
        self._size += len(data)
        if data.endswith(b"\n"):
            self._open_lines.discard(step)
        else:
            self._open_lines.add(step)

    async def read(self, step: int) -> AsyncIterator[bytes]:
        """Return the bytes of one step, in pieces; pieces come from memory or the page cache. Nothing is added then."""
        for part in self._ranges[step]:
            position, end = part.start, part.start + part.size
            while position < end:
                self._file.seek(position)
                piece = self._file.read(min(PIECE, end - position))
                position += len(piece)
                yield piece

    def close(self) -> None:
        """Drop everything."""
        self._file.close()
