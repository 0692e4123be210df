"""Looking at what the object storage has: identity, epochs, segments, manifests, data and index files, quarantine.

Objects never change, so one that was found whole is not read again in a later look.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from runabout.datamanager.audit.comparing import compare_pointers
from runabout.datamanager.audit.index import Indexes, contradiction
from runabout.datamanager.audit.seen import Part, Seen
from runabout.datamanager.batch import NO_CHAIN
from runabout.datamanager.datafile import read_rows
from runabout.datamanager.datafiles import read_files
from runabout.datamanager.errors import BROKEN_OR_NEWER, BrokenLog, NewerFormat
from runabout.datamanager.head import Keys, Sealed, number_of
from runabout.datamanager.loading import Base, read_manifest
from runabout.datamanager.manifest import DataFile, folder_of, parse_index_name, parse_name
from runabout.datamanager.objects import batches, read_segment
from runabout.datamanager.progress import Progress, Step
from runabout.datamanager.segment import MAX_SEGMENT, Segment, decode_segment
from runabout.datamanager.snapshot import read_identity
from runabout.ost import ByteRange, CorruptError, NotFoundError, ObjectInfo, ObjectStore, iterate

S = TypeVar("S")
T = TypeVar("T")
COUNTED = ("manifest", "wal", "data", "index", "quarantine")
"""What is read as a whole, by the first element of a key below the store."""
AHEAD = 4
"""Objects that are fetched at once: at most 64 MiB."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What is remembered of a whole segment."""

    store_id: bytes
    previous: bytes
    sealed: Sealed


@dataclass(slots=True)
class _Total:
    """How much is looked at."""

    progress: Progress
    total: int = 0
    done: int = 0

    def add(self, size: int) -> None:
        self.done += size
        self.progress(Step("checking objects", self.done, self.total, "bytes"))


@dataclass(slots=True)
class Objects:
    """Looks at one object storage, and remembers what was whole."""

    ost: ObjectStore
    keys: Keys
    progress: Progress
    indexes: Indexes
    _segments: dict[int, _Part] = field(default_factory=dict)
    _manifests: dict[str, Base] = field(default_factory=dict)
    _files: set[DataFile] = field(default_factory=set)
    _aside: set[str] = field(default_factory=set)
    _ids: Counter[bytes] = field(default_factory=Counter)
    """Of which stores the objects are."""

    async def look(self, seen: Seen) -> None:
        """Look at everything; etcd's small keys have been read before. Raises errors of the object storage."""
        keys = self.keys
        listed: dict[str, list[ObjectInfo]] = {}
        async for each in iterate(self.ost, keys.prefix):
            listed.setdefault(each.key.removeprefix(keys.prefix).partition("/")[0], []).append(each)
            seen.in_ost = True
        if not seen.in_ost and seen.sealed is None and seen.pointer is None:
            return  # a store that is in etcd alone
        total = _Total(self.progress, sum(each.size for name in COUNTED for each in listed.get(name, ())))
        await self._look_at_identity(seen)
        _look_at_epochs(seen, listed.get("epochs", []))
        await self._look_at_manifests(seen, listed.get("manifest", []), total)
        await self._look_at_segments(seen, listed.get("wal", []), total)
        await self._look_at_files(seen, listed.get("data", []), total)
        await self._look_at_index(seen, listed.get("index", []), total)
        await self._look_at_quarantine(seen, listed.get("quarantine", []), total)
        compare_pointers(seen)
        self._compare_ids(seen)
        for folder in sorted(set(listed) - {"identity", "epochs", *COUNTED}):
            seen.notes.append(f"{len(listed[folder])} objects in {keys.prefix}{folder} were not looked at")

    async def _look_at_identity(self, seen: Seen) -> None:
        where = self.keys.identity
        try:
            seen.store_id = await read_identity(self.ost, self.keys)
        except BROKEN_OR_NEWER as error:
            seen.fail(Part.IDENTITY, where, error)
            return
        seen.objects += 1
        if seen.store_id is None:
            seen.add(Part.IDENTITY, where, "is missing")

    def _compare_ids(self, seen: Seen) -> None:
        """Tell a damaged identity from another installation's object storage."""
        if seen.store_id is None or seen.meta is None or seen.meta.store_id == seen.store_id:
            return
        where, what = self.keys.identity, f"is of the store {seen.store_id.hex()}, etcd has {seen.meta.store_id.hex()}"
        if seen.meta.store_id in self._ids:
            seen.add(Part.IDENTITY, where, f"{what}, and so have other objects")
        else:
            seen.damages.clear()  # all of them are because of this
            seen.add(Part.STRANGER, where, what)

    # the log

    async def _look_at_segments(self, seen: Seen, infos: list[ObjectInfo], total: _Total) -> None:
        keys = self.keys
        sizes = {number_of(each.key, keys.segments): each.size for each in infos}
        _strangers(seen, [each.key for each in infos if number_of(each.key, keys.segments) is None])
        seen.listed = [first for first in sizes if first is not None]
        ends = [*seen.listed[1:], None][: len(seen.listed)]  # none of none
        at, chain = 0, None
        if seen.listed and seen.listed[0] == 1:
            chain = NO_CHAIN
        elif seen.listed:
            at = seen.listed[0] - 1

        async def fetch(item: tuple[int, int | None]) -> _Part:
            return self._segments.get(item[0]) or _remembered(*await read_segment(self.ost, keys, item[0]), keys)

        async with aclosing(_ahead(zip(seen.listed, ends, strict=True), fetch)) as found:
            async for (first, following), part in found:
                where = keys.segment(first)
                total.add(sizes[first])
                if first > at + 1:
                    last = first - 1
                    seen.add(
                        Part.SEGMENT,
                        keys.segment(at + 1),
                        f"is missing: the next one is {where}",
                        first=at + 1,
                        last=last,
                    )
                    chain = None
                if isinstance(part, BROKEN_OR_NEWER):
                    at, chain = _guess_end(seen, first, following), None
                    seen.fail(Part.SEGMENT, where, part, first=first, last=at)
                    continue
                self._ids[part.store_id] += 1
                what = _misfit(part, seen, at, chain)
                if what:
                    seen.add(Part.SEGMENT, where, what, first=first, last=part.sealed.last)
                    at, chain = part.sealed.last, None
                    continue
                self._segments[first] = part
                seen.segments[first] = part.sealed
                seen.log.add(first, part.sealed.last)
                seen.objects, seen.size = seen.objects + 1, seen.size + part.sealed.size
                seen.batches += part.sealed.last - first + 1
                at, chain = part.sealed.last, part.sealed.chain

    # checkpoints

    async def _look_at_manifests(self, seen: Seen, infos: list[ObjectInfo], total: _Total) -> None:
        keys = self.keys
        names = [each.key.removeprefix(keys.manifests) for each in infos]
        _strangers(seen, [keys.manifests + name for name in names if parse_name(name) is None])
        for name, info in zip(names, infos, strict=True):
            parsed = parse_name(name)
            if parsed is None:
                continue
            where = keys.manifests + name
            total.add(info.size)
            try:
                base = self._manifests.get(name) or await read_manifest(self.ost, keys, name)
            except BROKEN_OR_NEWER as error:
                seen.fail(Part.MANIFEST, where, error, covers=parsed.covers)
                continue
            what = _contradiction(base, keys)
            self._ids[base.manifest.store_id] += 1
            if seen.expected_id not in {None, base.manifest.store_id}:
                what = f"is of another store, {base.manifest.store_id.hex()}"
            if what:
                seen.add(Part.MANIFEST, where, what, covers=parsed.covers)
                continue
            self._manifests[name] = seen.bases[name] = base
            seen.objects, seen.size = seen.objects + 1, seen.size + base.pointer.size

    async def _look_at_files(self, seen: Seen, infos: list[ObjectInfo], total: _Total) -> None:
        wanted: dict[DataFile, list[Base]] = {}
        for _, base in sorted(seen.bases.items(), reverse=True):
            for file in base.manifest.files:
                wanted.setdefault(file, []).append(base)
        objects = {file.object for file in wanted}
        orphans = [each for each in infos if each.key not in objects]
        if orphans:
            size = sum(each.size for each in orphans)
            seen.notes.append(
                f"{len(orphans)} data files ({size} bytes) belong to no manifest: the operator collects them"
            )
        total.total -= sum(each.size for each in orphans)

        async def fetch(file: DataFile) -> None:
            if file not in self._files:
                async with aclosing(read_files(self.ost, (file,))) as found:
                    async for _, data in found:
                        for _rows in read_rows(data, file):
                            await asyncio.sleep(0)

        async with aclosing(_ahead(wanted, fetch)) as found:
            async for file, result in found:
                total.add(file.size)
                if isinstance(result, BROKEN_OR_NEWER):
                    covers = wanted[file][0].manifest.covers
                    seen.fail(Part.DATA, file.object, result, file=file, covers=covers)
                    seen.with_gaps.update(base.pointer.name for base in wanted[file])
                else:
                    self._files.add(file)
                    seen.objects, seen.size = seen.objects + 1, seen.size + file.size

    async def _look_at_index(self, seen: Seen, infos: list[ObjectInfo], total: _Total) -> None:
        folder = self.keys.index
        ours = [each for each in infos if parse_index_name(each.key.removeprefix(folder)) is not None]
        _strangers(seen, [each.key for each in infos if each not in ours])
        await self.indexes.look(seen, ours, total.add)

    async def _look_at_quarantine(self, seen: Seen, infos: list[ObjectInfo], total: _Total) -> None:
        for each in infos:
            total.add(each.size)
            try:
                if each.key not in self._aside:
                    await self._read_aside(each.key)
            except BROKEN_OR_NEWER as error:
                seen.fail(Part.QUARANTINE, each.key, error)
            else:
                self._aside.add(each.key)
                seen.objects, seen.size = seen.objects + 1, seen.size + each.size
        if infos:
            seen.notes.append(
                f"{len(infos)} objects are in quarantine: batches that an opening refused; they are not in the store"
            )

    async def _read_aside(self, key: str) -> None:
        for last in (False, True):
            try:
                segment = decode_segment(await self.ost.read(key, ByteRange(0, MAX_SEGMENT + 1)), where=key)
                for _ in batches(segment, self.keys):
                    pass
            except NotFoundError as error:
                raise BrokenLog(f"the object {key} is missing") from error
            except (BrokenLog, CorruptError) as error:
                if last:
                    raise BrokenLog(f"the object {key} is damaged: {error}") from error
            else:
                return


async def _ahead(
    items: Iterable[S], fetch: Callable[[S], Awaitable[T]]
) -> AsyncGenerator[tuple[S, T | BrokenLog | NewerFormat], None]:
    """Return each item with what `fetch` returns for it, or why it cannot be read; in order, a few at a time."""

    async def one(item: S) -> T | BrokenLog | NewerFormat:
        try:
            return await fetch(item)
        except BROKEN_OR_NEWER as error:
            return error

    fetching: deque[tuple[S, asyncio.Task[T | BrokenLog | NewerFormat]]] = deque()
    try:
        for item in items:
            fetching.append((item, asyncio.create_task(one(item))))
            if len(fetching) >= AHEAD:
                yield fetching[0][0], await fetching[0][1]
                fetching.popleft()
        while fetching:
            yield fetching[0][0], await fetching[0][1]
            fetching.popleft()
    finally:
        for _, task in fetching:
            task.cancel()
        await asyncio.gather(*(task for _, task in fetching), return_exceptions=True)


def _remembered(segment: Segment, sealed: Sealed, keys: Keys) -> _Part:
    """Return what is kept of a segment, all of whose batches can be decoded.

    Raises:
        BrokenLog: one cannot.
    """
    for _ in batches(segment, keys):
        pass
    return _Part(segment.store_id, segment.previous, sealed)


def _misfit(part: _Part, seen: Seen, at: int, chain: bytes | None) -> str:
    """Say what is wrong with the place of a segment after sequence `at`, with `chain` if that is known."""
    if seen.expected_id not in {None, part.store_id}:
        return f"is of another store, {part.store_id.hex()}"
    if part.sealed.first <= at:
        return f"begins inside of the one before it, which ends with {at}"
    if chain is not None and part.previous != chain:
        return "does not continue the one before it: it is of another history"
    return ""


def _guess_end(seen: Seen, first: int, following: int | None) -> int:
    """Return the last sequence that a segment which cannot be read has had."""
    if following is not None:
        return following - 1
    if seen.sealed is not None and seen.sealed.first >= first:
        return seen.sealed.last if seen.sealed.first == first else seen.sealed.first - 1
    return first


def _contradiction(base: Base, keys: Keys) -> str:
    """Say in what a manifest contradicts itself."""
    for kind in {file.type for file in base.manifest.files}:
        files = base.manifest.of(kind)
        if any(one.last >= other.first for one, other in pairwise(files)):
            return f"names data files of the type {kind} whose ranges of keys overlap"
        if any(not file.object.startswith(f"{keys.data}{folder_of(kind)}/") for file in files):
            return f"names an object outside of {keys.data}{folder_of(kind)}/ as a data file"
    return contradiction(base, keys.index)


def _look_at_epochs(seen: Seen, infos: list[ObjectInfo]) -> None:
    keys = seen.keys
    numbers = {number_of(each.key, keys.epochs): each for each in infos}
    _strangers(seen, [each.key for number, each in numbers.items() if number is None])
    found = sorted(number for number in numbers if number is not None)
    for number in found:
        if numbers[number].size:
            seen.add(Part.EPOCH, keys.epoch(number), f"has {numbers[number].size} bytes; a marker has none")
    for one, other in pairwise(found):
        for number in range(one + 1, min(other, one + 10)):
            seen.add(Part.EPOCH, keys.epoch(number), f"is missing: the next one is {keys.epoch(other)}")
    if seen.head is not None and seen.in_ost and seen.head.epoch not in numbers:
        seen.add(Part.EPOCH, keys.epoch(seen.head.epoch), f"is missing: {keys.head.decode()} has this epoch")
    seen.objects += len(found)


def _strangers(seen: Seen, found: list[str]) -> None:
    counts = Counter(key.rpartition("/")[0] for key in found)
    for folder, count in sorted(counts.items()):
        seen.notes.append(f"{count} objects in {folder} have names that are not ours, such as {min(found)}")
