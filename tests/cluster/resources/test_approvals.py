"""Nobody approves in another's name, and nobody takes a word back: the API server sees to it."""

from collections.abc import Mapping
from typing import Any

import pytest

from fixtures.runs import Runs
from fixtures.specs import TASK

ANNA = {"task": "a", "by": "anna", "verdict": "approved"}
BEN = {"task": "a", "by": "ben", "verdict": "refused"}
MAX_APPROVALS = 1000
CHANGED = "spec.approvals: Forbidden: an approval cannot be changed or removed"


def test_an_approval_in_ones_own_name_is_accepted(runs: Runs, run: str) -> None:
    assert runs.merge(run, {"approvals": [ANNA]}, user="anna").returncode == 0
    assert runs.merge(run, {"approvals": [ANNA, BEN]}, user="ben").returncode == 0
    assert runs.get(run)["spec"]["approvals"] == [ANNA, BEN]


@pytest.mark.parametrize("user", [None, "ben", "Anna", "anna2"])
def test_an_approval_in_anothers_name_is_refused(runs: Runs, run: str, user: str | None) -> None:
    answer = runs.merge(run, {"approvals": [ANNA]}, user=user)
    assert answer.returncode != 0
    assert "approvals can only be given in one's own name" in answer.stderr
    assert "by is anna, but you are" in answer.stderr


def test_one_foreign_approval_among_own_ones_is_refused(runs: Runs, run: str) -> None:
    answer = runs.merge(run, {"approvals": [{**ANNA, "task": "b"}, BEN, ANNA]}, user="anna")
    assert "by is ben, but you are anna" in answer.stderr


def test_a_run_can_be_created_with_ones_own_approval_only(runs: Runs) -> None:
    runs.create({"tasks": [TASK], "approvals": [ANNA]}, user="anna")
    with pytest.raises(AssertionError, match="by is anna, but you are ben"):
        runs.create({"tasks": [TASK], "approvals": [ANNA]}, user="ben")


def test_server_side_apply_is_no_way_around(runs: Runs, run: str) -> None:
    assert runs.apply(run, {"approvals": [ANNA]}, owner="anna", user="anna").returncode == 0
    answer = runs.apply(run, {"approvals": [ANNA]}, owner="ben", user="ben")
    assert answer.returncode == 0, "what is there already is nobody's new word"
    assert runs.apply(run, {"approvals": [BEN]}, owner="carla", user="carla").returncode != 0
    assert runs.apply(run, {"approvals": [BEN]}, owner="ben", user="ben").returncode == 0
    assert len(runs.get(run)["spec"]["approvals"]) == 2


@pytest.mark.parametrize(
    ("groups", "accepted"),
    [([], True), (["leads"], True), (["leads", "qa"], True), (["ops"], False), (["leads", "ops"], False)],
    ids=str,
)
def test_an_approval_carries_only_groups_that_the_caller_is_in(
    runs: Runs, run: str, groups: list[str], accepted: bool
) -> None:
    answer = runs.merge(run, {"approvals": [{**ANNA, "groups": groups}]}, user="anna/leads,qa")
    assert (answer.returncode == 0) is accepted, answer.stderr
    if not accepted:
        assert "anna is not in every group that the approval names" in answer.stderr


@pytest.mark.parametrize(
    "approvals",
    [
        None,
        [],
        [{**ANNA, "verdict": "refused"}],
        [{**ANNA, "groups": ["leads"]}],
        [BEN],
        [BEN, {**ANNA, "verdict": "refused"}],
    ],
    ids=["removed", "emptied", "turned", "more groups", "replaced", "turned and added"],
)
@pytest.mark.parametrize("user", ["anna/leads", "ben"])
def test_an_approval_cannot_be_changed_or_removed_not_even_ones_own(
    runs: Runs, approvals: list[Mapping[str, Any]] | None, user: str
) -> None:
    run = runs.create({"tasks": [TASK], "approvals": [ANNA]}, user="anna")
    answer = runs.merge(run, {"approvals": approvals}, user=user)
    assert answer.returncode != 0
    assert CHANGED in answer.stderr
    assert runs.get(run)["spec"]["approvals"] == [ANNA]


def test_others_can_go_on_changing_a_run_with_approvals(runs: Runs) -> None:
    run = runs.create({"tasks": [TASK], "approvals": [ANNA]}, user="anna")
    for change in ({"priority": 1}, {"stop": True}, {"approvals": [BEN, ANNA]}):
        answer = runs.merge(run, change, user="ben")
        assert answer.returncode == 0, answer.stderr


def test_as_many_approvals_as_there_may_be_are_checked_within_the_cost_limits(runs: Runs, run: str) -> None:
    words = [
        {"task": f"task-{number}", "by": "anna", "verdict": "approved", "groups": ["leads"]} for number in range(500)
    ]
    for count in (1, 499, 500):
        answer = runs.merge(run, {"approvals": words[:count]}, user="anna/leads")
        assert answer.returncode == 0, answer.stderr
