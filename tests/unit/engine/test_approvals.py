"""Approvals: whose word counts, how many are needed, when they may come, and what a refusal does."""

import pytest

from fixtures.states import NOW, created, task_spec
from runabout.engine.decide import decide
from runabout.engine.facts import Assignment, Decision, Facts, TaskEnd
from runabout.engine.graph import Graph
from runabout.engine.state import State
from runabout.records import Approval, Attempt, Phase, Reason, Result, Status, Verdict

YES, NO = Verdict.APPROVED, Verdict.REFUSED


def say(by: str, verdict: Verdict = YES, *groups: str, task: str = "b") -> Approval:
    return Approval(task, by, verdict, groups)


def started(**b: object) -> tuple[Graph, State]:
    """A running run of `a` and `b` after it; `b` needs approval, `h` handles its failure, `r` is a root beside them."""
    state = created(
        task_spec("a"),
        task_spec("b", depends=[{"task": "a"}], needsApproval=True, **b),
        task_spec("h", depends=[{"task": "b", "conditions": ["on_failure"]}]),
    )
    graph = Graph(state.config.tasks)
    return graph, decide(graph, state, Facts(now=NOW, start=True)).state


def waiting(**b: object) -> tuple[Graph, State]:
    """The same, once `a` has succeeded."""
    graph, state = started(**b)
    state = decide(graph, state, Facts(now=NOW, assigned={"a": Assignment("e", "a-1")})).state
    ended = {"a": TaskEnd(Status.SUCCESS, ended=NOW)}
    return graph, decide(graph, state, Facts(now=NOW + 5, ended=ended, stored={"a": ()})).state


def told(graph: Graph, state: State, *approvals: Approval, now: int = NOW + 9) -> Decision:
    return decide(graph, state, Facts(now=now, approvals=approvals))


def test_it_is_asked_for_only_when_the_task_could_start_otherwise() -> None:
    _, state = started()
    assert state.tasks["b"].waiting_since is None
    _, state = waiting()
    assert (state.tasks["b"].status, state.tasks["b"].waiting_since) == (Status.NOTSTARTED, NOW + 5)


def test_a_task_that_waits_is_not_ready_and_an_assignment_of_it_has_no_effect() -> None:
    graph, state = waiting()
    decision = decide(graph, state, Facts(now=NOW, assigned={"b": Assignment("e", "b-1")}))
    assert (decision.ready, decision.state) == ((), state)


@pytest.mark.parametrize(
    ("approvers", "approvals", "expected"),
    [
        (None, [say("anna")], "ready"),
        (None, [], "waits"),
        (None, [say("anna", task="a")], "waits"),
        ({"min": 2}, [say("anna")], "waits"),
        ({"min": 2}, [say("anna"), say("anna", YES, "qa")], "waits"),
        ({"min": 2}, [say("anna"), say("ben")], "ready"),
        ({"users": ["anna"]}, [say("ben")], "waits"),
        ({"users": ["anna"]}, [say("Anna")], "waits"),
        ({"users": ["anna"]}, [say("ben"), say("anna")], "ready"),
        ({"groups": ["qa"]}, [say("anna")], "waits"),
        ({"groups": ["qa"]}, [say("anna", YES, "ops")], "waits"),
        ({"groups": ["qa"]}, [say("anna", YES, "ops", "qa")], "ready"),
        ({"users": ["anna"], "groups": ["qa"]}, [say("anna")], "ready"),
        ({"users": ["anna"], "groups": ["qa"], "min": 2}, [say("anna", YES, "qa")], "waits"),
        ({"users": ["anna"], "groups": ["qa"], "min": 2}, [say("anna"), say("ben", YES, "qa")], "ready"),
        (None, [say("anna", NO)], "refused"),
        ({"min": 2}, [say("anna"), say("ben"), say("carla", NO)], "refused"),
        ({"users": ["anna"]}, [say("ben", NO)], "waits"),
        ({"users": ["anna"]}, [say("ben", NO), say("anna")], "ready"),
        ({"groups": ["qa"]}, [say("ben", NO, "qa"), say("anna", YES, "qa")], "refused"),
    ],
)
def test_whose_word_counts(approvers: object, approvals: list[Approval], expected: str) -> None:
    graph, state = waiting(**({} if approvers is None else {"approvers": approvers}))
    together = told(graph, state, *approvals)
    for one in reversed(approvals):
        state = told(graph, state, one).state
    alone = told(graph, state)
    for decision in (together, alone):
        task = decision.state.tasks["b"]
        match expected:
            case "ready":
                assert (decision.ready, task.status, task.waiting_since) == (("b",), Status.NOTSTARTED, None)
            case "waits":
                assert (decision.ready, task.status, task.waiting_since) == ((), Status.NOTSTARTED, NOW + 5)
            case _:
                assert (task.status, task.reason, task.started) == (Status.FAILED, Reason.REFUSED, None)
                assert (decision.run.result, decision.ready) == (Result.FAILED, ("h",))


def test_the_record_says_who_said_what_and_when_it_was_first_seen() -> None:
    graph, state = waiting(approvers={"min": 3, "groups": ["qa"]})
    state = told(graph, state, say("ben", YES, "qa"), now=NOW + 10).state
    state = told(graph, state, say("ben", YES, "qa"), say("anna", YES, "qa"), say("eve"), now=NOW + 20).state
    assert state.tasks["b"].approvals == (
        Approval("b", "anna", YES, ("qa",), NOW + 20),
        Approval("b", "ben", YES, ("qa",), NOW + 10),
    )
    assert told(graph, state, say("ben", YES, "qa"), now=NOW + 30).state == state


def test_a_refusal_names_who_refused_and_can_be_ignored_like_any_failure() -> None:
    graph, state = waiting(ignoreFailure=True)
    decision = told(graph, state, say("ben", NO))
    assert decision.state.tasks["b"].message == "refused by ben"
    assert (decision.run.result, decision.ready) == (Result.UNKNOWN, ("h",))


@pytest.mark.parametrize("verdict", [YES, NO])
def test_what_was_said_early_counts_when_the_task_waits_and_not_before(verdict: Verdict) -> None:
    graph, state = started()
    state = told(graph, state, say("anna", verdict)).state
    assert (state.tasks["b"].status, state.tasks["b"].waiting_since) == (Status.NOTSTARTED, None)
    state = decide(graph, state, Facts(now=NOW, assigned={"a": Assignment("e", "a-1")})).state
    decision = decide(graph, state, Facts(now=NOW, ended={"a": TaskEnd(Status.SUCCESS, ended=NOW)}))
    assert ("b" in decision.ready) is (verdict is YES)
    assert (decision.state.tasks["b"].reason is Reason.REFUSED) is (verdict is NO)


def test_a_refusal_of_a_task_that_is_skipped_anyway_fails_nothing() -> None:
    graph, state = started(ignoreFailure=True)
    state = told(graph, state, say("anna", NO)).state
    state = decide(graph, state, Facts(now=NOW, assigned={"a": Assignment("e", "a-1")})).state
    decision = decide(graph, state, Facts(now=NOW, ended={"a": TaskEnd(Status.FAILED, ended=NOW)}))
    assert (decision.state.tasks["b"].status, decision.state.tasks["b"].reason) == (Status.SKIPPED, None)


def test_what_is_said_once_the_task_runs_has_no_effect() -> None:
    graph, state = waiting()
    state = told(graph, state, say("anna")).state
    state = decide(graph, state, Facts(now=NOW, assigned={"b": Assignment("e", "b-1")})).state
    assert told(graph, state, say("ben", NO)).state == state


def test_an_approved_task_that_is_tried_again_is_not_asked_for_again() -> None:
    graph, state = waiting(retries={"limit": 1})
    state = told(graph, state, say("anna")).state
    state = decide(graph, state, Facts(now=NOW, assigned={"b": Assignment("e", "b-1", 1)})).state
    failed = Attempt(1, "b-1", "e", Reason.EXIT_CODE, ended=NOW)
    decision = decide(graph, state, Facts(now=NOW + 1, retry={"b": failed}))
    task = decision.state.tasks["b"]
    assert (task.status, task.waiting_since, decision.ready) == (Status.RUNNING, None, ("b",))


def test_a_refused_task_is_not_tried_again() -> None:
    graph, state = waiting(retries={"limit": 9})
    decision = told(graph, state, say("ben", NO))
    assert (decision.state.tasks["b"].status, decision.ready) == (Status.FAILED, ("h",))


def test_a_stop_clears_the_wait() -> None:
    graph, state = waiting()
    decision = decide(graph, state, Facts(now=NOW + 7, stop=True, approvals=(say("anna"),)))
    task = decision.state.tasks["b"]
    assert (task.status, task.waiting_since, decision.ready) == (Status.SKIPPED, None, ())
    assert (decision.run.phase, decision.run.result) == (Phase.FINISHED, Result.STOPPED)
