"""What pods say, judged: the tables of tests/data/pods, and laws that hold for every pod."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runabout.executors.observe import observe
from runabout.executors.podview import pod_view
from runabout.executors.services import Service
from runabout.executors.state import Absent, Ended, Fault, Limits, Machinery, Pending, PodState, Running
from runabout.executors.trim import trim_pod
from runabout.records import Reason

DATA = Path(__file__).parents[2] / "data" / "pods"
CREATED = 1_767_225_600
"""2026-01-01T00:00:00Z; the tables' seconds count from here."""
NONCE = "0f3c0f3c0f3c0f3c0f3c0f3c0f3c0f3c"
TIMES = {"creationTimestamp", "deletionTimestamp", "lastTransitionTime", "startedAt", "finishedAt"}
ABSOLUTE = {"since", "look_again", "started", "ended"}

Case = dict[str, Any]


def cases() -> Iterator[tuple[str, Case]]:
    for file in sorted(DATA.glob("*.yaml")):
        for case in yaml.safe_load(file.read_text()):
            yield f"{file.stem}: {case['promise']}", case


CASES = dict(cases())


def with_times(value: object) -> object:
    """Turn seconds after the creation into what Kubernetes writes; -1 is the epoch."""
    if isinstance(value, Mapping):
        return {
            key: rfc3339(item) if key in TIMES and isinstance(item, int) else with_times(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [with_times(item) for item in value]
    return value


def rfc3339(seconds: int) -> str:
    moment = 0 if seconds < 0 else CREATED + seconds
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(seconds: int) -> int:
    return (CREATED + seconds) * 1000


def pod_of(case: Case) -> dict[str, Any]:
    pod = with_times({"metadata": {"creationTimestamp": 0}, "status": {}, **case["pod"]})
    assert isinstance(pod, dict)
    pod["metadata"].setdefault("creationTimestamp", rfc3339(0))
    if "summary" in case:
        wire = {"runabout": 1, "nonce": NONCE, "toolbox": "test", "start": milliseconds(5), "setup": 10}
        for status in pod["status"]["containerStatuses"]:
            if status["name"] == "main":
                status["state"]["terminated"]["message"] = json.dumps({**wire, **case["summary"]})
    return pod


def state_of(case: Case, pod: Mapping[str, object], *, now: int | None = None, steps: tuple[str, ...] = ()) -> PodState:
    stopped_at = case.get("stopped_at")
    return observe(
        pod,
        now=milliseconds(case["now"]) if now is None else now,
        limits=Limits(**case.get("limits", {})),
        steps=steps,
        services=tuple(Service(**service) for service in case.get("services", ())),
        stopped_at=None if stopped_at is None else milliseconds(stopped_at),
        fault=Fault(**{**case["fault"], "reason": Reason(case["fault"]["reason"])}) if "fault" in case else None,
        gone=case.get("gone", False),
        nonce=case.get("nonce"),
    )


@pytest.mark.parametrize("name", CASES)
def test_a_pod_is_judged_as_the_table_says(name: str) -> None:
    case = CASES[name]
    expected = dict(case["expect"])

    state = state_of(case, pod_of(case))

    assert type(state).__name__ == expected.pop("state"), state
    for key, value in expected.items():
        found: object = getattr(state, key)
        if key == "fault" and found is not None:
            assert isinstance(found, Fault)
            found = [found.reason, found.message, found.service]
        if key == "steps":
            found = [str(step.status) for step in getattr(state, key)]
        wanted = milliseconds(value) if key in ABSOLUTE and value is not None else value
        assert found == wanted, (key, state)


@pytest.mark.parametrize("name", CASES)
def test_a_trimmed_pod_is_judged_as_the_whole_one(name: str) -> None:
    case = CASES[name]
    pod = pod_of(case)

    assert state_of(case, trim_pod(pod)) == state_of(case, pod)


@pytest.mark.parametrize("name", CASES)
def test_a_state_that_asks_for_another_look_changes_only_then_and_comes_to_an_end(name: str) -> None:
    case = CASES[name]
    pod = pod_of(case)
    state = state_of(case, pod)
    if getattr(state, "look_again", None) is None:
        return

    for _ in range(3):
        look_again = getattr(state, "look_again", None)
        if look_again is None:
            break
        assert state_of(case, pod, now=look_again - 1) == state
        state = state_of(case, pod, now=look_again)
    assert isinstance(state, Ended | Machinery) or (isinstance(state, Pending | Running) and state.fault)


@pytest.mark.parametrize("name", CASES)
def test_an_end_stays_as_it_is_however_late_it_is_looked_at(name: str) -> None:
    case = CASES[name]
    pod = pod_of(case)
    state = state_of(case, pod)
    if isinstance(state, Ended | Machinery):
        assert state_of(case, pod, now=milliseconds(10_000_000)) == state


def test_no_pod_is_absent() -> None:
    assert observe(None, now=0, limits=Limits()) == Absent()


def test_steps_have_their_names_sizes_and_times() -> None:
    case = CASES["endings: a step's own exit code fails the task and the later steps were never started"]

    state = state_of(case, pod_of(case), steps=("clone", "test", "upload"))

    assert isinstance(state, Ended)
    assert [(step.name, step.exit_code, step.log_size) for step in state.steps] == [
        ("clone", 0, 28),
        ("test", 3, 4),
        ("upload", None, 0),
    ]
    assert state.steps[0].started == milliseconds(5) + 8
    assert state.steps[2].started is None
    assert state.summary is not None
    assert state.summary.sizes == (10, 28, 4, 0)


def test_a_summary_of_another_number_of_steps_is_not_believed() -> None:
    case = CASES["endings: every step succeeded"]

    state = state_of(case, pod_of(case), steps=("one", "two"))

    assert isinstance(state, Ended)
    assert (state.outcome, state.steps, state.summary) == ("success", (), None)


texts = st.text(max_size=40) | st.sampled_from(
    ["main", "Evicted", "OOMKilled", "ErrImagePull", "503 not found", "True"]
)
leaves = st.none() | st.booleans() | st.integers(-5, 300) | texts | st.just("2026-01-01T00:00:00Z")
junk = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
details = st.fixed_dictionaries(
    {},
    optional={
        "reason": junk,
        "message": junk | st.text(min_size=900, max_size=5_000),
        "exitCode": junk,
        "startedAt": junk,
        "finishedAt": junk,
    },
)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["main", "runabout-toolbox", "proxy"])},
        optional={
            "state": st.dictionaries(st.sampled_from(["waiting", "running", "terminated"]), details, max_size=2) | junk,
            "restartCount": junk,
            "started": junk,
            "lastState": st.fixed_dictionaries({}, optional={"terminated": details | junk}) | junk,
        },
    )
    | junk,
    max_size=12,
)
conditions = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["PodScheduled", "DisruptionTarget", "Ready", "Other"])},
        optional={
            "status": st.sampled_from(["True", "False"]),
            "reason": texts,
            "message": junk,
            "lastTransitionTime": junk,
        },
    )
    | junk,
    max_size=4,
)
pods = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {}, optional={"creationTimestamp": junk, "deletionTimestamp": junk, "labels": junk, "annotations": junk}
        )
        | junk,
        "spec": junk,
        "status": st.fixed_dictionaries(
            {},
            optional={
                "phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]) | junk,
                "reason": junk,
                "message": junk,
                "conditions": conditions | junk,
                "containerStatuses": containers | junk,
                "initContainerStatuses": containers | junk,
            },
        )
        | junk,
    },
)


@given(pods, st.none() | st.integers(0, 2**41), st.booleans(), st.integers(0, 2**41))
def test_no_pod_of_any_shape_breaks_observing(
    pod: dict[str, object], stopped_at: int | None, gone: bool, now: int
) -> None:
    services = (Service("proxy", 1, 2), Service("main"))
    state = observe(pod, now=now, limits=Limits(), services=services, stopped_at=stopped_at, gone=gone)

    assert not isinstance(state, Absent)


@given(pods)
def test_trimming_keeps_all_that_is_looked_at_and_trims_once(pod: dict[str, object]) -> None:
    trimmed = trim_pod(pod)

    assert pod_view(trimmed) == pod_view(pod)
    assert trim_pod(trimmed) == trimmed
