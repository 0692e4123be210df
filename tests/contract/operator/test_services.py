"""Tasks with services, through the whole operator: how they end, and what is stored of them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lab.kube_suite import until
from lab.played import LAST_WORDS, OUTPUT, Bench, Obj, played

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SECONDS = 120
LASTS, DIES = "lasts", "dies"
"""Tasks whose steps run until they are ended; the service of the second one dies."""


def task(name: str, **more: object) -> Obj:
    containers = [{"image": "x"}, {"name": "db", "image": "y"}]
    return {"name": name, "containers": containers, "steps": [{"run": "true"}], **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    folder = tmp_path_factory.mktemp("operator")
    async with played(folder, exit_codes={LASTS: None, DIES: None}, dying={DIES}) as made:
        yield made


async def ended(bench: Bench, name: str) -> Obj:
    await until(lambda: bench.status(name).get("phase") == "finished", seconds=SECONDS)
    return bench.status(name)


async def test_a_run_is_finished_when_the_logs_of_its_services_are_stored_too(bench: Bench) -> None:
    await bench.create("good", {"tasks": [task("test")]})
    status = await ended(bench, "good")
    assert status["result"] == "success"
    assert bench.log(status["id"], "test", 1) == OUTPUT
    assert OUTPUT in bench.log(status["id"], "test", 1, "service-db")


async def test_a_service_that_dies_fails_its_task_and_the_handler_of_that_runs(bench: Bench) -> None:
    handler = task("notify", depends=[{"task": DIES, "conditions": ["on_failure"]}])
    await bench.create("bad", {"tasks": [task(DIES), handler]})
    status = await ended(bench, "bad")
    assert (status["result"], status["tasks"]["failed"], status["tasks"]["success"]) == ("failed", 1, 1)
    [row] = status["notable"]
    assert (row["task"], row["reason"]) == (DIES, "ServiceFailed")
    assert row["message"] == (
        f"service db ended with exit code 3 while steps were running; its last lines: {LAST_WORDS}"
    )
    assert bench.log(status["id"], DIES, 1).startswith(OUTPUT)


async def test_a_stop_ends_a_task_with_services(bench: Bench) -> None:
    await bench.create("stopped", {"tasks": [task(LASTS)]})
    await until(lambda: bench.status("stopped").get("tasks", {}).get("running") == 1, seconds=SECONDS)
    await bench.change("stopped", stop=True)
    status = await ended(bench, "stopped")
    assert (status["result"], status["tasks"]["stopped"]) == ("stopped", 1)
