"""An etcd whose calls fail on demand, before or after their effect: a lost request, a lost reply."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from runabout.etcd import Compare, Etcd, EtcdError, KeyRange, Page, Put, TxnResult, WatchEvent

T = TypeVar("T")
Fault = Callable[[str, str], Awaitable[None]]
"""Awaited with the call's name and `before` or `after` its effect; what it raises is what the caller sees."""


class DropError(Exception):
    """Raised by a fault at an `event`: the watch goes on without it."""


async def no_fault(_call: str, _when: str) -> None:
    return


class FaultyEtcd:
    """A port in front of another one; closing it leaves the inner one open."""

    def __init__(self, inner: Etcd) -> None:
        self._inner = inner
        self.fault: Fault = no_fault
        self.calls = 0

    async def get(self, key: bytes) -> bytes | None:
        return await self._with_faults("get", self._inner.get(key))

    async def range(self, start: bytes, end: bytes, *, limit: int = 0) -> Page:
        return await self._with_faults("range", self._inner.range(start, end, limit=limit))

    async def txn(
        self,
        compares: Sequence[Compare],
        puts: Sequence[Put],
        *,
        deletes: Sequence[KeyRange] = (),
        otherwise: Sequence[bytes] = (),
    ) -> TxnResult:
        call = self._inner.txn(compares, puts, deletes=deletes, otherwise=otherwise)
        return await self._with_faults("txn" if puts or deletes else "look", call)

    async def delete(self, start: bytes, end: bytes | None = None) -> int:
        return await self._with_faults("delete", self._inner.delete(start, end))

    async def compact(self, revision: int) -> None:
        await self._with_faults("compact", self._inner.compact(revision))

    async def watch(self, start: bytes, end: bytes, *, revision: int) -> AsyncGenerator[WatchEvent, None]:
        self.calls += 1
        await self.fault("watch", "before")
        events = self._inner.watch(start, end, revision=revision)
        try:
            async for event in events:
                with suppress(DropError):
                    await self.fault("event", "before")
                    yield event
        finally:
            await events.aclose()

    async def close(self) -> None:
        return

    async def _with_faults(self, name: str, call: Awaitable[T]) -> T:
        self.calls += 1
        try:
            await self.fault(name, "before")
        except BaseException:
            getattr(call, "close", lambda: None)()
            raise
        try:
            answer = await call
        except EtcdError:  # that a revision is compacted already is an answer, too
            await self.fault(name, "after")
            raise
        await self.fault(name, "after")
        return answer
