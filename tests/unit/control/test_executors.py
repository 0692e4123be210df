"""Executors: when one is ready, what its status says, and what pods on it are made with."""

from collections.abc import Mapping
from typing import Any

import pytest

from fixtures.openapi import Structural
from fixtures.states import NOW
from runabout.control.executors import Executor, Executors, executor_object
from runabout.control.status import rfc3339
from runabout.executors.state import Limits
from runabout.resources.definitions import EXECUTOR
from runabout.resources.schema import structural

SCHEMA = Structural(structural(EXECUTOR.status))
LONGEST = [f"{'a' * 30}{number}" for number in range(10, 26)]


def executors(**nodes: str) -> Executors:
    """Return no executors, and these nodes by name with their architectures."""
    found = Executors(toolbox_image="registry.example/toolbox:1", toolbox_pull_policy="IfNotPresent")
    for name, arch in nodes.items():
        found.set_node(name, arch)
    return found


def executor(*archs: str, **spec: Any) -> Executor:  # noqa: ANN401 - fields of an Executor's spec
    return executor_object(
        {
            "metadata": {"name": "linux", "uid": "u", "generation": 4, "labels": {"disk": "fast"}},
            "spec": {"archs": list(archs or ("amd64",)), **spec},
        }
    )


READY: list[tuple[str, dict[str, str], Executor, tuple[bool, str, str]]] = [
    ("a node for every arch", {"n1": "amd64"}, executor(), (True, "Ready", "")),
    (
        "no node yet is a warning",
        {},
        executor("amd64", "arm64"),
        (True, "ArchsWithoutNodes", "no ready node yet for amd64, arm64"),
    ),
    (
        "one arch without nodes",
        {"n1": "amd64"},
        executor("amd64", "arm64"),
        (True, "ArchsWithoutNodes", "no ready node yet for arm64"),
    ),
    (
        "requireNodes without nodes",
        {"n1": "amd64"},
        executor("amd64", "arm64", requireNodes=True),
        (False, "NoNodes", "requireNodes is set and there is no ready node for arm64"),
    ),
    (
        "requireNodes with nodes",
        {"n1": "amd64", "n2": "arm64"},
        executor("amd64", "arm64", requireNodes=True),
        (True, "Ready", ""),
    ),
    (
        "paused",
        {"n1": "amd64"},
        executor(paused=True),
        (True, "Paused", "takes no new tasks while spec.paused is true"),
    ),
    (
        "paused and requireNodes without nodes",
        {},
        executor(paused=True, requireNodes=True),
        (False, "NoNodes", "requireNodes is set and there is no ready node for amd64"),
    ),
]


@pytest.mark.parametrize(("nodes", "subject", "expected"), [row[1:] for row in READY], ids=[row[0] for row in READY])
def test_when_an_executor_is_ready(nodes: dict[str, str], subject: Executor, expected: tuple[bool, str, str]) -> None:
    assert executors(**nodes).ready(subject) == expected


@pytest.mark.parametrize(
    "spec",
    [None, 3, [], {}, {"archs": []}, {"archs": "amd64"}, {"archs": ["amd64"], "maxActiveTasks": -1}, {"arch": "amd64"}],
)
def test_a_spec_that_cannot_be_used_is_not_ready_and_says_why(spec: object) -> None:
    subject = executor_object({"metadata": {"name": "linux"}, "spec": spec})
    assert subject.spec is None
    ready, reason, message = executors().ready(subject)
    assert (ready, reason) == (False, "InvalidSpec")
    assert "spec" in message
    assert SCHEMA.accepts(executors().status(subject, active=0, waiting=0, now=NOW))


@pytest.mark.parametrize("body", [{}, {"metadata": 3}, {"metadata": {"name": None, "labels": 3}, "status": "x"}])
def test_an_object_of_any_shape_can_be_read(body: dict[str, object]) -> None:
    assert executor_object(body).spec is None


def test_a_status_counts_tasks_and_nodes() -> None:
    known = executors(n1="amd64", n2="amd64", n3="riscv64")
    status = known.status(executor("amd64", "arm64"), active=3, waiting=7, now=NOW)
    assert SCHEMA.accepts(status)
    assert status == {
        "observedGeneration": 4,
        "archs": "amd64, arm64",
        "maxActiveTasks": "unlimited",
        "activeTasks": 3,
        "waitingTasks": 7,
        "nodes": [{"arch": "amd64", "count": 2}, {"arch": "arm64", "count": 0}],
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "ArchsWithoutNodes",
                "message": "no ready node yet for arm64",
                "lastTransitionTime": rfc3339(NOW),
            }
        ],
    }


@pytest.mark.parametrize(
    ("spec", "archs", "most"),
    [
        ({"archs": ["amd64"]}, "amd64", "unlimited"),
        ({"archs": ["arm64", "amd64"], "maxActiveTasks": 0}, "arm64, amd64", "unlimited"),
        ({"archs": ["amd64"], "maxActiveTasks": 100_000}, "amd64", "100000"),
        ({"archs": LONGEST}, ", ".join(LONGEST), "unlimited"),
        ({"archs": 3}, "", ""),
    ],
)
def test_a_status_says_architectures_and_limit_as_people_read_them(spec: object, archs: str, most: str) -> None:
    status = executors().status(
        executor_object({"metadata": {"name": "linux"}, "spec": spec}), active=0, waiting=0, now=NOW
    )
    assert SCHEMA.accepts(status)
    assert (status["archs"], status["maxActiveTasks"]) == (archs, most)


def test_readiness_changes_its_time_only_when_it_flips() -> None:
    known, later, much_later = executors(), NOW + 60_000, NOW + 120_000
    first = known.status(executor(requireNodes=True), active=0, waiting=0, now=NOW)
    known.set_node("n1", "amd64")
    second = known.status(_after(first), active=0, waiting=0, now=later)
    third = known.status(_after(second), active=1, waiting=0, now=much_later)
    assert [since(status) for status in (first, second, third)] == [rfc3339(NOW), rfc3339(later), rfc3339(later)]


def since(status: Mapping[str, object]) -> object:
    conditions = status["conditions"]
    assert isinstance(conditions, list)
    return conditions[0]["lastTransitionTime"]


def _after(status: dict[str, object]) -> Executor:
    return executor_object(
        {"metadata": {"name": "linux"}, "spec": {"archs": ["amd64"], "requireNodes": True}, "status": status}
    )


@pytest.mark.parametrize("conditions", [None, "x", [3], [{"type": "Other"}], [{"type": "Ready", "status": "Unknown"}]])
def test_an_earlier_status_of_any_shape_is_no_obstacle(conditions: object) -> None:
    subject = executor_object(
        {"metadata": {"name": "linux"}, "spec": {"archs": ["amd64"]}, "status": {"conditions": conditions}}
    )
    status = executors().status(subject, active=0, waiting=0, now=NOW)
    assert since(status) == rfc3339(NOW)


def test_nodes_are_counted_while_they_are_ready() -> None:
    known = executors()
    assert known.set_node("n1", "amd64")
    assert not known.set_node("n1", "amd64")
    assert known.nodes("amd64") == 1
    assert known.set_node("n1", None)
    assert not known.set_node("n1", None)
    assert known.nodes("amd64") == 0


def test_an_executor_that_is_gone_has_no_settings_of_its_own() -> None:
    known = executors()
    known.put(executor(gracePeriodSeconds=5))
    assert [item.name for item in known] == ["linux"]
    known.remove("linux")
    known.remove("linux")
    assert list(known) == []
    assert known.limits("linux") == Limits()
    assert known.get("linux").error == "it does not exist"


def test_limits_and_pod_settings_come_from_the_spec_and_the_namespace() -> None:
    known = executors()
    known.put(executor(gracePeriodSeconds=5, imagePullTimeoutSeconds=6, pendingTimeoutSeconds=7, allowPrivileged=True))
    assert known.limits("linux") == Limits(image_pull_seconds=6, pending_seconds=7, grace_seconds=5)
    settings = known.pod_settings("linux", "ci")
    assert (settings.toolbox_image, settings.toolbox_pull_policy) == ("registry.example/toolbox:1", "IfNotPresent")
    assert (settings.grace_seconds, settings.allow_privileged, settings.restricted) == (5, True, False)


@pytest.mark.parametrize(
    ("name", "allowed"), [("silent", False), ("open", True), ("closed", False), ("broken", False), ("unknown", False)]
)
def test_privileges_are_for_those_whose_executor_says_so(name: str, allowed: bool) -> None:
    known = executors()
    for known_name, spec in (
        ("silent", {"archs": ["amd64"]}),
        ("open", {"archs": ["amd64"], "allowPrivileged": True}),
        ("closed", {"archs": ["amd64"], "allowPrivileged": False}),
        ("broken", {"archs": 3, "allowPrivileged": True}),
    ):
        known.put(executor_object({"metadata": {"name": known_name}, "spec": spec}))
    assert known.pod_settings(name, "ci").allow_privileged is allowed


@pytest.mark.parametrize(("level", "restricted"), [("restricted", True), ("baseline", False), ("privileged", False)])
def test_pods_ask_for_little_where_the_namespace_enforces_it(level: str, restricted: bool) -> None:
    known = executors()
    known.set_namespace("ci", {"pod-security.kubernetes.io/enforce": level})
    assert known.pod_settings("linux", "ci").restricted is restricted
    assert not known.pod_settings("linux", "other").restricted
    known.set_namespace("ci", None)
    assert not known.pod_settings("linux", "ci").restricted


def test_pod_defaults_are_those_of_the_spec() -> None:
    assert executor(pod={"nodeSelector": {"pool": "ci"}}).pod == {"nodeSelector": {"pool": "ci"}}
    assert executor().pod == {}
    assert executor_object({}).pod == {}
