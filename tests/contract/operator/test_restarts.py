"""A run that failed, restarted: what succeeded is executed no more, its output is the old one. The whole operator."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from lab.kube_suite import until
from lab.played import OUTPUT, Bench, Obj, played, task
from runabout.__main__ import app
from runabout.executors.names import parse_labels

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SECONDS = 120
BREAKS = "breaks"
CODES: dict[str, int | None] = {BREAKS: 1}
"""How tasks end now."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with played(tmp_path_factory.mktemp("operator"), exit_codes=CODES) as made:
        yield made


async def ended(bench: Bench, name: str) -> Obj:
    """Return a run's status at its end."""
    over = ("finished", "cancelled", "setuperror")
    await until(lambda: bench.status(name).get("phase") in over, seconds=SECONDS)
    return bench.status(name)


async def failed(bench: Bench, name: str, **more: object) -> Obj:
    """Return the status of a run of three tasks, one after the other, whose second one has failed."""
    CODES[BREAKS] = 1
    tasks = [task("build"), task(BREAKS, "build"), task("after", BREAKS)]
    await bench.create(name, {"group": f"/test/{name}", "tasks": tasks, **more})
    status = await ended(bench, name)
    assert status["result"] == "failed"
    CODES[BREAKS] = 0
    return status


def executed(bench: Bench, run: str) -> set[str]:
    """Return the tasks of which a run has made pods."""
    keys = [parse_labels(pod["metadata"]["labels"]) for pod in bench.fake.items("pods")]
    return {key.task for key in keys if key is not None and key.run == run}


async def logs(bench: Bench, *words: str) -> Result:
    environment = {
        "RUNABOUT_ETCD_ENDPOINTS": bench.etcd.endpoint,
        "RUNABOUT_OST": f"file://{bench.folder / 'ost'}",
    }
    return await asyncio.to_thread(CliRunner().invoke, app, ["logs", *words], env=environment)


async def test_from_failed_executes_what_did_not_succeed_and_shows_the_old_output_of_the_rest(
    bench: Bench, name: str
) -> None:
    old = await failed(bench, name)
    await bench.create(f"{name}-again", {"restartFrom": {"run": name, "from": "failed"}})
    new = await ended(bench, f"{name}-again")
    assert (new["result"], new["tasks"]["success"], new["counter"]) == ("success", 3, old["counter"] + 1)
    assert executed(bench, new["id"]) == {BREAKS, "after"}
    shown = await logs(bench, new["id"], "--task", "build")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith(f"== task build, attempt 1, of run {old['id']}\n")
    assert shown.stdout.endswith(OUTPUT.decode())
    assert bench.status(name) == old


async def test_from_start_executes_everything_also_of_a_run_that_is_gone(bench: Bench, name: str) -> None:
    await failed(bench, name, ttlSecondsAfterFinished=2)
    await until(lambda: name not in {item["metadata"]["name"] for item in bench.fake.items("runs")}, seconds=SECONDS)
    await bench.create(f"{name}-again", {"restartFrom": {"run": name, "from": "start"}})
    new = await ended(bench, f"{name}-again")
    assert (new["result"], executed(bench, new["id"])) == ("success", {"build", BREAKS, "after"})


async def test_a_restart_whose_operator_is_killed_goes_on_and_executes_nothing_twice(bench: Bench, name: str) -> None:
    await failed(bench, name)
    CODES["after"] = None
    await bench.create(f"{name}-again", {"restartFrom": {"run": name, "from": "failed"}})
    await until(lambda: bench.status(f"{name}-again").get("tasks", {}).get("success") == 2, seconds=SECONDS)
    await asyncio.to_thread(bench.operator.kill)
    await asyncio.to_thread(bench.operator.start)
    CODES["after"] = 0
    new = await ended(bench, f"{name}-again")
    assert (new["result"], executed(bench, new["id"])) == ("success", {BREAKS, "after"})
    assert set(bench.fake.created.values()) <= {1}


async def test_a_restart_that_is_not_legal_says_so_in_its_status(bench: Bench, name: str) -> None:
    await bench.create(name, {"restartFrom": {"run": "nowhere", "from": "failed"}})
    status = await ended(bench, name)
    assert status["phase"] == "setuperror"
    assert status["setupErrors"]["first"] == ['spec.restartFrom.run: unknown run "nowhere" in namespace ci']
