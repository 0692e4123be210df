"""Everything that a run can ask for, at once, while each call that it takes fails before or after its effect.

A task that is tried again, a run whose time is up, approvals by number and group, a run that takes the place of
another, a restart. Each ends as the engine says, and no pod is created twice.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from fixtures.fake_kube import Fault, Kind
from lab.kube_suite import until
from lab.played import CONFLICT, EXPIRED, OUTPUT, PATIENCE, Bench, Obj, played, several, task
from runabout.executors.names import PodKey, parse_labels

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SECONDS = 120
LASTS, FLAKY, BREAKS = "lasts", "flaky", "breaks"
EXIT_CODES: dict[str, int | Sequence[int | None] | None] = {LASTS: None, FLAKY: [7], BREAKS: 1}
OLD = "old"
"""A run that has failed, which is restarted again and again."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with played(tmp_path_factory.mktemp("operator"), exit_codes=EXIT_CODES) as made:
        handler = task("handler", depends=[{"task": BREAKS, "conditions": ["on_failure"]}])
        await made.create(OLD, {"group": "/test/old", "tasks": [task("build"), task(BREAKS, "build"), handler]})
        await until(lambda: made.status(OLD).get("phase") == "finished", seconds=SECONDS)
        yield made


def fails(verb: str, plural: str) -> dict[str, Sequence[Fault]]:
    """Return the ways in which a request that changes something can fail."""
    what = f"{verb} {plural}"
    return {
        f"{what} is refused": several(verb, plural, 500, CONFLICT, PATIENCE, 503),
        f"{what} breaks off before it": several(verb, plural, Kind.RESET, Kind.RESET),
        f"{what} breaks off after it": several(verb, plural, Kind.RESET_AFTER, Kind.RESET_AFTER),
        f"{what} fails after it": several(verb, plural, Kind.ANSWER_AFTER),
    }


FAULTS: dict[str, Sequence[Fault]] = {
    "nothing": (),
    **fails("create", "pods"),
    **fails("patch", "pods"),
    **fails("apply", "runs"),
    **fails("patch", "runs"),
    "the watch of pods breaks": several("watch", "pods", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE),
    "the watch of Runs breaks": several("watch", "runs", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE),
    "logs cannot be had": several("get", "pods", 500, Kind.RESET, 503),
}
APPROVERS = {"min": 2, "users": ["anna"], "groups": ["release"]}
STRANGER, ANNA, BOB = (
    {"task": "release", "by": "eve", "groups": ["qa"]},
    {"task": "release", "by": "anna"},
    {"task": "release", "by": "bob", "groups": ["release"]},
)


def specs(name: str) -> dict[str, Obj]:
    """Return the Runs of one round."""
    return {
        f"{name}-again": {"tasks": [task(FLAKY, retries={"limit": 1, "backoffSeconds": 1}), task("after", FLAKY)]},
        f"{name}-late": {"tasks": [task(LASTS), task("after", LASTS)], "timeoutSeconds": 2},
        f"{name}-approved": {
            "tasks": [task("release", needsApproval=True, approvers=APPROVERS)],
            "approvals": [STRANGER, ANNA],
        },
        f"{name}-first": {"group": f"/test/{name}", "tasks": [task(LASTS)]},
        f"{name}-restart": {"restartFrom": {"run": OLD, "from": "failed"}},
    }


EXPECTED = {
    "again": ("success", "", {FLAKY, "after"}),
    "late": ("failed", "Timeout", {LASTS}),
    "approved": ("success", "", {"release"}),
    "first": ("stopped", "Replaced", {LASTS}),
    "second": ("success", "", {"a"}),
    "restart": ("failed", "", {BREAKS, "handler"}),
}
"""Result, the reason that the status gives, and the tasks that are executed."""


def keys(bench: Bench, run: str) -> list[PodKey]:
    """Return the attempts of a run that have pods."""
    found = [parse_labels(pod["metadata"]["labels"]) for pod in bench.fake.items("pods")]
    return [key for key in found if key is not None and key.run == run]


def executed(bench: Bench, run: str) -> set[str]:
    """Return the tasks of which a run has made pods, also those that are gone: a stop deletes what has not begun."""
    names = [name for plural, name in bench.fake.created if plural == "pods" and name.startswith(f"{run}-")]
    return {name.removeprefix(f"{run}-").rpartition("-")[0] for name in names}


async def go_on(bench: Bench, name: str) -> None:
    """Do what people do once the first Runs are on their way: the second approval, and a run that replaces another."""
    first, approved = f"{name}-first", f"{name}-approved"
    await until(lambda: bench.status(first).get("phase") == "running", seconds=SECONDS)
    await until(lambda: bool(executed(bench, bench.status(first)["id"])), seconds=SECONDS)
    await until(lambda: bench.status(approved).get("phase") == "running", seconds=SECONDS)
    assert executed(bench, bench.status(approved)["id"]) == set(), "one of two approvals is not enough"
    second = {"group": f"/test/{name}", "tasks": [task("a")], "concurrency": "cancelInProgress"}
    await bench.create(f"{name}-second", second)
    await bench.change(approved, approvals=[STRANGER, ANNA, BOB])


async def check(bench: Bench, name: str, *, killed: bool = False) -> None:
    """Wait for the end of all Runs of a round, and compare them with what is to be.

    Where the operator was `killed`, what is ended from outside may have been ended before it had a pod; so may be
    what its time ended, since a pod that is refused can come too late.
    """
    for kind, (result, reason, tasks) in EXPECTED.items():
        run = f"{name}-{kind}"
        await until(lambda run=run: bench.status(run).get("phase") == "finished", seconds=SECONDS)  # type: ignore[misc] # bound
        status = bench.status(run)
        assert status["result"] == result, (kind, status)
        [succeeded] = [row for row in status["conditions"] if row["type"] == "Succeeded"]
        assert not reason or succeeded["reason"] == reason, (kind, succeeded)
        made = executed(bench, status["id"])
        may_be_early = reason == "Timeout" or (killed and reason)
        assert made == tasks or (may_be_early and made <= tasks), (kind, made)
        for key in keys(bench, status["id"]):
            assert bench.log(key.run, key.task, key.attempt).startswith(OUTPUT), key
    attempts = [key.attempt for key in keys(bench, bench.status(f"{name}-again")["id"]) if key.task == FLAKY]
    assert max(attempts) > 1
    assert set(bench.fake.created.values()) <= {1}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_all_that_a_run_can_ask_for_comes_to_its_end_whatever_the_api_server_does(
    bench: Bench, faults: Sequence[Fault], request: pytest.FixtureRequest
) -> None:
    name = f"round-{list(FAULTS).index(request.node.callspec.id)}"
    bench.fake.faults.extend(faults)
    bench.fake.cut({fault.plural for fault in faults if fault.verb == "watch"})
    for run, spec in specs(name).items():
        await bench.create(run, spec)
    await go_on(bench, name)
    await check(bench, name)
    await until(lambda: not bench.fake.faults, seconds=SECONDS)


@pytest.mark.parametrize("pods", [1, 3, 5, 7])
async def test_an_operator_killed_after_any_pod_goes_on_with_all_of_it(bench: Bench, pods: int) -> None:
    name, before = f"killed-{pods}", bench.fake.requests["create", "pods"]
    for run, spec in specs(name).items():
        await bench.create(run, spec)

    async def kill() -> None:
        await until(lambda: bench.fake.requests["create", "pods"] - before >= pods, seconds=SECONDS)
        await asyncio.to_thread(bench.operator.kill)
        await asyncio.to_thread(bench.operator.start)

    killing = asyncio.create_task(kill())
    await go_on(bench, name)
    await killing
    await check(bench, name, killed=True)
