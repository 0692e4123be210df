"""Runs that something else than a person ends: a newer run of their group, or the clock. The whole operator."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from fixtures.fake_kube import Fault, Kind
from lab.kube_suite import until
from lab.played import LASTS, OUTPUT, Bench, Obj, several, task

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SECONDS = 120


async def killed(bench: Bench, *, until_time: float = 0) -> None:
    """Kill the operator, and start it again, not before a time in seconds since 1970."""
    await asyncio.to_thread(bench.operator.kill)
    await until(lambda: time.time() >= until_time, seconds=SECONDS)
    await asyncio.to_thread(bench.operator.start)


async def reached(bench: Bench, name: str, phase: str) -> Obj:
    """Return a run's status once it is in a phase."""
    await until(lambda: bench.status(name).get("phase") == phase, seconds=SECONDS)
    return bench.status(name)


async def running(bench: Bench, name: str, spec: Obj) -> Obj:
    """Return the status of a new run of which one task runs."""
    await bench.create(name, spec)
    await until(lambda: bench.status(name).get("tasks", {}).get("running") == 1, seconds=SECONDS)
    await until(lambda: is_followed(bench, name), seconds=SECONDS)
    return bench.status(name)


def is_followed(bench: Bench, name: str) -> bool:
    """Whether the pod of a run has begun, so that its log is kept whatever comes."""
    run = bench.status(name)["id"]
    pods = [pod for pod in bench.fake.items("pods") if pod["metadata"]["name"].startswith(f"{run}-")]
    return any(pod.get("status", {}).get("phase") == "Running" for pod in pods)


def succeeded(status: Obj) -> tuple[str, str, str]:
    [row] = [row for row in status["conditions"] if row["type"] == "Succeeded"]
    return row["status"], row["reason"], row["message"]


FAULTS: dict[str, Sequence[Fault]] = {
    "nothing": (),
    "the status is not taken": several("apply", "runs", 500, 500, Kind.RESET),
    "a stop breaks off": several("patch", "pods", Kind.RESET, 500, Kind.RESET_AFTER),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_a_run_that_cancels_what_is_in_progress_replaces_all_older_ones_of_its_group(
    bench: Bench, name: str, faults: Sequence[Fault]
) -> None:
    group = {"group": f"/test/{name}", "tasks": [task(LASTS)]}
    first = await running(bench, f"{name}-1", group)
    await bench.create(f"{name}-2", group)
    second = await reached(bench, f"{name}-2", "queued")
    bench.fake.faults.extend(faults)
    third = {"group": f"/test/{name}", "tasks": [task("a")], "concurrency": "cancelInProgress"}
    await bench.create(f"{name}-3", third)
    newest = (await reached(bench, f"{name}-3", "finished"))["id"]
    first, second = await reached(bench, f"{name}-1", "finished"), await reached(bench, f"{name}-2", "cancelled")
    assert succeeded(second) == ("False", "Replaced", f"replaced by run {newest}")
    assert first["result"] == "stopped"
    assert succeeded(first) == ("False", "Replaced", f"replaced by run {newest}; 1 task: 1 stopped")
    assert bench.status(f"{name}-3")["result"] == "success"
    assert bench.log(first["id"], LASTS, 1).startswith(OUTPUT)


async def test_a_run_that_replaces_the_queued_ones_waits_for_the_one_that_runs(bench: Bench, name: str) -> None:
    group = {"group": f"/test/{name}", "tasks": [task(LASTS)]}
    await running(bench, f"{name}-1", group)
    await bench.create(f"{name}-2", group)
    await reached(bench, f"{name}-2", "queued")
    await bench.create(f"{name}-3", {**group, "tasks": [task("a")], "concurrency": "replaceQueued"})
    await reached(bench, f"{name}-2", "cancelled")
    newest = await reached(bench, f"{name}-3", "queued")
    assert succeeded(bench.status(f"{name}-2"))[1:] == ("Replaced", f"replaced by run {newest['id']}")
    assert bench.status(f"{name}-1")["phase"] == "running"
    await bench.change(f"{name}-1", stop=True)
    assert (await reached(bench, f"{name}-3", "finished"))["result"] == "success"


async def test_a_suspended_run_replaces_the_others_when_it_is_let_go(bench: Bench, name: str) -> None:
    group = {"group": f"/test/{name}", "tasks": [task(LASTS)]}
    await running(bench, f"{name}-1", group)
    more = {"tasks": [task("a")], "concurrency": "cancelInProgress", "suspend": True}
    await bench.create(f"{name}-2", {**group, **more})
    await reached(bench, f"{name}-2", "queued")
    await killed(bench)
    await bench.create(f"{name}-after", {"tasks": []})
    await reached(bench, f"{name}-after", "finished")
    assert bench.status(f"{name}-1")["phase"] == "running"
    assert bench.status(f"{name}-1")["result"] == "unknown"
    await bench.change(f"{name}-2", suspend=False)
    assert (await reached(bench, f"{name}-2", "finished"))["result"] == "success"
    assert bench.status(f"{name}-1")["result"] == "stopped"


async def test_a_suspended_run_lets_others_pass_and_a_running_one_goes_on(bench: Bench, name: str) -> None:
    group = {"group": f"/test/{name}"}
    await bench.create(f"{name}-1", {**group, "tasks": [task(LASTS)], "suspend": True})
    await reached(bench, f"{name}-1", "queued")
    await bench.create(f"{name}-2", {**group, "tasks": [task("a")]})
    assert (await reached(bench, f"{name}-2", "finished"))["result"] == "success"
    assert bench.status(f"{name}-1")["phase"] == "queued"
    await bench.change(f"{name}-1", suspend=False)
    await until(lambda: bench.status(f"{name}-1").get("tasks", {}).get("running") == 1, seconds=SECONDS)
    await bench.change(f"{name}-1", suspend=True)
    await bench.create(f"{name}-3", {**group, "tasks": [task("a")]})
    assert succeeded(await reached(bench, f"{name}-3", "queued"))[1] == "QueuedBehind"
    assert bench.status(f"{name}-1")["phase"] == "running"
    await bench.change(f"{name}-1", stop=True)
    assert (await reached(bench, f"{name}-3", "finished"))["result"] == "success"


async def test_a_run_whose_time_is_up_is_ended_and_failed_and_its_handlers_do_not_start(
    bench: Bench, name: str
) -> None:
    tasks = [task(LASTS), task("after", depends=[{"task": LASTS, "conditions": ["on_failure"]}])]
    await running(bench, name, {"group": f"/test/{name}", "timeoutSeconds": 5, "tasks": tasks})
    status = await reached(bench, name, "finished")
    assert status["result"] == "failed"
    message = "took longer than its timeoutSeconds (5 s); 2 tasks: 1 stopped, 1 skipped"
    assert succeeded(status) == ("False", "Timeout", message)
    assert bench.log(status["id"], LASTS, 1).startswith(OUTPUT)


async def test_a_run_whose_time_is_up_while_nobody_works_is_ended_when_somebody_does(bench: Bench, name: str) -> None:
    await running(bench, name, {"group": f"/test/{name}", "timeoutSeconds": 5, "tasks": [task(LASTS)]})
    await killed(bench, until_time=time.time() + 5)
    status = await reached(bench, name, "finished")
    assert (status["result"], succeeded(status)[1]) == ("failed", "Timeout")


async def test_a_queued_run_has_all_of_its_time(bench: Bench, name: str) -> None:
    group = {"group": f"/test/{name}"}
    await running(bench, f"{name}-1", {**group, "timeoutSeconds": 5, "tasks": [task(LASTS)]})
    await bench.create(f"{name}-2", {**group, "timeoutSeconds": 5, "tasks": [task("a")]})
    assert (await reached(bench, f"{name}-2", "finished"))["result"] == "success"
    assert bench.status(f"{name}-1")["result"] == "failed"


async def test_a_stop_reaches_a_run_that_waits_for_whatever_it_is(bench: Bench, name: str) -> None:
    waits: dict[str, Obj] = {
        "suspended": {"suspend": True, "tasks": [task("a")]},
        "approval": {"tasks": [task("a", needsApproval=True)]},
        "executor": {"tasks": [task("a", arch="arm64")]},
    }
    for word, spec in waits.items():
        await bench.create(f"{name}-{word}", {"group": f"/test/{name}/{word}/x", **spec})
    for word in waits:
        await until(lambda word=word: waiting(bench.status(f"{name}-{word}")), seconds=SECONDS)  # type: ignore[misc]
    async with asyncio.TaskGroup() as group:
        for word in waits:
            group.create_task(bench.change(f"{name}-{word}", stop=True))
    assert (await reached(bench, f"{name}-suspended", "cancelled"))["result"] == "unknown"
    for word in ("approval", "executor"):
        status = await reached(bench, f"{name}-{word}", "finished")
        assert (status["result"], status["tasks"]["skipped"]) == ("stopped", 1), word


def waiting(status: Obj) -> bool:
    return any(row["type"] == "Waiting" and row["status"] == "True" for row in status.get("conditions", []))
