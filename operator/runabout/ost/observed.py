"""An object storage that tells an observer of every call: what it was, how long it took, how it ended."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, Protocol, TypeVar

from runabout.ost.errors import AlreadyExistsError, NotFoundError, OstError
from runabout.ost.store import (
    MAX_PAGE,
    WHOLE,
    Announced,
    ByteRange,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
    SignedRequest,
)

T = TypeVar("T")

Operation = Literal["read", "open", "write", "stat", "delete", "list", "presign", "probe"]


class OstObserver(Protocol):
    """Plain calls, from the event loop; they raise nothing and take no time."""

    def called(self, operation: Operation, key: str, *, seconds: float, size: int, error: OstError | None) -> None:
        """Take note of a call that has ended.

        Args:
            operation: Its name in `ObjectStore`; `open` ends with the reading, and lasts until its first piece could
                be had.
            key: The object's, or the prefix of a listing.
            seconds: How long it took, repetitions included.
            size: Bytes read or written; 0 if it failed.
            error: What it raised. That there is no object, or one already, is an answer and no error.
        """
        ...


class ObservedStore:
    """See `ObjectStore`; `clock` gives seconds. A call that is cancelled, or fails by its caller, is not told of."""

    def __init__(self, inner: ObjectStore, observer: OstObserver, *, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._observer = observer
        self._clock = clock

    async def read(self, key: str, range: ByteRange = WHOLE) -> bytes:  # noqa: A002 - the port's word
        """See `ObjectStore.read`."""
        return await self._told("read", key, self._inner.read(key, range), size=len)

    @asynccontextmanager
    async def open(self, key: str, range: ByteRange = WHOLE) -> AsyncIterator[ObjectReader]:  # noqa: A002 - as above
        """See `ObjectStore.open`."""
        begin = self._clock()
        reader: _Reader | None = None
        end = begin
        try:
            async with self._inner.open(key, range) as inner:
                reader, end = _Reader(inner), self._clock()
                yield reader
        except OstError as error:
            if reader is None:
                self._tell("open", key, begin, self._clock(), 0, error)
            raise
        finally:
            if reader is not None:
                self._tell("open", key, begin, end, reader.size, reader.error)

    async def write(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        size: int | None = None,
        persist: bool = True,
        create_only: bool = False,
    ) -> None:
        """See `ObjectStore.write`."""
        if isinstance(data, bytes):
            call = self._inner.write(key, data, size=size, persist=persist, create_only=create_only)
            await self._told("write", key, call, size=lambda _: len(data))
        else:
            pieces = _Counted(data)
            call = self._inner.write(key, pieces, size=size, persist=persist, create_only=create_only)
            await self._told("write", key, call, size=lambda _: pieces.size)

    async def stat(self, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        return await self._told("stat", key, self._inner.stat(key))

    async def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        await self._told("delete", key, self._inner.delete(key))

    async def list(self, prefix: str = "", *, start_after: str = "", limit: int = MAX_PAGE) -> list[ObjectInfo]:
        """See `ObjectStore.list`."""
        return await self._told("list", prefix, self._inner.list(prefix, start_after=start_after, limit=limit))

    async def presign(
        self, key: str, *, expires_seconds: int = 900, put: Announced | None = None
    ) -> SignedRequest | None:
        """See `ObjectStore.presign`."""
        call = self._inner.presign(key, expires_seconds=expires_seconds, put=put)
        return await self._told("presign", key, call)

    async def probe(self) -> None:
        """See `ObjectStore.probe`."""
        await self._told("probe", "", self._inner.probe())

    async def close(self) -> None:
        """See `ObjectStore.close`."""
        await self._inner.close()

    async def _told(
        self, operation: Operation, key: str, call: Awaitable[T], *, size: Callable[[T], int] = lambda _: 0
    ) -> T:
        begin = self._clock()
        try:
            answer = await call
        except OstError as error:
            self._tell(operation, key, begin, self._clock(), 0, error)
            raise
        self._tell(operation, key, begin, self._clock(), size(answer), None)
        return answer

    def _tell(
        self, operation: Operation, key: str, begin: float, end: float, size: int, error: OstError | None
    ) -> None:
        told = None if isinstance(error, NotFoundError | AlreadyExistsError) else error
        self._observer.called(operation, key, seconds=end - begin, size=size, error=told)


class _Reader:
    def __init__(self, inner: ObjectReader) -> None:
        self._inner = inner
        self.size = 0
        self.error: OstError | None = None

    @property
    def info(self) -> ObjectInfo:
        return self._inner.info

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._inner:
                self.size += len(piece)
                yield piece
        except OstError as error:
            self.error = error
            raise


class _Counted:
    def __init__(self, inner: AsyncIterable[bytes]) -> None:
        self._inner = inner
        self.size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            self.size += len(piece)
            yield piece
