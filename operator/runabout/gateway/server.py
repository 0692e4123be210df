"""Listens, with TLS where there is a certificate, and ends well: nothing new begins, what is under way ends."""

import asyncio
import ssl
from pathlib import Path

import structlog
from aiohttp import web

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
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_seconds, handler_cancellation=True)
        self._certificate = certificate
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        context = None if self._certificate is None else self._certificate.context
        await web.TCPSite(self._runner, host, port, ssl_context=context).start()
        address = self._runner.addresses[0]
        self.port = address[1]

    async def close(self) -> None:
        """Take nothing new, and return when what was under way has ended, or its time is up."""
        await self._runner.cleanup()
