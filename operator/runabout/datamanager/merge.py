"""Which data files of a type have to be made again when documents have changed: pure, so that it can be checked.

What always holds: the files of a type have ranges of keys of their own; a file whose range no change touches stays as
it is, unless it is small and has a small one, or new keys, beside it.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runabout.datamanager.manifest import DataFile

Changes = Mapping[str, bytes | None]
"""What documents of a type are now, by key; None: deleted."""


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring files and the changed keys, sorted, that belong into their place: to be merged into new files."""

    files: tuple[DataFile, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A file with the changed keys in its range, or (without a file) changed keys between two files."""

    file: DataFile | None
    keys: tuple[str, ...]
    light: bool
    """Whether it may go into one file with its neighbour."""


def plan(files: Sequence[DataFile], changes: Changes, *, small: int) -> list[Part | DataFile]:
    """Return, in the order of keys, what is merged and which files stay.

    Args:
        files: All files of the type, sorted.
        changes: What has changed.
        small: Files of fewer bytes are merged with what is beside them.
    """
    result: list[Part | DataFile] = []
    run: list[_Piece] = []

    def finish() -> None:
        found = tuple(piece.file for piece in run if piece.file is not None)
        keys = tuple(key for piece in run for key in piece.keys)
        if len(found) == 1 and not keys:
            result.append(found[0])
        elif run:
            result.append(Part(found, keys))
        run.clear()

    for piece in _pieces(files, changes, small):
        if not (run and run[-1].light and piece.light):
            finish()
        run.append(piece)
    finish()
    return result


def _pieces(files: Sequence[DataFile], changes: Changes, small: int) -> list[_Piece]:
    keys = sorted(changes)
    firsts = [file.first for file in files]
    inside: list[list[str]] = [[] for _ in files]
    between: list[list[str]] = [[] for _ in range(len(files) + 1)]
    for key in keys:
        at = bisect_right(firsts, key) - 1
        if at >= 0 and key <= files[at].last:
            inside[at].append(key)
        elif changes[key] is not None:  # nothing is deleted where nothing is
            between[at + 1].append(key)
    pieces = [_Piece(None, tuple(between[0]), light=True)]
    for file, mine, after in zip(files, inside, between[1:], strict=True):
        pieces += (_Piece(file, tuple(mine), light=file.size < small), _Piece(None, tuple(after), light=True))
    return [piece for piece in pieces if piece.file is not None or piece.keys]
