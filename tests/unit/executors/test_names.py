"""Names of task pods: deterministic, DNS labels, never the same for two attempts."""

import re

from hypothesis import given
from hypothesis import strategies as st

from runabout.executors.names import PodKey, labels, parse_labels, pod_name
from runabout.records import RunId

RUN = RunId("1il7g1c000001")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

tasks = st.from_regex(r"[a-b0-1]([-a-b0-1]{0,61}[a-b0-1])?", fullmatch=True) | st.from_regex(
    r"(a{40}|a{46})[-ab]{0,16}b", fullmatch=True
)
attempts = st.integers(1, 1000)
keys = st.builds(PodKey, run=st.sampled_from([RUN, RunId("1il7g1c000002")]), task=tasks, attempt=attempts)


def test_a_name_is_run_task_and_attempt() -> None:
    assert pod_name(PodKey(RUN, "build", 2)) == "1il7g1c000001-build-2"


def test_a_long_task_is_shortened_with_a_hash() -> None:
    name = pod_name(PodKey(RUN, "integration-" * 5 + "abc", 12))

    assert len(name) == 63
    assert re.fullmatch(r"1il7g1c000001--integration-.*-[0-9a-v]{12}-12", name)


@given(keys)
def test_a_name_is_a_dns_label(key: PodKey) -> None:
    assert DNS_LABEL.fullmatch(pod_name(key))


@given(keys, keys)
def test_two_attempts_never_share_a_name(one: PodKey, other: PodKey) -> None:
    assert (pod_name(one) == pod_name(other)) == (one == other)


@given(tasks, attempts)
def test_no_task_can_be_named_like_a_shortened_one(task: str, attempt: int) -> None:
    long = pod_name(PodKey(RUN, "a" * 63, 1))
    as_task = long.removeprefix(f"{RUN}-").rsplit("-", 1)[0]

    assert as_task.startswith("-"), "a DNS label never begins with a hyphen"
    assert pod_name(PodKey(RUN, task, attempt)) != long


@given(keys, st.text(max_size=80))
def test_labels_are_valid_and_say_which_attempt_it_is(key: PodKey, run_name: str) -> None:
    made = labels(key, run_name=run_name)

    assert parse_labels(made) == key
    assert all(LABEL_VALUE.fullmatch(value) for value in made.values())


def test_a_runs_name_is_left_out_where_a_label_cannot_hold_it() -> None:
    key = PodKey(RUN, "build", 1)

    assert labels(key, run_name="web-118")["runabout.dev/run"] == "web-118"
    assert "runabout.dev/run" not in labels(key, run_name="a" * 64)


@given(st.dictionaries(st.sampled_from(list(labels(PodKey(RUN, "a", 1), run_name="r"))), st.text(max_size=20)))
def test_foreign_labels_are_nobodys(of_pod: dict[str, str]) -> None:
    key = parse_labels(of_pod)

    assert key is None or of_pod["runabout.dev/task"] == key.task


def test_a_pod_of_another_manager_is_not_ours() -> None:
    made = labels(PodKey(RUN, "build", 1), run_name="web")

    assert parse_labels({**made, "app.kubernetes.io/managed-by": "helm"}) is None
    assert parse_labels({**made, "runabout.dev/attempt": "0"}) is None
    assert parse_labels({**made, "runabout.dev/run-id": "x"}) is None
