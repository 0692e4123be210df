"""Objects in memory: for tests and experiments. It passes the same contract tests as the stores that keep things."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from runabout.ost.errors import AlreadyExistsError, NotFoundError, OstError, SizeMismatchError
from runabout.ost.store import (
    MAX_PAGE,
    WHOLE,
    Announced,
    ByteRange,
    ObjectInfo,
    ObjectReader,
    SignedRequest,
    key_bytes,
    page_limit,
    shown,
    text_bytes,
)

PIECE = 256 * 1024

Operation = Literal["read", "write", "stat", "delete", "list"]


@dataclass(frozen=True, slots=True)
class _Object:
    info: ObjectInfo
    body: bytes


class _Reader:
    def __init__(self, kept: _Object, span: ByteRange) -> None:
        self.info = kept.info
        self._body = kept.body
        self._span = span

    async def __aiter__(self) -> AsyncIterator[bytes]:
        start, end = self._span.within(len(self._body))
        for at in range(start, end, PIECE):
            yield self._body[at : min(at + PIECE, end)]


class MemoryObjectStore:
    """An :class:`ObjectStore` that forgets everything when it goes.

    `fault` is asked before each operation and again, with `done=True`, after a write or delete took place: what it
    returns is raised. So a test can have a store that is away, or one that stored and failed to say so.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        fault: Callable[[Operation, str, bool], OstError | None] = lambda _operation, _key, _done: None,
    ) -> None:
        self._objects: dict[bytes, _Object] = {}
        self._now = now
        self.fault = fault

    async def read(self, key: str, range: ByteRange = WHOLE) -> bytes:  # noqa: A002 - the port's word
        """See `ObjectStore.read`."""
        kept = self._get("read", key)
        start, end = range.within(len(kept.body))
        return kept.body[start:end]

    @asynccontextmanager
    async def open(self, key: str, range: ByteRange = WHOLE) -> AsyncIterator[ObjectReader]:  # noqa: A002 - as above
        """See `ObjectStore.open`."""
        yield _Reader(self._get("read", key), range)

    async def write(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        size: int | None = None,
        persist: bool = True,  # noqa: ARG002 - nothing survives here
        create_only: bool = False,
    ) -> None:
        """See `ObjectStore.write`."""
        name = key_bytes(key)
        self._maybe_fail("write", key)
        body = data if isinstance(data, bytes) else b"".join([piece async for piece in data])
        if size is not None and size != len(body):
            raise SizeMismatchError(f"{shown(key)} was to have {size} bytes, but {len(body)} came")
        if create_only and name in self._objects:
            raise AlreadyExistsError(f"there is an object {shown(key)} already")
        self._objects[name] = _Object(ObjectInfo(key, len(body), self._now()), body)
        self._maybe_fail("write", key, done=True)

    async def stat(self, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        return self._get("stat", key).info

    async def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        name = key_bytes(key)
        self._maybe_fail("delete", key)
        self._objects.pop(name, None)
        self._maybe_fail("delete", key, done=True)

    async def list(self, prefix: str = "", *, start_after: str = "", limit: int = MAX_PAGE) -> list[ObjectInfo]:
        """See `ObjectStore.list`."""
        begin, after = text_bytes(prefix), text_bytes(start_after)
        page_limit(limit)
        self._maybe_fail("list", prefix)
        names = sorted(name for name in self._objects if name.startswith(begin) and name > after)
        return [self._objects[name].info for name in names[:limit]]

    async def presign(
        self,
        key: str,
        *,
        expires_seconds: int = 900,  # noqa: ARG002 - there are no URLs here
        put: Announced | None = None,  # noqa: ARG002 - as above
    ) -> SignedRequest | None:
        """See `ObjectStore.presign`."""
        key_bytes(key)
        return None

    async def probe(self) -> None:
        """See `ObjectStore.probe`."""

    async def close(self) -> None:
        """See `ObjectStore.close`."""

    def _get(self, operation: Operation, key: str) -> _Object:
        name = key_bytes(key)
        self._maybe_fail(operation, key)
        kept = self._objects.get(name)
        if kept is None:
            raise NotFoundError(f"there is no object {shown(key)}")
        return kept

    def _maybe_fail(self, operation: Operation, key: str, *, done: bool = False) -> None:
        error = self.fault(operation, key, done)
        if error is not None:
            raise error
