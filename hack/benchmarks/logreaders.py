"""Who reads logs, each a process of its own, whose CPU and memory are looked at from outside.

`plain`: nothing but HTTP, the limit. `collector`: the operator's collector, which stores what it has read. `gateway`: a
gateway, and `followers`: those who follow a log there, of which nothing is measured. Each says `ready`, opens its
streams at a line that it is sent, and says `read BYTES` when all logs have ended.
"""

import asyncio
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import structlog
import uvloop

from benchmarks.logserver import STEP
from benchmarks.subprocesses import say, told
from lab.gateways import NAMESPACE, GatewayLab, spec_task
from runabout.control.logs import LogCollector, LogJob
from runabout.control.logsource import PodLogs
from runabout.control.metrics import Metrics
from runabout.executors.containers import MAIN_CONTAINER
from runabout.kube.connection import Connection
from runabout.kube.session import Session
from runabout.kube.wire import ResumingContext
from runabout.ost import OstSettings, open_ost
from runabout.records import RunId

OPENING_SECONDS = 0.01
"""Between two streams: all at once would be a thousand handshakes that wait for each other."""
FOLLOW_SECONDS = 1.0
"""Between two looks of the gateway at the records."""
RUN = RunId("1il7g1c000001")


@dataclass(frozen=True)
class Place:
    """Where the API server is, how many logs it has, and a folder for what is stored."""

    server: str
    ca: Path
    streams: int
    folder: Path

    def connection(self) -> Connection:
        """Return how the operator and the gateway reach it."""
        context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        return Connection(server=self.server, ssl=context, authorize=dict)


async def plain(place: Place) -> None:
    """Read all logs and drop them."""
    context = ssl.create_default_context(cafile=str(place.ca))
    await _read(
        [f"{place.server}/api/v1/namespaces/{NAMESPACE}/pods/pod-{number}/log" for number in range(place.streams)],
        {},
        context,
    )


async def followers(place: Place) -> None:
    """Follow all logs at a gateway: `place.server` is its address."""
    run = await told()
    await _read(
        [
            f"{place.server}/v1/runs/{run}/tasks/task-{number}/attempts/1/logs/0?follow=1"
            for number in range(place.streams)
        ],
        {"Authorization": "Bearer somebody"},
        None,
    )


async def _read(addresses: list[str], headers: dict[str, str], tls: ssl.SSLContext | None) -> None:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=60)
    connector = aiohttp.TCPConnector(limit=0, ssl=tls or True)
    total = 0

    async def read(session: aiohttp.ClientSession, address: str) -> None:
        nonlocal total
        async with session.get(address, headers=headers) as answer:
            answer.raise_for_status()
            async for piece in answer.content.iter_any():
                total += len(piece)

    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        say("ready")
        await told()
        async with asyncio.TaskGroup() as group:
            for address in addresses:
                group.create_task(read(session, address))
                await asyncio.sleep(OPENING_SECONDS)
    say(f"read {total}")
    await told()


async def collector(place: Place) -> None:
    """Collect all logs as the operator does, into a directory; counts what was stored of the steps."""
    left, over = place.streams, asyncio.Event()

    def changed(_job: LogJob) -> None:
        nonlocal left
        left -= 1
        if not left:
            over.set()

    ost = await open_ost(OstSettings(f"file://{place.folder}/ost"))
    async with Session(place.connection()) as session:
        made = LogCollector(
            source=PodLogs(session),
            ost=ost,
            scratch=place.folder,
            metrics=Metrics(),
            on_change=changed,
            now=lambda: time.time_ns() // 1_000_000,
            streams=place.streams,
            max_bytes=10**9,
            scratch_bytes=10**10,
        )
        stop = asyncio.Event()
        pods = [f"pod-{number}" for number in range(place.streams)]
        async with asyncio.TaskGroup() as group:
            group.create_task(made.run(stop))
            say("ready")
            await told()
            for number, pod in enumerate(pods):
                made.follow(LogJob(RUN, f"task-{number}", 1, NAMESPACE, pod, MAIN_CONTAINER, (STEP,)))
                await asyncio.sleep(OPENING_SECONDS)
            await over.wait()
            stop.set()
        logs = [made.stored(pod) for pod in pods]
        say(f"read {sum(log.sizes.get(0, 0) for log in logs if log is not None)}")
        await told()
    await ost.close()


async def gateway(place: Place) -> None:
    """Be a gateway with a run of as many tasks, all of which are running; says `serves ADDRESS RUN`."""
    ost = await open_ost(OstSettings(f"file://{place.folder}/ost"))
    try:
        async with GatewayLab(ost, interval=FOLLOW_SECONDS, connection=place.connection()) as lab:
            config = await lab.run(*(spec_task(f"task-{number}") for number in range(place.streams)))
            for task in config.tasks:
                await lab.set_task(config, task.name)
            await lab.records.catch_up()
            say(f"serves {lab.url} {config.id}")
            await told()
    finally:
        await ost.close()


READERS: dict[str, Callable[[Place], Awaitable[None]]] = {
    "plain": plain,
    "collector": collector,
    "gateway": gateway,
    "followers": followers,
}


async def _main(what: str, server: str, ca: Path, streams: int) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # the other output is a protocol
    with tempfile.TemporaryDirectory(prefix="runabout-bench-") as name:
        await READERS[what](Place(server, ca, streams, Path(name)))


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
