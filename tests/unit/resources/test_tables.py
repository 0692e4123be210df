"""The tables of good and bad specs: check, the schema and the operator agree on each."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fixtures.openapi import Structural
from fixtures.specs import BAD, GOOD, Case
from runabout.control.config import checked_config, setup_errors
from runabout.control.objects import run_object
from runabout.records import RunId
from runabout.resources import API_VERSION, CheckedExecutor, CheckedRun, check
from runabout.resources.definitions import EXECUTOR, KINDS, RUN, Kind
from runabout.resources.model import Model
from runabout.resources.schema import structural

SCHEMAS = {kind.kind: structural(kind.spec) for kind in KINDS}
STRUCTURAL = {kind: Structural(schema) for kind, schema in SCHEMAS.items()}
RUN_ID = RunId("1il7g1c000001")


def path(error: str) -> str:
    return error.split(": ", maxsplit=1)[0]


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", GOOD, ids=named)
def test_a_good_spec_is_accepted_by_all(case: Case) -> None:
    checked = check(case.document)
    assert isinstance(checked, CheckedRun | CheckedExecutor), checked
    assert STRUCTURAL[case.kind].accepts(case.spec)
    if isinstance(checked, CheckedRun):
        assert setup_errors(checked) == checked.spec.setup_errors


@pytest.mark.parametrize("case", [case for case in BAD if case.by != "setup"], ids=named)
def test_check_finds_all_that_the_api_server_refuses(case: Case) -> None:
    problems = check(case.document)
    assert isinstance(problems, tuple), problems
    assert sorted(problem.path for problem in problems) == sorted(case.at), problems


@pytest.mark.parametrize("case", [case for case in BAD if case.by != "setup"], ids=named)
def test_the_schema_refuses_what_its_rules_do_not(case: Case) -> None:
    assert STRUCTURAL[case.kind].accepts(case.spec) is (case.by == "rule")


@pytest.mark.parametrize("case", [case for case in BAD if case.by == "setup"], ids=named)
def test_what_only_the_operator_finds_becomes_setup_errors(case: Case) -> None:
    checked = check(case.document)
    assert isinstance(checked, CheckedRun), checked
    assert STRUCTURAL[case.kind].accepts(case.spec)
    assert sorted(map(path, setup_errors(checked))) == sorted(case.at)


@pytest.mark.parametrize("case", [case for case in BAD if case.kind == "Run"], ids=named)
def test_a_bad_run_that_an_older_schema_let_through_has_the_same_errors_in_its_record(case: Case) -> None:
    body = {**case.document, "metadata": {"name": "case", "namespace": "ci", "uid": "c0ffee"}}
    config = checked_config(run_object(body), id=RUN_ID, created=0)
    assert sorted(map(path, config.setup_errors)) == sorted(case.at)


@pytest.mark.parametrize(("number", "accepted"), [(256, True), (257, False)])
def test_a_task_can_join_many_others(number: int, accepted: bool) -> None:
    parents = [{"name": f"t{each}", "containers": [{"image": "a"}]} for each in range(number)]
    join = {"name": "join", "depends": [{"task": task["name"]} for task in parents], "containers": [{"image": "a"}]}
    spec = {"tasks": [*parents, join]}
    found = check({"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": "a"}, "spec": spec})
    assert isinstance(found, CheckedRun) is accepted
    assert STRUCTURAL["Run"].accepts(spec) is accepted


def test_every_rule_is_broken_by_a_spec_in_the_tables() -> None:
    found = [check(case.document) for case in BAD if case.by == "rule"]
    broken = {problem.message for problems in found if isinstance(problems, tuple) for problem in problems}
    assert {rule.message for model in models() for rule in model.rules if "oldSelf" not in rule.cel} == broken


@pytest.mark.parametrize("kind", [RUN, EXECUTOR], ids=lambda kind: kind.kind)
def test_every_field_is_in_a_good_spec(kind: Kind) -> None:
    unused = set(fields(SCHEMAS[kind.kind]))
    for case in GOOD:
        unused -= set(used(case.spec, SCHEMAS[case.kind]))
    assert not unused


def models() -> Iterator[type[Model]]:
    pending = [Model]
    while pending:
        model = pending.pop()
        pending.extend(model.__subclasses__())
        yield model


def fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every field, once for each kind of object that has it."""
    properties = schema.get("properties", {})
    for name, child in properties.items():
        yield " ".join(properties), name
        yield from fields(child.get("items", child))


def used(value: object, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields that `value` has."""
    if isinstance(value, list):
        for item in value:
            yield from used(item, schema.get("items", {}))
    elif isinstance(value, Mapping):
        properties = schema.get("properties", {})
        for name in value.keys() & properties.keys():
            yield " ".join(properties), name
            yield from used(value[name], properties[name])
