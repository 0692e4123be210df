"""What is done whatever the passes do: on a real connection to an API server on the loopback."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from fixtures.fake_kube import FakeKube, Fault
from fixtures.states import NOW
from runabout.control.executors import Executors, executor_object
from runabout.control.metrics import Metrics
from runabout.control.objects import FINALIZER, RunObjects, run_object
from runabout.control.order import Order
from runabout.control.reporter import Reporter
from runabout.control.runs_api import RunsApi
from runabout.control.upkeep import Upkeep
from runabout.kube.connection import Connection
from runabout.kube.errors import ConflictError
from runabout.kube.session import Session

DEADLINE = 600
TRIES = 4
"""Of one request by the session."""


@dataclass
class Scene:
    """An API server with one Run and one Executor, both known, and the time in seconds after NOW."""

    fake: FakeKube
    objects: RunObjects
    executors: Executors
    metrics: Metrics
    api: RunsApi
    upkeep: Upkeep
    time: float = 0.0

    def look(self) -> None:
        for item in self.fake.items("runs"):
            self.objects.put(run_object(item))
        for item in self.fake.items("executors"):
            self.executors.put(executor_object(item))

    @property
    def forced(self) -> float | None:
        return self.metrics.registry.get_sample_value("runabout_finalizers_forced_total")


@asynccontextmanager
async def scene(*, deleted: float | None = None) -> AsyncIterator[Scene]:
    async with FakeKube() as fake, Session(Connection(server=fake.url, ssl=False, authorize=dict)) as session:
        await fake.put("namespaces", {"metadata": {"name": "ci"}})
        times = {"deletionTimestamp": time(deleted)} if deleted is not None else {}
        held = {"name": "web-118", "namespace": "ci", "finalizers": ["example.org/other", FINALIZER], **times}
        await fake.put("runs", {"metadata": held, "spec": {"tasks": []}, "status": {"id": "1il7g1c000001"}})
        await fake.put("executors", {"metadata": {"name": "any", "generation": 1}, "spec": {"archs": ["amd64"]}})

        def seen(_body: Mapping[str, object]) -> None:
            """The server's list is what is looked at here."""

        objects, metrics = RunObjects(), Metrics()
        executors = Executors(toolbox_image="t", toolbox_pull_policy="Never")
        api = RunsApi(session, seen=seen)

        def now() -> int:
            return NOW + round(here.time * 1000)

        reporter = Reporter(
            api=api, metrics=metrics, now=now, clock=lambda: here.time, ttl_seconds=60, deadline_seconds=DEADLINE
        )
        upkeep = Upkeep(
            api=api,
            objects=objects,
            executors=executors,
            order=Order(executors=executors, wake=lambda _uid: None, now=now),
            reporter=reporter,
            now=now,
        )
        here = Scene(fake, objects, executors, metrics, api, upkeep)
        here.look()
        yield here


def time(seconds: float) -> str:
    return datetime.fromtimestamp(NOW / 1000 + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_deleted_run_is_let_go_at_the_deadline_and_not_before() -> None:
    async with scene(deleted=0) as here:
        here.time = DEADLINE - 1
        await here.upkeep.keep_deadlines_once()
        assert (len(here.fake.requests), here.forced) == (0, 0)
        here.time = DEADLINE
        await here.upkeep.keep_deadlines_once()
        [run] = here.fake.items("runs")
        assert run["metadata"]["finalizers"] == ["example.org/other"]
        assert here.forced == 1
        here.look()
        await here.upkeep.keep_deadlines_once()
        assert here.forced == 1


async def test_a_deadline_that_the_server_does_not_take_is_kept_the_next_time() -> None:
    async with scene(deleted=0) as here:
        here.time = DEADLINE
        here.fake.faults.extend([Fault("patch", "runs", code=500)] * TRIES)
        await here.upkeep.keep_deadlines_once()
        assert here.forced == 0
        await here.upkeep.keep_deadlines_once()
        assert here.forced == 1


async def test_a_run_that_is_not_deleted_has_no_deadline() -> None:
    async with scene() as here:
        here.time = 100 * DEADLINE
        await here.upkeep.keep_deadlines_once()
        assert len(here.fake.requests) == 0


async def test_the_status_of_an_executor_is_written_once_and_again_when_it_changes_or_failed() -> None:
    async with scene() as here:
        here.fake.faults.extend([Fault("apply", "executors", code=503)] * TRIES)
        for _ in range(3):
            await here.upkeep.report_executors_once()
        assert here.fake.requests["apply", "executors"] == TRIES + 1
        [executor] = here.fake.items("executors")
        [ready] = executor["status"]["conditions"]
        assert (ready["status"], ready["reason"]) == ("True", "ArchsWithoutNodes")
        here.executors.set_node("n1", "amd64")
        await here.upkeep.report_executors_once()
        [executor] = here.fake.items("executors")
        [ready] = executor["status"]["conditions"]
        assert (ready["status"], ready["reason"]) == ("True", "Ready")
        assert executor["status"]["nodes"] == [{"arch": "amd64", "count": 1}]
        assert (executor["status"]["archs"], executor["status"]["maxActiveTasks"]) == ("amd64", "unlimited")
        assert here.fake.requests["apply", "executors"] == TRIES + 2


@pytest.mark.parametrize("verb", ["status", "executor's status", "deletion"])
async def test_a_conflict_is_worth_another_try_unless_it_is_about_another_object(verb: str) -> None:
    """The server says 409 both when somebody wrote at the same moment and when the uid is another one's."""
    async with scene() as here:
        [item] = here.fake.items("runs")
        [executor] = here.fake.items("executors")

        async def write(uid: str) -> None:
            run = run_object({**item, "metadata": {**item["metadata"], "uid": uid}})
            if verb == "status":
                await here.api.apply_status(run, {"phase": "queued"})
            elif verb == "deletion":
                await here.api.delete(run)
            else:
                await here.api.apply_executor_status("any", uid, {"activeTasks": 1})

        plural = "executors" if verb == "executor's status" else "runs"
        request = "delete" if verb == "deletion" else "apply"
        here.fake.faults.append(Fault(request, plural, code=409, reason="Conflict"))
        with pytest.raises(ConflictError):
            await write((executor if plural == "executors" else item)["metadata"]["uid"])
        here.fake.faults.append(Fault(request, plural, code=409, reason="Conflict"))
        await write("of an earlier one")
