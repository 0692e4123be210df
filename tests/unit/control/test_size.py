"""A run that is too large for the store: found before, said with its size, and cut down to what can be stored."""

from typing import Any

import pytest

from fixtures.states import NOW, RUN, task_spec
from runabout.control.config import checked_config, refused_config, setup_errors
from runabout.control.ledger import Change, Ledger
from runabout.control.objects import run_object
from runabout.control.portions import portions
from runabout.control.size import MAX_RUN, stored_size
from runabout.datamanager import open_store
from runabout.engine.create import create_run
from runabout.etcd.memory import MemoryEtcd
from runabout.records import Counter, Phase, RunConfig
from runabout.records.encoding import encode
from runabout.resources import CheckedRun, check

NAMES = {"name": "n" * 253, "namespace": "s" * 63}


def body(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a Run's spec
    return {"apiVersion": "runabout.dev/v1alpha1", "kind": "Run", "metadata": {**NAMES}, "spec": spec}


def config(document: dict[str, Any]) -> RunConfig:
    document["metadata"]["uid"] = "u" * 36
    return checked_config(run_object(document), id=RUN, created=NOW)


def script(place: int, size: int) -> dict[str, Any]:
    return task_spec(f"t{place}", steps=[{"run": "x" * size}])


def scripts(number: int, size: int) -> list[dict[str, Any]]:
    return [script(place, size) for place in range(number)]


def filling(more: int) -> dict[str, Any]:
    """Return a run of just the bytes that can be stored, and some more."""
    sizes = [1] * 80
    missing = MAX_RUN + more - stored_size(config(body(tasks=[script(*each) for each in enumerate(sizes)])))
    each, rest = divmod(missing, len(sizes))
    return body(tasks=[script(place, 1 + each + (rest if place == 0 else 0)) for place in range(len(sizes))])


async def phase(found: RunConfig) -> Phase:
    """Store a new run, as the operator does; return its phase."""
    store = await open_store(MemoryEtcd())
    decision = create_run(found, counter=1, now=NOW)
    tasks, run = tuple(decision.state.tasks.values()), decision.state.run
    for portion in portions(Change(run, tasks, decision.events, found, Counter(found.group, 1)), before=run):
        await Ledger(store).commit(portion)
    await store.close()
    return run.phase


MATRIX = {"A": [f"a{value}" for value in range(100)], "B": [f"b{value}" for value in range(99)]}
LARGE: dict[str, dict[str, Any]] = {
    "scripts": {"tasks": scripts(95, 14_000)},
    "pieces of pods": {"pod": {"affinity": {"nodeAffinity": {"x": "x" * 1_100_000}}}},
    "an environment": {"environment": [{"name": f"E{number}", "value": "\x01" * 1000} for number in range(250)]},
    "many tasks": {"tasks": scripts(1000, 1000)},
}


@pytest.mark.looptime
@pytest.mark.parametrize("spec", LARGE.values(), ids=LARGE)
async def test_a_run_that_is_too_large_is_a_setup_error_with_its_size_and_can_be_stored(spec: dict[str, Any]) -> None:
    found = config(body(**spec))
    [error] = [text for text in found.setup_errors if text.startswith("spec: the run takes ")]
    assert f"at most {MAX_RUN} can be stored" in error
    assert [task.name for task in found.tasks] == [task["name"] for task in spec.get("tasks", [])]
    assert await phase(found) is Phase.SETUPERROR


@pytest.mark.looptime
async def test_a_matrix_is_stored_once_and_not_for_each_variant() -> None:
    long = task_spec("m", matrix=MATRIX, steps=[{"run": "x" * 15_000}] * 30)
    found = config(body(tasks=[long, task_spec("after", depends=[{"task": "m"}])]))
    assert (found.setup_errors, len(found.tasks)) == ((), 9901)
    assert stored_size(found) < 470_000
    assert await phase(found) is Phase.QUEUED


@pytest.mark.looptime
async def test_whatever_else_is_wrong_with_a_run_that_is_too_large_is_said_too() -> None:
    messages = [f"{number} {'x' * 4000}" for number in range(300)]
    tasks = [*scripts(95, 14_000), task_spec("z", depends=[{"task": "none"}])]
    found = config(body(setupErrors=messages, tasks=tasks))
    assert found.setup_errors[:100] == tuple(messages[:100])
    assert await phase(found) is Phase.SETUPERROR


@pytest.mark.looptime
async def test_a_run_that_just_fits_is_stored_and_one_byte_more_is_too_much() -> None:
    assert await phase(config(filling(0))) is Phase.QUEUED
    assert await phase(config(filling(1))) is Phase.SETUPERROR


@pytest.mark.parametrize("more", [0, 1])
def test_check_finds_the_same_although_it_does_not_know_what_the_api_server_names(more: int) -> None:
    document = filling(more)
    checked = check({**document, "metadata": {"generateName": "web-"}})
    assert isinstance(checked, CheckedRun)
    assert setup_errors(checked) == config(document).setup_errors
    assert len(setup_errors(checked)) == more


def test_of_what_the_store_refused_all_the_same_names_and_errors_are_left() -> None:
    document = body(tasks=scripts(9, 9), environment=[{"name": "E", "value": "1"}])
    document["metadata"]["annotations"] = {"link": "\x01" * 100_000}
    found = refused_config(config(document), "spec: it does not fit")
    assert found.setup_errors == ("spec: it does not fit",)
    assert (found.name, found.group) == (NAMES["name"], f"/{NAMES['namespace']}/run/{NAMES['name']}")
    assert len(encode(found)) < 2000
