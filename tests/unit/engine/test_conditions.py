"""When a task starts: every parent's end against every set of conditions, as the guide's table has it."""

from itertools import combinations

import pytest

from runabout.engine.create import create_run
from runabout.engine.decide import decide
from runabout.engine.facts import Assignment, Facts, TaskEnd
from runabout.engine.graph import Graph
from runabout.engine.simulation import Outcome, Outcomes, simulate
from runabout.records import Condition, Dependency, RunConfig, RunId, Status, TaskConfig

S, F, K = Condition.ON_SUCCESS, Condition.ON_FAILURE, Condition.ON_SKIPPED
SETS = [frozenset(chosen) for size in (1, 2, 3) for chosen in combinations((S, F, K), size)]
MATCH = {"success": S, "failed": F, "failed, ignored": F, "skipped by skip": K, "skipped by conditions": K}


def task(name: str, *parents: str, conditions: frozenset[Condition] = frozenset({S}), **more: bool) -> TaskConfig:
    return TaskConfig(name, tuple(Dependency(parent, conditions) for parent in parents), **more)  # type: ignore[arg-type] # flags


def names(conditions: frozenset[Condition]) -> str:
    return ",".join(sorted(condition.value for condition in conditions))


@pytest.mark.parametrize("conditions", SETS, ids=names)
@pytest.mark.parametrize("parent", MATCH)
def test_a_child_starts_if_its_parents_end_is_among_its_conditions(
    parent: str, conditions: frozenset[Condition]
) -> None:
    tasks = {
        "success": [task("p")],
        "failed": [task("p")],
        "failed, ignored": [task("p", ignore_failure=True)],
        "skipped by skip": [task("p", skip=True)],
        "skipped by conditions": [task("root"), task("p", "root", conditions=frozenset({F}))],
    }[parent]
    failed = {"p": Outcome(Status.FAILED)} if parent.startswith("failed") else {}
    found = simulate([*tasks, task("c", "p", conditions=conditions)], outcomes=Outcomes(tasks=failed))
    starts = MATCH[parent] in conditions
    assert found.tasks["c"].status is (Status.SUCCESS if starts else Status.SKIPPED)
    assert (found.tasks["c"].start is not None) is starts


@pytest.mark.parametrize("conditions", SETS, ids=names)
@pytest.mark.parametrize("parent", [Status.CANCELLED, Status.STOPPED], ids=str)
def test_a_cancelled_or_stopped_parent_matches_nothing(parent: Status, conditions: frozenset[Condition]) -> None:
    """`b` fails the run while root `p` waits for an executor, or is stopped from outside while it runs."""
    tasks = (task("b"), task("p"), task("c", "p", conditions=conditions))
    config = RunConfig(RunId("0" * 13), "n", "r", "u", "/n/run/r", "/n/run/r", 0, tasks=tasks)
    graph = Graph(tasks)
    state = decide(graph, create_run(config, counter=1, now=0).state, Facts(now=0, start=True)).state
    assigned = {name: Assignment("e", name) for name in ("b", "p") if parent is Status.STOPPED or name == "b"}
    state = decide(graph, state, Facts(now=1, assigned=assigned)).state
    ends = {"b": TaskEnd(Status.FAILED, ended=2)}
    if parent is Status.STOPPED:
        ends = {"p": TaskEnd(Status.STOPPED, ended=2)}
    state = decide(graph, state, Facts(now=2, ended=ends)).state
    assert state.tasks["p"].status is parent
    assert state.tasks["c"].status is Status.SKIPPED


def test_no_conditions_mean_on_success() -> None:
    child = task("c", "p", conditions=frozenset())
    assert simulate([task("p"), child]).tasks["c"].status is Status.SUCCESS
    failed = Outcomes(tasks={"p": Outcome(Status.FAILED)})
    assert simulate([task("p"), child], outcomes=failed).tasks["c"].status is Status.SKIPPED


def test_one_mismatch_skips_but_never_before_all_parents_have_ended() -> None:
    tasks = [task("fast"), task("slow"), task("c", "fast", "slow"), task("d", "c", conditions=frozenset({K}))]
    outcomes = Outcomes(tasks={"fast": Outcome(Status.FAILED, 1), "slow": Outcome(Status.SUCCESS, 5)})
    found = simulate(tasks, outcomes=outcomes)
    assert found.tasks["c"].status is Status.SKIPPED
    assert found.tasks["d"].start == 5, "c was skipped when its last parent ended, not when the first one failed"


def test_a_skipped_tasks_own_conditions_are_never_looked_at() -> None:
    found = simulate([task("p"), task("c", "p", conditions=frozenset({F}), skip=True), task("d", "c")])
    assert found.tasks["c"].status is Status.SKIPPED
    assert found.tasks["d"].status is Status.SKIPPED
