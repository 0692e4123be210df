"""Bytes of parts: whom to send them to or to get them from, and how they go through here where there are no URLs.

Where the object storage has URLs, tasks talk to it and nothing passes here. Elsewhere a body is streamed, a piece at a
time, and only so many bodies at once: whoever comes when they are all under way is asked to come again.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import structlog
from aiohttp import StreamReader, web

from runabout.control.archivemanifests import Part
from runabout.gateway.errors import BadRequestError, BusyError, NotFoundError
from runabout.gateway.metrics import GatewayMetrics
from runabout.ost import Announced, ByteRange, ObjectStore, SizeMismatchError
from runabout.ost import NotFoundError as NoObjectError

log = structlog.get_logger(__name__)

PIECE = 256 * 1024
READ_SECONDS = 3600
"""For which a URL to read from is good: longer than the 15 min that are promised."""
WRITE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Address:
    """Where to send a request; `own` is one of the gateway's, which wants the token again."""

    url: str
    method: Literal["GET", "PUT"]
    headers: dict[str, str]


@contextmanager
def breaking_off(request: web.Request) -> Iterator[None]:
    """Break off the connection when an answer that has begun cannot be ended: nobody may take it for a whole one."""
    try:
        yield
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        log.warning("an answer broke off", path=request.path, error=repr(error))
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError(f"the answer broke off: {error}") from error


class Transfer:
    """Hands out addresses, and streams bodies through; `presign` is whether URLs of the storage are handed out."""

    def __init__(self, ost: ObjectStore, *, presign: bool, most: int, metrics: GatewayMetrics) -> None:
        self._ost = ost
        self._presign = presign
        self._most = most
        self._metrics = metrics
        self._active = 0

    async def to_put(self, key: str, part: Part, *, own: str) -> Address:
        """Return where a part is to be sent; `own` is the gateway's address for it. Errors of the object storage."""
        if self._presign:
            announced = Announced(part.size, bytes.fromhex(part.sha256))
            signed = await self._ost.presign(key, put=announced, expires_seconds=WRITE_SECONDS)
            if signed is not None:
                return Address(signed.url, "PUT", dict(signed.headers))
        return Address(own, "PUT", {})

    async def to_get(self, key: str, *, own: str) -> Address:
        """Return where an object is to be had; as `to_put`."""
        if self._presign:
            signed = await self._ost.presign(key, expires_seconds=READ_SECONDS)
            if signed is not None:
                return Address(signed.url, "GET", dict(signed.headers))
        return Address(own, "GET", {})

    async def take(self, request: web.Request, key: str, part: Part, *, persist: bool) -> None:
        """Store the body of a request as a part, or nothing at all.

        Raises:
            BadRequestError: it is not what was announced. BusyError. Errors of the object storage.
        """
        if request.content_length is not None and request.content_length != part.size:
            raise BadRequestError(f"the part was announced with {part.size} bytes, not {request.content_length}")
        with self._one_body("in"):
            try:
                body = self._checked(request.content, part)
                await self._ost.write(key, body, size=part.size, persist=persist)
            except SizeMismatchError as error:
                raise BadRequestError(f"the part was announced with {part.size} bytes: {error}") from error

    async def give(self, request: web.Request, key: str, span: ByteRange, response: web.StreamResponse) -> None:
        """Answer with the bytes of an object.

        Raises:
            NotFoundError: there is no such object. BusyError. Errors of the object storage, also in the middle, when
            the connection is broken off.
        """
        with self._one_body("out"):
            try:
                async with self._ost.open(key, span) as reader:
                    start, end = span.within(reader.info.size)
                    response.content_length = end - start
                    await response.prepare(request)
                    with breaking_off(request):
                        async for piece in reader:
                            await response.write(piece)
                            self._metrics.bytes.labels(direction="out").inc(len(piece))
                        await response.write_eof()
            except NoObjectError as error:
                raise NotFoundError("what is asked for is not stored") from error

    async def _checked(self, content: StreamReader, part: Part) -> AsyncIterator[bytes]:
        """Yield a part's bytes. The last of them only if all are right: who has them need not ask for more."""
        seen, came = hashlib.sha256(), 0
        async for piece in content.iter_chunked(PIECE):
            seen.update(piece)
            came += len(piece)
            self._metrics.bytes.labels(direction="in").inc(len(piece))
            if came >= part.size:
                _demand(seen.hexdigest(), part)
            yield piece
        _demand(seen.hexdigest(), part)

    @contextmanager
    def _one_body(self, direction: str) -> Iterator[None]:
        if self._active >= self._most:
            raise BusyError(f"{self._most} bodies are under way: come again")
        self._active += 1
        self._metrics.bodies.labels(direction=direction).inc()
        self._metrics.active.set(self._active)
        try:
            yield
        finally:
            self._active -= 1
            self._metrics.active.set(self._active)


def _demand(sha256: str, part: Part) -> None:
    """Return if bytes have the hash that was announced.

    Raises:
        BadRequestError
    """
    if sha256 != part.sha256:
        raise BadRequestError("the part's bytes are not those that were announced: their SHA-256 is another one")
