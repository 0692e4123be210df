"""What this version does not execute yet: each such field is a setup error that says so, and the guide lists it."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from fixtures.specs import GOOD
from fixtures.states import task_spec
from fixtures.tools import REPOSITORY
from runabout.control.config import setup_errors
from runabout.resources import API_VERSION, CheckedRun, check

GUIDE = (REPOSITORY / "docs" / "guides" / "runs.md").read_text()
LISTED = set(re.findall(r"^\| `([^`]+)` \|", GUIDE.split("## Not executed yet")[1].split("\n## ")[0], re.MULTILINE))


def errors(spec: Mapping[str, Any]) -> tuple[str, ...]:
    checked = check({"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": "a"}, "spec": spec})
    assert isinstance(checked, CheckedRun), checked
    return setup_errors(checked)


def in_task(**more: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a task's spec
    return {"tasks": [task_spec("a", **more)]}


def in_step(**step: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a step's spec
    return in_task(steps=[step])


LATER: dict[str, dict[str, Any]] = {
    "spec.restartFrom": {"restartFrom": {"run": "1il7g1c000001", "from": "failed"}},
    "spec.concurrency": {"concurrency": "replaceQueued"},
    "spec.cacheGroup": {"cacheGroup": "/project/web"},
    "spec.timeoutSeconds": {"timeoutSeconds": 1},
    "spec.tasks[].steps[].clone": in_step(clone={"url": "https://example.org/a.git"}),
    "spec.tasks[].steps[].saveToWorkspace": in_step(saveToWorkspace={"contents": [{}]}),
    "spec.tasks[].steps[].restoreWorkspace": in_step(restoreWorkspace={}),
    "spec.tasks[].steps[].saveCache": in_step(saveCache={"key": "k", "contents": [{}]}),
    "spec.tasks[].steps[].restoreCache": in_step(restoreCache={"keys": ["k"]}),
}


@pytest.mark.parametrize("path", LATER)
def test_a_field_whose_execution_comes_later_is_a_setup_error_that_says_so(path: str) -> None:
    found = [error for error in errors(LATER[path]) if "not executed yet by this version" in error]
    expected = re.sub(r"\[\]", "[0]", path)
    assert [error.split(": ")[0] for error in found] == [expected]


def test_the_guide_lists_exactly_these_fields() -> None:
    assert {re.sub(r"\[\d\]", "[]", path) for path in LATER} == LISTED


def test_a_run_that_uses_nothing_of_it_has_no_such_error() -> None:
    more = {"retries": {"limit": 0, "backoffSeconds": 5}, "timeoutSeconds": 0, "containers": [{"image": "a"}]}
    assert errors({**in_task(**more), "concurrency": "queue", "timeoutSeconds": 0}) == ()


def test_the_tables_of_good_specs_use_every_one_of_them() -> None:
    used = {re.sub(r"\[\d+\]", "[]", path) for case in GOOD for path in case.later}
    assert used >= LISTED
