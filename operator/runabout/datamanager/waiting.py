"""Transactions that wait to be written, in order, bounded in number and bytes, and their callers' answers."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from runabout.datamanager.batch import MAX_BATCH, TARGET
from runabout.datamanager.errors import StoreError, TooLarge, Unavailable
from runabout.datamanager.transaction import Committed, Transaction, measure

MAX_WAITING = 64 * 1024 * 1024
"""Bytes of transactions that may wait for etcd; more are refused."""
MAX_QUEUE = 65_536
"""Transactions that may wait; each takes about 1 KiB beside its bytes."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction, its size in bytes, when it came (by the loop's clock), and where its caller waits."""

    transaction: Transaction
    future: asyncio.Future[Committed]
    size: int
    since: float

    def fail(self, error: StoreError) -> None:
        """Answer with an error, unless the caller has been answered or is gone."""
        if not self.future.done():
            self.future.set_exception(error)

    def succeed(self, committed: Committed) -> None:
        """Answer, unless the caller has been answered or is gone."""
        if not self.future.done():
            self.future.set_result(committed)


class Queue:
    """First come, first written."""

    def __init__(self) -> None:
        self._items: deque[Waiting] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, transaction: Transaction) -> asyncio.Future[Committed]:
        """Let a transaction wait; return where its answer comes.

        Raises:
            TooLarge, Unavailable
            ValueError: a type or key that no batch can hold.
        """
        size = measure(transaction)
        if size > MAX_BATCH:
            raise TooLarge(f"a transaction of {size} bytes is over the limit of {MAX_BATCH}: split it")
        if self._bytes + size > MAX_WAITING or len(self._items) >= MAX_QUEUE:
            raise Unavailable(
                f"{len(self._items)} transactions, {self._bytes} bytes, wait for etcd already: try again later"
            )
        loop = asyncio.get_running_loop()
        item = Waiting(transaction, loop.create_future(), size, loop.time())
        self._items.append(item)
        self._bytes += size
        return item.future

    def take(self) -> Iterator[Waiting]:
        """Take out what fits into one batch, without those whose caller is gone."""
        taken = 0
        while self._items and taken < TARGET:
            if taken and taken + self._items[0].size > MAX_BATCH:
                return
            item = self._pop()
            if not item.future.done():
                taken += item.size
                yield item

    def fail(self, error: StoreError, *, before: float | None = None) -> None:
        """Answer all, or those who came before a time, with an error."""
        while self._items and (before is None or self._items[0].since < before):
            self._pop().fail(error)

    def _pop(self) -> Waiting:
        item = self._items.popleft()
        self._bytes -= item.size
        return item
