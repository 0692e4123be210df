"""Label selectors, by the words of the Kubernetes documentation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.records.json import JsonObject
from runabout.scheduling.selectors import selects

LABELS = {"env": "prod", "tier": "web"}


def expression(key: str, operator: str, *values: str) -> JsonObject:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, True),
        ({}, True),
        ({"matchLabels": {}}, True),
        ({"matchLabels": {"env": "prod"}}, True),
        ({"matchLabels": {"env": "prod", "tier": "web"}}, True),
        ({"matchLabels": {"env": "test"}}, False),
        ({"matchLabels": {"env": "prod", "zone": "a"}}, False),
        ({"matchLabels": {"zone": ""}}, False),
        (expression("env", "In", "prod", "test"), True),
        (expression("env", "In", "test"), False),
        (expression("env", "In"), False),
        (expression("zone", "In", "a"), False),
        (expression("env", "NotIn", "test"), True),
        (expression("env", "NotIn", "prod"), False),
        (expression("zone", "NotIn", "a"), True),
        (expression("env", "Exists"), True),
        (expression("zone", "Exists"), False),
        (expression("env", "DoesNotExist"), False),
        (expression("zone", "DoesNotExist"), True),
        (expression("env", "Gt", "1"), False),
        ({"matchExpressions": [{"key": "env"}]}, False),
        ({"matchExpressions": ["env"]}, False),
        ({"matchLabels": {"env": "prod"}, **expression("tier", "In", "db")}, False),
        ({"matchLabels": {"env": "test"}, **expression("tier", "In", "web")}, False),
    ],
)
def test_a_selector_means_what_it_means_in_kubernetes(selector: JsonObject | None, matches: bool) -> None:
    assert selects(selector, LABELS) is matches


WORDS = st.sampled_from(["a", "b", "c"])
REQUIREMENTS = st.lists(
    st.tuples(WORDS, st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]), st.lists(WORDS, max_size=2)),
    max_size=3,
)


@given(st.dictionaries(WORDS, WORDS), st.dictionaries(WORDS, WORDS, max_size=2), REQUIREMENTS)
def test_every_requirement_has_to_hold(
    labels: dict[str, str], wanted: dict[str, str], requirements: list[tuple[str, str, list[str]]]
) -> None:
    rows = [{"key": key, "operator": operator, "values": values} for key, operator, values in requirements]
    alone: list[JsonObject] = [{"matchLabels": {key: value}} for key, value in wanted.items()]
    alone.extend({"matchExpressions": [row]} for row in rows)
    assert selects({"matchLabels": wanted, "matchExpressions": rows}, labels) is all(
        selects(one, labels) for one in alone
    )


@given(st.dictionaries(WORDS, WORDS), WORDS, st.lists(WORDS, max_size=2))
def test_an_operator_and_its_opposite_never_agree(labels: dict[str, str], key: str, values: list[str]) -> None:
    assert selects(expression(key, "In", *values), labels) is not selects(expression(key, "NotIn", *values), labels)
    assert selects(expression(key, "Exists"), labels) is not selects(expression(key, "DoesNotExist"), labels)
