"""Whose turn it is, on a real cluster: priorities, crowds, limits of runs, and runs that replace others.

A pod holds the only place until it is let go. What a step prints of the node's clock says who came first.
"""

import itertools

import pytest

from lab.runs import Json, Runs, condition, task
from lab.waiting import eventually

pytestmark = pytest.mark.timeout(300)

SUCCESS = ("finished", "success")
CLOCK = "cut -d' ' -f1 /proc/uptime"
CROWD = 200


def holder(runs: Runs, *, group: str) -> str:
    """Return the name of a Run whose task has begun and goes on until it is let go."""
    name = runs.create(task("a", "until [ -e /tmp/go ]; do sleep 0.1; done"), group=group)
    eventually(
        lambda: runs.pods(name),
        lambda pods: [pod["status"]["phase"] for pod in pods] == ["Running"],  # type: ignore[index] # JSON
    )
    return name


def let_go(runs: Runs, name: str) -> None:
    [pod] = [pod["metadata"]["name"] for pod in runs.pods(name)]  # type: ignore[index] # JSON
    runs.kubectl("-n", runs.namespace, "exec", str(pod), "-c", "main", "--", "touch", "/tmp/go")


def finished(runs: Runs) -> set[str]:
    """Return the names of all Runs that are finished."""
    return {str(item["metadata"]["name"]) for item in runs.all(fieldSelector="status.phase=finished")}  # type: ignore[index] # JSON


def began(runs: Runs, name: str) -> float:
    """Return when the task of a Run that has ended began."""
    return float(runs.log(name, "a").split()[0])


def test_of_those_who_wait_the_higher_priority_goes_first(runs: Runs) -> None:
    runs.executor("default", archs=["amd64", "arm64"], maxActiveTasks=1)
    first = holder(runs, group="/project/holder")
    low = runs.create(task("a", CLOCK), group="/project/low")
    runs.waiting(low, "NoFreeSlot")
    high = runs.create(task("a", CLOCK), group="/project/high", priority=10)
    runs.waiting(high, "NoFreeSlot")
    let_go(runs, first)
    assert [runs.end(name) for name in (first, low, high)] == [SUCCESS] * 3
    assert began(runs, high) < began(runs, low)


def test_a_crowd_of_one_team_that_waits_delays_another_by_no_more_than_the_slot_that_is_taken(runs: Runs) -> None:
    """With a few hundred runs; that their number makes no difference is in tests/unit/scheduling/test_fairness.py."""
    runs.executor("default", archs=["amd64", "arm64"], maxActiveTasks=1)
    first = holder(runs, group="/project/crowd/pull/0")
    names = [f"crowd-{number}" for number in range(1, CROWD)]
    crowd: dict[str, Json] = {
        name: {"group": f"/project/crowd/pull/{number}", "tasks": [task("a", CLOCK)]}
        for number, name in enumerate(names, 1)
    }
    runs.create_all(crowd)
    for name in (names[0], names[-1]):
        runs.waiting(name, "NoFreeSlot")
    other = runs.create(task("a", CLOCK), group="/project/api/branch/main")
    runs.waiting(other, "NoFreeSlot")
    let_go(runs, first)
    assert runs.end(other) == SUCCESS
    others = eventually(lambda: finished(runs) & set(names), bool)
    assert all(began(runs, other) < began(runs, name) for name in others)
    runs.kubectl("-n", runs.namespace, "delete", "runs", "--all", "--wait=false")


def test_a_run_has_no_more_tasks_at_once_than_it_may(runs: Runs) -> None:
    tasks = [f"t{number}" for number in range(4)]
    name = runs.create(*(task(each, f"{CLOCK}; sleep 1; {CLOCK}") for each in tasks), maxActiveTasks=1)
    assert runs.end(name) == SUCCESS
    spans = sorted(tuple(map(float, runs.log(name, each).split())) for each in tasks)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_a_run_that_replaces_the_queued_ones_waits_for_the_one_that_runs(runs: Runs) -> None:
    group = "/project/replacing/branch/main"
    first = holder(runs, group=group)
    second = runs.create(task("a"), group=group)
    runs.waiting(second, "QueuedBehind")
    third = runs.create(task("a"), group=group, concurrency="replaceQueued")
    assert runs.end(second) == ("cancelled", "unknown")
    assert condition(runs.status(second), "Succeeded")["reason"] == "Replaced"
    assert str(runs.status(first)["id"]) in runs.waiting(third, "QueuedBehind")
    let_go(runs, first)
    assert [runs.end(name) for name in (first, third)] == [SUCCESS, SUCCESS]
