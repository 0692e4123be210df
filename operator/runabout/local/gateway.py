"""The gateway's side of tasks, on the loopback of this machine: archives, caches and results for processes."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from runabout.datamanager import follow_store
from runabout.etcd import Etcd
from runabout.executors.gatewayaccess import GatewayAccess
from runabout.gateway.answers import middleware
from runabout.gateway.archives import Archives
from runabout.gateway.caches import Caches
from runabout.gateway.callers import POD_NAME, Callers
from runabout.gateway.errors import UnauthorizedError
from runabout.gateway.logparts import LogParts
from runabout.gateway.metrics import GatewayMetrics
from runabout.gateway.records import Records
from runabout.gateway.results import Results
from runabout.gateway.server import LARGEST_JSON, Server
from runabout.gateway.taskapi import TaskApi
from runabout.gateway.transfer import Transfer
from runabout.kube.reviews import Identity
from runabout.ost import ObjectStore

HOST = "127.0.0.1"
MOST_BODIES = 16
"""Parts that go through at once, each in bounded memory."""
SHUTDOWN_SECONDS = 1.0
_SCHEME = "Bearer "

Holder = Callable[[str], tuple[str, str] | None]
"""Returns namespace and pod of the attempt that a token was given to, None if it is nobody's."""


class Tokens:
    """See :class:`runabout.gateway.callers.Identifier`: by the tokens that the driver has given to attempts."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    async def of(
        self,
        authorization: str | None,
        *,
        audience: str = "",  # noqa: ARG002 - there is one
        source: str = "",  # noqa: ARG002 - all are on this machine
    ) -> Identity:
        """Return who sends this header."""
        given = (authorization or "").removeprefix(_SCHEME)
        found = self._holder(given) if given.isascii() and given != authorization else None
        if found is None:
            raise UnauthorizedError("the token is of no attempt that runs")
        namespace, pod = found
        return Identity(f"system:serviceaccount:{namespace}:default", extra={POD_NAME: (pod,)})


@contextlib.asynccontextmanager
async def serve(etcd: Etcd, ost: ObjectStore, *, holder: Holder) -> AsyncIterator[GatewayAccess]:
    """Serve tasks while the context lasts; the store is open. Yields where they reach it."""
    metrics = GatewayMetrics()
    records = Records(functools.partial(follow_store, etcd, ost=ost))
    archives = Archives(ost, now=lambda: time.time_ns() // 1_000_000)
    tasks = TaskApi(
        callers=Callers(Tokens(holder), records),
        records=records,
        archives=archives,
        caches=Caches(ost, archives),
        results=Results(ost),
        transfer=Transfer(ost, presign=False, most=MOST_BODIES, metrics=metrics),
        log_parts=LogParts(ost),
    )
    app = web.Application(middlewares=[middleware(metrics)], client_max_size=LARGEST_JSON)
    app.add_routes(tasks.routes())
    server = Server(app, shutdown_seconds=SHUTDOWN_SECONDS, certificate=None)
    await server.start(HOST, 0)
    reading = asyncio.create_task(records.run(), name="records for tasks")
    try:
        yield GatewayAccess(f"http://{HOST}:{server.port}")
    finally:
        await server.close()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
