"""Variants: what is stored of them is what they come from, and what is read are all of them again."""

from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from runabout.records import Condition, Dependency, RunConfig, RunId, TaskConfig, expanded, variants
from runabout.records.encoding import decode, encode

CONFIG = RunConfig(RunId("1il7g1c000001"), "ci", "w", "u", "/ci/w", "/ci/w", 9)
SCRIPT = {"steps": [{"run": "x" * 10_000}]}
ON_FAILURE = frozenset({Condition.ON_FAILURE})
TEST = TaskConfig(
    "test", (Dependency("build"),), body=SCRIPT, matrix={"GO": ("1.25", "1.26"), "ARCH": ("amd64", "arm64")}
)
TEMPLATES = (TaskConfig("build"), TEST, TaskConfig("report", (Dependency("test", ON_FAILURE), Dependency("build"))))


def test_a_run_is_stored_with_its_matrices_and_read_expanded() -> None:
    config = replace(CONFIG, tasks=expanded(TEMPLATES))
    body = encode(config)
    assert [task["name"] for task in orjson.loads(body)["tasks"]] == ["build", "test", "report"]
    assert decode(RunConfig, body) == config
    assert encode(decode(RunConfig, body)) == body
    assert encode(replace(config, name="again")) == body.replace(b'"name":"w"', b'"name":"again"')


def test_variants_carry_their_values_and_share_all_else() -> None:
    build, *tests, report = expanded(TEMPLATES)
    assert [(task.name, dict(task.values)) for task in tests] == [
        ("test-amd64-1-25", {"ARCH": "amd64", "GO": "1.25"}),
        ("test-amd64-1-26", {"ARCH": "amd64", "GO": "1.26"}),
        ("test-arm64-1-25", {"ARCH": "arm64", "GO": "1.25"}),
        ("test-arm64-1-26", {"ARCH": "arm64", "GO": "1.26"}),
    ]
    assert all(task.body is SCRIPT and task.depends is tests[0].depends and not task.matrix for task in tests)
    assert (build.values, build.matrix) == ({}, {})
    assert report.depends == (*(Dependency(task.name, ON_FAILURE) for task in tests), Dependency("build"))


def test_the_architecture_of_a_variant_is_read_from_the_matrix_that_is_stored() -> None:
    config = replace(CONFIG, tasks=expanded([TaskConfig("t", matrix={"arch": ("amd64", "arm64")})]))
    body = encode(config)
    assert orjson.loads(body)["tasks"][0].get("arch") is None
    assert [(task.name, task.arch) for task in decode(RunConfig, body).tasks] == [
        ("t-amd64", "amd64"),
        ("t-arm64", "arm64"),
    ]


def test_tasks_without_a_matrix_are_stored_as_they_are() -> None:
    assert expanded((TaskConfig("a"), TaskConfig("b"))) == (TaskConfig("a"), TaskConfig("b"))
    config = replace(CONFIG, tasks=(TaskConfig("a"),))
    assert decode(RunConfig, encode(config)) == config


def test_ten_thousand_variants_are_stored_as_one_task() -> None:
    values = tuple(f"v{number}" for number in range(100))
    config = replace(CONFIG, tasks=expanded([TaskConfig("t", body=SCRIPT, matrix={"A": values, "B": values})]))
    assert len(config.tasks) == 10_000
    body = encode(config)
    assert len(body) < 12_000
    assert decode(RunConfig, body) == config


@given(
    st.dictionaries(st.text(max_size=3), st.lists(st.text(max_size=3), min_size=1, max_size=3).map(tuple), max_size=3)
)
def test_there_is_a_variant_for_each_combination_whatever_the_order_of_the_keys(
    matrix: dict[str, tuple[str, ...]],
) -> None:
    task = TaskConfig("t", matrix=matrix)
    other = TaskConfig("t", matrix=dict(reversed(matrix.items())))
    assert variants(task) == variants(other)
    number = 1
    for values in matrix.values():
        number *= len(values)
    assert len(variants(task)) == number
