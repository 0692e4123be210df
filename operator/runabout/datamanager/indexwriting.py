"""The index files of a new manifest: those of the one before, and what changed since then.

What always holds: files hold what the manifest covers and nothing newer, so that they are as good after a loss of etcd
as they were before; a name is never used twice; and a file that cannot be read any more is made again from data files.
"""

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from runabout.datamanager.datafiles import read_between
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.head import Keys
from runabout.datamanager.indexed import NO_LABELS, Indexed, IndexSource, number_in
from runabout.datamanager.indexloading import files_of, loaded, read_index_file
from runabout.datamanager.manifest import IndexFile, IndexFiles, Manifest, index_name
from runabout.datamanager.merge import Changes
from runabout.datamanager.objects import Breather
from runabout.ost import ObjectStore
from runabout.records import RunId
from runabout.runindex import Archive, FileInfo, IndexRow, NewFile, Rewriting, Segment, number_of, plan


@dataclass(slots=True)
class IndexWriter:
    """Makes the index files of one manifest; `start` is the manifest before, and `indexed` its index."""

    ost: ObjectStore
    keys: Keys
    source: IndexSource
    start: Manifest
    indexed: Indexed
    epoch: int
    full: int
    """Rows of a file."""
    damage: list[str] = field(default_factory=list)
    """What did not hold, and was made again."""
    _segments: list[Segment] = field(default_factory=list)
    _objects: dict[FileInfo, str] = field(default_factory=dict)
    _unreadable: set[RunId] = field(default_factory=set)

    async def write(self, types: Mapping[str, Changes]) -> tuple[IndexFiles, Indexed]:
        """Return the index after changes of documents, by type; all of its files are stored.

        Raises:
            BrokenLog: what is needed is missing or damaged. Unavailable: the scratch folder takes no more. Errors of
                the object storage.
        """
        rows = await self._rows(types)
        old = {segment.info: segment for segment in self.indexed.archive.segments}
        for stretch in await asyncio.to_thread(plan, list(old), rows, full=self.full):
            writing = Rewriting(stretch, rows, labels=self.source.labels, full=self.full)
            for info in stretch.files:
                same = await self._file(info)
                for file in await asyncio.to_thread(list, writing.take(same.body, same.info)):
                    await self._store(file)
                del old[info]
            for file in await asyncio.to_thread(list, writing.close()):
                await self._store(file)
        for info, segment in old.items():
            if info in self.indexed.unstored:
                await self._store(NewFile(info, self.indexed.unstored[info]), segment)
            else:
                self._segments.append(segment)
                self._objects[info] = self.indexed.objects[info]
        archive = await asyncio.to_thread(Archive, self._segments)
        files = tuple(IndexFile(self._objects[each.info], each.info) for each in archive.segments)
        unreadable = frozenset(self._unreadable)
        return (
            IndexFiles(self.source.labels, files, unreadable),
            Indexed(archive, self._objects, unreadable=unreadable),
        )

    async def _store(self, file: NewFile, segment: Segment | None = None) -> None:
        key = self.keys.index + index_name(file.info, epoch=self.epoch, id=uuid.uuid4().bytes)
        await self.ost.write(key, file.body, size=len(file.body), persist=True, create_only=True)
        self._segments.append(segment or await loaded(self.source, file))
        self._objects[file.info] = key

    async def _file(self, info: FileInfo) -> NewFile:
        """Return an old file, or one that has its rows."""
        if info in self.indexed.unstored:
            return NewFile(info, self.indexed.unstored[info])
        try:
            return NewFile(info, await read_index_file(self.ost, IndexFile(self.indexed.objects[info], info)))
        except BrokenLog as error:
            rows = await self._rows_between(str(info.first), str(info.last))
            files = await asyncio.to_thread(lambda: list(files_of(rows, self.source)))
            if len(files) != 1:
                raise BrokenLog(f"{error}; and the data files do not have its {info.rows} records") from error
            self.damage.append(f"{error}; this part of the index was made again from the data files")
            return files[0]

    # rows

    async def _rows(self, types: Mapping[str, Changes]) -> dict[int, IndexRow | None]:
        """Return what changes of documents make of rows, by the number of the id."""
        source, archive, breather = self.source, self.indexed.archive, Breather()
        records, labelled = types.get(source.type, {}), types.get(source.labels_type, {}) if source.labels else {}
        rows: dict[int, IndexRow | None] = {}
        apart: list[str] = []
        self._unreadable = set(self.indexed.unreadable)
        for key in records.keys() | labelled.keys():
            number = number_in(key)
            if number is None:
                continue
            await breather.breathe()
            before = archive.row(number)
            if key not in records:
                if before is not None:
                    rows[number] = replace(before, labels=source.labels_of(key, labelled[key]))
                continue
            if source.labels and before is None and key not in labelled:
                apart.append(key)
                continue
            if key in labelled or before is None:
                row = source.row_of(key, records[key], source.labels_of(key, labelled.get(key)))
            else:
                row = source.row_of(key, records[key], before.labels)
            self._note(RunId(key), records[key], row)
            if row is not None or before is not None:
                rows[number] = row
        labels_of = await self._labels_between(min(apart), max(apart)) if apart else {}
        for key in apart:
            row = source.row_of(key, records[key], labels_of.get(key, NO_LABELS))
            self._note(RunId(key), records[key], row)
            if row is not None:
                rows[number_of(row.id)] = row
        return rows

    def _note(self, run: RunId, body: bytes | None, row: IndexRow | None) -> None:
        """Remember whether the record of a run can be read."""
        if row is None and body is not None:
            self._unreadable.add(run)
        else:
            self._unreadable.discard(run)

    async def _rows_between(self, first: str, last: str) -> dict[int, IndexRow]:
        """Return the rows of a range as they were before, made from data files."""
        labels = await self._labels_between(first, last)
        rows: dict[int, IndexRow] = {}
        async with aclosing(read_between(self.ost, self.start.of(self.source.type), first, last)) as found:
            async for key, body in found:
                row = self.source.row_of(key, body, labels.get(key, NO_LABELS))
                if row is not None:
                    rows[number_of(row.id)] = row
        return rows

    async def _labels_between(self, first: str, last: str) -> dict[str, Mapping[str, str]]:
        """Return the labels of runs in a range as they were before, made from data files."""
        if not self.source.labels:
            return {}
        async with aclosing(read_between(self.ost, self.start.of(self.source.labels_type), first, last)) as found:
            return {key: self.source.labels_of(key, body) async for key, body in found}
