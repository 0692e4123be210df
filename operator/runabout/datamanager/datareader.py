"""Reading documents from the data files of the object storage, a row group at a time, through two bounded caches.

What always holds: every byte was checked before anything is concluded from it (see `rowgroups.py`); what is damaged or
missing is an error that names the object, never a document that is not there. Objects never change, so what is in a
cache is true for good. However many ask for one thing at the same time, it is read once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from runabout.datamanager.datafile import MAX_FILE
from runabout.datamanager.errors import Unreadable
from runabout.datamanager.manifest import DataFile, Footer
from runabout.datamanager.objects import read_object, read_part
from runabout.datamanager.rowgroups import Contents, Rows, contents_of, decode_footer, decode_group
from runabout.ost import ByteRange, ObjectStore, OstError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """What is kept of data files that were read; in bytes of memory."""

    groups: int = 8 * MIB
    """Row groups: 256 KiB to 1 MiB of documents each."""
    footers: int = 4 * MIB
    recent: int = 64 * MIB
    """Documents that no checkpoint covers: a follower that has more looks for a newer one."""


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What a cache has, and how often it had what was asked for."""

    size: int = 0
    """Bytes of memory, about."""
    hits: int = 0
    """What was asked for was there, or was being read for somebody else."""
    misses: int = 0
    """It was read from the object storage."""


class Sized(Protocol):
    """Something that takes memory."""

    @property
    def size(self) -> int:
        """Bytes, about."""
        ...


K = TypeVar("K")
V = TypeVar("V", bound=Sized)


class Cache(Generic[K, V]):
    """What was used last, up to some bytes; a thing that alone is larger is not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: OrderedDict[K, V] = OrderedDict()
        self._making: dict[K, asyncio.Task[V]] = {}
        self.size = 0
        self._hits = self._misses = 0

    @property
    def use(self) -> CacheUse:
        """What there is, and what was asked for so far."""
        return CacheUse(self.size, self._hits, self._misses)

    async def get(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """Return a thing that is kept, or else the one that `make` returns; raises what it raises."""
        found = self._items.get(key)
        if found is not None:
            self._hits += 1
            self._items.move_to_end(key)
            return found
        making = self._making.get(key)
        if making is not None:
            self._hits += 1
        else:
            self._misses += 1
            making = self._making[key] = asyncio.create_task(self._make(key, make), name="store read")
            making.add_done_callback(lambda task: self._made(key, task))
        return await asyncio.shield(making)  # one who gives up is no reason that others do

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _make(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        found = await make()
        self._items[key] = found
        self.size += found.size
        while self.size > self._most:
            _, old = self._items.popitem(last=False)
            self.size -= old.size
        return found

    def _made(self, key: K, task: asyncio.Task[V]) -> None:
        del self._making[key]
        if not task.cancelled():
            task.exception()  # whoever waits for it has it, too


class DataReader:
    """Reads from one object storage."""

    def __init__(self, ost: ObjectStore, policy: ReadPolicy) -> None:
        self._ost = ost
        self._footers: Cache[str, Contents] = Cache(policy.footers)
        self._groups: Cache[tuple[str, int], Rows] = Cache(policy.groups)

    @property
    def size(self) -> int:
        """Bytes of memory that are kept."""
        return self._footers.size + self._groups.size

    @property
    def groups(self) -> CacheUse:
        """What is kept of row groups."""
        return self._groups.use

    @property
    def footers(self) -> CacheUse:
        """What is kept of footers; each read of a document asks for one."""
        return self._footers.use

    async def contents(self, file: DataFile) -> Contents:
        """Return which row groups a file has.

        Raises:
            Damaged: it is missing or damaged. Unreadable: the object storage does not answer.
        """
        return await self._footers.get(file.object, lambda: self._read_footer(file))

    async def rows(self, file: DataFile, number: int) -> Rows:
        """Return the documents of a row group; errors as for `contents`."""
        return await self._groups.get((file.object, number), lambda: self._read_group(file, number))

    async def get(self, file: DataFile, key: str) -> bytes | None:
        """Return a document of a file, None if it has none with this key; errors as for `contents`."""
        number = (await self.contents(file)).at(key)
        return None if number < 0 else (await self.rows(file, number)).get(key)

    async def close(self) -> None:
        """End what is under way."""
        await self._groups.close()
        await self._footers.close()

    async def _read_footer(self, file: DataFile) -> Contents:
        footer = file.footer

        def check_whole(data: bytes) -> Contents:
            file.check(data)
            return contents_of(data, file)

        def check(data: bytes, footer: Footer) -> Contents:
            footer.check(file.object, data)
            return decode_footer(data, file)

        try:
            if footer is None:
                return await read_object(self._ost, file.object, MAX_FILE, check_whole)
            # One byte more: a file that has grown is not the one that was stored.
            part = ByteRange(file.size - footer.size, footer.size + 1)
            return await read_part(self._ost, file.object, part, lambda data: check(data, footer))
        except OstError as error:
            raise _unreadable(file, error) from error

    async def _read_group(self, file: DataFile, number: int) -> Rows:
        contents = await self.contents(file)
        part = contents.groups[number].part
        try:
            return await read_part(self._ost, file.object, part, lambda data: decode_group(contents, number, data))
        except OstError as error:
            raise _unreadable(file, error) from error


def _unreadable(file: DataFile, error: OstError) -> Unreadable:
    return Unreadable(f"documents of the type {file.type} cannot be read from the object {file.object} now: {error}")
