"""Probes and metrics over HTTP: /healthz, /readyz on one port and /metrics on the other.

Healthy is: the event loop turns and nothing has given up, so a restart would not help. Ready is: the replica does its
work or stands by for it. Whoever asks is told why not, and, of one that is ready, what there is to know.
"""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

BEAT_SECONDS = 1.0
STALLED_SECONDS = 15.0
"""Without a turn of the event loop for this long, a process is not healthy."""


class Pulse:
    """Whether the event loop turns, which its owner notes every `BEAT_SECONDS`."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def beat(self) -> None:
        """Note that it does."""
        self._last = time.monotonic()

    def trouble(self) -> str:
        """Return what is wrong, empty if all is well."""
        stalled = time.monotonic() - self._last
        return f"the event loop has not turned for {stalled:.0f} s" if stalled > STALLED_SECONDS else ""


class HealthServer:
    """Serves what `alive` and `ready` say; each returns an empty text when all is well, else what is wrong.

    `notes` is what else a replica that is ready has to say, a sentence on each line.
    """

    def __init__(
        self,
        *,
        alive: Callable[[], str],
        ready: Callable[[], str],
        registry: CollectorRegistry,
        notes: Callable[[], str] = str,
    ) -> None:
        self._notes = notes
        self._alive = alive
        self._ready = ready
        self._registry = registry
        self._runners: list[web.AppRunner] = []

    async def start(self, *, host: str, health_port: int, metrics_port: int) -> None:
        """Listen on both ports; equal ports are one server.

        Raises:
            OSError: a port is taken.
        """
        probes = [
            web.get("/healthz", self._probe(self._alive)),
            web.get("/readyz", self._probe(self._ready, self._notes)),
        ]
        metrics = [web.get("/metrics", self._metrics)]
        if health_port == metrics_port:
            await self._listen(host, health_port, probes + metrics)
        else:
            await self._listen(host, health_port, probes)
            await self._listen(host, metrics_port, metrics)

    async def close(self) -> None:
        """Stop listening."""
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        self._runners.clear()

    async def _listen(self, host: str, port: int, routes: list[web.RouteDef]) -> None:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, host, port).start()

    def _probe(
        self, says: Callable[[], str], notes: Callable[[], str] = str
    ) -> Callable[[web.Request], asyncio.Future[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            trouble = says()
            well = "\n".join(filter(None, ("ok", notes())))
            return web.Response(text=f"{trouble or well}\n", status=503 if trouble else 200)

        return answer  # type: ignore[return-value] # a coroutine function is what a route takes

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
