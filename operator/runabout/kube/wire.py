"""HTTP/1.1 with one server over a pool of connections: as much of it as an API server speaks, at the least cost.

Every run costs half a dozen requests, so what a request costs is what a run costs. A connection carries one request
after the other; one whose stream has been left before its end is closed, since a kubelet ends a log seconds after its
container. The next one resumes the TLS session that the last one had, which spares both sides most of the handshake.
"""

import asyncio
import os
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias, cast
from urllib.parse import quote, urlencode, urlsplit

import httptools

CONNECT_SECONDS = 10.0
"""For a connection with its TLS handshake."""
IDLE_SECONDS = 60.0
"""How long a connection that nobody uses is good for: API servers end them after 90 s or more."""
BUFFERED = 256 * 1024
"""Bytes of a stream that wait for its reader; the server waits beyond them."""
WITHOUT_BODY = frozenset({204, 304})

_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._~:-]*")
_LINE_BREAK = re.compile(r"[\r\n]")


Headers: TypeAlias = Mapping[str, str | tuple[str, ...]]
"""Of a request; one with several values is sent once for each."""


class WireError(Exception):
    """There is no connection, it broke off, or what came is no HTTP; the message says which.

    `unanswered`: not a byte of an answer came, on a connection that had carried others: the server may have ended it
    before it saw the request.
    """

    def __init__(self, message: str, *, unanswered: bool = False) -> None:
        super().__init__(message)
        self.unanswered = unanswered


class ResumingContext(ssl.SSLContext):
    """The TLS settings of a client of one server; a new connection resumes the session of an earlier one."""

    session: ssl.SSLSession | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """See `ssl.SSLContext.wrap_bio`."""
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or self.session)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, the headers by their names in small letters, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Exchange:
    """One request and what has come of its answer."""

    changed: asyncio.Future[None]
    """Done when there is news; the reader puts a new one in its place."""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: deque[bytes] = field(default_factory=deque)
    waiting: int = 0
    """bytes in `pieces`"""
    streamed: bool = False
    begun: bool = False
    headed: bool = False
    ended: bool = False
    error: WireError | None = None

    def tell(self) -> None:
        if not self.changed.done():
            self.changed.set_result(None)


class _Link(asyncio.Protocol):
    """One connection."""

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: _Exchange | None = None
        self._paused = False
        self._framed = False
        self.used = 0
        self.idle_since = 0.0
        self.reusable = True

    # What the application asks.

    @property
    def usable(self) -> bool:
        """Whether it can carry a request."""
        return self.reusable and self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes, *, streamed: bool) -> _Exchange:
        """Send a request; its answer comes in what is returned."""
        self._exchange = exchange = _Exchange(self._loop.create_future(), streamed=streamed)
        self.used += 1
        if self._transport is None or not self.usable:
            self._fail("the connection is closed")
        else:
            self._transport.write(request)
        return exchange

    def taken(self, exchange: _Exchange) -> bytes:
        """Return what has come of a stream."""
        data = b"".join(exchange.pieces)
        exchange.pieces.clear()
        exchange.waiting = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def abort(self) -> None:
        """Close at once."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def keep_session(self) -> None:
        """Have the next connection resume this one's TLS session; its ticket comes ahead of the first answer."""
        if self.used == 1 and self._transport is not None:
            tls = self._transport.get_extra_info("ssl_object")
            if isinstance(tls, ssl.SSLObject) and isinstance(tls.context, ResumingContext):
                tls.context.session = tls.session

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:  # nobody asked
            self.abort()
            return
        self._exchange.begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"the answer is no HTTP: {error}")
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        exchange = self._exchange
        if exchange is not None and exchange.headed and not self._framed and error is None:
            self.on_message_complete()  # such an answer ends with its connection
        self._fail(f"the connection broke off{': ' if error else ''}{error or ''}")
        self._wire.lost(self)

    # What the parser finds.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._exchange is not None:
            key = name.decode("latin-1").lower()
            self._exchange.headers[key] = value.decode("latin-1")
            self._framed = self._framed or key in ("content-length", "transfer-encoding")

    def on_headers_complete(self) -> None:
        exchange, status = self._exchange, self._parser.get_status_code()
        if exchange is not None and status >= 200:  # noqa: PLR2004 - HTTP; those below announce another answer
            self._framed = self._framed or status in WITHOUT_BODY
            exchange.status = status
            exchange.headed = True
            if exchange.streamed:
                exchange.tell()

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        exchange.pieces.append(body)
        exchange.waiting += len(body)
        if exchange.streamed:
            exchange.tell()
            if exchange.waiting >= BUFFERED and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if not exchange.headed:
            exchange.headers.clear()
            return
        self.reusable = self.reusable and self._framed and bool(self._parser.should_keep_alive())
        exchange.ended = True
        exchange.tell()
        self._exchange = None
        self._framed = False

    def _fail(self, message: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.error = WireError(message, unanswered=self.used > 1 and not exchange.begun)
            exchange.tell()


class Stream:
    """An answer that is read while it comes."""

    def __init__(self, link: _Link, exchange: _Exchange, *, quiet_seconds: float | None) -> None:
        self._link = link
        self._exchange = exchange
        self._quiet = quiet_seconds
        self.status = exchange.status
        self.headers: Mapping[str, str] = exchange.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the bytes as they come, until the server ends the answer.

        Raises:
            WireError: it broke off. TimeoutError: nothing came for as long as is accepted.
        """
        exchange = self._exchange
        while True:
            if exchange.pieces:
                yield self._link.taken(exchange)
            elif exchange.ended:
                return
            elif exchange.error is not None:
                raise exchange.error
            else:
                async with asyncio.timeout(self._quiet):
                    await _news(exchange)


class Wire:
    """The connections to one server. `server`: a URL, with a path if there is one."""

    def __init__(self, server: str, tls: ssl.SSLContext | bool) -> None:
        parts = urlsplit(server)
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context()
        self._name = parts.hostname or ""
        self._port = parts.port or (80 if self._tls is None else 443)
        self._prefix = parts.path.rstrip("/")
        self._host = parts.netloc.rpartition("@")[2]
        self._idle: list[_Link] = []
        self._links: set[_Link] = set()

    def close(self) -> None:
        """Close all connections, also those in use."""
        for link in list(self._links):
            link.abort()
        self._idle.clear()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Headers,
        body: bytes | None = None,
    ) -> Answer:
        """Return the answer to a request. One that may be repeated is, once, if its connection had been ended unseen.

        Raises:
            WireError
        """
        data = self._encoded(method, path, query, headers, body)
        try:
            return await self._answer(await self._link(), data)
        except WireError as error:
            if not error.unanswered or method == "POST":
                raise
        return await self._answer(await self._connect(), data)

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str], headers: Headers, quiet_seconds: float | None
    ) -> AsyncIterator[Stream]:
        """Open a long answer; `quiet_seconds` is the longest silence that is accepted, also before it begins.

        Raises:
            WireError, TimeoutError
        """
        data = self._encoded("GET", path, query, headers, None)
        try:
            link, exchange = await self._begun(await self._link(), data, quiet_seconds)
        except WireError as error:
            if not error.unanswered:
                raise
            link, exchange = await self._begun(await self._connect(), data, quiet_seconds)
        try:
            yield Stream(link, exchange, quiet_seconds=quiet_seconds)
        finally:
            self._leave(link, exchange)

    async def _begun(self, link: _Link, data: bytes, quiet_seconds: float | None) -> tuple[_Link, _Exchange]:
        """Return the answer once its headers have come."""
        exchange = link.ask(data, streamed=True)
        try:
            async with asyncio.timeout(quiet_seconds):
                while not exchange.headed and exchange.error is None:
                    await _news(exchange)
        except BaseException:
            link.abort()
            raise
        if exchange.error is not None:
            raise exchange.error
        link.keep_session()
        return link, exchange

    async def _answer(self, link: _Link, data: bytes) -> Answer:
        exchange = link.ask(data, streamed=False)
        try:
            await exchange.changed
        except BaseException:
            link.abort()
            raise
        if exchange.error is not None:
            raise exchange.error
        link.keep_session()
        self._put_back(link)
        return Answer(exchange.status, exchange.headers, b"".join(exchange.pieces))

    def _leave(self, link: _Link, exchange: _Exchange) -> None:
        """See to the connection of a stream whose reader has left."""
        if exchange.ended:
            link.taken(exchange)
            self._put_back(link)
        else:
            link.abort()

    def lost(self, link: _Link) -> None:
        """Forget a connection that is closed."""
        self._links.discard(link)
        if link in self._idle:
            self._idle.remove(link)

    def _put_back(self, link: _Link) -> None:
        if link.usable:
            link.idle_since = time.monotonic()
            self._idle.append(link)
        else:
            link.abort()

    async def _link(self) -> _Link:
        """Return the connection that was used last, or a new one."""
        while self._idle:
            link = self._idle.pop()
            if not link.usable:
                continue
            if time.monotonic() - link.idle_since < IDLE_SECONDS:
                return link
            link.abort()
        return await self._connect()

    async def _connect(self) -> _Link:
        loop = asyncio.get_running_loop()
        name = self._name if self._tls is not None else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, link = await loop.create_connection(
                    lambda: _Link(self), self._name, self._port, ssl=self._tls, server_hostname=name
                )
        except TimeoutError as error:
            raise WireError(f"no connection to {self._host} within {CONNECT_SECONDS:g} s") from error
        except OSError as error:
            raise WireError(f"no connection to {self._host}: {_words(error)}") from error
        self._links.add(link)
        return link

    def _encoded(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Headers,
        body: bytes | None,
    ) -> bytes:
        target = self._prefix + (path if _PLAIN_PATH.fullmatch(path) else quote(path, safe="/:"))
        if query:
            target = f"{target}?{urlencode(query)}"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}"]
        for name, values in headers.items():
            lines += [f"{name}: {value}" for value in ((values,) if isinstance(values, str) else values)]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        if any(_LINE_BREAK.search(line) for line in lines):
            raise ValueError("a header of the request has a line break in it")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


async def _news(exchange: _Exchange) -> None:
    """Wait until something has come of an answer since this was called last."""
    await exchange.changed
    exchange.changed = asyncio.get_running_loop().create_future()


def _words(error: OSError) -> str:
    """Return what the system says; event loops put words of their own in its place."""
    if isinstance(error, ssl.SSLError | socket.gaierror) or not error.errno:
        return str(error)
    return os.strerror(error.errno)
