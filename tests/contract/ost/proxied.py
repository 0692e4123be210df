"""Stores of an S3 server, alone or behind a proxy that has faults."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from aiohttp import web

from contract.ost.conftest import BUCKET
from fixtures.s3_proxy import Fault, S3Proxy, proxy
from fixtures.s3_server import S3Server
from runabout.ost import OstSettings, Waits
from runabout.ost.s3 import S3ObjectStore
from runabout.ost.settings import S3Place, place


def settings(server: S3Server, **changes: object) -> OstSettings:
    quick = replace(server.settings(BUCKET, uuid.uuid4().hex), retry_seconds=20.0, request_timeout_seconds=5.0)
    return replace(quick, **changes)  # type: ignore[arg-type] # each test names fields that there are


async def connected(what: OstSettings, waits: Waits | None = None) -> S3ObjectStore:
    """Return a store that was not probed, so that a test sees only its own requests."""
    where = place(what.url)
    assert isinstance(where, S3Place)
    return await S3ObjectStore.connect(where, what, waits)


@asynccontextmanager
async def behind_proxy(
    server: S3Server, **changes: object
) -> AsyncIterator[tuple[S3ObjectStore, S3Proxy, OstSettings]]:
    async with proxy(server) as between:
        what = settings(between.server, **changes)
        store = await connected(what)
        yield store, between, what
        await store.close()


def first(count: int, fault: Fault, *, method: str = "", query: str = "") -> Callable[[web.Request], Fault | None]:
    """Return a judge that lets the first `count` requests of a kind have a fault."""
    met = 0

    def judge(request: web.Request) -> Fault | None:
        nonlocal met
        if request.method != (method or request.method) or query not in request.query_string:
            return None
        met += 1
        return fault if met <= count else None

    return judge
