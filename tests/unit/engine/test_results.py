"""Results, stops and approvals, as scenarios: what is played, and what must come of it. Expectations are by hand."""

from dataclasses import dataclass, field

import pytest

from runabout.engine.simulation import Outcome, Outcomes, simulate
from runabout.records import Condition, Dependency, Phase, Result, Status, TaskConfig

S, F, K = Condition.ON_SUCCESS, Condition.ON_FAILURE, Condition.ON_SKIPPED
FAILED = Outcome(Status.FAILED)


def task(name: str, *parents: tuple[str, Condition] | str, **more: bool) -> TaskConfig:
    depends = [
        Dependency(*(parent, frozenset({S})) if isinstance(parent, str) else (parent[0], frozenset({parent[1]})))
        for parent in parents
    ]
    return TaskConfig(name, tuple(depends), **more)  # type: ignore[arg-type] # flags


@dataclass(frozen=True)
class Scenario:
    """Statuses are one letter a task: n(otstarted) s(uccess) f(ailed) x (stopped) c(ancelled) k (skipped)."""

    tasks: tuple[TaskConfig, ...]
    expected: str
    result: Result
    outcomes: Outcomes = field(default_factory=Outcomes)
    phase: Phase = Phase.FINISHED
    errors: tuple[str, ...] = ()


LETTERS = {
    "n": Status.NOTSTARTED,
    "s": Status.SUCCESS,
    "f": Status.FAILED,
    "x": Status.STOPPED,
    "c": Status.CANCELLED,
    "k": Status.SKIPPED,
}
CHAIN = (task("a"), task("b", "a"), task("c", "b"))
ROOTS = (task("a"), task("b"), task("c"))
APPROVED = (task("a"), task("b", "a", needs_approval=True), task("c", ("b", K)))

SCENARIOS = {
    "no tasks": Scenario((), "", Result.SUCCESS),
    "all skipped by skip": Scenario((task("a", skip=True), task("b", "a")), "kk", Result.SUCCESS),
    "all succeed": Scenario(CHAIN, "sss", Result.SUCCESS),
    "a failure skips what depends on success": Scenario(CHAIN, "fkk", Result.FAILED, Outcomes(tasks={"a": FAILED})),
    "an ignored failure fails nothing, and is one to its children": Scenario(
        (task("a", ignore_failure=True), task("b", "a"), task("c", ("a", F))),
        "fks",
        Result.SUCCESS,
        Outcomes(tasks={"a": FAILED}),
    ),
    "a handler does not heal": Scenario(
        (task("a"), task("b", ("a", F))), "fs", Result.FAILED, Outcomes(tasks={"a": FAILED})
    ),
    "a failure does not stop its siblings": Scenario(
        (task("a"), task("b"), task("c", "b")),
        "fss",
        Result.FAILED,
        Outcomes(tasks={"a": FAILED, "b": Outcome(ticks=3)}),
    ),
    "roots that wait for a slot are cancelled by a result": Scenario(
        ROOTS, "fcc", Result.FAILED, Outcomes(slots=1, tasks={"a": FAILED})
    ),
    "children that wait for a slot are not": Scenario(
        (task("a"), task("b", "a"), task("c", "a")),
        "sfs",
        Result.FAILED,
        Outcomes(slots=1, tasks={"b": FAILED}),
    ),
    "children of a cancelled root are skipped, on_skipped ones, too": Scenario(
        (task("a"), task("b"), task("c", ("b", K))), "fck", Result.FAILED, Outcomes(slots=1, tasks={"a": FAILED})
    ),
    "a stop stops what runs and skips everything else": Scenario(
        (*CHAIN, task("d", ("b", K))), "xkkk", Result.STOPPED, Outcomes(tasks={"a": Outcome(ticks=9)}, stop_at=1)
    ),
    "a stop skips roots, too": Scenario(
        ROOTS, "xkk", Result.STOPPED, Outcomes(slots=1, tasks={"a": Outcome(ticks=9)}, stop_at=1)
    ),
    "a task that ends by itself before the stop reaches it ends as it does": Scenario(
        CHAIN, "skk", Result.STOPPED, Outcomes(tasks={"a": Outcome(ticks=2)}, stop_at=1)
    ),
    "a failure wins over a stop": Scenario(
        (task("a"), task("b")), "fx", Result.FAILED, Outcomes(tasks={"a": FAILED, "b": Outcome(ticks=9)}, stop_at=1)
    ),
    "an ignored failure does not": Scenario(
        (task("a", ignore_failure=True), task("b")),
        "fx",
        Result.STOPPED,
        Outcomes(tasks={"a": FAILED, "b": Outcome(ticks=9)}, stop_at=1),
    ),
    "a stop when all is over is late": Scenario(CHAIN, "sss", Result.SUCCESS, Outcomes(stop_at=3)),
    "a stop at the tick of the last end is late, too": Scenario((task("a"),), "s", Result.SUCCESS, Outcomes(stop_at=1)),
    "a stop after the result skips the roots instead of cancelling them": Scenario(
        (task("a"), task("b"), task("c", "b")),
        "fxk",
        Result.FAILED,
        Outcomes(tasks={"a": FAILED, "b": Outcome(ticks=9)}, stop_at=2),
    ),
    "an approval that never comes": Scenario(APPROVED, "snn", Result.UNKNOWN, phase=Phase.RUNNING),
    "an approval that comes late": Scenario(APPROVED, "ssk", Result.SUCCESS, Outcomes(approve={"b": 7})),
    "an approval that came early counts": Scenario(APPROVED, "ssk", Result.SUCCESS, Outcomes(approve={"b": 0})),
    "an approval is not asked for where the task is skipped anyway": Scenario(
        APPROVED, "fks", Result.FAILED, Outcomes(tasks={"a": FAILED})
    ),
    "a stop clears the wait": Scenario(APPROVED, "skk", Result.STOPPED, Outcomes(stop_at=4)),
    "a waiting root is cancelled by a result": Scenario(
        (task("a"), task("b", needs_approval=True)), "fc", Result.FAILED, Outcomes(tasks={"a": FAILED})
    ),
    "a task that waits for an approval holds no slot": Scenario(
        (task("a", needs_approval=True), task("b")), "ss", Result.SUCCESS, Outcomes(slots=1, approve={"a": 5})
    ),
    "setup errors": Scenario(
        (task("a"), task("b", skip=True)), "nn", Result.UNKNOWN, phase=Phase.SETUPERROR, errors=("spec: bad",)
    ),
}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_a_run_ends_as_the_rules_say(scenario: Scenario) -> None:
    found = simulate(scenario.tasks, scenario.errors, scenario.outcomes)
    statuses = [found.tasks[config.name].status for config in scenario.tasks]
    assert statuses == [LETTERS[letter] for letter in scenario.expected]
    assert (found.phase, found.result) == (scenario.phase, scenario.result)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_events_are_every_change_of_phase_or_result_and_nothing_else(scenario: Scenario) -> None:
    events = simulate(scenario.tasks, scenario.errors, scenario.outcomes).events
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    if scenario.phase is Phase.SETUPERROR:
        assert [(event.phase, event.result, event.tick) for event in events] == [(Phase.SETUPERROR, Result.UNKNOWN, 0)]
        return
    assert [(event.phase, event.result, event.tick) for event in events[:2]] == [
        (Phase.QUEUED, Result.UNKNOWN, 0),
        (Phase.RUNNING, Result.UNKNOWN, 0),
    ]
    tail = [(event.phase, event.result) for event in events[2:]]
    over = [(Phase.RUNNING, scenario.result), (Phase.FINISHED, scenario.result)]
    assert tail == (over if scenario.phase is Phase.FINISHED else [])
    assert [event.tick for event in events] == sorted(event.tick for event in events)


def test_slots_are_filled_in_level_order_then_by_name() -> None:
    tasks = [task("z"), task("m"), task("b", "z"), task("a", "m")]
    found = simulate(tasks, outcomes=Outcomes(slots=1))
    assert {name: found.tasks[name].start for name in "zmab"} == {"m": 0, "z": 1, "a": 2, "b": 3}
