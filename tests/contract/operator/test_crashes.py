"""The operator killed at any moment, on a played cluster: what is counted here, the operator never sees."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fixtures.fake_kube import FakeKube, Fault, Kind
from lab.kube_suite import until
from lab.played import OUTPUT, Obj, played, task
from runabout.executors.names import PodKey, parse_labels
from runabout.handlers.process import EXIT_STORE

pytestmark = pytest.mark.timeout(600)

SLOTS = 3
RUNS = 8
KILLS = 4
SECONDS = 200


def key_of(pod: Obj) -> PodKey:
    key = parse_labels(pod["metadata"]["labels"])
    assert key is not None
    return key


def active(fake: FakeKube) -> list[PodKey]:
    """Return the attempts whose pods are on the cluster and not over."""
    return [
        key_of(pod) for pod in fake.items("pods") if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    ]


@asynccontextmanager
async def counting(fake: FakeKube, counts: Counter[int]) -> AsyncIterator[None]:
    """Count how often how many pods were active, looking after each turn of the event loop in which one may come."""

    async def look() -> None:
        while True:
            counts[len(active(fake))] += 1
            await asyncio.sleep(0.005)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_there_are_never_more_tasks_on_an_executor_than_it_may_have_whatever_crashes(tmp_path: Path) -> None:
    seed = int(os.environ.get("RUNABOUT_SEED", str(time.time_ns() % 1_000_000)))
    print(f"RUNABOUT_SEED={seed}")  # noqa: T201 - shown when the test fails
    dice = random.Random(seed)
    counts: Counter[int] = Counter()
    kills_at_work = 0
    slots = {"maxActiveTasks": SLOTS}
    async with played(tmp_path, executor=slots, turn_seconds=0.15) as bench, counting(bench.fake, counts):
        names = [f"run-{number}" for number in range(RUNS)]
        tasks = [task("a"), task("b"), task("c", "a"), task("d", "b", "c")]
        for name in names:
            await bench.create(name, {"group": f"/test/{name}", "tasks": tasks})
        for number in range(KILLS):
            if number == 0:
                await until(lambda: bool(active(bench.fake)), seconds=SECONDS)
            else:
                await asyncio.sleep(dice.uniform(0.0, 0.8))  # the random moment is the point
            kills_at_work += bool(active(bench.fake))
            await asyncio.to_thread(bench.operator.kill)
            await asyncio.to_thread(bench.operator.start)
        assert kills_at_work
        await until(lambda: all(bench.status(name).get("phase") == "finished" for name in names), seconds=SECONDS)
        assert {bench.status(name)["result"] for name in names} == {"success"}
        assert set(bench.fake.created.values()) == {1}
        attempts = Counter((key.run, key.task) for key in map(key_of, bench.fake.items("pods")))
        assert len(attempts) == RUNS * len(tasks)
        for key in map(key_of, bench.fake.items("pods")):
            assert bench.log(key.run, key.task, key.attempt) == OUTPUT
    assert max(counts) == SLOTS


async def test_a_pod_whose_creation_is_carried_out_after_its_process_was_killed_is_removed(tmp_path: Path) -> None:
    async with played(tmp_path) as bench:
        bench.fake.faults.append(Fault("create", "pods", Kind.LATE))
        await bench.create("late", {"tasks": [task("a"), {**task("b", "a"), "needsApproval": True}]})
        await until(lambda: not bench.fake.faults, seconds=SECONDS)
        await asyncio.to_thread(bench.operator.kill)
        await asyncio.to_thread(bench.operator.start)
        await until(lambda: bench.status("late").get("tasks", {}).get("success") == 1, seconds=SECONDS)
        [key] = map(key_of, bench.fake.items("pods"))
        assert key.attempt == 2
        bench.fake.carry_out.set()
        await until(lambda: len(bench.fake.created) == 2, seconds=SECONDS)
        await until(lambda: [key_of(pod).attempt for pod in bench.fake.items("pods")] == [2], seconds=SECONDS)
        assert (await bench.metrics())["runabout_strays_removed_total"] == 1


@pytest.mark.parametrize("what", ["etcd answers nothing", "the API server answers nothing", "nothing is wrong"])
async def test_the_operator_ends_within_five_seconds_whatever_it_waits_for(tmp_path: Path, what: str) -> None:
    async with played(tmp_path, environment={"RUNABOUT_LEASE": "true", "RUNABOUT_NAMESPACE": "ci"}) as bench:
        if what == "etcd answers nothing":
            bench.etcd.pause()
        elif what == "the API server answers nothing":
            requests = [("create", "pods"), ("apply", "runs"), ("patch", "runs"), ("get", "leases")]
            bench.fake.faults.extend(Fault(*request, Kind.HANG) for request in requests * 20)
        for number in range(5):
            await bench.create(f"run-{number}", {"tasks": [task("a"), task("b", "a")]})
        await bench.reached("runabout_reconciles_total", 5)
        try:
            assert await asyncio.to_thread(bench.operator.terminate) < 5
        finally:
            bench.etcd.resume()


async def test_after_a_commit_of_unknown_outcome_the_process_ends_and_the_next_one_goes_on(tmp_path: Path) -> None:
    async with played(tmp_path, environment={"RUNABOUT_STORE_DEADLINE_SECONDS": "5"}) as bench:
        bench.etcd.pause()
        try:
            await bench.create("unknown", {"tasks": [task("a"), task("b", "a")]})
            code = await asyncio.to_thread(bench.operator.ended, timeout=SECONDS)
        finally:
            bench.etcd.resume()
        assert code == EXIT_STORE
        await asyncio.to_thread(bench.operator.start)
        await until(lambda: bench.status("unknown").get("result") == "success", seconds=SECONDS)
        assert set(bench.fake.created.values()) == {1}
        assert sorted(key_of(pod).task for pod in bench.fake.items("pods")) == ["a", "b"]


async def test_news_that_no_commit_can_take_at_once_is_taken_in_parts(tmp_path: Path) -> None:
    """All pods of a wide run were evicted while nobody worked, with as many words as there can be."""
    number = 300
    async with played(tmp_path, turn_seconds=3600) as bench:
        await bench.create("wide", {"tasks": [task(f"t{place}") for place in range(number)]})
        await until(lambda: len(active(bench.fake)) == number, seconds=SECONDS)
        await asyncio.to_thread(bench.operator.kill)
        for pod in bench.fake.items("pods"):
            pod["status"] = {"phase": "Failed", "reason": "Evicted", "message": "\N{SNAIL}" * 2000}
            await bench.fake.put("pods", pod)
        await asyncio.to_thread(bench.operator.start)
        await until(lambda: {key.attempt for key in active(bench.fake)} == {2}, seconds=SECONDS)
        await until(lambda: len(active(bench.fake)) == number, seconds=SECONDS)
        log = bench.operator.log.read_text()
        assert "TooLarge" not in log
