"""Tasks with a matrix on a played cluster, few and very many: the whole operator."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from lab.kube_suite import until
from lab.played import Obj, played, task
from runabout.executors.names import parse_labels

pytestmark = pytest.mark.timeout(600)

SECONDS = 200
MANY = {"A": [f"a{value}" for value in range(100)], "B": [f"b{value}" for value in range(99)]}


def variables(pod: Obj) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in pod["spec"]["containers"][0]["env"]}


async def test_two_by_two_variants_run_with_their_values_and_join_after_a_kill(tmp_path: Path) -> None:
    matrix = {"GO": ["1.25", "1.26"], "ARCH": ["x86", "arm"]}
    async with played(tmp_path, exit_codes={"test-x86-1-26": 1}) as bench:
        tasks = [
            task("test", matrix=matrix, ignoreFailure=True),
            task("all", "test"),
            task("one", "test-arm-1-25"),
            task("fix", depends=[{"task": "test-x86-1-26", "conditions": ["on_failure"]}]),
        ]
        await bench.create("run", {"tasks": tasks})
        await until(lambda: bool(bench.fake.items("pods")), seconds=SECONDS)
        await asyncio.to_thread(bench.operator.kill)
        await asyncio.to_thread(bench.operator.start)
        await until(lambda: bench.status("run").get("phase") == "finished", seconds=SECONDS)
        counts = bench.status("run")["tasks"]
        assert (counts["total"], counts["success"], counts["failed"], counts["skipped"]) == (7, 5, 1, 1)
        found = {}
        for pod in bench.fake.items("pods"):
            key = parse_labels(pod["metadata"]["labels"])
            assert key is not None
            found[key.task] = tuple(variables(pod).get(name) for name in ("GO", "ARCH"))
        assert found == {
            "test-x86-1-25": ("1.25", "x86"),
            "test-x86-1-26": ("1.26", "x86"),
            "test-arm-1-25": ("1.25", "arm"),
            "test-arm-1-26": ("1.26", "arm"),
            "one": (None, None),
            "fix": (None, None),
        }


async def test_a_run_of_ten_thousand_tasks_is_created_runs_and_is_stopped_in_small_objects(tmp_path: Path) -> None:
    """The rest of them wait for a place, and say so; a stop skips them in one decision."""
    async with played(tmp_path, executor={"maxActiveTasks": 5}) as bench:
        tasks = [task("wide", matrix=MANY), *(task(f"after{number}", "wide") for number in range(9))]
        await bench.create("run", {"tasks": tasks})
        await until(lambda: bench.status("run").get("tasks", {}).get("success", 0) >= 10, seconds=SECONDS)
        assert bench.status("run")["tasks"]["total"] == 9909
        await asyncio.to_thread(bench.operator.kill)
        await bench.change("run", stop=True)
        await asyncio.to_thread(bench.operator.start)
        await until(lambda: bench.status("run").get("phase") == "finished", seconds=SECONDS)
        status = bench.status("run")
        counts = status["tasks"]
        assert status["result"] == "stopped"
        assert counts["skipped"] + counts["stopped"] + counts["success"] == 9909, counts
        assert len(json.dumps(status)) < 16 * 1024
        assert max(len(json.dumps(pod)) for pod in bench.fake.items("pods")) < 64 * 1024
        again = Counter(pod["metadata"]["name"] for pod in bench.fake.items("pods"))
        assert max(again.values()) == 1
