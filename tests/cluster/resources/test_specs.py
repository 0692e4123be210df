"""The tables of good and bad specs on a real API server."""

import json
from pathlib import Path

import pytest

from fixtures.runs import Kubectl, Runs
from fixtures.specs import BAD, GOOD, TASK, Case

EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "examples").glob("*.yaml"))
DRY_RUN = ("--dry-run=server", "--validate=strict")


def named(case: Case) -> str:
    return case.name


def test_good_specs_are_accepted(runs: Runs) -> None:
    items = [{**case.document, "metadata": {"name": f"case-{place}"}} for place, case in enumerate(GOOD)]
    for item in items:
        people = [approval["by"] for approval in item["spec"].get("approvals", ())]
        answer = runs.write("create", item, *DRY_RUN, user=f"{people[0]}/leads" if people else None)
        assert answer.returncode == 0, f"{item}: {answer.stderr}"


@pytest.mark.parametrize("case", [case for case in BAD if case.by != "setup"], ids=named)
def test_bad_specs_are_refused_with_their_paths(runs: Runs, case: Case) -> None:
    answer = runs.write("create", case.document, *DRY_RUN)
    assert answer.returncode != 0
    for path in case.server or case.at:
        assert f"{path}: " in answer.stderr or f'unknown field "{path}"' in answer.stderr, answer.stderr


@pytest.mark.parametrize("case", [case for case in BAD if case.by == "setup"], ids=named)
def test_what_only_the_operator_can_find_is_accepted(runs: Runs, case: Case) -> None:
    answer = runs.write("create", case.document, *DRY_RUN)
    assert answer.returncode == 0, answer.stderr


def test_the_examples_are_accepted(kubectl: Kubectl, runs: Runs) -> None:
    kubectl("-n", runs.namespace, "create", *DRY_RUN, *(f"--filename={path}" for path in EXAMPLES))
    assert [path.stem for path in EXAMPLES] == ["approval", "failing", "hello", "pipeline", "setuperror"]


def test_a_run_of_a_thousand_tasks_is_accepted_and_can_be_stopped(runs: Runs) -> None:
    tasks: list[dict[str, object]] = [
        {
            "name": f"task-{number}",
            "containers": [{"image": "busybox", "environment": [{"name": "A", "value": str(number)}]}],
            "depends": [{"task": f"task-{parent}"} for parent in range(max(0, number - 3), number)],
            "steps": [{"run": "true"}] * 8,
        }
        for number in range(999)
    ]
    tasks.append({**TASK, "name": "join", "depends": [{"task": f"task-{number}"} for number in range(256)]})
    assert len(json.dumps(tasks)) < 1_000_000
    name = runs.create({"tasks": tasks})
    answer = runs.merge(name, {"stop": True})
    assert answer.returncode == 0, answer.stderr
