"""A gateway for tests: real HTTP, a store that a test writes as an operator would, and a fake API server."""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from fixtures.fake_kube import API_AUDIENCE, FakeKube
from lab.kube_suite import QUICK
from runabout.control.config import run_config
from runabout.control.ledger import RUN, RUN_CONFIG, TASK
from runabout.datamanager import Put, Store, Transaction, follow_store, open_store
from runabout.etcd import Etcd, MemoryEtcd
from runabout.executors.names import PodKey, pod_name
from runabout.gateway.app import Options, application
from runabout.gateway.callers import POD_NAME
from runabout.gateway.identities import TASK_AUDIENCE
from runabout.gateway.metrics import GatewayMetrics
from runabout.gateway.records import Records
from runabout.gateway.server import Server
from runabout.kube.connection import Connection
from runabout.kube.session import Session
from runabout.ost import ObjectStore
from runabout.records import IdGenerator, Phase, Result, Run, RunConfig, RunId, Status, Task
from runabout.records.encoding import encode
from runabout.resources import RunSpec

NAMESPACE = "team"
GROUP = "/project/web"
SAVES: Mapping[str, Any] = {"saveToWorkspace": {"contents": [{"paths": ["**"]}]}}
RESTORES: Mapping[str, Any] = {"restoreWorkspace": {}}


def spec_task(name: str, *steps: Mapping[str, Any], after: Sequence[str] = (), **more: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a task
    """Return a task of a spec; without steps it has one command."""
    return {
        "name": name,
        "containers": [{"image": "alpine"}],
        "steps": [*steps] or [{"run": "true"}],
        "depends": [{"task": parent} for parent in after],
        **more,
    }


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, read to its end."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    content: Any = None

    @property
    def code(self) -> str:
        """What kind of error it is."""
        code: str = self.content["code"]
        return code

    @property
    def message(self) -> str:
        """What it says of the error."""
        message: str = self.content["message"]
        return message


@dataclass
class GatewayLab:
    """Use as an async context manager. Commits go to the store at once; the gateway follows it."""

    ost: ObjectStore
    options: Options = field(default_factory=Options)
    interval: float = 0.02
    kube: FakeKube = field(default_factory=FakeKube)
    connection: Connection | None = None
    """to another API server than `kube`, for the gateway"""
    etcd: Etcd = field(default_factory=MemoryEtcd)
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self._ids = IdGenerator(store=0)
        self._now = 1_700_000_000_000
        await self._stack.enter_async_context(self.kube)
        await self.kube.put("namespaces", {"metadata": {"name": NAMESPACE}})
        self.store: Store = await open_store(self.etcd, ost=self.ost)
        self._stack.push_async_callback(self.store.close)
        connection = self.connection or Connection(server=self.kube.url, ssl=False, authorize=dict)
        session = await self._stack.enter_async_context(Session(connection, backoff=QUICK))
        self.records = Records(self._follow)
        following = asyncio.create_task(self.records.run())
        self._stack.callback(following.cancel)
        async with asyncio.timeout(60):
            while self.records.trouble:  # noqa: ASYNC110 -- what is waited for is the gateway's
                await asyncio.sleep(0.01)
        self.session = session
        self.server = await self._serve(0)
        self._stack.push_async_callback(self._stop)
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)))
        self.url = f"http://127.0.0.1:{self.server.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def _follow(self) -> Any:  # noqa: ANN401 - a follower
        return await follow_store(self.etcd, ost=self.ost, interval=self.interval)

    async def _serve(self, port: int) -> Server:
        app = application(
            session=self.session, records=self.records, ost=self.ost, metrics=self.metrics, options=self.options
        )
        server = Server(app, shutdown_seconds=1, certificate=None)
        await server.start("127.0.0.1", port)
        return server

    async def _stop(self) -> None:
        await self.server.close()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Have nobody answer at the gateway's address for a while, and then another process."""
        port = self.server.port
        await self.server.close()
        yield
        self.server = await self._serve(port)

    # the operator's part

    async def run(
        self,
        *tasks: Mapping[str, Any],
        namespace: str = NAMESPACE,
        group: str = GROUP,
        **spec: Any,  # noqa: ANN401 - fields of a spec
    ) -> RunConfig:
        """Commit a running run; none of its tasks has started."""
        self._now += 1000
        config = run_config(
            RunSpec.model_validate({"group": group, "tasks": list(tasks), **spec}),
            id=self._ids.next(self._now),
            namespace=namespace,
            name=f"run-{self._now}",
            uid=f"uid-{self._now}",
            created=self._now,
            labels={},
            annotations={},
        )
        run = Run(config.id, namespace, config.name, config.uid, config.group, counter=1, phase=Phase.RUNNING)
        puts = [Put(TASK, f"{config.id}/{task.name}", encode(Task(config.id, task.name))) for task in config.tasks]
        await self._commit(Put(RUN_CONFIG, config.id, encode(config)), Put(RUN, config.id, encode(run)), *puts)
        return config

    async def set_task(self, config: RunConfig, name: str, status: Status = Status.RUNNING, **more: Any) -> Task:  # noqa: ANN401 - fields of a task's record
        """Commit a task's state."""
        pod = pod_name(PodKey(config.id, name, more.get("attempt", 1)))
        task = Task(config.id, name, **{"status": status, "attempt": 1, "pod": pod, **more})
        await self._commit(Put(TASK, f"{config.id}/{name}", encode(task)))
        return task

    async def set_run(self, config: RunConfig, phase: Phase, result: Result = Result.UNKNOWN) -> None:
        """Commit a run's state."""
        run = Run(config.id, config.namespace, config.name, config.uid, config.group, 1, phase, result)
        await self._commit(Put(RUN, config.id, encode(run)))

    async def _commit(self, *actions: Put) -> None:
        await self.store.commit(Transaction(actions))

    # tokens

    def pod_token(
        self,
        run: RunId,
        task: str,
        *,
        attempt: int = 1,
        namespace: str = NAMESPACE,
        audience: str = TASK_AUDIENCE,
        pod: str | None = None,
    ) -> str:
        """Return a token that is bound to a pod, as a kubelet gets one."""
        name = pod if pod is not None else pod_name(PodKey(run, task, attempt))
        token = web_token(aud=[audience], exp=time.time() + 3600, sub=f"{namespace}/{name}")
        user = {
            "username": f"system:serviceaccount:{namespace}:default",
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "extra": {POD_NAME: [name]},
        }
        self.kube.tokens[token] = {"user": user, "audiences": [audience]}
        return token

    def person(self, name: str, *groups: str, audience: str = API_AUDIENCE) -> str:
        """Return a token of somebody who is no pod."""
        token = f"person.{quote(name)}"
        if audience != API_AUDIENCE:
            token = web_token(aud=[audience], exp=time.time() + 3600, sub=name)
        user = {"username": name, "groups": [*groups, "system:authenticated"]}
        self.kube.tokens[token] = {"user": user, "audiences": [audience]}
        return token

    # requests

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        json: object = None,
        data: Any = None,  # noqa: ANN401 - what aiohttp takes
        headers: Mapping[str, str] | None = None,
    ) -> Said:
        """Send a request to the gateway, or to any other address."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        url = URL(path if "://" in path else self.url + path, encoded=True)
        async with self._http.request(method, url, headers=sent, json=json, data=data) as answer:
            body = await answer.read()
            is_json = answer.content_type == "application/json"
            return Said(answer.status, body, answer.headers.copy(), await answer.json() if is_json and body else None)

    def attempt(self, config: RunConfig, name: str, *, attempt: int = 1) -> "Attempt":
        """Return a task's attempt with its own token."""
        token = self.pod_token(config.id, name, attempt=attempt, namespace=config.namespace)
        return Attempt(self, f"/task/v1/{config.id}/{name}/{attempt}", token)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a toolbox does."""

    lab: GatewayLab
    base: str
    token: str

    async def ask(self, method: str, path: str, json: object = None, **more: Any) -> Said:  # noqa: ANN401 - as `GatewayLab.ask`
        """Send a request of this attempt."""
        return await self.lab.ask(method, f"{self.base}/{path}", token=self.token, json=json, **more)

    async def send(self, target: Mapping[str, object], number: int, body: bytes) -> dict[str, Any]:
        """Send a part, wherever it is to go; return how it is called in the archive."""
        part = described(body)
        answer = await self.ask("POST", "parts", {"for": target, "part": number, **part})
        assert answer.status == 200, answer
        if not answer.content.get("stored"):
            where, headers = answer.content["url"], answer.content["headers"]
            token = self.token if where.startswith(self.lab.url) else None
            sent = await self.lab.ask(answer.content["method"], where, token=token, headers=headers, data=body)
            assert sent.status in (200, 204), sent
        return part

    async def save(self, target: Mapping[str, object], *bodies: bytes) -> Said:
        """Send an archive of these parts."""
        parts = [await self.send(target, number, body) for number, body in enumerate(bodies)]
        return await self.ask("POST", "archives", archive(target, parts))

    async def fetch(self, path: str) -> list[bytes]:
        """Return all parts of what a path names, two addresses at a time."""
        found: list[bytes] = []
        while True:
            answer = await self.ask("GET", f"{path}?from={len(found)}&count=2")
            if answer.status == 404 and found:
                return found
            assert answer.status == 200, answer
            for part in answer.content["parts"]:
                token = self.token if part["url"].startswith(self.lab.url) else None
                got = await self.lab.ask("GET", part["url"], token=token, headers=part["headers"])
                assert got.status == 200, got
                assert described(got.body) == {"size": part["size"], "sha256": part["sha256"]}
                found.append(got.body)


def web_token(**claims: object) -> str:
    """Return a JSON Web Token that says this of itself; nobody has signed it."""
    parts = (orjson.dumps({"alg": "RS256", "kid": "k"}), orjson.dumps(claims), b"signature")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def described(body: bytes) -> dict[str, Any]:
    """Return a part as requests name it."""
    return {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def archive(target: Mapping[str, object], parts: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return the request that makes parts an archive."""
    return {"for": target, "parts": list(parts), "files": 3, "bytes": 1000}
