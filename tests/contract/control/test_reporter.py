"""What is written to a Run, and how often: on a real connection to an API server on the loopback."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from fixtures.fake_kube import FakeKube, Fault, Kind
from fixtures.states import NOW, created, finished, live, running, task_spec, with_run, with_task
from lab.kube_suite import QUICK
from runabout.control.live import LiveRun
from runabout.control.metrics import Metrics
from runabout.control.objects import FINALIZER, RunObject, run_object
from runabout.control.reporter import (
    PROGRESS_PER_SECOND,
    PROGRESS_SECONDS,
    REPORT_SECONDS,
    STORING_SECONDS,
    Reporter,
)
from runabout.control.runs_api import RunsApi
from runabout.control.status import Wait
from runabout.kube.connection import Connection
from runabout.kube.errors import KubeError
from runabout.kube.session import TRIES, Session
from runabout.records import Reason, Result, Status

TTL = 60
DEADLINE = 600


@dataclass
class Scene:
    """A Run on the server, a reporter, and the time, in seconds."""

    fake: FakeKube
    live: LiveRun
    reporter: Reporter | None = None
    time: float = 1000.0

    @property
    def run(self) -> RunObject:
        (item,) = self.fake.items("runs")
        return run_object(item)

    def finalizers(self) -> tuple[str, ...]:
        return self.run.finalizers

    @property
    def writes(self) -> int:
        return sum(count for (verb, _), count in self.fake.requests.items() if verb in {"patch", "apply", "delete"})

    async def report(self, *, after: float = 0.0) -> float | None:
        self.time += after
        assert self.reporter is not None
        return await self.reporter.status(self.live, self.run)


@asynccontextmanager
async def scene(**metadata: object) -> AsyncIterator[Scene]:
    async with (
        FakeKube() as fake,
        Session(Connection(server=fake.url, ssl=False, authorize=dict), backoff=QUICK) as session,
    ):
        await fake.put("namespaces", {"metadata": {"name": "ci"}})
        body = {"apiVersion": "runabout.dev/v1alpha1", "kind": "Run", "spec": {"tasks": []}}
        await fake.put("runs", {**body, "metadata": {"name": "web-118", "namespace": "ci", **metadata}})
        here = Scene(fake, live(running(created(task_spec("a"), task_spec("b")))))

        def seen(_body: Mapping[str, object]) -> None:
            """The server's list is what is looked at here."""

        here.reporter = Reporter(
            api=RunsApi(session, seen=seen),
            metrics=Metrics(),
            now=lambda: NOW + round(here.time * 1000),
            clock=lambda: here.time,
            ttl_seconds=TTL,
            deadline_seconds=DEADLINE,
        )
        yield here


async def test_a_status_is_written_once_and_again_only_when_it_says_something_new() -> None:
    async with scene() as here:
        assert await here.report() is None
        assert here.run.status["phase"] == "running"
        assert here.writes == 1
        assert await here.report(after=3600) is None
        assert here.writes == 1
        here.live.waits = {"a": Wait(Reason.NO_EXECUTOR, "there is no Executor; create one")}
        assert await here.report(after=1) is None
        assert here.writes == 2
        assert here.run.status["notable"] == [
            {
                "task": "a",
                "status": "notstarted",
                "reason": "NoExecutor",
                "message": "there is no Executor; create one",
            }
        ]


async def test_an_approval_that_names_no_task_is_said_in_the_next_status() -> None:
    async with scene() as here:
        await here.report()
        approvals = [{"task": "relase", "by": "anna"}, {"task": "a", "by": "anna"}]
        await here.fake.put("runs", {**here.fake.items("runs")[0], "spec": {"tasks": [], "approvals": approvals}})
        assert await here.report(after=PROGRESS_SECONDS) is None
        assert 'no task "relase"' in str(here.run.status["conditions"])


async def test_another_process_does_not_write_again_what_the_server_has() -> None:
    async with scene() as here:
        await here.report()
        here.live = live(here.live.state)
        assert await here.report(after=60) is None
        assert here.writes == 1


async def test_however_often_a_run_changes_its_status_is_written_four_times_a_second_at_most() -> None:
    async with scene() as here:
        begin = here.time
        for number in range(200):
            here.live.waits = {"a": Wait(Reason.NO_FREE_SLOT, f"executor has no free slot ({number})")}
            wait = await here.report(after=0.01)
            assert wait is None or 0 < wait <= REPORT_SECONDS
        assert here.writes <= (here.time - begin) / REPORT_SECONDS + 1
        assert here.writes > 4
        while (wait := await here.report()) is not None:
            here.time += wait
        assert "executor has no free slot (199)" in str(here.run.status["notable"])


async def test_progress_of_many_runs_waits_its_turn_for_seconds_and_beginnings_and_ends_do_not() -> None:
    async with scene() as here:
        await here.report()
        state, waits = here.live.state, list[float]()
        for _ in range(10 * PROGRESS_PER_SECOND):
            here.live = live(state)
            here.live.waits = {"a": Wait(Reason.NO_EXECUTOR, "there is no Executor; create one")}
            here.live.reported = {"phase": "running"}
            waits.append(await here.report() or 0.0)
        assert here.writes == 2
        assert waits[:3] == pytest.approx([0, 1 / PROGRESS_PER_SECOND, 2 / PROGRESS_PER_SECOND])
        assert max(waits) == pytest.approx(PROGRESS_SECONDS)
        here.live.state = finished(here.live.state, Result.STOPPED)
        assert await here.report() is None
        here.live = live(state)
        here.live.reported = {}
        assert await here.report() is None
        assert here.writes == 4


async def test_a_run_keeps_its_turn_and_its_status_says_what_is_true_by_then() -> None:
    async with scene() as here:
        await here.report()
        wait = 0.0
        for number in range(3):
            here.live = live(here.live.state)
            here.live.reported = {"phase": "running"}
            here.live.waits = {"a": Wait(Reason.NO_FREE_SLOT, f"({number})")}
            wait = await here.report() or 0.0
        assert wait == pytest.approx(2 / PROGRESS_PER_SECOND)
        here.live.waits = {"a": Wait(Reason.NO_FREE_SLOT, "(last)")}
        assert await here.report(after=wait / 2) == pytest.approx(wait / 2)
        assert await here.report(after=wait / 2) is None
        assert "(last)" in str(here.run.status["notable"])


async def test_the_end_of_the_last_task_waits_a_moment_for_the_logs_and_one_status_says_both() -> None:
    async with scene() as here:
        await here.report()
        for name in ("a", "b"):
            here.live.state = with_task(here.live.state, name, status=Status.SUCCESS, stored=False)
        here.live.state = with_run(here.live.state, result=Result.SUCCESS)
        wait = await here.report(after=10)
        assert wait == pytest.approx(STORING_SECONDS)
        assert here.writes == 1
        here.live.state = finished(here.live.state, Result.SUCCESS)
        assert await here.report(after=0.01) is None
        assert here.writes == 2
        assert here.run.status["phase"] == "finished"


async def test_logs_that_are_stored_after_the_end_do_not_make_more_statuses_than_anything_else() -> None:
    async with scene() as here:
        tasks = [f"t{number}" for number in range(100)]
        here.live = live(finished(created(*(task_spec(name) for name in tasks)), Result.FAILED))
        for name in tasks:
            here.live.state = with_task(here.live.state, name, status=Status.FAILED, stored=False, late_logs=True)
        await here.report()
        begin = here.time
        for name in tasks:
            here.live.state = with_task(here.live.state, name, stored=True, late_logs=False)
            await here.report(after=0.01)
        assert here.writes <= (here.time - begin) / REPORT_SECONDS + 2


async def test_logs_that_take_longer_do_not_hide_that_the_tasks_have_ended() -> None:
    async with scene() as here:
        await here.report()
        for name in ("a", "b"):
            here.live.state = with_task(here.live.state, name, status=Status.SUCCESS, stored=False)
        wait = await here.report(after=10)
        assert wait is not None
        assert await here.report(after=wait) is None
        assert here.writes == 2


async def test_our_finalizer_goes_on_once_and_off_again_and_others_stay() -> None:
    async with scene(finalizers=["example.org/other"]) as here:
        assert here.reporter is not None
        await here.reporter.hold(here.run)
        assert here.finalizers() == ("example.org/other", FINALIZER)
        await here.reporter.hold(here.run)
        assert here.writes == 1
        await here.reporter.release(here.run)
        assert here.finalizers() == ("example.org/other",)
        await here.reporter.release(here.run)
        assert here.writes == 2


async def test_a_run_that_is_being_deleted_gets_no_finalizer_and_is_overdue_at_its_deadline() -> None:
    async with scene() as here:
        assert here.reporter is not None
        assert here.reporter.overdue(here.run) is None
        deleted = datetime.fromtimestamp(NOW / 1000 + here.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        run = run_object({"metadata": {"name": "web-118", "namespace": "ci", "deletionTimestamp": deleted}})
        assert here.reporter.overdue(run) == DEADLINE
        here.time += DEADLINE + 1
        assert here.reporter.overdue(run) == 0
        await here.reporter.hold(run)
        assert here.writes == 0


@pytest.mark.parametrize(("spec", "seconds"), [({}, TTL), ({"ttlSecondsAfterFinished": 5}, 5)])
async def test_a_run_goes_when_its_time_is_over(spec: dict[str, object], seconds: int) -> None:
    async with scene() as here:
        assert here.reporter is not None
        here.live.state = with_run(here.live.state, ended=NOW + round(here.time * 1000))
        run = run_object({"metadata": {"name": "web-118", "namespace": "ci", "uid": here.run.uid}, "spec": spec})
        assert await here.reporter.expire(here.live, run) == seconds
        here.time += seconds
        assert await here.reporter.expire(here.live, run) is None
        assert here.fake.items("runs") == []
        assert await here.reporter.expire(here.live, run) is None


@pytest.mark.parametrize(
    "fault",
    [
        Fault("delete", "runs", code=409, reason="Conflict"),
        Fault("delete", "runs", code=410, reason="Gone"),
        Fault("delete", "runs", code=429, reason="TooManyRequests", retry_after=3600),
        Fault("delete", "runs"),
        Fault("delete", "runs", Kind.RESET),
    ],
    ids=lambda fault: f"{fault.kind} {fault.code}",
)
async def test_a_run_whose_deletion_is_not_taken_goes_when_it_is_asked_for_again(fault: Fault) -> None:
    async with scene() as here:
        assert here.reporter is not None
        here.live.state = with_run(here.live.state, ended=NOW + round(here.time * 1000))
        here.time += TTL
        here.fake.faults.extend([fault] * TRIES)
        with pytest.raises(KubeError):
            await here.reporter.expire(here.live, here.run)
        assert len(here.fake.items("runs")) == 1
        here.fake.faults.clear()
        assert await here.reporter.expire(here.live, here.run) is None
        assert here.fake.items("runs") == []


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.ANSWER_AFTER])
async def test_a_run_whose_deletion_was_done_and_not_answered_is_gone_and_no_error(kind: Kind) -> None:
    async with scene() as here:
        assert here.reporter is not None
        here.live.state = with_run(here.live.state, ended=NOW + round(here.time * 1000))
        here.time += TTL
        here.fake.faults.append(Fault("delete", "runs", kind))
        assert await here.reporter.expire(here.live, here.run) is None
        assert here.fake.items("runs") == []


async def test_a_run_that_never_had_a_record_does_not_miss_one() -> None:
    async with scene() as here:
        assert here.reporter is not None
        await here.reporter.orphaned(here.run)
        assert here.writes == 0


async def test_a_run_that_is_gone_is_no_error() -> None:
    async with scene() as here:
        assert here.reporter is not None
        run = here.run
        here.time += 3600
        here.live.state = with_run(here.live.state, ended=NOW)
        await here.reporter.expire(here.live, run)
        assert await here.reporter.status(here.live, run) is None
        await here.reporter.release(run)
        await here.reporter.orphaned(run)
