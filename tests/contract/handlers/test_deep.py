"""An object that somebody has nested as deep as an API server allows is seen like any other, and stops nobody."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping

import kopf
import pytest
from aiohttp import web

from runabout.control.config import checked_config
from runabout.control.objects import run_object
from runabout.handlers.process import NESTING
from runabout.handlers.shell import watch
from runabout.kube.connection import Connection
from runabout.kube.objects import RUNS
from runabout.kube.session import Session
from runabout.records import RunId

DEPTH = 9_990
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]
RESOURCES = [
    {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": VERBS}
    for plural, kind, namespaced in (("runs", "Run", True), ("executors", "Executor", False))
]

NAMESPACES = {"name": "namespaces", "singularName": "", "namespaced": False, "kind": "Namespace", "verbs": VERBS}
"""kopf does not begin before it knows of these."""


def run(name: str, depth: int) -> str:
    inner = '{"a":' * depth + "1" + "}" * depth
    spec = f'{{"tasks": [], "pod": {{"affinity": {inner}}}}}'
    metadata = f'{{"name": "{name}", "namespace": "ci", "uid": "uid-{name}", "resourceVersion": "1"}}'
    return f'{{"apiVersion": "runabout.dev/v1alpha1", "kind": "Run", "metadata": {metadata}, "spec": {spec}}}'


def listing(*items: str) -> str:
    return f'{{"kind": "RunList", "metadata": {{"resourceVersion": "1"}}, "items": [{", ".join(items)}]}}'


@pytest.fixture(autouse=True)
def recursion() -> Iterator[None]:
    """The operator's process allows itself more."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(NESTING)
    yield
    sys.setrecursionlimit(before)


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Serve a deep Run in the list, and a deep one and an ordinary one in the watch."""
    stopping = asyncio.Event()

    async def runs(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.Response(text=listing(run("listed", DEPTH)), content_type="application/json")
        answer = web.StreamResponse()
        await answer.prepare(request)
        for name, depth in (("watched", DEPTH), ("ordinary", 1)):
            await answer.write(f'{{"type": "ADDED", "object": {run(name, depth)}}}\n'.encode())
        await stopping.wait()
        return answer

    async def executors(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await stopping.wait()
        return web.Response(text=listing(), content_type="application/json")

    async def group(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "APIResourceList", "resources": RESOURCES})

    async def groups(_request: web.Request) -> web.Response:
        version = {"groupVersion": "runabout.dev/v1alpha1", "version": "v1alpha1"}
        return web.json_response(
            {"groups": [{"name": "runabout.dev", "versions": [version], "preferredVersion": version}]}
        )

    async def core(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "APIVersions", "versions": ["v1"]})

    async def core_v1(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "APIResourceList", "resources": [NAMESPACES]})

    app = web.Application()
    app.add_routes(
        [
            web.get("/api", core),
            web.get("/api/v1", core_v1),
            web.get("/apis", groups),
            web.get("/apis/runabout.dev/v1alpha1", group),
            web.get("/apis/runabout.dev/v1alpha1/runs", runs),
            web.get("/apis/runabout.dev/v1alpha1/executors", executors),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    stopping.set()
    await runner.cleanup()


class Seen:
    """What the watches showed."""

    def __init__(self, *names: str) -> None:
        self.errors: dict[str, tuple[str, ...]] = {}
        self.all = asyncio.Event()
        self._names = set(names)

    def run_listed(self, body: Mapping[str, object]) -> None:
        self.run_seen(body, deleted=False)

    def run_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        assert not deleted
        found = run_object(body)
        self.errors[found.name] = checked_config(found, id=RunId("1il7g1c000001"), created=0).setup_errors
        if self.errors.keys() >= self._names:
            self.all.set()

    def executor_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        raise AssertionError(f"there is none: {body} {deleted}")


async def test_a_deep_run_does_not_end_the_watch_of_all_runs(server: str) -> None:
    seen, stop = Seen("listed", "watched", "ordinary"), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch(seen, stop=stop, connection=kopf.ConnectionInfo(server=server)))
        async with asyncio.timeout(60):
            await seen.all.wait()
        stop.set()
    assert seen.errors["ordinary"] == ()
    for name in ("listed", "watched"):
        (error,) = seen.errors[name]
        assert "nested more than" in error


async def test_a_deep_run_does_not_spoil_a_list(server: str) -> None:
    async with Session(Connection(server=server, ssl=False, authorize=dict)) as session:
        (item,), _, _ = await session.list(RUNS)
    assert run_object(item).name == "listed"
