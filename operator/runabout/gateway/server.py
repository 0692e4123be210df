"""Listens, with TLS where there is a certificate, and ends well: nothing new begins, what is under way ends."""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

log = structlog.get_logger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks whether the certificate was renewed."""
LARGEST_JSON = 4 * 1024 * 1024
"""Bytes of a request's body that is read as a whole; parts are streamed."""


class CertificateError(Exception):
    """The certificate or its key cannot be used; the message names the variables."""


class Certificate:
    """A certificate in files that somebody renews."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._stamp = self._stamps()
        self._load()

    def look(self) -> bool:
        """Load the files again if they have changed; connections from then on get them. Return whether they had."""
        stamp = self._stamps()
        if stamp == self._stamp:
            return False
        self._load()
        self._stamp = stamp
        return True

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(self._cert, self._key)
        except (OSError, ValueError) as error:
            raise CertificateError(f"RUNABOUT_GATEWAY_CERT_FILE and RUNABOUT_GATEWAY_KEY_FILE: {error}") from error

    def _stamps(self) -> tuple[int, int]:
        try:
            return self._cert.stat().st_mtime_ns, self._key.stat().st_mtime_ns
        except OSError as error:
            raise CertificateError(f"RUNABOUT_GATEWAY_CERT_FILE and RUNABOUT_GATEWAY_KEY_FILE: {error}") from error


async def renew(certificate: Certificate) -> None:
    """Look at the certificate now and then, until cancelled; a bad one leaves the old one in use."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            if await asyncio.to_thread(certificate.look):
                log.info("certificate renewed")
        except CertificateError as error:
            log.warning("certificate not renewed", error=str(error))


class Server:
    """One listening port; `port` is the real one once it listens."""

    def __init__(self, app: web.Application, *, shutdown_seconds: float, certificate: Certificate | None) -> None:
        app.middlewares.insert(0, self._counting())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        self._shutdown_seconds = shutdown_seconds
        self._certificate = certificate
        self._sites: list[web.BaseSite] = []
        self._active = 0
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        context = None if self._certificate is None else self._certificate.context
        site = web.TCPSite(self._runner, host, port, ssl_context=context)
        await site.start()
        self._sites.append(site)
        self.port = self._runner.addresses[0][1]

    async def start_on(self, listening: socket.socket) -> None:
        """Listen on a socket that is bound."""
        await self._runner.setup()
        site = web.SockSite(self._runner, listening)
        await site.start()
        self._sites.append(site)

    async def close(self) -> None:
        """Take nothing new, and return when what was under way has ended, or its time is up.

        The runner's own end comes after that: from its beginning on no more of any body is read.
        """
        self._closing = True
        while self._sites:
            await self._sites.pop().stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._shutdown_seconds):
                await self._idle.wait()
        await self._runner.cleanup()

    def _counting(self) -> Middleware:
        @web.middleware
        async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._active += 1
            self._idle.clear()
            try:
                answer = await handler(request)
                if self._closing and not answer.prepared:
                    answer.force_close()
                return answer
            finally:
                self._active -= 1
                if not self._active:
                    self._idle.set()

        return counted
