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
        DamagedIndex: a file is not what was stored.
        NewerIndex: a file was written by a newer version.
    """
    rest = columns_of((), labels)
    for old, new, below in _pieces(stretch, bodies, changes, labels, full):
        rest = rest.joined(old).joined(new)
        # only rows below `below` are complete: one that is still to come may belong among those above
        safe = len(rest) if below is None else int(np.searchsorted(rest.ids, np.uint64(below)))
        begin = 0
        while safe - begin >= full:
            yield write_file(rest.taken(np.arange(begin, begin + full)))
            begin += full
        rest = rest.taken(np.arange(begin, len(rest)))
    if len(rest):
        yield write_file(rest)


def _pieces(
    stretch: Stretch,
    bodies: Iterable[bytes],
    changes: Mapping[int, IndexRow | None],
    labels: tuple[str, ...],
    full: int,
) -> Iterator[tuple[Columns, Columns, int | None]]:
    """Yield rows of old files, changed rows, and the id below which nothing is to come (None: nothing at all)."""
    none = columns_of((), labels)
    limits = [*(number_of(info.first) for info in stretch.files[1:]), None]
    taken = 0
    for (info, limit), body in zip(zip(stretch.files, limits, strict=False), bodies, strict=True):
        end = len(stretch.changes) if limit is None else bisect_left(stretch.changes, limit)
        numbers = stretch.changes[taken:end]
        yield read_file(info, body, labels).without(np.array(numbers, np.uint64)), none, (*numbers, limit)[0]
        yield from ((none, *piece) for piece in _changed(numbers, limit, changes, labels, full))
        taken = end
    if not stretch.files:
        yield from ((none, *piece) for piece in _changed(stretch.changes, None, changes, labels, full))


def _changed(
    numbers: Sequence[int],
    limit: int | None,
    changes: Mapping[int, IndexRow | None],
    labels: tuple[str, ...],
    full: int,
) -> Iterator[tuple[Columns, int | None]]:
    for begin in range(0, len(numbers), full):
        rows = (changes[number] for number in numbers[begin : begin + full])
        yield columns_of((row for row in rows if row is not None), labels), (*numbers[begin + full :][:1], limit)[0]
