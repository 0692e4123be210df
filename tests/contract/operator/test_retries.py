"""Tasks that fail and are tried again, with the operator killed in between, and the API server failing: all of it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.fake_kube import Fault, Kind
from lab.kube_suite import until
from lab.played import CONFLICT, EXPIRED, OUTPUT, Bench, Obj, played, several, task
from runabout.executors.names import parse_labels

pytestmark = pytest.mark.timeout(300)

SECONDS = 120
PAUSE = 5
"""Seconds before the second attempt; twice that before the third."""


def attempts(bench: Bench, name: str) -> list[int]:
    """Return the attempts of a task whose pods there are."""
    keys = [parse_labels(pod["metadata"]["labels"]) for pod in bench.fake.items("pods")]
    return sorted(key.attempt for key in keys if key is not None and key.task == name)


def notable(bench: Bench) -> Obj:
    """Return what the run's status says of the first task that is worth a note, nothing if there is none."""
    rows: list[Obj] = bench.status("run").get("notable") or [{}]
    return rows[0]


def waiting(bench: Bench) -> str:
    """Return the reason with which the run's first notable task waits."""
    return str(notable(bench).get("reason", ""))


async def test_an_operator_killed_during_each_pause_makes_the_attempts_that_are_due_and_no_other(
    tmp_path: Path,
) -> None:
    async with played(tmp_path, exit_codes={"flaky": [7, 7]}) as bench:
        retries = {"limit": 2, "backoffSeconds": PAUSE}
        await bench.create("run", {"tasks": [task("flaky", retries=retries), task("after", "flaky")]})
        for number in (1, 2):
            # The status is a little behind: it may speak of the attempt before when the pod of this one is there.
            await until(
                lambda number=number: (
                    attempts(bench, "flaky")[-1:] == [number]  # type: ignore[misc] # the loop's own
                    and notable(bench).get("reason") == "BackOff"
                    and str(notable(bench)["message"]).startswith(f"attempt {number + 1} of 3 starts at ")
                ),
                seconds=SECONDS,
            )
            assert notable(bench)["status"] == "running"
            await asyncio.to_thread(bench.operator.kill)
            await asyncio.to_thread(bench.operator.start)
            assert attempts(bench, "after") == []
        await until(lambda: bench.status("run").get("phase") == "finished", seconds=SECONDS)
        status = bench.status("run")
        assert (status["result"], status["tasks"]["success"]) == ("success", 2), status
        assert (attempts(bench, "flaky"), attempts(bench, "after")) == ([1, 2, 3], [1])
        assert set(bench.fake.created.values()) == {1}
        assert [bench.log(status["id"], "flaky", number) for number in (1, 2, 3)] == [OUTPUT] * 3


async def test_a_stop_during_a_pause_ends_the_task_at_once_also_after_a_kill(tmp_path: Path) -> None:
    async with played(tmp_path, exit_codes={"flaky": [7, 7]}) as bench:
        await bench.create("run", {"tasks": [task("flaky", retries={"limit": 5, "backoffSeconds": 3600})]})
        await until(lambda: waiting(bench) == "BackOff", seconds=SECONDS)
        await asyncio.to_thread(bench.operator.kill)
        await bench.change("run", stop=True)
        await asyncio.to_thread(bench.operator.start)
        await until(lambda: bench.status("run").get("phase") == "finished", seconds=SECONDS)
        status = bench.status("run")
        assert (status["result"], status["tasks"]["stopped"], attempts(bench, "flaky")) == ("stopped", 1, [1]), status
        assert bench.log(status["id"], "flaky", 1) == OUTPUT


async def test_a_task_that_pauses_leaves_its_place_to_others(tmp_path: Path) -> None:
    async with played(tmp_path, exit_codes={"flaky": [7]}, executor={"maxActiveTasks": 1}) as bench:
        await bench.create("run", {"tasks": [task("flaky", retries={"limit": 1, "backoffSeconds": 3600})]})
        await until(lambda: waiting(bench) == "BackOff", seconds=SECONDS)
        await bench.create("other", {"tasks": [task("b")]})
        await until(lambda: bench.status("other").get("result") == "success", seconds=SECONDS)
        assert bench.status("run")["phase"] == "running"


async def test_tasks_without_retries_have_the_runs_and_so_have_the_runs_restarts(tmp_path: Path) -> None:
    codes = {"flaky": [7], "own": [7], "v-a": [7], "v-b": [7, 7, 7]}
    tasks = [
        task("flaky"),
        task("own", retries={"limit": 0}, ignoreFailure=True),
        task("v", matrix={"X": ["a", "b"]}),
    ]
    async with played(tmp_path, exit_codes=codes) as bench:
        await bench.create("run", {"tasks": tasks, "retries": {"limit": 1, "onExitCodes": [7]}})
        await until(lambda: bench.status("run").get("phase") == "finished", seconds=SECONDS)
        assert {name: attempts(bench, name) for name in codes} == {
            "flaky": [1, 2],
            "own": [1],
            "v-a": [1, 2],
            "v-b": [1, 2],
        }
        assert bench.status("run")["result"] == "failed"
        before = len(bench.fake.created)
        await bench.create("again", {"restartFrom": {"run": "run", "from": "failed"}})
        await until(lambda: bench.status("again").get("phase") == "finished", seconds=SECONDS)
        assert len(bench.fake.created) - before == 3, "one more of own, two of v-b"
        assert set(bench.fake.created.values()) == {1}


FAULTS: dict[str, Sequence[Fault]] = {
    "the pod's creation fails": several("create", "pods", 500, CONFLICT, Kind.RESET_AFTER),
    "the watch of pods breaks": several("watch", "pods", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE),
    "the status is not taken": several("apply", "runs", *[500] * 6, CONFLICT, Kind.RESET),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_each_attempt_is_made_once_whatever_the_api_server_does(tmp_path: Path, faults: Sequence[Fault]) -> None:
    async with played(tmp_path, exit_codes={"flaky": [7, 8, 9]}) as bench:
        retries = {"limit": 9, "backoffSeconds": 1, "onExitCodes": [7, 8]}
        await bench.create("run", {"tasks": [task("flaky", retries=retries)]})
        await until(lambda: waiting(bench) == "BackOff", seconds=SECONDS)
        bench.fake.faults.extend(faults)
        bench.fake.cut({fault.plural for fault in faults if fault.verb == "watch"})
        await until(lambda: bench.status("run").get("phase") == "finished", seconds=SECONDS)
        status = bench.status("run")
        assert (status["result"], attempts(bench, "flaky")) == ("failed", [1, 2, 3]), status
        assert status["notable"][0]["message"].endswith("(attempt 3, the last one)")
        assert set(bench.fake.created.values()) == {1}
