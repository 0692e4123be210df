"""What of a Run only a cluster can do: refused where it matters, left out and said where it does not."""

import pytest

from fixtures.specs import API_VERSION
from fixtures.states import task_spec
from runabout.local.spec import local_notices, local_problems, local_spec, machine_arch
from runabout.resources import CheckedRun, RunSpec, check

SERVICE = {"containers": [{"image": "a"}, {"image": "db"}]}


def spec(*tasks: dict[str, object]) -> RunSpec:
    found = check({"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": "web"}, "spec": {"tasks": tasks}})
    assert isinstance(found, CheckedRun)
    return found.spec


def problems(*tasks: dict[str, object], answers: bool = True, approved: tuple[str, ...] = ()) -> list[str]:
    return list(local_problems(spec(*tasks), arch="amd64", answers=answers, approved=approved))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (SERVICE, "spec.tasks[0].containers[1]: services need a container runtime"),
        ({"arch": "arm64"}, "spec.tasks[0].arch: this machine is amd64"),
        ({"needsApproval": True}, "spec.tasks[0].needsApproval: there is no terminal to ask: give --approve a"),
    ],
)
def test_what_would_be_another_run_is_refused_with_its_place(fields: dict[str, object], where: str) -> None:
    [found] = problems(task_spec("a", **fields), answers=False)
    assert found.startswith(where)


@pytest.mark.parametrize(
    ("fields", "answers", "approved"),
    [
        ({}, False, ()),
        ({"arch": "amd64"}, False, ()),
        ({"needsApproval": True}, True, ()),
        ({"needsApproval": True}, False, ("a",)),
    ],
)
def test_what_can_be_done_here_is_not_refused(
    fields: dict[str, object], answers: bool, approved: tuple[str, ...]
) -> None:
    assert problems(task_spec("a", **fields), answers=answers, approved=approved) == []


def test_an_approval_of_a_task_that_is_not_there_is_a_slip_of_the_pen() -> None:
    assert problems(task_spec("a"), approved=("b",)) == ["--approve b: the run has no task of this name"]


def test_every_problem_is_said_not_the_first_one_only() -> None:
    assert len(problems(task_spec("a", **SERVICE), task_spec("b", arch="arm64"))) == 2


def test_what_is_left_out_is_said_once_for_each_kind() -> None:
    tasks = [
        task_spec(name, needsApproval=True, approvers={"min": 2}, executorSelector={"matchLabels": {"a": "b"}})
        for name in "ab"
    ]
    said = list(local_notices(spec(*tasks)))
    assert [sentence.split()[0] for sentence in said] == ["tasks", "executorSelector", "approvers"]


def test_what_is_not_used_here_is_not_in_the_run_and_all_else_is() -> None:
    task = task_spec("a", needsApproval=True)
    dropped = {"approvers": {"min": 2}, "pod": {"nodeSelector": {"a": "b"}}, "arch": "amd64"}
    document = {"spec": {"group": "/a/b", "suspend": True, "pod": {}, "tasks": [{**task, **dropped}]}}
    assert local_spec(document) == {"group": "/a/b", "tasks": [task]}
    assert document["spec"]["suspend"] is True  # what was read is left as it was


def test_this_machine_has_an_architecture_in_the_words_of_executors() -> None:
    assert machine_arch() in ("amd64", "arm64")
