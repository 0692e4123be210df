"""Matrices: which tasks a task stands for, who depends on whom then, and what cannot be."""

import pytest

from runabout.engine.matrix import MAX_DEPENDENCIES, MAX_TASKS, Expansion, Template, expand
from runabout.records import Condition, Dependency, TaskConfig


def template(name: str, *parents: str, **matrix: list[str]) -> Template:
    return Template(TaskConfig(name, tuple(Dependency(parent) for parent in parents)), matrix)


def names(found: Expansion) -> list[str]:
    return [task.name for task in found.tasks]


def parents(found: Expansion, name: str) -> list[str]:
    return [dependency.task for task in found.tasks if task.name == name for dependency in task.depends]


def test_variants_are_named_in_the_order_of_the_keys_names_whatever_the_order_in_the_spec() -> None:
    found = expand([template("t", OS=["linux", "mac"], ARCH=["arm", "x86"])])
    assert found.errors == ()
    assert names(found) == ["t-arm-linux", "t-arm-mac", "t-x86-linux", "t-x86-mac"]
    assert [task.values for task in found.tasks][1] == {"ARCH": "arm", "OS": "mac"}


@pytest.mark.parametrize(
    ("value", "name"),
    [("3.12", "t-3-12"), ("A", "t--"), ("a b/c", "t-a-b-c"), ("ü1", "t--1"), ("x" * 61, "t-" + "x" * 61)],
)
def test_characters_outside_a_dns_label_become_dashes(value: str, name: str) -> None:
    assert names(expand([template("t", V=[value])])) == [name]


def test_a_task_without_a_matrix_is_itself() -> None:
    for plain in (template("t"), Template(TaskConfig("t"), {})):
        assert expand([plain]) == Expansion((TaskConfig("t"),))


def test_a_dependency_on_the_task_is_one_on_every_variant_with_the_same_conditions() -> None:
    conditions = frozenset({Condition.ON_FAILURE})
    child = Template(TaskConfig("c", (Dependency("t", conditions),)))
    found = expand([template("t", V=["a", "b"]), child])
    assert found.errors == ()
    assert found.tasks[-1].depends == (Dependency("t-a", conditions), Dependency("t-b", conditions))


def test_a_variant_can_be_named_by_its_full_name() -> None:
    found = expand([template("t", V=["a", "b"]), template("c", "t-b")])
    assert found.errors == ()
    assert parents(found, "c") == ["t-b"]


def test_every_variant_has_the_tasks_own_parents() -> None:
    found = expand([template("p", V=["x", "y"]), template("t", "p", V=["a", "b"])])
    assert found.errors == ()
    assert parents(found, "t-a") == parents(found, "t-b") == ["p-x", "p-y"]


def test_the_key_arch_is_the_variants_architecture_as_well_as_a_variable() -> None:
    found = expand([template("t", arch=["amd64", "arm64"], V=["a"]), template("u", V=["a"])])
    assert found.errors == ()
    assert [(task.name, task.arch) for task in found.tasks] == [
        ("t-a-amd64", "amd64"),
        ("t-a-arm64", "arm64"),
        ("u-a", None),
    ]
    assert [task.values.get("arch") for task in found.tasks] == ["amd64", "arm64", None]


def test_the_arch_of_the_task_stays_that_of_all_variants_where_the_key_is_another() -> None:
    found = expand([Template(TaskConfig("t", arch="arm64"), {"ARCH": ["x", "y"]})])
    assert found.errors == ()
    assert [task.arch for task in found.tasks] == ["arm64", "arm64"]


@pytest.mark.parametrize("value", ["", "AMD64", "x86.64", "-arm", "arm-", "a" * 33, "arm64\n"])
def test_a_value_that_no_arch_can_have_is_an_error_at_its_place(value: str) -> None:
    errors = expand([template("a"), template("t", arch=["arm64", value])]).errors
    assert [error for error in errors if error.startswith("spec.tasks[1].matrix.arch[1]: ")], errors
    assert not [error for error in errors if "matrix.arch[0]" in error]


@pytest.mark.parametrize("many", [1, MAX_TASKS])
def test_an_arch_beside_a_matrix_of_archs_is_an_error(many: int) -> None:
    values = {"arch": ["arm64", "amd64"], "V": [str(number) for number in range(many)]}
    errors = expand([Template(TaskConfig("t", arch="arm64"), values)]).errors
    assert [error for error in errors if error.startswith("spec.tasks[0].arch: arm64, but the matrix")], errors


@pytest.mark.parametrize(
    ("templates", "words"),
    [
        ([template("t", V=["a.b", "a/b"])], ['variant of V=a/b would be called "t-a-b", as is the variant of V=a.b']),
        ([template("t", V=["a", "a"])], ['would be called "t-a", as is the variant of V=a']),
        ([template("t", V=["a"]), template("t-a")], ['would be called "t-a", as is spec.tasks[1]']),
        ([template("t", A=["b-c"], B=["d"]), template("t-b", A=["c-d"])], ['would be called "t-b-c-d"']),
        ([template("t", V=["a-"])], ['"t-a-", which is no DNS label']),
        ([template("t", V=["x" * 62])], ["which is no DNS label"]),
        ([template("t", V=["a"]), template("c", "t-b")], ['spec.tasks[1].depends[0].task: unknown task "t-b"']),
        ([template("t", "t-a", V=["a", "b"])], ['spec.tasks[0].depends: task "t-a" depends on itself']),
        ([template("t", "c", V=["a", "b"]), template("c", "t")], ["spec.tasks[0].depends: cycle: t-a -> c -> t-a"]),
    ],
)
def test_what_cannot_be_is_an_error_with_its_path(templates: list[Template], words: list[str]) -> None:
    errors = expand(templates).errors
    assert len(errors) >= len(words)
    for word in words:
        assert any(word in error for error in errors), errors
    assert all(error.startswith("spec.tasks[") for error in errors)


def test_a_run_of_as_many_tasks_as_there_may_be_is_expanded_and_one_more_is_not() -> None:
    values = [f"v{number}" for number in range(100)]
    found = expand([template("t", A=values, B=values)])
    assert (len(found.tasks), found.errors) == (MAX_TASKS, ())
    more = expand([template("t", A=values, B=values), template("one")])
    assert more.errors == ("spec.tasks: 10001 tasks after matrix expansion, at most 10000; use fewer values",)
    assert names(more) == ["t", "one"], "enough to be shown, not expanded"


def test_a_matrix_that_multiplies_without_end_is_answered_at_once() -> None:
    keys = {f"K{key}": [str(value) for value in range(256)] for key in range(8)}
    (error,) = expand([template("t", **keys)]).errors
    assert f"at most {MAX_TASKS}" in error


def test_two_large_matrices_one_after_the_other_are_refused() -> None:
    values = [f"v{number}" for number in range(400)]
    found = expand([template("a", V=values), template("b", "a", V=values)])
    assert any(f"160000 dependencies after matrix expansion, at most {MAX_DEPENDENCIES}" in e for e in found.errors)
    joined = expand([template("a", V=values), template("join", "a"), template("b", "join", V=values)])
    assert joined.errors == ()
