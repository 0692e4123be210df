"""An object storage whose calls fail on demand, before or after their effect: a lost request, a lost answer."""

from collections.abc import AsyncIterable, Awaitable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from lab.faulty_etcd import Fault, no_fault
from runabout.ost import (
    WHOLE,
    Announced,
    ByteRange,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
    OstError,
    SignedRequest,
)

T = TypeVar("T")


class FaultyOst:
    """A port in front of another one; closing it leaves the inner one open."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.fault: Fault = no_fault
        self.calls = 0
        self.reads: list[tuple[str, ByteRange]] = []
        """What was asked for, in this order."""

    async def read(self, key: str, range: ByteRange = WHOLE) -> bytes:  # noqa: A002 - the port's word
        self.reads.append((key, range))
        return await self._with_faults("ost read", self._inner.read(key, range))

    def open(self, key: str, range: ByteRange = WHOLE) -> AbstractAsyncContextManager[ObjectReader]:  # noqa: A002 - as above
        return self._inner.open(key, range)

    async def write(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        size: int | None = None,
        persist: bool = True,
        create_only: bool = False,
    ) -> None:
        call = self._inner.write(key, data, size=size, persist=persist, create_only=create_only)
        await self._with_faults("ost write", call)

    async def stat(self, key: str) -> ObjectInfo:
        return await self._with_faults("ost stat", self._inner.stat(key))

    async def delete(self, key: str) -> None:
        await self._with_faults("ost delete", self._inner.delete(key))

    async def list(self, prefix: str = "", *, start_after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        return await self._with_faults("ost list", self._inner.list(prefix, start_after=start_after, limit=limit))

    async def presign(
        self, key: str, *, expires_seconds: int = 900, put: Announced | None = None
    ) -> SignedRequest | None:
        return await self._inner.presign(key, expires_seconds=expires_seconds, put=put)

    async def probe(self) -> None:
        await self._inner.probe()

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
        except OstError:  # that there is no such object, or one already, is an answer, too
            await self.fault(name, "after")
            raise
        await self.fault(name, "after")
        return answer
