"""Probes and metrics over HTTP, on the loopback; and what an operator says of itself while it cannot work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from fixtures.ports import free_port
from runabout.control.health import HealthServer
from runabout.control.metrics import Metrics
from runabout.control.operator import Operator
from runabout.control.settings import Settings
from runabout.kube.connection import Connection
from runabout.ost import MemoryObjectStore

HOST = "127.0.0.1"


@dataclass
class Says:
    """What the probes answer; an empty text is all well."""

    alive: str = ""
    ready: str = ""


@asynccontextmanager
async def served(says: Says, metrics: Metrics, *, ports: tuple[int, int]) -> AsyncIterator[HealthServer]:
    server = HealthServer(alive=lambda: says.alive, ready=lambda: says.ready, registry=metrics.registry)
    await server.start(host=HOST, health_port=ports[0], metrics_port=ports[1])
    try:
        yield server
    finally:
        await server.close()


async def get(port: int, path: str) -> tuple[int, str]:
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"http://{HOST}:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_a_probe_says_ok_or_what_is_wrong_as_it_changes() -> None:
    says, port = Says(ready="starting"), free_port()
    async with served(says, Metrics(), ports=(port, port)):
        assert await get(port, "/readyz") == (503, "starting\n")
        assert await get(port, "/healthz") == (200, "ok\n")
        says.ready = ""
        assert await get(port, "/readyz") == (200, "ok\n")
        says.ready = "stopping"
        says.alive = "the event loop has not turned for 61 s"
        assert await get(port, "/readyz") == (503, "stopping\n")
        assert await get(port, "/healthz") == (503, "the event loop has not turned for 61 s\n")


async def test_metrics_have_a_port_of_their_own() -> None:
    health, other = free_port(), free_port()
    metrics = Metrics()
    metrics.runs_ended.labels(phase="finished", result="success").inc(3)
    async with served(Says(), metrics, ports=(health, other)):
        status, text = await get(other, "/metrics")
        assert status == 200
        assert 'runabout_runs_ended_total{phase="finished",result="success"} 3.0' in text
        assert (await get(health, "/metrics"))[0] == 404
        assert (await get(other, "/readyz"))[0] == 404


async def test_a_port_that_is_taken_is_an_error_and_a_closed_server_gives_its_ports_back() -> None:
    port = free_port()
    async with served(Says(), Metrics(), ports=(port, port)):
        with pytest.raises(OSError, match="address already in use"):
            async with served(Says(), Metrics(), ports=(port, port)):
                pass
    async with served(Says(), Metrics(), ports=(port, port)):
        assert (await get(port, "/healthz"))[0] == 200


@pytest.mark.parametrize("first_try", [True, False], ids=["at the first try", "when it has been tried"])
async def test_an_operator_without_etcd_is_alive_says_why_it_is_not_ready_and_ends_when_told(
    tmp_path: Path, first_try: bool
) -> None:
    health, nobody = free_port(), free_port()
    settings = Settings(
        lease=False,
        etcd_endpoints=f"http://{HOST}:{nobody}",
        scratch_dir=tmp_path,
        health_port=health,
        metrics_port=health,
        listen=HOST,
    )

    async def no_watch(_sink: object, ending: asyncio.Event) -> None:
        await ending.wait()

    operator = Operator(
        settings,
        connection=Connection(f"http://{HOST}:{nobody}", ssl=False, authorize=dict),
        ost=MemoryObjectStore(),
        watch=no_watch,
        metrics=Metrics(),
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        work = group.create_task(operator.run(stop))
        says = (
            "starting\n" if first_try else f"the store cannot be opened: etcd: no connection to http://{HOST}:{nobody} "
        )
        status, text = await until_ready_says(health, says)
        assert status == 503
        assert text.startswith(says)
        assert await get(health, "/healthz") == (200, "ok\n")
        assert "runabout_active 0.0" in (await get(health, "/metrics"))[1]
        stop.set()
        async with asyncio.timeout(20):
            await work
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(health, "/healthz")


async def until_ready_says(port: int, beginning: str) -> tuple[int, str]:
    """Return what /readyz says once it begins like this."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                status, text = await get(port, "/readyz")
                if text.startswith(beginning):
                    return status, text
            await asyncio.sleep(0.02)
