"""The data files of a new manifest: those of the one before, and what changed since then.

What always holds: a file whose range no change touches stays as it is (see `merge.py`); the others are merged with the
changes into new ones, under names that were never used. Memory has one old file, one new file and a row group of each.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice

from runabout.datamanager.datafile import DataWriter, Written, read_rows
from runabout.datamanager.datafiles import read_files
from runabout.datamanager.head import Keys
from runabout.datamanager.manifest import DataFile, Manifest, data_name
from runabout.datamanager.merge import Changes, Part, plan
from runabout.datamanager.tables import PLAIN, Tables
from runabout.ost import ObjectStore

_NEW_AT_ONCE = 256
"""Documents, which are in memory already, that are given to a thread at once."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of data files, in bytes: the largest file, the one below which files are merged, and a row group."""

    file: int
    small: int
    group: int


class DataFilesWriter:
    """Makes the data files of one manifest that covers the log up to a sequence."""

    def __init__(self, ost: ObjectStore, keys: Keys, tables: Tables, sizes: Sizes, *, epoch: int, covers: int) -> None:
        self._ost = ost
        self._keys = keys
        self._tables = tables
        self._sizes = sizes
        self._epoch = epoch
        self._covers = covers

    async def write(self, start: Manifest, types: Mapping[str, Changes]) -> tuple[DataFile, ...]:
        """Return all files after changes of documents, by type; `start` is the manifest before.

        Raises:
            Damaged: a file that has to be merged is damaged or missing. Errors of the object storage.
        """
        files: list[DataFile] = []
        for kind in sorted({each.type for each in start.files} | set(types)):
            changes = types.get(kind, {})
            for part in plan(start.of(kind), changes, small=self._sizes.small):
                files += [part] if isinstance(part, DataFile) else await self._write(kind, part, changes)
        return tuple(files)

    async def _write(self, kind: str, part: Part, changes: Changes) -> list[DataFile]:
        writer = DataWriter(self._tables.get(kind, PLAIN), most=self._sizes.file, group=self._sizes.group)
        found: list[DataFile] = []

        async def store(written: Written) -> None:
            key = self._keys.data + data_name(kind, covers=self._covers, epoch=self._epoch)
            file = await asyncio.to_thread(written.described, key, kind)
            await self._ost.write(file.object, written.data, size=file.size, persist=True, create_only=True)
            found.append(file)

        async with aclosing(self._merged(part, changes)) as groups:
            async for rows in groups:
                # In a thread: compressing a row group takes longer than a commit may wait.
                for full in await asyncio.to_thread(_added, writer, rows):
                    await store(full)
        for rest in await asyncio.to_thread(writer.close):
            await store(rest)
        return found

    async def _merged(self, part: Part, changes: Changes) -> AsyncGenerator[list[tuple[str, bytes]], None]:
        """Return documents in the order of their keys, a row group at a time: those of files, and what changed."""
        keys = _Cursor(part.keys)
        async with aclosing(read_files(self._ost, part.files, ahead=1)) as files:
            async for file, data in files:
                for rows in read_rows(data, file):
                    merged: list[tuple[str, bytes]] = []
                    for key, body in rows:
                        merged += _present(keys.before(key), changes)
                        if keys.take(key):
                            merged += _present((key,), changes)
                        else:
                            merged.append((key, body))
                    yield merged
        new = _present(keys.rest(), changes)
        while rows := list(islice(new, _NEW_AT_ONCE)):
            yield rows


def _added(writer: DataWriter, rows: Sequence[tuple[str, bytes]]) -> list[Written]:
    """Give documents to a writer; return the files that got full."""
    return [full for key, body in rows if (full := writer.add(key, body)) is not None]


class _Cursor:
    """Sorted keys, taken from the front."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._at = 0

    def before(self, key: str) -> Iterator[str]:
        """Take those that come before a key."""
        while self._at < len(self._keys) and self._keys[self._at] < key:
            self._at += 1
            yield self._keys[self._at - 1]

    def take(self, key: str) -> bool:
        """Take a key, if it is the next one."""
        if self._at < len(self._keys) and self._keys[self._at] == key:
            self._at += 1
            return True
        return False

    def rest(self) -> Iterator[str]:
        """Take all that are left."""
        while self._at < len(self._keys):
            self._at += 1
            yield self._keys[self._at - 1]


def _present(keys: Iterator[str] | Sequence[str], changes: Changes) -> Iterator[tuple[str, bytes]]:
    """Return changed documents that are not deleted."""
    for key in keys:
        body = changes[key]
        if body is not None:
            yield key, body
