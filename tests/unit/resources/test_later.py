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
    "spec.tasks[].retries": in_task(retries={"limit": 1}),
    "spec.tasks[].matrix": in_task(matrix={"A": ["x"]}),
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
    assert (
        errors({**in_task(**more), "concurrency": "cancelInProgress", "timeoutSeconds": 9, "cacheGroup": "/a/b"}) == ()
    )
    assert errors({"restartFrom": {"run": "1il7g1c000001", "from": "failed"}}) == ()


def test_the_tables_of_good_specs_use_every_one_of_them() -> None:
    used = {re.sub(r"\[\d+\]", "[]", path) for case in GOOD for path in case.later}
    assert used >= LISTED
