"""Whatever is written, check and conversion answer; and the models accept exactly what the schema accepts."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from fixtures.openapi import Structural
from fixtures.specs import BAD, GOOD, copied
from runabout.control.config import MAX_ERROR, MAX_ERRORS, checked_config, setup_errors
from runabout.control.executors import executor_object
from runabout.control.objects import run_object
from runabout.control.status import run_status
from runabout.engine.create import create_run
from runabout.executors.gatewayaccess import GatewayAccess
from runabout.executors.manifest import PodSettings, pod_manifest
from runabout.executors.plan import step_names
from runabout.records import Phase, RunConfig, RunId
from runabout.records.encoding import decode, encode
from runabout.resources import API_VERSION, CheckedExecutor, CheckedRun, check
from runabout.resources.check import MAX_DEPTH
from runabout.resources.definitions import KINDS
from runabout.resources.model import Model
from runabout.resources.schema import structural

STRUCTURAL = {kind.kind: Structural(structural(kind.spec)) for kind in KINDS}
LENIENT = PodSettings(
    toolbox_image="runabout/toolbox:1", allow_privileged=True, gateway=GatewayAccess("https://gateway.example")
)
RULES = {rule.message for model in Model.__subclasses__() for rule in model.rules if "oldSelf" not in rule.cel}
SPECS = [case.spec for case in (*GOOD, *BAD) if case.kind == "Run"]
RUNNABLE = [found for case in GOOD if case.kind == "Run" and (found := copied(case)).get("tasks")]
EXECUTORS = [case.spec for case in (*GOOD, *BAD) if case.kind == "Executor"]

PASSED_ON: dict[str, Callable[[object], dict[str, object]]] = {
    "affinity": lambda inner: {"affinity": {"a": inner}},
    "securityContext": lambda inner: {"securityContext": {"a": inner}},
    "tolerations": lambda inner: {"tolerations": [{"a": inner}]},
    "volumes": lambda inner: {"volumes": [{"name": "v", "a": inner}]},
}
"""Pieces of the pod API that no schema bounds."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(-1e15, 1e15)  # beyond, JSON schema sees integers where the API server sees numbers
    | st.text(max_size=8)
    | st.sampled_from(
        ["on_failure", "a", "A", "/a/b", "/runabout", "RUNABOUT_X", "run-1", "\n", "\0", "a" * 5000, 10**30]
    )
)
KEYS = st.text(max_size=4) | st.sampled_from(["name", "tasks", "run", "value", "image", "depends", "matrix", "pod"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
NO_JSON: st.SearchStrategy[object] = st.recursive(
    st.floats()
    | st.text(st.characters(), max_size=3)
    | st.sampled_from([b"x", (1,), frozenset({1}), 10**400, "\ud800"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.integers() | st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)
NO_KEYS: st.SearchStrategy[object] = st.none() | st.booleans() | st.integers() | st.floats() | st.just("\ud800")


def places(value: object, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield where
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*where, index))


def at(root: Any, where: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - any JSON
    for part in where:
        root = root[part]
    return root


@st.composite
def mutated(
    draw: st.DrawFn,
    specs: Sequence[Mapping[str, Any]],
    values: st.SearchStrategy[object] = JSON,
    keys: st.SearchStrategy[object] = KEYS,
    *,
    most: int = 3,
) -> object:
    """A spec of the tables with up to `most` changes: another value, a key more or less, an entry twice."""
    root: Any = {"spec": copy.deepcopy(draw(st.sampled_from(specs)))}
    for _ in range(draw(st.integers(1, most))):
        where = draw(st.sampled_from([place for place in places(root) if place]))
        parent: Any = at(root, where[:-1])
        match draw(st.sampled_from(["replace", "remove", "add", "twice", "move"])):
            case "replace":
                parent[where[-1]] = draw(values)
            case "remove" if len(where) > 1:
                del parent[where[-1]]
            case "add" if isinstance(parent[where[-1]], dict):
                parent[where[-1]][draw(keys)] = draw(values)
            case "twice" if isinstance(parent, list):
                parent.append(copy.deepcopy(at(parent, where[-1:])))
            case "move":
                other = draw(st.sampled_from([place for place in places(root) if place]))
                parent[where[-1]] = copy.deepcopy(at(root, other))
    return root["spec"]


def record(spec: object) -> RunConfig:
    """The record of a Run with this spec, written and read again."""
    run = run_object({"metadata": {"name": "fuzz", "namespace": "ci", "uid": "c0ffee"}, "spec": spec})
    config = checked_config(run, id=RunId("1il7g1c000001"), created=0)
    assert decode(RunConfig, encode(config)) == config
    return config


@given(JSON)
@example({"apiVersion": API_VERSION, "kind": "Run", "metadata": None, "spec": None})
@example({"apiVersion": API_VERSION, "kind": ["Run"], "metadata": {"name": [], "labels": {"a": None}}, "spec": {}})
def test_check_answers_for_any_document(document: object) -> None:
    found = check(document)
    assert isinstance(found, CheckedRun | CheckedExecutor) or found
    if isinstance(found, tuple):
        assert all("\n" not in problem.path for problem in found)


@settings(max_examples=300)
@given(mutated([*SPECS, *EXECUTORS], NO_JSON, NO_KEYS), st.sampled_from(["Run", "Executor"]))
def test_check_answers_for_what_no_parser_of_json_would_give(spec: object, kind: str) -> None:
    found = check({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "fuzz"}, "spec": spec})
    if isinstance(found, CheckedRun):
        assert all(setup_errors(found))
    elif isinstance(found, tuple):
        assert all(str(problem) for problem in found)


@settings(max_examples=400)
@given(mutated(SPECS))
def test_any_run_becomes_a_record_with_bounded_errors_and_a_small_status(spec: object) -> None:
    config = record(spec)
    assert len(config.setup_errors) <= MAX_ERRORS
    assert all(len(error) <= MAX_ERROR for error in config.setup_errors)
    created = create_run(config, counter=1, now=0)
    assert created.state.run.phase is (Phase.SETUPERROR if config.setup_errors else Phase.QUEUED)
    status = run_status(created.state, generation=1, waits={}, run_wait=None, previous={}, now=0)
    assert len(repr(status)) < 16_000


@settings(max_examples=400)
@given(mutated(RUNNABLE, most=1))
def test_a_run_without_errors_has_a_pod_for_every_task(spec: object) -> None:
    config = record(orjson.loads(json.dumps(spec)))  # numbers as the session reads them
    event(f"{len(config.tasks)} tasks" if not config.setup_errors else "errors")
    for task in () if config.setup_errors else config.tasks:
        made = pod_manifest(config, task, attempt=1, counter=1, executor_pod={}, settings=LENIENT)
        assert orjson.dumps(made.pod)
        names = step_names(task)
        assert len(set(names)) == len(names)


@given(st.integers(1, 900), st.sampled_from(sorted(PASSED_ON)), st.booleans())
@example(200, "affinity", False)
def test_what_is_nested_however_deep_becomes_a_record_that_can_be_read(depth: int, piece: str, lists: bool) -> None:
    inner: object = "end"
    for _ in range(depth):
        inner = [inner] if lists else {"a": inner}
    pod = PASSED_ON[piece](inner)
    task = {"name": "a", "containers": [{"image": "x"}], "pod": pod}
    config = record({"tasks": [task], "pod": pod})
    executor = executor_object({"metadata": {"name": "x"}, "spec": {"archs": ["amd64"], "pod": pod}})
    if depth < MAX_DEPTH - 10:
        assert (config.setup_errors, executor.error) == ((), "")
    elif depth > MAX_DEPTH:
        (error,) = config.setup_errors
        assert "nested more than 64 levels deep" in error
        assert "nested more than 64 levels deep" in executor.error


@settings(max_examples=400)
@given(mutated(SPECS))
def test_models_of_a_run_accept_what_the_schema_accepts_and_the_other_way_round(spec: object) -> None:
    agree("Run", spec)


@given(mutated(EXECUTORS))
def test_models_of_an_executor_accept_what_the_schema_accepts_and_the_other_way_round(spec: object) -> None:
    agree("Executor", spec)


def agree(kind: str, spec: object) -> None:
    document = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "fuzz"}, "spec": spec}
    found = check(document)
    accepted = STRUCTURAL[kind].accepts(spec)
    if not isinstance(found, tuple):
        assert accepted, "the models accept what the schema refuses"
    elif any(problem.message not in RULES for problem in found):
        assert not accepted, f"the schema accepts what the models refuse: {[str(problem) for problem in found]}"
