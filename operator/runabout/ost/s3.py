"""Objects in an S3 bucket, Amazon's or any other that honours If-None-Match.

Requests block in threads; this module decides which are repeated and what an attempt without an answer meant. Data
beyond one part is uploaded in parts, so that memory is bounded and a failure costs one part.
"""

import asyncio
import math
import re
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import TypeVar

from runabout.ost.bucket import Body, Bucket
from runabout.ost.errors import (
    AlreadyExistsError,
    CorruptError,
    InvalidKeyError,
    NotFoundError,
    OstError,
    RetryableOstError,
    UnavailableError,
    UnsuitableError,
)
from runabout.ost.pieces import Pieces
from runabout.ost.probe import probe_store
from runabout.ost.retry import retried
from runabout.ost.settings import OstSettings, S3Place
from runabout.ost.store import (
    MAX_KEY_BYTES,
    MAX_PAGE,
    MAX_PRESIGN_SECONDS,
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
from runabout.ost.waits import Waits
from runabout.ost.workers import Workers

T = TypeVar("T")

UNAMBIGUOUS = re.compile("[^\x00-\x1f\x7f\ufffe\uffff]+")
"""What an XML document, the form of listings, can hold."""

PIECE = 1024 * 1024
"""Bytes of an object that is read, at a time."""
PART = 8 * 1024 * 1024
"""Bytes of a part, unless the object needs larger ones; what fits into one part is one request."""
MOST_PARTS = 10_000
"""The limit of S3."""
PREPARING_SECONDS = 60.0
"""For a client of its own: it asks no server, but reads descriptions, which takes a busy machine seconds."""
LARGE_WRITES = 8
"""Writes at once that may hold more than a piece in memory."""


def part_size(number: int, size: int | None) -> int:
    """Return the bytes of part `number` (1, 2, …) of an object of `size` bytes, None if nobody knows.

    An unknown size gets larger parts the further it goes, so that the largest object that S3 takes fits.
    """
    if size is None:
        return int(PART << min((number - 1) // 1000, 8))
    return max(PART, math.ceil(size / MOST_PARTS))


class _Reader:
    def __init__(self, store: "S3ObjectStore", first: Body, span: ByteRange) -> None:
        self.info = first.info
        self.body = first
        self._store = store
        self._at, self._end = span.within(first.info.size)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._at < self._end:
            piece = await self._store.repeated(self._piece, self.body.what)
            self._at += len(piece)
            yield piece

    async def _piece(self, again: bool) -> bytes:
        rest = ByteRange(self._at, self._end - self._at)
        if again:
            self._store.run_later(self.body.close)
            reopen = partial(self._store.bucket.get, self.info.key, rest, etag=self.body.etag)
            self.body = await self._store.run(reopen)
        piece = await self._store.run(partial(self.body.read, min(PIECE, rest.length or 0)))
        if not piece:
            raise UnavailableError(f"{self.body.what}: it ended {rest.length} bytes early")
        return piece


class S3ObjectStore:
    """An :class:`ObjectStore` in one bucket. Use `connect`."""

    def __init__(self, bucket: Bucket, workers: Workers, *, prefix: str, retry_seconds: float, waits: Waits) -> None:
        self.bucket = bucket
        self.retry_seconds = retry_seconds
        self._workers = workers
        self._waits = waits
        self._room = MAX_KEY_BYTES - len(prefix.encode())
        self._large = asyncio.Semaphore(LARGE_WRITES)

    @classmethod
    async def connect(cls, where: S3Place, settings: OstSettings, waits: Waits | None = None) -> "S3ObjectStore":
        """Return the store; no request is made yet.

        Raises:
            UnsuitableError: the settings cannot be.
        """
        workers = Workers("ost-s3", threads=settings.threads, timeout=settings.retry_seconds)
        try:
            preparing = partial(Bucket.connect, where, settings)
            bucket = await workers.run(preparing, "preparing the S3 client", seconds=PREPARING_SECONDS)
        except BaseException:
            workers.close()
            raise
        return cls(bucket, workers, prefix=where.prefix, retry_seconds=settings.retry_seconds, waits=waits or Waits())

    async def read(self, key: str, range: ByteRange = WHOLE) -> bytes:  # noqa: A002 - the port's word
        """See `ObjectStore.read`."""
        self._check(key)

        def call() -> bytes:
            body = self.bucket.get(key, range)
            try:
                data = body.read()
            finally:
                body.close()
            if len(data) != body.length:
                raise UnavailableError(f"{body.what}: {len(data)} of {body.length} bytes came")
            return data

        data = await self._retried(call, "reading", key)
        if range.length is not None and len(data) > range.length:
            raise CorruptError(f"reading {shown(key)} in {self.bucket.name}: more came than was asked for")
        return data

    @asynccontextmanager
    async def open(self, key: str, range: ByteRange = WHOLE) -> AsyncIterator[ObjectReader]:  # noqa: A002 - as above
        """See `ObjectStore.open`."""
        self._check(key)
        reader = _Reader(self, await self._retried(partial(self.bucket.get, key, range), "reading", key), range)
        try:
            yield reader
        finally:
            self.run_later(reader.body.close)

    async def write(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        size: int | None = None,
        persist: bool = True,  # noqa: ARG002 - S3 answers when it has stored
        create_only: bool = False,
    ) -> None:
        """See `ObjectStore.write`."""
        self._check(key)
        size = len(data) if isinstance(data, bytes) and size is None else size
        pieces = Pieces(data, key=key, size=size)
        if size is not None and size <= PIECE:
            await self._put(key, await pieces.take(PIECE + 1), create_only=create_only)
            return
        try:
            async with asyncio.timeout(self.retry_seconds):
                await self._large.acquire()
        except TimeoutError as error:
            raise UnavailableError(
                f"writing {shown(key)}: {LARGE_WRITES} other large writes are still under way"
            ) from error
        try:
            first = await pieces.take(part_size(1, size))
            if len(first) == size:
                await pieces.take(1)  # there is none: whoever gives the data may have something to say at its end
            if len(first) == size or len(first) < part_size(1, size):
                await self._put(key, first, create_only=create_only)
            else:
                await self._upload(key, first, pieces, size, create_only=create_only)
        finally:
            self._large.release()

    async def stat(self, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        self._check(key)
        return (await self._retried(partial(self.bucket.head, key), "looking at", key)).info

    async def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        self._check(key)
        with suppress(NotFoundError):
            await self._retried(partial(self.bucket.delete, key), "deleting", key)

    async def list(self, prefix: str = "", *, start_after: str = "", limit: int = MAX_PAGE) -> list[ObjectInfo]:
        """See `ObjectStore.list`."""
        text_bytes(prefix), text_bytes(start_after), page_limit(limit)
        found: list[ObjectInfo] = []
        token: str | None = None
        while True:
            ask = partial(self.bucket.page, prefix, after=start_after, limit=limit - len(found), token=token)
            batch, token = await self._retried(ask, "listing", prefix)
            found += batch
            if token is None or len(found) >= limit:
                break
        names = [start_after.encode(), *(each.key.encode() for each in found)]
        if any(one >= other for one, other in pairwise(names)):
            raise UnsuitableError(f"listing {shown(prefix)} in {self.bucket.name}: not in the order of the keys")
        return found

    async def presign(
        self, key: str, *, expires_seconds: int = 900, put: Announced | None = None
    ) -> SignedRequest | None:
        """See `ObjectStore.presign`."""
        self._check(key)
        if not 1 <= expires_seconds <= MAX_PRESIGN_SECONDS:
            raise ValueError(f"a URL lives for 1 to {MAX_PRESIGN_SECONDS} seconds, not {expires_seconds}")
        return await self.run(partial(self.bucket.presign, key, expires_seconds=expires_seconds, put=put))

    async def probe(self) -> None:
        """See `ObjectStore.probe`."""
        await probe_store(self, self.bucket.name)
        await self._probe_uploads()

    async def close(self) -> None:
        """See `ObjectStore.close`."""
        self.run_later(self.bucket.close)
        self._workers.close()

    def _check(self, key: str) -> None:
        """Refuse keys that servers take for others: some resolve `..` and `//` as in a path, and leave the prefix."""
        key_bytes(key, room=self._room)
        if {"", ".", ".."} & set(key.split("/")) or not UNAMBIGUOUS.fullmatch(key):
            raise InvalidKeyError(
                f"the key {shown(key)} has an element that is empty, '.' or '..', or a character that is no text; "
                "S3 servers take it for another key"
            )

    async def run(self, call: Callable[[], T]) -> T:
        """Return what a blocking call returns."""
        return await self._workers.run(call, self.bucket.name)

    def run_later(self, call: Callable[[], None]) -> None:
        """Have a blocking call done some time."""
        self._workers.run_later(call)

    async def repeated(self, call: Callable[[bool], Awaitable[T]], what: str) -> T:
        """Return what `call` returns, see `retried`; what it does is told of by `what` if it takes long."""
        with self._waits.on(what) as wait:
            return await retried(call, seconds=self.retry_seconds, wait=wait)

    async def _retried(self, call: Callable[[], T], verb: str, key: str) -> T:
        """Return what a call without effects returns that matter when it is repeated."""
        return await self.repeated(lambda _again: self.run(call), self.bucket.what(verb, key))

    async def _put(self, key: str, body: bytes, *, create_only: bool) -> None:
        write_id = uuid.uuid4().hex
        call = partial(self.bucket.put, key, body, write_id=write_id, create_only=create_only)

        async def attempt(again: bool) -> None:
            try:
                await self.run(call)
            except AlreadyExistsError:
                if not again or not await self._is_mine(key, write_id):
                    raise

        await self.repeated(attempt, self.bucket.what("writing", key))

    async def _upload(self, key: str, first: bytes, pieces: Pieces, size: int | None, *, create_only: bool) -> None:
        if create_only:
            with suppress(NotFoundError):
                await self.stat(key)
                raise AlreadyExistsError(f"writing {shown(key)} in {self.bucket.name}: there is one already")
        write_id = uuid.uuid4().hex
        upload = await self._retried(partial(self.bucket.begin_upload, key, write_id=write_id), "writing", key)
        try:
            tags: list[str] = []
            body = first
            while body:
                put = partial(self.bucket.put_part, key, upload, len(tags) + 1, body)
                tags.append(await self._retried(put, "writing", key))
                body = await pieces.take(part_size(len(tags) + 1, size))
            await self._finish(key, upload, tags, write_id, create_only=create_only)
        except BaseException:
            self.run_later(partial(self._abort, key, upload))
            raise

    async def _finish(self, key: str, upload: str, tags: Sequence[str], write_id: str, *, create_only: bool) -> None:
        call = partial(self.bucket.finish_upload, key, upload, tags, create_only=create_only)

        async def attempt(again: bool) -> None:
            try:
                await self.run(call)
            except AlreadyExistsError:
                if not again or not await self._is_mine(key, write_id):
                    raise
            except NotFoundError as error:
                # Finished by the attempt before, whose answer was lost; or dropped by somebody.
                if not again or not await self._is_mine(key, write_id):
                    raise UnavailableError(f"writing {shown(key)} in {self.bucket.name}: its parts are gone") from error

        await self.repeated(attempt, self.bucket.what("writing", key))

    def _abort(self, key: str, upload: str) -> None:
        with suppress(OstError):  # a lifecycle rule of the bucket collects what is left
            self.bucket.abort_upload(key, upload)

    async def _is_mine(self, key: str, write_id: str) -> bool:
        try:
            return (await self.run(partial(self.bucket.head, key))).write_id == write_id
        except NotFoundError:
            return False

    async def _probe_uploads(self) -> None:
        """Find out whether what comes in parts is created only once, too, and keeps the id of its write."""
        key, write_id = f"probe/{uuid.uuid4().hex}", uuid.uuid4().hex
        try:
            for number in range(2):
                upload = await self._retried(partial(self.bucket.begin_upload, key, write_id=write_id), "writing", key)
                tag = await self._retried(partial(self.bucket.put_part, key, upload, 1, b"part"), "writing", key)
                try:
                    await self._finish(key, upload, [tag], write_id, create_only=True)
                except AlreadyExistsError:
                    await self.run(partial(self._abort, key, upload))
                    continue
                if number:
                    raise UnsuitableError(
                        f"{self.bucket.name} creates an object that exists already when it comes in parts: "
                        "use a server that honours If-None-Match there"
                    )
            if not await self._is_mine(key, write_id):
                raise UnsuitableError(f"{self.bucket.name} does not keep an object's metadata: use a server that does")
        finally:
            with suppress(RetryableOstError):
                await self.run(partial(self.bucket.delete, key))
