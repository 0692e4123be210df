"""Reading the index files of a manifest, and making those again that do not hold.

What always holds: an index that was loaded has the rows of all records that the manifest has, however many of its files
were damaged, missing, or never written; what did not hold is reported. The documents say the same as the files.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field

from runabout.datamanager.datafiles import read_between
from runabout.datamanager.errors import BrokenLog, Unavailable
from runabout.datamanager.indexed import NO_LABELS, Indexed, IndexSource, number_in
from runabout.datamanager.manifest import IndexFile, IndexFiles, Manifest
from runabout.datamanager.objects import read_object
from runabout.datamanager.progress import Progress, Step, silent
from runabout.ost import ObjectStore
from runabout.records import RunId
from runabout.runindex import (
    MAX_ROWS,
    Archive,
    FileInfo,
    IndexRow,
    NewFile,
    RunIndexError,
    Segment,
    load,
    plan,
    rewrite,
)

AHEAD = 4
"""Index files that are fetched and decoded at once; each is about half a MiB."""
TOLD_EVERY = 1000
"""Rows that are made again between two words about it."""
Rows = Mapping[int, IndexRow]
"""By the number of the id."""


@dataclass(slots=True)
class _Found:
    """What was read so far."""

    segments: list[Segment] = field(default_factory=list)
    objects: dict[FileInfo, str] = field(default_factory=dict)
    unstored: dict[FileInfo, bytes] = field(default_factory=dict)
    unreadable: set[RunId] = field(default_factory=set)

    def add(self, file: NewFile, segment: Segment) -> None:
        """Take rows that were made again."""
        self.segments.append(segment)
        self.unstored[file.info] = file.body


async def load_index(
    ost: ObjectStore, source: IndexSource, manifest: Manifest, progress: Progress = silent
) -> tuple[Indexed, list[str]]:
    """Return the index of a manifest, and what of it did not hold; `progress` is told of rows that are made again.

    Raises:
        Damaged: a data file is, from which a part of it had to be made again.
        Unavailable: the scratch folder does not take what is read. Errors of the object storage.
    """
    index, found, damage = usable(manifest, source), _Found(), []
    if index is None:
        await _again(ost, source, manifest, None, found, progress)
    else:
        found.unreadable |= index.unreadable or frozenset()
        async with aclosing(read_segments_of(ost, source, index.files)) as segments:
            async for file, segment in segments:
                if isinstance(segment, Segment):
                    found.segments.append(segment)
                    found.objects[file.info] = file.object
                else:
                    damage.append(f"{segment}; the part of the index was made again from the documents")
                    await _again(ost, source, manifest, file.info, found, progress)
    archive = await asyncio.to_thread(Archive, found.segments)
    return Indexed(archive, found.objects, found.unstored, frozenset(found.unreadable)), damage


async def newer_index(ost: ObjectStore, source: IndexSource, manifest: Manifest, archive: Archive) -> Indexed | None:
    """Return the index of a newer manifest than the one whose rows are `archive`; only files it does not have are read.

    None if some of it does not hold: what says the same are documents that its caller no longer has as they were.

    Raises:
        Unavailable: as `load_index`. Errors of the object storage.
    """
    index = usable(manifest, source)
    if index is None:
        return None
    there = {segment.info: segment for segment in archive.segments}
    found = [there[file.info] for file in index.files if file.info in there]
    async with aclosing(
        read_segments_of(ost, source, tuple(file for file in index.files if file.info not in there))
    ) as segments:
        async for _, segment in segments:
            if isinstance(segment, BrokenLog):
                return None
            found.append(segment)
    return Indexed(await asyncio.to_thread(Archive, found), unreadable=index.unreadable or frozenset())


def usable(manifest: Manifest, source: IndexSource) -> IndexFiles | None:
    """Return the index files of a manifest, None if their rows lack a label that is indexed now.

    Nor can those be used that do not say which records could not be read, as older versions left them.
    """
    index = manifest.index
    whole = index is not None and index.unreadable is not None
    return index if index is not None and whole and set(source.labels) <= set(index.labels) else None


async def read_segments_of(
    ost: ObjectStore, source: IndexSource, files: tuple[IndexFile, ...]
) -> AsyncGenerator[tuple[IndexFile, Segment | BrokenLog], None]:
    """Return index files in order, each with its rows or with what is wrong with it.

    Raises:
        Unavailable: as `load_index`. Errors of the object storage.
    """
    waiting = deque(files)
    fetching: deque[asyncio.Task[Segment | BrokenLog]] = deque()
    try:
        for file in files:
            while waiting and len(fetching) < AHEAD:
                fetching.append(asyncio.create_task(_read_segment(ost, source, waiting.popleft())))
            found = await fetching[0]
            fetching.popleft()
            yield file, found
    finally:
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)


async def _read_segment(ost: ObjectStore, source: IndexSource, file: IndexFile) -> Segment | BrokenLog:
    try:
        return await loaded(source, NewFile(file.info, await read_index_file(ost, file)))
    except BrokenLog as error:
        return error
    except RunIndexError as error:
        return BrokenLog(f"the object {file.object} cannot be read: {error}")


async def read_index_file(ost: ObjectStore, file: IndexFile) -> bytes:
    """Return the bytes of an index file, as its manifest says they are.

    Raises:
        BrokenLog: it is missing or damaged. Errors of the object storage.
    """

    def check(data: bytes) -> bytes:
        file.check(data)
        return data

    return await read_object(ost, file.object, file.info.size, check)


async def loaded(source: IndexSource, file: NewFile) -> Segment:
    """Return the rows of a file; the work is done in a thread.

    Raises:
        Unavailable: the scratch folder does not take them. RunIndexError: the file is no index of runs.
    """
    return await asyncio.to_thread(_load, source, file)


def _load(source: IndexSource, file: NewFile) -> Segment:
    with scratching(source):
        return load(file.info, file.body, labels=source.labels, scratch=source.scratch)


@contextmanager
def scratching(source: IndexSource) -> Iterator[None]:
    """Say of a full or missing scratch folder where it is.

    Raises:
        Unavailable: there was an OSError.
    """
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the index cannot be written to its scratch folder {source.scratch}: {error}") from error


# making it again


async def _again(
    ost: ObjectStore,
    source: IndexSource,
    manifest: Manifest,
    like: FileInfo | None,
    found: _Found,
    progress: Progress,
) -> None:
    """Add the rows between the first and last run of a file, or all rows, made from the data files of a manifest."""
    first, last = ("", None) if like is None else (str(like.first), str(like.last))
    rows: dict[int, IndexRow] = {}
    made = 0
    records = read_between(ost, manifest.of(source.type), first, last)
    labels = read_between(ost, manifest.of(source.labels_type) if source.labels else (), first, last)
    async with aclosing(records), aclosing(labels):
        beside = _Beside(source, labels)
        async for key, body in records:
            number = number_in(key)
            if number is None:
                continue
            row = source.row_of(key, body, await beside.labels(key))
            if row is None:
                found.unreadable.add(RunId(key))
                continue
            rows[number] = row
            made += 1
            if made % TOLD_EVERY == 0:
                progress(Step("making the index again", made, 0, "documents"))
            if len(rows) == MAX_ROWS:
                await _add(source, rows, found)
                rows = {}
    await _add(source, rows, found)


async def _add(source: IndexSource, rows: Rows, found: _Found) -> None:
    """Make files of rows, about as many as one takes."""
    for file, segment in await asyncio.to_thread(_made, source, rows):
        found.add(file, segment)


def _made(source: IndexSource, rows: Rows) -> list[tuple[NewFile, Segment]]:
    return [(file, _load(source, file)) for file in files_of(rows, source)]


def files_of(rows: Rows, source: IndexSource) -> Iterator[NewFile]:
    """Yield files of rows; takes a while."""
    for stretch in plan((), rows):
        yield from rewrite(stretch, (), rows, labels=source.labels)


class _Beside:
    """Labels from documents that come in the order of their keys, for keys that do so, too."""

    def __init__(self, source: IndexSource, documents: AsyncGenerator[tuple[str, bytes], None]) -> None:
        self._source = source
        self._documents = documents
        self._next: tuple[str, bytes] | None = ("", b"")

    async def labels(self, key: str) -> Mapping[str, str]:
        """Return the labels that stand under a key."""
        while self._next is not None and self._next[0] < key:
            self._next = await anext(self._documents, None)
        if self._next is None or self._next[0] != key:
            return NO_LABELS
        return self._source.labels_of(key, self._next[1])
