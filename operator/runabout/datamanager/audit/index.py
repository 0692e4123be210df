"""Looking at index files: their bytes, whether they can be read, and whether their rows are those of the documents.

The rows of the newest checkpoint that holds are compared with its documents, in the order of the runs' ids: one index
file and one data file of each type are in memory. Files never change, so what was found whole is not read again.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import pairwise

from runabout.datamanager.audit.seen import Part, Seen, said
from runabout.datamanager.datafile import read_rows
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.indexed import NO_LABELS, IndexSource, number_in
from runabout.datamanager.indexloading import loaded, read_index_file
from runabout.datamanager.loading import Base, read_files
from runabout.datamanager.manifest import DataFile, IndexFile, IndexFiles
from runabout.datamanager.objects import Breather
from runabout.ost import ObjectInfo, ObjectStore
from runabout.records import RunId
from runabout.runindex import IndexRow, NewFile, RunIndexError, Segment
from runabout.runindex.files import read_file

AHEAD = 4
"""Files that are fetched at once; each is about half a MiB."""


@dataclass(slots=True)
class Indexes:
    """Looks at the index files of one object storage, and remembers what was whole.

    `source` says what rows a store's documents make; None: rows are not compared.
    """

    ost: ObjectStore
    source: IndexSource | None
    _files: set[IndexFile] = field(default_factory=set)
    _compared: set[str] = field(default_factory=set)
    """Names of manifests whose rows are those of their documents."""

    async def look(self, seen: Seen, infos: list[ObjectInfo], count: Callable[[int], None]) -> None:
        """Look at all index files; manifests and data files have been looked at before.

        `infos` are all objects where index files are, and `count` is told how many bytes are done.
        """
        wanted: dict[IndexFile, list[Base]] = {}
        labels: dict[IndexFile, tuple[str, ...]] = {}
        for _, base in sorted(seen.bases.items(), reverse=True):
            for file in _index(base).files:
                wanted.setdefault(file, []).append(base)
                labels.setdefault(file, _index(base).labels)
        needed = {file.object for file in wanted}
        orphans = [each for each in infos if each.key not in needed]
        if orphans:
            size = sum(each.size for each in orphans)
            seen.notes.append(
                f"{len(orphans)} index files ({size} bytes) belong to no manifest: the operator collects them"
            )
        count(sum(each.size for each in orphans))
        damaged: set[IndexFile] = set()
        all_files = list(wanted)
        for begin in range(0, len(all_files), AHEAD):
            files = all_files[begin : begin + AHEAD]
            found = await asyncio.gather(*(self._verified(file, labels[file]) for file in files))
            for file, what in zip(files, found, strict=True):
                count(file.info.size)
                if what:
                    damaged.add(file)
                    seen.add(Part.INDEX, file.object, what, covers=wanted[file][0].manifest.covers)
                else:
                    seen.objects, seen.size = seen.objects + 1, seen.size + file.info.size
        await self._compare(seen, damaged)

    async def _verified(self, file: IndexFile, labels: tuple[str, ...]) -> str:
        """Return what is wrong with a file; nothing if its bytes and its form are right."""
        if file in self._files:
            return ""
        try:
            body = await read_index_file(self.ost, file)
            await asyncio.to_thread(read_file, file.info, body, labels)
        except (BrokenLog, RunIndexError) as error:
            return said(error, file.object)
        self._files.add(file)
        return ""

    # rows

    async def _compare(self, seen: Seen, damaged: set[IndexFile]) -> None:
        base = next(iter(seen.newest_first()), None)
        if base is None or base.manifest.index is None:
            return
        if self.source is None:
            seen.notes.append("the rows of the index were not compared with the documents")
            return
        if base.pointer.name in self._compared:
            return
        before = len(seen.damages)
        try:
            await self._compare_rows(seen, base, replace(self.source, labels=base.manifest.index.labels), damaged)
        except BrokenLog:
            return  # moved since it was found whole: the next look tells
        if len(seen.damages) == before and not damaged:
            self._compared.add(base.pointer.name)

    async def _compare_rows(self, seen: Seen, base: Base, source: IndexSource, damaged: set[IndexFile]) -> None:
        covers, where = base.manifest.covers, seen.keys.manifests + base.pointer.name
        async with aclosing(self._rows(base, source)) as rows:
            ahead = _Ahead(rows, await anext(rows, None))
            for file in _index(base).files:
                without = await ahead.skip_to(file.info.first)
                if without is not None:
                    seen.add(Part.ROWS, where, _no_file(without), covers=covers)
                if file in damaged:
                    await ahead.skip_to(file.info.last, after=True)
                    continue
                body = await read_index_file(self.ost, file)
                what = await _compared(await loaded(source, NewFile(file.info, body)), ahead)
                if what:
                    seen.add(Part.ROWS, file.object, what, covers=covers)
            if ahead.row is not None:
                seen.add(Part.ROWS, where, _no_file(ahead.row), covers=covers)

    async def _rows(self, base: Base, source: IndexSource) -> AsyncGenerator[IndexRow, None]:
        """Return the rows that documents make, by id."""
        labelled = self._documents(base.manifest.of(source.labels_type) if source.labels else ())
        async with (
            aclosing(labelled),
            aclosing(self._documents(base.manifest.of(source.type))) as records,
        ):
            beside = await anext(labelled, None)
            async for key, body in records:
                if number_in(key) is None:
                    continue
                while beside is not None and beside[0] < key:
                    beside = await anext(labelled, None)
                same = beside is not None and beside[0] == key
                labels = source.labels_of(key, beside[1]) if same and beside is not None else NO_LABELS
                row = source.row_of(key, body, labels)
                if row is not None:
                    yield row

    async def _documents(self, files: tuple[DataFile, ...]) -> AsyncGenerator[tuple[str, bytes], None]:
        async with aclosing(read_files(self.ost, files, ahead=1)) as found:
            async for file, data in found:
                for rows in read_rows(data, file):
                    for each in rows:
                        yield each
                    await asyncio.sleep(0)


@dataclass(slots=True)
class _Ahead:
    """Rows in order; `row` is the next one, None at the end."""

    rows: AsyncGenerator[IndexRow, None]
    row: IndexRow | None

    async def take(self) -> None:
        self.row = await anext(self.rows, None)

    async def skip_to(self, run: RunId, *, after: bool = False) -> IndexRow | None:
        """Skip the rows before a run, or up to and with it; return the first of them."""
        first = None
        while self.row is not None and (self.row.id < run or (after and self.row.id == run)):
            first = first or self.row
            await self.take()
        return first


async def _compared(segment: Segment, ahead: _Ahead) -> str:
    """Take the rows that a file should have; return the first thing that is wrong with those it has."""
    place, wrong, breather = 0, "", Breather()
    while ahead.row is not None and ahead.row.id <= segment.info.last:
        await breather.breathe()
        wrong = wrong or _difference(segment, place, ahead.row)
        place += 1
        await ahead.take()
    if not wrong and place < len(segment):
        return f"has a row for the run {segment.row(place).id}, which has no record"
    return wrong


def _index(base: Base) -> IndexFiles:
    return base.manifest.index or IndexFiles()


def _difference(segment: Segment, place: int, row: IndexRow) -> str:
    """Return what is wrong with a row of a file, where `row` should be."""
    found = segment.row(place) if place < len(segment) else None
    if found is None or found.id > row.id:
        return f"has no row for the run {row.id}, which has a record"
    if found.id < row.id:
        return f"has a row for the run {found.id}, which has no record"
    return "" if found == row else f"has another row for the run {row.id} than its record makes"


def _no_file(row: IndexRow) -> str:
    return f"names no index file for the run {row.id}, which has a record"


def contradiction(base: Base, folder: str) -> str:
    """Say in what a manifest contradicts itself about its index files, whose folder is given."""
    files = _index(base).files
    if any(not file.object.startswith(folder + file.info.name.removesuffix(".parquet") + "-") for file in files):
        return f"names an object outside of {folder}, or of another content, as an index file"
    if any(one.info.last >= other.info.first for one, other in pairwise(files)):
        return "names index files whose ranges of runs overlap"
    return ""
