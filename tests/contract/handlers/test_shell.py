"""kopf as the shell: what is in the API server reaches the sink whatever its watches go through; nothing is written."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
import pytest

from fixtures.fake_kube import FakeKube, Fault, Kind
from fixtures.scripted_kube import Reply, ScriptedKube
from lab.kube_suite import until
from runabout.handlers import shell
from runabout.handlers.shell import WatchError, watch
from runabout.kube.objects import key_of, metadata

Obj = dict[str, Any]


@dataclass
class View:
    """What a sink has been told, by name."""

    runs: dict[str, object] = field(default_factory=dict)
    executors: dict[str, object] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    """names of the Runs that were in a listing"""
    order: dict[str, list[int]] = field(default_factory=dict)
    """resource versions of each Run as they came"""

    def run_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        _, name = key_of(body)
        self.order.setdefault(name, []).append(int(str(metadata(body)["resourceVersion"])))
        if deleted:
            self.runs.pop(name, None)
        else:
            self.runs[name] = body["spec"]

    def run_listed(self, body: Mapping[str, object]) -> None:
        self.listed.add(key_of(body)[1])
        self.run_seen(body, deleted=False)

    def executor_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        _, name = key_of(body)
        if deleted:
            self.executors.pop(name, None)
        else:
            self.executors[name] = body["spec"]


def run(name: str, **spec: object) -> Obj:
    return {"metadata": {"name": name, "namespace": "ci", "generation": 1}, "spec": {"tasks": [], **spec}}


async def remove(fake: FakeKube, plural: str, name: str) -> None:
    [found] = [item for item in fake.items(plural) if item["metadata"]["name"] == name]
    await fake._remove(plural, found)


@asynccontextmanager
async def watching(fake: FakeKube) -> AsyncIterator[View]:
    view, stop = View(), asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch(view, stop=stop, connection=kopf.ConnectionInfo(server=fake.url)))
        try:
            yield view
        finally:
            stop.set()


@pytest.fixture
async def fake() -> AsyncIterator[FakeKube]:
    async with FakeKube() as server:
        await server.put("namespaces", {"metadata": {"name": "ci"}})
        yield server


async def test_runs_and_executors_are_seen_as_they_are_listed_changed_and_deleted(fake: FakeKube) -> None:
    await fake.put("runs", run("old"))
    await fake.put("runs", run("doomed"))
    await fake.put("executors", {"metadata": {"name": "any"}, "spec": {"archs": ["amd64"]}})
    async with watching(fake) as view:
        await until(lambda: view.runs.keys() == {"old", "doomed"} and view.executors.keys() == {"any"})
        await fake.put("runs", run("new"))
        await fake.put("runs", run("old", stop=True))
        await remove(fake, "runs", "doomed")
        await remove(fake, "executors", "any")
        await until(lambda: view.runs == {"old": {"tasks": [], "stop": True}, "new": {"tasks": []}})
        await until(lambda: not view.executors)
    assert view.listed == {"old", "doomed"}
    assert all(versions == sorted(versions) for versions in view.order.values())


async def test_the_shell_only_ever_reads(fake: FakeKube) -> None:
    await fake.put("runs", {**run("a"), "metadata": {"name": "a", "namespace": "ci", "finalizers": ["x/y"]}})
    async with watching(fake) as view:
        await until(lambda: "a" in view.runs)
        await fake.put("runs", run("a", stop=True))
        await until(lambda: view.runs["a"] == {"tasks": [], "stop": True})
    assert {verb for verb, _ in fake.requests} <= {"list", "watch", "get"}
    assert {plural for _, plural in fake.requests} <= {"runs", "executors", "namespaces"}


TROUBLE: dict[str, Sequence[Fault]] = {
    "410 instead of a watch": [Fault("watch", "runs", code=410, reason="Expired")],
    "410 inside a watch": [Fault("watch", "runs", Kind.ERROR_EVENT, code=410, reason="Expired")],
    "500 instead of a watch": [Fault("watch", "runs"), Fault("watch", "runs", code=503)],
    "429 with Retry-After": [Fault("watch", "runs", code=429, reason="TooManyRequests", retry_after=1)],
    "a broken connection": [Fault("watch", "runs", Kind.RESET)],
    "half a line": [Fault("watch", "runs", Kind.HALF_LINE)],
    "events that are lost": [Fault("watch", "runs", Kind.LOSE)],
    "events that repeat": [Fault("watch", "runs", Kind.REPEAT)],
    "a list that fails": [
        Fault("watch", "runs", code=410, reason="Expired"),
        Fault("list", "runs"),
        Fault("list", "runs", Kind.RESET),
    ],
}


# kopf leaves connections open when it gives up; as an error, the warning would stop its loop from being closed
@pytest.mark.filterwarnings("ignore:unclosed resource:ResourceWarning")
@pytest.mark.parametrize("faults", TROUBLE.values(), ids=TROUBLE)
async def test_what_is_there_is_seen_whatever_happens_to_the_watch(fake: FakeKube, faults: Sequence[Fault]) -> None:
    """Deletions in a gap are not promised: kopf forgets them, and the operator's own listing finds them."""
    await fake.put("runs", run("old"))
    async with watching(fake) as view:
        await until(lambda: "old" in view.runs and fake.requests["watch", "runs"] >= 1)
        fake.faults.extend(faults)
        fake.cut(["runs"])
        for number in range(5):
            await fake.put("runs", run(f"new-{number}"))
            await asyncio.sleep(0)
        await until(lambda: not fake.faults)
        await fake.put("runs", run("old", stop=True))
        await until(lambda: len(view.runs) == 6 and view.runs["old"] == {"tasks": [], "stop": True})
    assert sum(fake.requests.values()) <= 20 + 6 * len(faults), fake.requests


async def test_the_shell_takes_no_longer_than_a_moment_to_end(fake: FakeKube) -> None:
    loop = asyncio.get_running_loop()
    async with watching(fake) as view:
        await fake.put("runs", run("a"))
        await until(lambda: "a" in view.runs)
        begin = loop.time()
    assert loop.time() - begin < 20  # two, but for what else the machine does; a watch would last for minutes


async def test_a_login_that_is_refused_for_good_is_said_and_not_repeated() -> None:
    refusal = Reply(b'{"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "who are you?"}', 401)
    async with ScriptedKube(GET=[refusal], list=[refusal]) as server:
        connection = kopf.ConnectionInfo(server=server.url)
        with pytest.raises(WatchError, match="cannot be watched"):
            async with asyncio.timeout(60):
                await watch(View(), stop=asyncio.Event(), connection=connection)
    assert len(server.asked) <= 10


async def test_a_kopf_that_has_failed_and_does_not_end_is_left_behind(
    fake: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays like that for ever, sees nothing any more and says so nowhere but in its log."""
    release, operator, begun = threading.Event(), kopf.operator, []

    async def hangs(**options: Any) -> None:  # noqa: ANN401 - kopf's
        begun.append(options)
        if len(begun) > 1:
            return await operator(**options)
        logging.getLogger("kopf.reactor").error("%s has failed: %r", "Watcher", "too old resource version")
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        return None

    monkeypatch.setattr(shell, "HANGS_SECONDS", 0.1)
    monkeypatch.setattr(shell, "END_SECONDS", 0.1)
    monkeypatch.setattr(kopf, "operator", hangs)
    await fake.put("runs", run("a"))
    try:
        async with watching(fake) as view:
            await until(lambda: "a" in view.runs)
    finally:
        release.set()
    assert len(begun) == 2
