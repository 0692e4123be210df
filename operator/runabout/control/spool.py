"""Where an attempt's output waits until it is stored: its first bytes in memory, the rest in an unnamed file.

Output arrives step after step, so each step is a range or two of the spool, and a few more where lines about it came
later, and gaps, which somebody else may be able to fill. What exceeds a limit, or cannot be written, is counted for its
step, not kept; nothing of the output is kept after that, so what is missing is always the end. Where others may have
it, and no limit of the attempt's own is reached, a gap stands for it.
"""

import errno
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from runabout.executors.steplog import Chunk, Gap, Lack, title

IN_MEMORY = 128 * 1024
"""Bytes of one attempt's output that are held without a file."""
PIECE = 1024 * 1024
"""Bytes read at a time when a range is uploaded."""


class Budget:
    """The bytes that the files of all spools may have together."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._left = total

    @property
    def left(self) -> int:
        """Bytes that nobody has."""
        return max(0, self._left)

    def take(self, wanted: int) -> int:
        """Return how many of the bytes wanted there are; they are taken."""
        taken = min(wanted, self.left)
        self._left -= taken
        return taken

    def overdraw(self, size: int) -> None:
        """Take bytes whether or not there are any."""
        self._left -= size

    def give_back(self, size: int) -> None:
        """Let others have bytes that were taken."""
        self._left += size


class ScratchFile(Protocol):
    """What a spool needs of its file: one without a buffer, so that a write says at once that there is no room."""

    def write(self, data: memoryview, /) -> int | None:
        """Write some bytes of `data`; return how many."""
        ...

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to a place."""
        ...

    def close(self) -> None:
        """Drop it."""
        ...


def scratch_file(directory: Path) -> ScratchFile:
    """Return a file in `directory` that has no name and goes with the process."""
    return tempfile.TemporaryFile(buffering=0, dir=str(directory), prefix="runabout-log-")


@dataclass(slots=True)
class Kept:
    """A part of what is kept of a step, in bytes: of its output, or lines about it; `open`: it ends within a line."""

    in_file: bool
    start: int
    size: int
    is_lines: bool
    open: bool


class Spool:
    """One attempt's output; `limit` bytes are kept, as far as `budget` has them, and every line of our own.

    `on_full` is called once, with the reason, when the first byte is not kept. `elsewhere` are the names of the steps,
    if somebody else may have what is not kept.
    """

    def __init__(
        self,
        directory: Path,
        *,
        limit: int,
        budget: Budget,
        on_full: Callable[[str], None] = lambda _why: None,
        elsewhere: Sequence[str] | None = None,
        open_file: Callable[[Path], ScratchFile] = scratch_file,
    ) -> None:
        self._directory = directory
        self._limit = limit
        self._budget = budget
        self._on_full = on_full
        self._elsewhere = elsewhere
        self._open_file = open_file
        self._memory = bytearray()
        self._file: ScratchFile | None = None
        self._in_file = 0
        self._size = 0
        self._broken = False
        self._full = ""
        self._cut: dict[int, int] = {}
        self._parts: dict[int, list[Kept | Gap]] = {}
        self._open_lines: set[int] = set()
        """steps whose last byte kept is no newline"""

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._size

    @property
    def sizes(self) -> dict[int, int]:
        """Bytes kept of each step that has any, or a gap."""
        return {step: sum(part.size for part in parts if isinstance(part, Kept)) for step, parts in self._parts.items()}

    @property
    def limit(self) -> int:
        """Bytes of output that may be kept."""
        return self._limit

    @property
    def cut(self) -> dict[int, int]:
        """Bytes of each step that are not kept, and for which no gap stands."""
        return dict(self._cut)

    @property
    def full(self) -> str:
        """Why bytes are not kept, empty if all are."""
        return self._full

    @property
    def refills(self) -> bool:
        """Whether gaps stand for what is not kept."""
        return self._elsewhere is not None and self._size < self._limit

    def take(self, chunks: Sequence[Chunk]) -> None:
        """Add what was split: output, and lines about it or gaps."""
        for chunk in chunks:
            if chunk.gap is None:
                self.append(chunk.step, chunk.data, chunk.offset)
            elif self.full and not self.refills:  # what comes before it is cut already
                self.note(chunk.step, chunk.data)
            else:
                self.leave(chunk.step, chunk.gap)

    def append(self, step: int, data: bytes, offset: int = 0) -> None:
        """Add output of `step` from byte `offset` on; what cannot be kept is cut off."""
        kept = self._keep_output(step, data) if not self._full else 0
        if kept < len(data):
            self._lose(step, offset + kept, offset + len(data))

    def note(self, step: int, line: bytes) -> None:
        """Add a line about the output of `step`, on a line of its own, whatever the limits."""
        begins = step in self._open_lines and not line.startswith(b"\n")
        data = b"\n" + line if begins else line
        if len(self._memory) >= IN_MEMORY and not self._broken:
            self._budget.overdraw(len(data))
            data = data[self._write(step, data, is_lines=True) :]
        self._remember(step, data, is_lines=True)

    def leave(self, step: int, gap: Gap) -> None:
        """Leave a place in the output of `step` for what is missing there."""
        self._parts.setdefault(step, []).append(gap)
        self._open_lines.discard(step)

    def parts(self, step: int) -> list[Kept | Gap]:
        """Return what there is of a step, in order. Nothing is added then."""
        return list(self._parts.get(step, ()))

    def _lose(self, step: int, start: int, end: int) -> None:
        """Take note that bytes are not kept."""
        parts = self._parts.get(step, [])
        last = parts[-1] if parts else None
        if self._elsewhere is None or not self.refills or (isinstance(last, Gap) and last.lack is not Lack.BYTES):
            self._cut[step] = self._cut.get(step, 0) + end - start
        elif isinstance(last, Gap) and (last.why, last.end) == (self._full, start):
            parts[-1] = replace(last, end=end)
        else:
            name = title(step, self._elsewhere[step] if step >= 0 else "")
            self.leave(step, Gap(Lack.BYTES, name, self._full, start, end))

    def _keep_output(self, step: int, data: bytes) -> int:
        """Return how many bytes are kept."""
        allowed = data[: max(0, self._limit - self._size)]
        room = max(0, IN_MEMORY - len(self._memory))
        self._remember(step, allowed[:room])
        rest = allowed[room:]
        taken = self._budget.take(len(rest))
        written = self._write(step, rest[:taken])
        if taken < len(rest):
            self._fill(f"the limit is {self._budget.total} for all attempts that wait to be stored")
        elif len(allowed) < len(data):
            self._fill(f"the limit is {self._limit} an attempt")
        return len(allowed) - len(rest) + written

    def _remember(self, step: int, data: bytes, *, is_lines: bool = False) -> None:
        self._kept(step, data, in_file=False, start=len(self._memory), is_lines=is_lines)
        self._memory += data

    def _write(self, step: int, data: bytes, *, is_lines: bool = False) -> int:
        """Return how many bytes are in the file; those of the budget that are not are given back."""
        if not data:
            return 0
        written = 0
        try:
            if self._file is None:
                self._file = self._open_file(self._directory)
            self._file.seek(self._in_file)
            while written < len(data):
                written += _write_some(self._file, memoryview(data)[written:])
        except OSError as error:
            self._broken = True
            self._fill(f"they could not be written: {error.strerror or error}")
        self._budget.give_back(len(data) - written)
        self._kept(step, data[:written], in_file=True, start=self._in_file, is_lines=is_lines)
        self._in_file += written
        return written

    def _fill(self, why: str) -> None:
        """Keep no more output; the first reason counts."""
        if not self._full:
            self._full = why
            self._on_full(why)

    def _kept(self, step: int, data: bytes, *, in_file: bool, start: int, is_lines: bool) -> None:
        if not data:
            return
        parts = self._parts.setdefault(step, [])
        last = parts[-1] if parts else None
        is_open = not data.endswith(b"\n")
        if isinstance(last, Kept) and (last.in_file, last.start + last.size, last.is_lines) == (
            in_file,
            start,
            is_lines,
        ):
            last.size += len(data)
            last.open = is_open
        else:
            parts.append(Kept(in_file, start, len(data), is_lines, is_open))
        self._size += len(data)
        if is_open:
            self._open_lines.add(step)
        else:
            self._open_lines.discard(step)

    async def read(self, part: Kept) -> AsyncIterator[bytes]:
        """Return the bytes of a part, in pieces; they come from memory or the page cache. Nothing is added then."""
        position, end = part.start, part.start + part.size
        while position < end:
            piece = self._piece(part, position, min(PIECE, end - position))
            position += len(piece)
            yield piece

    def _piece(self, part: Kept, position: int, size: int) -> bytes:
        if not part.in_file or self._file is None:
            return bytes(self._memory[position : position + size])
        self._file.seek(position)
        piece = self._file.read(size)
        if not piece:
            raise EOFError(f"the output that waited has no byte {position} any more")
        return piece

    def close(self) -> None:
        """Drop everything; again has no effect."""
        self._budget.give_back(self._in_file)
        self._in_file = 0
        self._memory.clear()
        self._parts.clear()
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_some(file: ScratchFile, data: memoryview) -> int:
    """Return how many bytes are written, at least one."""
    size = file.write(data)
    if not size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return size
