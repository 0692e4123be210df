"""References to results of other tasks: what is said of them before anything runs."""

from typing import Any

import pytest

from fixtures.states import task_spec
from runabout.control.config import setup_errors
from runabout.resources import API_VERSION, CheckedRun, check

MATRIX = {"matrix": {"GO": ["1", "2"]}}


def errors(*tasks: dict[str, Any], **spec: object) -> list[str]:
    document = {
        "apiVersion": API_VERSION,
        "kind": "Run",
        "metadata": {"name": "a"},
        "spec": {"tasks": list(tasks), **spec},
    }
    checked = check(document)
    assert isinstance(checked, CheckedRun), checked
    return list(setup_errors(checked))


def wants(text: str, *parents: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a task's spec
    return task_spec("z", depends=[{"task": parent} for parent in parents], steps=[{"run": text}], **more)


@pytest.mark.parametrize(
    "tasks",
    [
        (task_spec("a"), wants("{{ tasks.a.results.X }}", "a")),
        (task_spec("a"), task_spec("b", depends=[{"task": "a"}]), wants("{{ tasks.a.results.X }}", "b")),
        (task_spec("a", **MATRIX), wants("{{ tasks.a-1.results.X }} {{ tasks.a-2.results.X }}", "a")),
        (task_spec("a", **MATRIX), wants("{{ tasks.a-1.results.X }}", "a-1")),
        (task_spec("a"), wants("{{ tasks.a.results.X }}", "a", **MATRIX)),
        (task_spec("a"), wants("{{ .Values.tasks }} {{ tasks.a }}")),
    ],
    ids=["of a parent", "of a grandparent", "of variants", "of the variant it depends on", "by variants", "no such"],
)
def test_a_result_of_an_ancestor_can_be_referred_to(tasks: tuple[dict[str, Any], ...]) -> None:
    assert errors(*tasks) == []


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ((wants("{{ tasks.a.results.X }}"),), 'unknown task "a"'),
        ((task_spec("a"), wants("{{ tasks.a.results.X }}")), 'does not depend on "a"'),
        ((task_spec("a", **MATRIX), wants("{{ tasks.a.results.X }}", "a")), "of a matrix, name one variant"),
        ((task_spec("a", **MATRIX), wants("{{ tasks.a-2.results.X }}", "a-1")), 'does not depend on "a-2"'),
        ((wants("{{ tasks.z.results.X }}"),), 'does not depend on "z"'),
        ((task_spec("a"), wants("{{ tasks.a.results.1X }}", "a")), "not sound: write {{ tasks.NAME.results.KEY }}"),
        ((task_spec("a"), wants("{{ tasks.A.results.X }}", "a")), "not sound"),
        (
            (task_spec("a-b"), task_spec("a"), wants("{{ tasks.a-b.results.C }}{{ tasks.a.results.B_C }}", "a-b", "a")),
            "have the same variable RUNABOUT_RESULT_A_B_C",
        ),
    ],
)
def test_what_cannot_be_filled_in_is_a_setup_error_with_its_place(
    tasks: tuple[dict[str, Any], ...], words: str
) -> None:
    [error] = errors(*tasks)
    assert error.startswith(f"spec.tasks[{len(tasks) - 1}].steps[0].run: ")
    assert words in error


def test_references_where_nothing_fills_them_in_are_refused() -> None:
    variable = {"name": "A", "value": "{{ tasks.a.results.X }}"}
    parent = task_spec("a")
    child = task_spec("b", depends=[{"task": "a"}], environment=[variable])
    assert [error.split(": ")[0] for error in errors(parent, child, environment=[variable])] == [
        "spec.environment[0].value",
        "spec.tasks[1].environment[0].value",
    ]
