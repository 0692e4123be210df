"""What those who operate it see of the whole operator: its lines, its probes, its metrics."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fixtures.fake_kube import Fault, Kind
from lab.kube_suite import until
from lab.played import Bench, Obj, played, task

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SECONDS = 120


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with played(tmp_path_factory.mktemp("operator"), exit_codes={"b": 3}) as made:
        yield made


def lines(path: Path) -> list[Obj]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_line_about_a_run_or_a_task_names_it_in_the_same_fields(bench: Bench) -> None:
    bench.fake.faults.extend([Fault("create", "pods", code=403, reason="Forbidden")] * 2)
    bench.fake.faults.extend([Fault("get", "pods", Kind.RESET)] * 2)
    bench.fake.faults.extend([Fault("apply", "runs", code=500)] * 5)
    spec = {"tasks": [task("a"), task("b"), task("c", depends=[{"task": "b", "conditions": ["on_failure"]}])]}
    await bench.create("lines", spec)
    await until(lambda: bench.status("lines").get("phase") == "finished", seconds=SECONDS)
    run = bench.status("lines")["id"]
    found = lines(bench.operator.log)
    assert all({"event", "level", "timestamp"} <= line.keys() for line in found)
    about = [line for line in found if run in json.dumps(line)]
    assert [line for line in about if line.get("run") != run] == []
    of_tasks = [line for line in about if f"{run}-" in json.dumps(line) or "task" in line["event"]]
    assert {line.get("task") for line in of_tasks} == {"a", "b", "c"}, of_tasks
    changes = [(line["task"], line["status"]) for line in about if line["event"] == "task changed"]
    assert sorted(changes) == [
        ("a", "running"),
        ("a", "success"),
        ("b", "failed"),
        ("b", "running"),
        ("c", "running"),
        ("c", "success"),
    ]
    events = [(line["phase"], line["result"]) for line in about if line["event"] == "run changed"]
    assert events == [("queued", "unknown"), ("running", "unknown"), ("running", "failed"), ("finished", "failed")]


async def test_a_run_is_counted_when_it_ends_however_it_ends(bench: Bench) -> None:
    before = await bench.metrics()
    specs: dict[str, Obj] = {
        "success": {"tasks": [task("a")]},
        "failed": {"tasks": [task("b")]},
        "setuperror": {"tasks": [task("a", depends=[{"task": "a"}])]},
        "cancelled": {"tasks": [task("a")], "suspend": True, "stop": True},
        "stopped": {"tasks": [task("a", arch="s390x")], "stop": False},
    }
    for name, spec in specs.items():
        await bench.create(name, spec)
    await until(lambda: bench.status("stopped").get("phase") == "running", seconds=SECONDS)
    stopped = bench.run("stopped")
    stopped["spec"]["stop"] = True
    stopped["metadata"]["generation"] += 1
    await bench.fake.put("runs", stopped)
    ends = ("finished", "setuperror", "cancelled")
    await until(lambda: all(bench.status(name).get("phase") in ends for name in specs), seconds=SECONDS)
    after = await bench.metrics()
    for phase, result in (
        ("finished", "success"),
        ("finished", "failed"),
        ("finished", "stopped"),
        ("setuperror", "unknown"),
        ("cancelled", "unknown"),
    ):
        name = f'runabout_runs_ended_total{{phase="{phase}",result="{result}"}}'
        assert after[name] - before.get(name, 0) == 1, name


async def test_an_etcd_that_does_not_answer_is_said_by_the_probe_and_nothing_is_lost(bench: Bench) -> None:
    assert await bench.ready() == "ok\n"
    bench.etcd.pause()
    try:
        await bench.create("meanwhile", {"tasks": [task("a")]})
        said = ""
        while "etcd" not in said:
            said = await bench.ready()
        assert "has not answered for" in said
    finally:
        bench.etcd.resume()
    await until(lambda: bench.status("meanwhile").get("result") == "success", seconds=SECONDS)
    assert await bench.ready() == "ok\n"


async def test_an_object_storage_that_takes_no_writes_is_said_and_counted_and_no_reason_to_restart(
    bench: Bench,
) -> None:
    objects, away = bench.folder / "ost" / "objects", bench.folder / "ost" / "away"
    objects.rename(away)
    try:
        await bench.create("unstored", {"tasks": [task("a")]})
        said = ""
        async with asyncio.timeout(SECONDS):
            while "the object storage has taken no write for" not in said:
                said = await bench.ready()
        assert said.startswith("ok\n"), "it has just begun, and no run waits for it"
        assert "writing 'logs/" in said
        assert (await bench.metrics())['runabout_ost_errors_total{error="UnavailableError",operation="write"}'] > 0
    finally:
        away.rename(objects)
    async with asyncio.timeout(SECONDS):
        while await bench.ready() != "ok\n":  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.1)


async def test_the_data_layer_is_counted(bench: Bench) -> None:
    before = await bench.metrics()
    await bench.create("counted", {"tasks": [task("a")]})
    await until(lambda: bench.status("counted").get("result") == "success", seconds=SECONDS)
    after = await bench.metrics()
    for name in (
        "runabout_store_transactions_total",
        "runabout_store_bytes_total",
        "runabout_store_batch_seconds_count",
        'runabout_ost_requests_total{kind="logs",operation="write"}',
        'runabout_ost_seconds_count{operation="write"}',
    ):
        assert after[name] > before.get(name, 0), name
    assert after["runabout_etcd_quota_bytes"] == 2 * 1024**3
    assert 0 < after["runabout_etcd_used_bytes"] <= after["runabout_etcd_bytes"]
    assert after["runabout_store_read_only"] == 0


async def test_a_deleted_run_is_let_go_at_its_deadline_while_etcd_is_away(tmp_path: Path) -> None:
    environment = {"RUNABOUT_FINALIZER_DEADLINE_SECONDS": "3"}
    async with played(tmp_path, environment=environment) as bench:
        await bench.create("held", {"tasks": [task("a", arch="s390x")]})
        await until(lambda: bool(bench.run("held")["metadata"].get("finalizers")), seconds=SECONDS)
        bench.etcd.pause()
        try:
            await bench.delete("held")
            await until(lambda: not bench.fake.items("runs"), seconds=SECONDS)
            assert (await bench.metrics())["runabout_finalizers_forced_total"] == 1
        finally:
            bench.etcd.resume()
