"""A run that a newer one of its group replaces: ended as by a stop, and it says by whom."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.states import NOW, created, task_spec
from runabout.engine.decide import Assignment, Decision, Facts, TaskEnd, decide
from runabout.engine.graph import Graph
from runabout.engine.state import State
from runabout.records import Phase, Reason, Result, RunId, Status

NEWER, NEWEST = RunId("1il7g1c000002"), RunId("1il7g1c000003")


def told(state: State, facts: Facts) -> Decision:
    """Return a decision that stays the same when it is taken again."""
    graph = Graph(state.config.tasks)
    decision = decide(graph, state, facts)
    assert decide(graph, decision.state, facts).state == decision.state
    return decision


def started(*, seconds: int = 0) -> State:
    """Return a run of which `a` is on an executor."""
    depends = [{"task": "a", "conditions": ["on_failure"]}]
    state = created(task_spec("a"), task_spec("b", depends=depends), timeoutSeconds=seconds)
    state = told(state, Facts(now=NOW, start=True)).state
    return told(state, Facts(now=NOW, assigned={"a": Assignment("e", "p", 1)})).state


def test_a_queued_run_is_cancelled_and_names_the_newer_one() -> None:
    decision = told(created(task_spec("a")), Facts(now=NOW, start=True, replaced_by=NEWER))
    run = decision.run
    assert (run.phase, run.result, run.reason, run.replaced_by) == (
        Phase.CANCELLED,
        Result.UNKNOWN,
        Reason.REPLACED,
        NEWER,
    )
    assert [event.phase for event in decision.events] == [Phase.CANCELLED]


def test_a_running_run_is_stopped_and_names_the_newer_one() -> None:
    decision = told(started(), Facts(now=NOW + 1, replaced_by=NEWER))
    assert (decision.stop, decision.state.tasks["b"].status) == (("a",), Status.SKIPPED)
    run = decision.run
    assert (run.result, run.reason, run.replaced_by) == (Result.STOPPED, Reason.REPLACED, NEWER)


def test_the_first_that_replaces_a_run_is_the_one_it_names() -> None:
    state = told(started(), Facts(now=NOW + 1, replaced_by=NEWER)).state
    assert told(state, Facts(now=NOW + 2, replaced_by=NEWEST)).run.replaced_by == NEWER


def test_a_run_that_failed_before_it_was_replaced_is_failed_and_not_replaced() -> None:
    failed = TaskEnd(Status.FAILED, ended=NOW)
    decision = told(started(), Facts(now=NOW + 1, ended={"a": failed}, replaced_by=NEWER))
    assert (decision.run.result, decision.run.reason) == (Result.FAILED, None)
    assert decision.run.stop


@pytest.mark.parametrize("later", [NEWER, None])
def test_a_stop_that_somebody_asked_for_is_no_replacement(later: RunId | None) -> None:
    state = told(started(), Facts(now=NOW + 1, stop=True)).state
    run = told(state, Facts(now=NOW + 2, stop=True, replaced_by=later)).run
    assert (run.result, run.reason, run.replaced_by) == (Result.STOPPED, None, None)


def test_a_run_whose_time_was_up_first_is_not_replaced() -> None:
    state = told(started(seconds=1), Facts(now=NOW + 1_000)).state
    run = told(state, Facts(now=NOW + 1_001, replaced_by=NEWER)).run
    assert (run.result, run.reason, run.replaced_by) == (Result.FAILED, Reason.TIMEOUT, None)


def test_a_run_that_is_over_is_left_alone() -> None:
    state = created(task_spec("a"))
    over = replace(state, run=replace(state.run, phase=Phase.FINISHED, result=Result.SUCCESS))
    assert told(over, Facts(now=NOW, replaced_by=NEWER)).state == over


ENDS = st.dictionaries(
    st.sampled_from(["a", "b"]), st.sampled_from([Status.SUCCESS, Status.FAILED, Status.STOPPED]), max_size=2
)


@given(ends=ENDS, begun=st.booleans(), stored=st.booleans())
def test_a_run_that_is_replaced_ends_as_a_stopped_one_but_for_the_reason(
    ends: dict[str, Status], begun: bool, stored: bool
) -> None:
    state = started() if begun else created(task_spec("a"))
    facts = Facts(
        now=NOW + 1,
        ended={name: TaskEnd(status, ended=NOW + 1) for name, status in ends.items()},
        stored={"a": ()} if stored else {},
    )
    by_stop = told(state, replace(facts, stop=True))
    by_other = told(state, replace(facts, replaced_by=NEWER))
    run = by_other.run
    assert run.reason in ({Reason.REPLACED} if run.result is Result.STOPPED or not begun else {None})
    assert replace(run, reason=None, replaced_by=None) == by_stop.run
    assert (by_other.state.tasks, by_other.events, by_other.stop) == (
        by_stop.state.tasks,
        by_stop.events,
        by_stop.stop,
    )
