"""etcd in memory: for tests of what stands on it. Linearizable by having one thread; `fault` injects trouble."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from sortedcontainers import SortedDict

from runabout.etcd.errors import CompactedError, FullError
from runabout.etcd.limits import MAX_REQUEST, check_operations, check_size, put_size
from runabout.etcd.port import Compare, KeyRange, KeyValue, Page, Put, TxnResult, WatchEvent
from runabout.etcd.space import MemberSpace

GRPC_ALLOWANCE = 512 * 1024
"""What a call that only reads may have beyond that."""

Fault = Callable[[str, str], Awaitable[None]]
"""Awaited with the call's name and `before` or `after` its effect; what it raises is what the caller sees."""


async def _no_fault(_call: str, _when: str) -> None:
    return


class MemoryEtcd:
    """See :class:`runabout.etcd.port.Etcd` and :class:`runabout.etcd.space.Upkeep`; `quota` is in bytes, None: none."""

    def __init__(self, *, quota: int | None = None, max_request: int = MAX_REQUEST) -> None:
        self.quota = quota
        self._max_request = max_request
        self._size = 0
        self._full = False
        self._items: SortedDict[bytes, KeyValue] = SortedDict()
        self._history: list[WatchEvent] = []
        self._compacted = 0
        self._revision = 1
        self._changed = asyncio.Condition()
        self.fault: Fault = _no_fault

    async def get(self, key: bytes) -> bytes | None:
        """Return a key's value."""
        await self.fault("get", "before")
        check_size(len(key) - GRPC_ALLOWANCE, self._max_request)
        item = self._items.get(key)
        await self.fault("get", "after")
        return None if item is None else item.value

    async def range(self, start: bytes, end: bytes, *, limit: int = 0) -> Page:
        """Return a range of keys."""
        await self.fault("range", "before")
        keys = self._keys(start, end)
        shown = keys[:limit] if limit else keys
        page = Page(tuple(self._items[key] for key in shown), len(shown) < len(keys), self._revision)
        await self.fault("range", "after")
        return page

    async def txn(
        self,
        compares: Sequence[Compare],
        puts: Sequence[Put],
        *,
        deletes: Sequence[KeyRange] = (),
        otherwise: Sequence[bytes] = (),
    ) -> TxnResult:
        """Write and delete if all compares hold, else read."""
        await self.fault("txn", "before")
        check_size(put_size(puts), self._max_request)
        check_operations(puts, deletes)
        self._check_room(puts)
        if all(self._value(item.key) == item.value for item in compares):
            gone = [key for item in deletes for key in self._keys(item.start, item.end)]
            self._revision += bool(puts or gone)
            for item in puts:
                self._items[item.key] = KeyValue(item.key, item.value, self._revision)
                self._history.append(WatchEvent(item.key, item.value, self._revision))
            self._remove(gone)
            result = TxnResult(succeeded=True)
        else:
            result = TxnResult(succeeded=False, values=tuple(self._value(key) for key in otherwise))
        await self._notify()
        await self.fault("txn", "after")
        return result

    async def delete(self, start: bytes, end: bytes | None = None) -> int:
        """Delete a key or a range."""
        await self.fault("delete", "before")
        keys = [start] if end is None else self._keys(start, end)
        keys = [key for key in keys if key in self._items]
        self._revision += bool(keys)
        self._remove(keys)
        await self._notify()
        await self.fault("delete", "after")
        return len(keys)

    async def watch(self, start: bytes, end: bytes, *, revision: int) -> AsyncGenerator[WatchEvent, None]:
        """Return changes of a range from `revision` on."""
        while True:
            if revision <= self._compacted:
                raise CompactedError(f"revision {revision} is compacted; the oldest is {self._compacted + 1}")
            news = self._history[bisect_left(self._history, revision, key=_revision) :]
            revision = max(revision, self._revision + 1)
            for event in news:
                if start <= event.key < end:
                    yield event
            async with self._changed:
                await self._changed.wait_for(lambda: self._revision >= revision)  # noqa: B023 - evaluated at once

    async def close(self) -> None:
        """Have nothing to close."""

    async def compact(self, revision: int) -> None:
        """Forget the changes before `revision`; the current values stay."""
        await self.fault("compact", "before")
        if revision <= self._compacted + 1:
            raise CompactedError(f"revision {revision} is compacted already")
        if revision > self._revision:
            raise CompactedError(f"revision {revision} is in the future")
        self._compacted = revision - 1
        self._history = [event for event in self._history if event.revision >= revision]
        await self.fault("compact", "after")

    async def space(self) -> tuple[MemberSpace, ...]:
        """Return what there is of space."""
        await self.fault("space", "before")
        self._size = max(self._size, self._in_use())
        return (
            MemberSpace("memory", self._size, self._in_use(), -1 if self.quota is None else self.quota, self._full),
        )

    async def compact_now(self, revision: int) -> None:
        """Forget the changes before a revision."""
        await self.compact(revision)

    async def defragment(self, member: str) -> None:
        """Give up what is not in use."""
        await self.fault("defragment", "before")
        assert member == "memory", member  # noqa: S101 - for tests
        self._size = self._in_use()

    async def disarm(self) -> None:
        """End the alarm."""
        await self.fault("disarm", "before")
        self._full = False

    def _in_use(self) -> int:
        old = sum(len(each.key) + len(each.value or b"") for each in self._history)
        return old + sum(
            len(each.key) + len(each.value) for each in self._items.values() if each.revision <= self._compacted
        )

    def _check_room(self, puts: Sequence[Put]) -> None:
        if self.quota is None or not puts:
            return
        self._size = max(self._size, self._in_use())
        if self._full or self._size + put_size(puts) >= self.quota:
            self._full = True
            raise FullError("etcd: mvcc: database space exceeded")

    def _remove(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            del self._items[key]
            self._history.append(WatchEvent(key, None, self._revision))

    def _keys(self, start: bytes, end: bytes) -> list[bytes]:
        return list(self._items.irange(start, end, inclusive=(True, False))) if start < end else []

    def _value(self, key: bytes) -> bytes | None:
        item = self._items.get(key)
        return None if item is None else item.value

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _revision(event: WatchEvent) -> int:
    return event.revision
