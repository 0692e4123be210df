"""The work queue: which run is looked at next.

A key waits at most once; a key that is added while it is being worked on is worked on once more afterwards, never
twice at the same time. What others wait for goes first: a task that has ended may have children. What has begun goes
before what is new, so that under load what runs ends before more is started; one in eight turns is for the new all the
same, and one for what has begun. Failing keys come back after a growing delay, delayed keys at
their time; work on a key before that takes the place of the delayed one, and sets its times anew. The queue holds
keys only, so it is bounded by the number of live objects.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from enum import IntEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Lane(IntEnum):
    """Who goes first; first in, first out among those of one lane."""

    URGENT = 0
    BEGUN = 1
    NEW = 2


TURNS = (
    *3 * [tuple(Lane)],
    (Lane.BEGUN, Lane.URGENT, Lane.NEW),
    *3 * [tuple(Lane)],
    (Lane.NEW, Lane.BEGUN, Lane.URGENT),
)
"""The order of the lanes in each of eight turns."""


FIRST_BACKOFF = 0.2
"""Seconds before a failed key is tried again; doubles with each failure in a row."""
_RESOLUTION = 0.001
"""Seconds; what is due this soon is due."""
LAST_BACKOFF = 30.0
"""Seconds; the longest delay between two tries of a failing key."""


class WorkQueue(Generic[K]):
    """See above; `clock` gives seconds and never goes backwards."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lanes: dict[Lane, deque[K]] = {lane: deque() for lane in Lane}
        """keys as they came; one that has changed its lane since, or was taken from another, does not count"""
        self._turn = 0
        self._waiting: dict[K, Lane] = {}
        self._active: set[K] = set()
        self._again: dict[K, Lane] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._order = 0
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._due)

    @property
    def kept_times(self) -> int:
        """How many times are kept, with those that were given up."""
        return len(self._delayed)

    def add(self, key: K, lane: Lane = Lane.BEGUN) -> None:
        """Have `key` worked on as soon as possible; one that waits already may only move up."""
        if key in self._active:
            self._again[key] = min(lane, self._again.get(key, lane))
            return
        if self._waiting.get(key, lane + 1) <= lane:
            return
        self._waiting[key] = lane
        self._lanes[lane].append(key)
        self._wake.set()

    def add_after(self, key: K, delay: float) -> None:
        """Have `key` worked on in `delay` seconds, or earlier if an earlier time is already set."""
        if delay <= 0:
            self.add(key)
            return
        due = self._clock() + delay
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._delayed, (due, self._order, key))
        if len(self._delayed) > 2 * len(self._due) + 64:  # most are of times that were given up
            self._delayed = [entry for entry in self._delayed if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._delayed)
        self._wake.set()

    def forget(self, key: K) -> None:
        """Drop the key's delays and its record of failures; work already waiting stays."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def close(self) -> None:
        """Let `work` return when the keys being worked on are done."""
        self._closed = True
        self._wake.set()

    async def work(
        self, handle: Callable[[K], Awaitable[None]], *, workers: int, on_error: Callable[[K, Exception], None]
    ) -> None:
        """Work on keys with at most `workers` at once, until `close`.

        An exception of `handle` is given to `on_error` and the key comes back later; a cancellation ends everything.
        """
        free = asyncio.Semaphore(workers)
        async with asyncio.TaskGroup() as group:
            while not self._closed:
                await free.acquire()
                key = await self._next()
                if key is None:
                    return
                group.create_task(self._one(key, handle, free, on_error))

    async def _one(
        self,
        key: K,
        handle: Callable[[K], Awaitable[None]],
        free: asyncio.Semaphore,
        on_error: Callable[[K, Exception], None],
    ) -> None:
        try:
            await handle(key)
        except Exception as error:  # noqa: BLE001 - one key's failure must not stop the others; it is reported
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            on_error(key, error)
            self.add_after(key, min(LAST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures, 16)))
        else:
            self._failures.pop(key, None)
        finally:
            self._active.discard(key)
            free.release()
            if key in self._again:
                self.add(key, self._again.pop(key))

    async def _next(self) -> K | None:
        while True:
            if self._closed:
                return None
            delay = self._release_due()
            if self._waiting:
                key = self._take()
                del self._waiting[key]
                self._due.pop(key, None)
                self._active.add(key)
                return key
            self._wake.clear()
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _take(self) -> K:
        self._turn = (self._turn + 1) % len(TURNS)
        for lane in TURNS[self._turn - 1]:
            keys = self._lanes[lane]
            while keys:
                key = keys.popleft()
                if self._waiting.get(key) is lane:
                    return key
        raise AssertionError("a key that waits is in its lane")

    def _release_due(self) -> float | None:
        """Move what is due to the ready ones; return the seconds until the next one is."""
        now = self._clock()
        while self._delayed:
            due, _, key = self._delayed[0]
            if self._due.get(key) != due:
                heapq.heappop(self._delayed)
            elif due <= now + _RESOLUTION:
                heapq.heappop(self._delayed)
                del self._due[key]
                self.add(key)
            else:
                return due - now
        return None
