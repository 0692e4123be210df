"""etcd in memory: for tests of what stands on it. Linearizable by having one thread; `fault` injects trouble."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from sortedcontainers import SortedDict

from runabout.etcd.errors import CompactedError
from runabout.etcd.port import Compare, KeyValue, Page, Put, TxnResult, WatchEvent

Fault = Callable[[str, str], Awaitable[None]]
"""Awaited with the call's name and `before` or `after` its effect; what it raises is what the caller sees."""


async def _no_fault(_call: str, _when: str) -> None:
    return


class MemoryEtcd:
    """See :class:`runabout.etcd.port.Etcd`."""

    def __init__(self) -> None:
        self._items: SortedDict[bytes, KeyValue] = SortedDict()
        self._history: list[WatchEvent] = []
        self._compacted = 0
        self._revision = 1
        self._changed = asyncio.Condition()
        self.fault: Fault = _no_fault

    async def get(self, key: bytes) -> bytes | None:
        """Return a key's value."""
        await self.fault("get", "before")
        item = self._items.get(key)
        await self.fault("get", "after")
        return None if item is None else item.value

    async def range(self, start: bytes, end: bytes, *, limit: int = 0) -> Page:
        """Return a range of keys."""
        await self.fault("range", "before")
        keys = list(self._items.irange(start, end, inclusive=(True, False)))
        page = keys[:limit] if limit else keys
        await self.fault("range", "after")
        return Page(tuple(self._items[key] for key in page), len(page) < len(keys), self._revision)

    async def txn(
        self, compares: Sequence[Compare], puts: Sequence[Put], *, otherwise: Sequence[bytes] = ()
    ) -> TxnResult:
        """Write if all compares hold, else read."""
        await self.fault("txn", "before")
        if all(self._value(item.key) == item.value for item in compares):
            self._revision += 1
            for item in puts:
                self._items[item.key] = KeyValue(item.key, item.value, self._revision)
                self._history.append(WatchEvent(item.key, item.value, self._revision))
            result = TxnResult(succeeded=True)
        else:
            result = TxnResult(succeeded=False, values=tuple(self._value(key) for key in otherwise))
        await self._notify()
        await self.fault("txn", "after")
        return result

    async def delete(self, start: bytes, end: bytes | None = None) -> int:
        """Delete a key or a range."""
        await self.fault("delete", "before")
        keys = [start] if end is None else list(self._items.irange(start, end, inclusive=(True, False)))
        keys = [key for key in keys if key in self._items]
        self._revision += bool(keys)
        for key in keys:
            del self._items[key]
            self._history.append(WatchEvent(key, None, self._revision))
        await self._notify()
        await self.fault("delete", "after")
        return len(keys)

    async def watch(self, start: bytes, end: bytes, *, revision: int) -> AsyncIterator[WatchEvent]:
        """Return changes of a range from `revision` on."""
        if revision <= self._compacted:
            raise CompactedError(f"revision {revision} is compacted; the oldest is {self._compacted + 1}")
        place = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._history) > place)  # noqa: B023 - evaluated at once
                news, place = self._history[place:], len(self._history)
            for event in news:
                if event.revision >= revision and start <= event.key < end:
                    yield event

    async def close(self) -> None:
        """Have nothing to close."""

    def _value(self, key: bytes) -> bytes | None:
        item = self._items.get(key)
        return None if item is None else item.value

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
