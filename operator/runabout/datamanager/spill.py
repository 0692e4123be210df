"""What a part of the log changes, sorted by type and key: in memory while it is small, on disk beyond that.

What always holds: memory is bounded by one run of changes, however long the log is; of several changes of a document
the last one counts.
"""

import heapq
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runabout.datamanager.batch import APPEND, DELETE, Batch

MOST = 64 * 1024 * 1024
"""Bytes of changes in memory."""
_ROW = struct.Struct(">HBI")
"""Length of the key, whether there is a document, and its length."""
_BLOCK = 1024 * 1024

Change = tuple[str, bytes | None]
"""A key and its document, None: deleted."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A file of changes; where those of each type begin and end."""

    path: Path
    parts: dict[str, tuple[int, int]]


class Spill:
    """Takes batches in the order of the log; `folder` is there, and the files in it are the caller's to remove."""

    def __init__(self, folder: Path, *, most: int = MOST) -> None:
        self._folder = folder
        self._most = most
        self._types: dict[str, dict[str, bytes | None]] = {}
        self._size = 0
        self._runs: list[_Run] = []
        self.numbers: dict[str, int] = {}
        """The last number that was given to an append of each type."""

    @property
    def types(self) -> frozenset[str]:
        """The types of which something changed."""
        return frozenset(self._types).union(*(run.parts for run in self._runs))

    def apply(self, batch: Batch) -> None:
        """Take the actions of a batch.

        Raises:
            OSError: the folder cannot be written.
        """
        for transaction in batch.transactions:
            for entry in transaction:
                self._types.setdefault(entry.type, {})[entry.key] = None if entry.op == DELETE else entry.body
                self._size += entry.size
                if entry.op == APPEND:
                    self.numbers[entry.type] = int(entry.key, 16)
        if self._size >= self._most:
            self._write()

    def changes(self, kind: str) -> Iterator[Change]:
        """Return what has changed of a type, in the order of keys, each key once."""
        # Of equal keys the newest run comes first: its number is the smallest.
        newest = ((key, 0, body) for key, body in sorted(self._types.get(kind, {}).items()))
        older = (_read(run, kind, place) for place, run in enumerate(reversed(self._runs), start=1))
        last: str | None = None
        for key, _, body in heapq.merge(newest, *older, key=_order):
            if key != last:
                yield key, body
            last = key

    def _write(self) -> None:
        path = self._folder / f"{len(self._runs):06}"
        parts: dict[str, tuple[int, int]] = {}
        with path.open("wb", buffering=_BLOCK) as file:
            for kind in sorted(self._types):
                start = file.tell()
                for key, body in sorted(self._types[kind].items()):
                    encoded = key.encode()
                    file.write(_ROW.pack(len(encoded), body is not None, len(body or b"")))
                    file.write(encoded)
                    file.write(body or b"")
                parts[kind] = start, file.tell()
        self._runs.append(_Run(path, parts))
        self._types = {}
        self._size = 0


_Item = tuple[str, int, bytes | None]


def _order(item: _Item) -> tuple[str, int]:
    return item[:2]


def _read(run: _Run, kind: str, place: int) -> Iterator[_Item]:
    start, end = run.parts.get(kind, (0, 0))
    if start == end:
        return
    with run.path.open("rb", buffering=_BLOCK) as file:
        file.seek(start)
        while file.tell() < end:
            key_size, there, size = _ROW.unpack(_exactly(file, _ROW.size))
            key = _exactly(file, key_size).decode()
            body = _exactly(file, size)
            yield key, place, body if there else None


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise OSError(f"{file.name} was cut while it was used")
    return data
