"""From old files and changes to new files: which files a checkpoint touches, and what it writes in their place.

One stretch of neighbouring files at a time, and of it two files in memory at most.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runabout.runindex.columns import Columns, columns_of
from runabout.runindex.files import MAX_ROWS, FileInfo, NewFile, read_file, write_file
from runabout.runindex.row import IndexRow, number_of

_SMALL = 4
"""A file less than one fourth full is written anew with a neighbour that is written anyway."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Files that stand next to each other and are replaced, and the changes that belong there, by id."""

    files: tuple[FileInfo, ...]
    changes: tuple[int, ...]


def plan(files: Sequence[FileInfo], changes: Iterable[int], *, full: int = MAX_ROWS) -> tuple[Stretch, ...]:
    """Return what to replace for changes of the runs with these numbers; files in no stretch stay as they are.

    A run belongs to the file with the highest first id that is not above its own; what is below all belongs to the
    first. What comes after the last file is written together with it, unless that has `full` rows.
    """
    ordered = sorted(files, key=lambda info: info.first)
    firsts = [number_of(info.first) for info in ordered]
    parts: dict[int, list[int]] = {}
    for number in sorted(changes):
        place = max(0, bisect_right(firsts, number) - 1)
        if ordered and place == len(ordered) - 1 and number > number_of(ordered[-1].last):
            place += ordered[-1].rows >= full
        parts.setdefault(place, []).append(number)
    for place in list(parts):
        for neighbour in (place - 1, place + 1):
            if 0 <= neighbour < len(ordered) and neighbour not in parts and ordered[neighbour].rows * _SMALL < full:
                parts[neighbour] = []
    stretches: list[Stretch] = []
    previous = -2
    for place in sorted(parts):
        here = Stretch(tuple(ordered[place : place + 1]), tuple(parts[place]))
        if place == previous + 1:
            before = stretches.pop()
            here = Stretch(before.files + here.files, before.changes + here.changes)
        stretches.append(here)
        previous = place
    return tuple(stretches)


class Rewriting:
    """A stretch that is written anew: its old files go in one after the other, new ones come out when they are full."""

    def __init__(
        self,
        stretch: Stretch,
        changes: Mapping[int, IndexRow | None],
        *,
        labels: tuple[str, ...],
        full: int = MAX_ROWS,
    ) -> None:
        self._stretch = stretch
        self._changes = changes
        self._labels = labels
        self._full = full
        self._rest = columns_of((), labels)
        self._files = 0
        self._taken = 0

    def take(self, body: bytes, info: FileInfo | None = None) -> Iterator[NewFile]:
        """Take the bytes of the next old file, or, with `info`, of one with the same rows; yield new files.

        Raises:
            DamagedIndex: it is not what was stored.
            NewerIndex: it was written by a newer version.
            ValueError: there is no next one.
        """
        files, changed = self._stretch.files, self._stretch.changes
        if self._files == len(files):
            raise ValueError(f"this stretch has {len(files)} files and no more")
        info = info or files[self._files]
        self._files += 1
        limit = None if self._files == len(files) else number_of(files[self._files].first)
        end = len(changed) if limit is None else bisect_left(changed, limit)
        numbers = changed[self._taken : end]
        self._taken = end
        old = read_file(info, body, self._labels).without(np.array(numbers, np.uint64))
        yield from self._add(old, (*numbers, limit)[0])
        yield from self._change(numbers, limit)

    def close(self) -> Iterator[NewFile]:
        """Yield what is left.

        Raises:
            ValueError: a file is still to come.
        """
        if self._files < len(self._stretch.files):
            raise ValueError(f"{self._files} bodies are shorter than the {len(self._stretch.files)} files of a stretch")
        yield from self._change(self._stretch.changes[self._taken :], None)
        if len(self._rest):
            yield write_file(self._rest)

    def _change(self, numbers: Sequence[int], limit: int | None) -> Iterator[NewFile]:
        for begin in range(0, len(numbers), self._full):
            rows = (self._changes[number] for number in numbers[begin : begin + self._full])
            new = columns_of((row for row in rows if row is not None), self._labels)
            yield from self._add(new, (*numbers[begin + self._full :][:1], limit)[0])

    def _add(self, rows: Columns, below: int | None) -> Iterator[NewFile]:
        """Take rows; yield files of those that have their place, because none below `below` is still to come."""
        self._rest = self._rest.joined(rows)
        safe = len(self._rest) if below is None else int(np.searchsorted(self._rest.ids, np.uint64(below)))
        begin = 0
        while safe - begin >= self._full:
            yield write_file(self._rest.taken(np.arange(begin, begin + self._full)))
            begin += self._full
        self._rest = self._rest.taken(np.arange(begin, len(self._rest)))


def rewrite(
    stretch: Stretch,
    bodies: Iterable[bytes],
    changes: Mapping[int, IndexRow | None],
    *,
    labels: tuple[str, ...],
    full: int = MAX_ROWS,
) -> Iterator[NewFile]:
    """Yield the files that replace a stretch's; `bodies` are its files' bytes, read one after the other.

    Raises:
        As :meth:`Rewriting.take`.
    """
    writing = Rewriting(stretch, changes, labels=labels, full=full)
    for body in bodies:
        yield from writing.take(body)
    yield from writing.close()
