"""Which level of the environment wins, and how it reaches the container unchanged."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.executors.environment import container_variable, environment, literal, merged
from runabout.executors.errors import InvalidPodError
from runabout.records import EnvVar, EnvVarSource

names = st.sampled_from(["A", "B", "C", "D"])
levels = st.lists(st.lists(st.builds(EnvVar, name=names, value=st.text(max_size=3)), max_size=4), max_size=5)


def expanded(value: str, environment: dict[str, str]) -> str:
    """What Kubernetes makes of a variable's value: `$$` is a dollar, `$(NAME)` the variable if there is one."""

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return environment.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replaced, value)


@given(levels)
def test_the_last_level_that_has_a_name_wins(given_levels: list[list[EnvVar]]) -> None:
    result = {variable.name: variable.value for variable in merged(*given_levels)}

    flat = [variable for level in given_levels for variable in level]
    assert result == {variable.name: variable.value for variable in flat}


@given(levels)
def test_merging_merged_levels_changes_nothing(given_levels: list[list[EnvVar]]) -> None:
    once = merged(*given_levels)

    assert merged(once) == once
    assert len({variable.name for variable in once}) == len(once)


@given(st.text(alphabet="$()AB x", max_size=12))
def test_a_literal_arrives_byte_for_byte(value: str) -> None:
    assert expanded(literal(value), {"A": "expanded", "B": "too"}) == value


def test_a_reference_hides_a_weaker_value() -> None:
    secret = EnvVar("TOKEN", value_from=EnvVarSource("secretKeyRef", "s", "k", optional=True))

    (variable,) = merged([EnvVar("TOKEN", "weak")], [secret])

    assert container_variable(variable) == {
        "name": "TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}},
    }


def test_a_level_is_read_as_the_spec_writes_it() -> None:
    assert environment(
        [
            {"name": "A", "value": "1"},
            {"name": "EMPTY"},
            {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
        ],
        "environment",
    ) == (
        EnvVar("A", "1"),
        EnvVar("EMPTY", ""),
        EnvVar("MAP", value_from=EnvVarSource("configMapKeyRef", "m", "k")),
    )


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("text", "environment: expected a list"),
        ([{"value": "1"}], r"environment\[0\]: a variable needs a name"),
        ([{"name": "RUNABOUT_RUN_ID", "value": "x"}], "RUNABOUT_RUN_ID cannot be set"),
        ([{"name": "A", "valueFrom": {"fieldRef": {}}}], r"environment\[0\].valueFrom: expected secretKeyRef"),
        ([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}], "a name and a key are needed"),
    ],
)
def test_a_level_that_makes_no_sense_is_refused_with_its_path(raw: object, words: str) -> None:
    with pytest.raises(InvalidPodError, match=words):
        environment(raw, "environment")
