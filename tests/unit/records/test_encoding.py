"""Records as bytes: pinned, read back, and read across versions."""

import dataclasses
import types
import typing
from collections.abc import Mapping

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.records import (
    Approval,
    Attempt,
    Condition,
    Counter,
    Dependency,
    EnvVar,
    EnvVarSource,
    Event,
    Phase,
    Reason,
    Result,
    Run,
    RunConfig,
    RunId,
    Status,
    StepState,
    Task,
    TaskConfig,
    Verdict,
    altered,
    expanded,
)
from runabout.records.encoding import RecordError, decode, encode

RUN = RunId("1il7g1c000001")
PINNED: list[tuple[object, bytes]] = [
    (
        Run(
            RUN, "ci", "web-1", "u-1", "/ci/web", 7, Phase.FINISHED, Result.FAILED, Reason.EXIT_CODE, created=1, ended=3
        ),
        (
            b'{"id":"1il7g1c000001","namespace":"ci","name":"web-1","uid":"u-1","group":"/ci/web","counter":7,'
            b'"phase":"finished","result":"failed","reason":"ExitCode","created":1,"ended":3}'
        ),
    ),
    (
        Run(RUN, "ci", "w", "u", "/ci", 0, Phase.QUEUED),
        b'{"id":"1il7g1c000001","namespace":"ci","name":"w","uid":"u","group":"/ci","counter":0,"phase":"queued"}',
    ),
    (Task(RUN, "build"), b'{"run":"1il7g1c000001","name":"build"}'),
    (
        Task(
            RUN,
            "b",
            Status.FAILED,
            attempt=2,
            executor="linux",
            approvals=(Approval("b", "eve", Verdict.REFUSED, ("ops",)),),
            exit_code=0,
            steps=(StepState("s", Status.SUCCESS, 0, 5, 6, 10, 20),),
            attempts=(Attempt(1, "pod", "linux", Reason.EVICTED, "gone"),),
            stored=False,
        ),
        (
            b'{"run":"1il7g1c000001","name":"b","status":"failed","attempt":2,"executor":"linux",'
            b'"approvals":[{"task":"b","by":"eve","verdict":"refused","groups":["ops"]}],"exit_code":0,'
            b'"steps":[{"name":"s","status":"success","exit_code":0,"started":5,"ended":6,"log_offset":10,"log_size":20}],'
            b'"attempts":[{"number":1,"pod":"pod","executor":"linux","reason":"Evicted","message":"gone"}],"stored":false}'
        ),
    ),
    (
        RunConfig(
            RUN,
            "ci",
            "w",
            "u",
            "/ci/w",
            "/ci/w",
            9,
            tasks=(
                TaskConfig("a", body={"steps": [{"run": "é"}], "n": 1.5, "none": None}),
                TaskConfig("b", (Dependency("a", frozenset({Condition.ON_SUCCESS, Condition.ON_FAILURE})),)),
                TaskConfig("c", (Dependency("a"),), arch="arm64"),
            ),
            environment=(EnvVar("A", ""), EnvVar("B", value_from=EnvVarSource("secretKeyRef", "s", "k"))),
            labels={"x": "y"},
        ),
        '{"id":"1il7g1c000001","namespace":"ci","name":"w","uid":"u","group":"/ci/w","cache_group":"/ci/w","created":9,'
        '"tasks":[{"name":"a","body":{"steps":[{"run":"é"}],"n":1.5,"none":null}},'
        '{"name":"b","depends":[{"task":"a","conditions":["on_failure","on_success"]}]},'
        '{"name":"c","depends":[{"task":"a"}],"arch":"arm64"}],'
        '"environment":[{"name":"A","value":""},'
        '{"name":"B","value_from":{"kind":"secretKeyRef","name":"s","key":"k"}}],"labels":{"x":"y"}}'.encode(),
    ),
    (Counter("/ci", 3), b'{"root_group":"/ci","last":3}'),
    (
        Event(RUN, Phase.RUNNING, Result.UNKNOWN, 5),
        b'{"run":"1il7g1c000001","phase":"running","result":"unknown","time":5}',
    ),
]


@pytest.mark.parametrize(("record", "body"), PINNED)
def test_the_bytes_of_a_record_are_as_written_by_the_first_version(record: object, body: bytes) -> None:
    assert encode(record) == body
    assert decode(type(record), body) == record


@pytest.mark.parametrize(("record", "body"), PINNED)
def test_a_field_that_a_newer_program_added_is_ignored_at_every_level(record: object, body: bytes) -> None:
    def grown(value: object) -> object:
        if isinstance(value, list):
            return [grown(item) for item in value]
        if isinstance(value, dict):
            # What passes through untouched has no fields of ours.
            inside = {key: item if key in {"body", "labels"} else grown(item) for key, item in value.items()}
            return {**inside, "fromTheFuture": {"a": [1]}}
        return value

    assert decode(type(record), orjson.dumps(grown(orjson.loads(body)))) == record


RECORDS = [Run, RunConfig, Task, TaskConfig, Counter, Event, StepState, Attempt, Approval, Dependency]


def _names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("kind", RECORDS)
def test_what_is_missing_takes_its_default_and_what_has_none_is_required(kind: type) -> None:
    with pytest.raises(RecordError, match=f"this is no {kind.__name__} record"):
        decode(kind, b"{}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"root_group":"/ci"}',
        b'{"root_group":"/ci","last":"x"}',
        b'{"root_group":1,"last":1}',
        b'{"root_group":"/ci","last":1}}',
        b'{"root_group":"\xff","last":1}',
        b'{"root_group":"/ci","last":null}',
    ],
)
def test_bytes_that_are_no_record_are_refused(body: bytes) -> None:
    with pytest.raises(RecordError, match="this is no Counter record"):
        decode(Counter, body)


def test_a_word_that_this_version_does_not_know_is_refused() -> None:
    with pytest.raises(RecordError, match="paused"):
        decode(Event, b'{"run":"1il7g1c000001","phase":"paused","result":"unknown","time":5}')


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_a_record_error(body: bytes) -> None:
    try:
        found = decode(Counter, body)
    except RecordError:
        return
    assert decode(Counter, encode(found)) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
st.register_type_strategy(Mapping, BODIES)


def _strategy(hint: object) -> st.SearchStrategy[object]:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is typing.Annotated:
        return _strategy(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(_strategy, arguments))
    if origin is tuple:
        return st.lists(_strategy(arguments[0]), max_size=2).map(tuple)
    if origin is frozenset:
        return st.frozensets(_strategy(arguments[0]))
    if origin is not None and issubclass(origin, Mapping) and typing.get_origin(arguments[1]) is tuple:
        return st.dictionaries(st.text(max_size=4), st.lists(st.text(max_size=4), max_size=2).map(tuple), max_size=2)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(st.text(max_size=4), st.text(max_size=4)) if arguments[1] is str else BODIES
    if hint is type(None):
        return st.none()
    if hint is RunId:
        return st.just(RUN)
    assert isinstance(hint, type)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        return st.builds(hint, **{name: _strategy(hints[name]) for name in _names(hint)})
    return st.integers(-(2**53), 2**53) if hint is int else st.from_type(hint)


@pytest.mark.parametrize("kind", RECORDS)
def test_every_record_is_read_back(kind: type) -> None:
    @given(_strategy(kind))
    def check(record: object) -> None:
        found: object = decode(kind, encode(record))
        if isinstance(record, RunConfig):  # what is read is expanded
            record = dataclasses.replace(record, tasks=expanded(record.tasks))
        assert found == record

    check()


ALTERED = st.fixed_dictionaries({}, optional={each.name: st.integers() for each in dataclasses.fields(Task)})


@given(ALTERED)
def test_an_altered_task_differs_in_what_was_changed_and_in_nothing_else(changes: dict[str, typing.Any]) -> None:
    task = next(record for record, _ in PINNED if isinstance(record, Task) and record.attempt)
    before = dataclasses.replace(task)
    made = altered(task, **changes)
    assert made == dataclasses.replace(task, **changes)
    assert (made is not task, task) == (True, before)
