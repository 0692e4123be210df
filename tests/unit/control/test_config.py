"""From a Run to its configuration: groups, tasks, environments, and every setup error, bounded."""

from typing import Any

import pytest

from fixtures.states import NOW, RUN, task_spec
from runabout.control.config import MAX_ERROR, MAX_ERROR_BYTES, MAX_ERRORS, checked_config, setup_errors
from runabout.control.objects import run_object
from runabout.control.rules import own_rules
from runabout.records import Approvers, Condition, Dependency, EnvVar, EnvVarSource, Retries, RunConfig
from runabout.records.encoding import encode
from runabout.resources import CheckedRun, RunSpec
from runabout.resources.check import run_spec


def config(**spec: Any) -> RunConfig:  # noqa: ANN401 - fields of a Run's spec
    body = {
        "metadata": {
            "name": "web-118",
            "namespace": "ci",
            "uid": "c0ffee",
            "labels": {"team": "web"},
            "annotations": {"link": "x", "kubectl.kubernetes.io/last-applied-configuration": "{…}"},
        },
        "spec": spec,
    }
    return checked_config(run_object(body), id=RUN, created=NOW)


def spec(**fields: Any) -> RunSpec:  # noqa: ANN401 - fields of a Run's spec
    found = run_spec(fields)
    assert isinstance(found, RunSpec), found
    return found


@pytest.mark.parametrize(
    ("given", "group", "cache_group"),
    [
        ({}, "/ci/run/web-118", "/ci/run/web-118"),
        ({"group": "/project/web"}, "/ci/project/web", "/ci/project/web"),
        ({"group": "/project/web/branch/main"}, "/ci/project/web/branch/main", "/ci/project/web"),
        (
            {"group": "/project/web/branch/main", "cacheGroup": "/project/all"},
            "/ci/project/web/branch/main",
            "/ci/project/all",
        ),
    ],
)
def test_groups_begin_with_the_namespace_and_caches_belong_to_the_root_group(
    given: dict[str, str], group: str, cache_group: str
) -> None:
    found = config(**given)
    assert (found.group, found.cache_group) == (group, cache_group)
    assert found.setup_errors == ()


@pytest.mark.parametrize("group", ["", "/", "project/web", "/project", "/project//web", "/a/..", "/a/b c", "/a/%zz"])
def test_a_group_that_is_none_is_a_setup_error_and_the_run_stands_alone(group: str) -> None:
    found = config(group=group)
    assert found.group == "/ci/run/web-118"
    assert any("group" in error for error in found.setup_errors)


def test_what_names_the_run_is_kept_and_what_kubectl_leaves_is_not() -> None:
    found = config()
    assert (found.id, found.namespace, found.name, found.uid, found.created) == (RUN, "ci", "web-118", "c0ffee", NOW)
    assert found.labels == {"team": "web"}
    assert found.annotations == {"link": "x"}


def test_a_task_keeps_what_deciding_needs_and_its_body_for_the_driver() -> None:
    task = {
        "name": "test",
        "depends": [{"task": "build"}, {"task": "lint", "conditions": ["on_failure", "on_skipped"]}],
        "arch": "arm64",
        "executorSelector": {"matchLabels": {"disk": "fast"}},
        "containers": [{"image": "golang", "privileged": True}],
        "steps": [{"name": "all", "run": "go test ./..."}],
        "ignoreFailure": True,
        "needsApproval": True,
        "approvers": {"min": 2, "users": ["anna"], "groups": ["leads"]},
        "skip": True,
    }
    found = config(tasks=[task_spec("build"), task_spec("lint"), task]).tasks[2]
    assert found.depends == (
        Dependency("build", frozenset({Condition.ON_SUCCESS})),
        Dependency("lint", frozenset({Condition.ON_FAILURE, Condition.ON_SKIPPED})),
    )
    assert (found.arch, found.privileged, found.ignore_failure, found.needs_approval) == ("arm64", True, True, True)
    assert found.skip
    assert found.executor_selector == {"matchLabels": {"disk": "fast"}}
    assert found.approvers == Approvers(2, ("anna",), ("leads",))
    assert found.body == {
        "containers": [{"image": "golang", "privileged": True}],
        "steps": [{"name": "all", "run": "go test ./..."}],
    }


OF_RUN = {"limit": 2, "backoffSeconds": 5, "onExitCodes": [7]}


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({}, Retries(2, 5, (7,))),
        ({"retries": {"limit": 1}}, Retries(1)),
        ({"retries": {"limit": 0}}, Retries()),
        ({"retries": {}}, Retries()),
        ({"needsApproval": True, "skip": True}, Retries(2, 5, (7,))),
    ],
)
def test_the_runs_retries_are_a_tasks_that_has_none_and_no_field_of_them_anothers(
    task: dict[str, Any], expected: Retries
) -> None:
    assert config(retries=OF_RUN, tasks=[task_spec("a", **task)]).tasks[0].retries == expected


def test_the_record_of_a_run_with_retries_is_as_if_each_task_had_them() -> None:
    tasks = [task_spec("a"), task_spec("b", matrix={"GO": ["1", "2"]})]
    assert config(retries=OF_RUN, tasks=tasks) == config(tasks=[{**task, "retries": OF_RUN} for task in tasks])


def test_each_variant_of_a_matrix_has_the_runs_retries() -> None:
    found = config(retries=OF_RUN, tasks=[task_spec("a", matrix={"GO": ["1", "2"]}), task_spec("b")])
    assert [(task.name, task.retries.limit) for task in found.tasks] == [("a-1", 2), ("a-2", 2), ("b", 2)]


def test_secret_values_are_named_never_copied() -> None:
    found = config(
        environment=[
            {"name": "COMMIT", "value": "3f2a9c1"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "forge", "key": "token", "optional": True}}},
            {"name": "HOST", "valueFrom": {"configMapKeyRef": {"name": "forge", "key": "host"}}},
        ]
    )
    assert found.environment == (
        EnvVar("COMMIT", "3f2a9c1"),
        EnvVar("TOKEN", None, EnvVarSource("secretKeyRef", "forge", "token", optional=True)),
        EnvVar("HOST", None, EnvVarSource("configMapKeyRef", "forge", "host")),
    )


def test_the_two_environments_of_a_run_stay_apart() -> None:
    found = config(environment=[{"name": "A", "value": "1"}], staticEnvironment=[{"name": "B", "value": "2"}])
    assert (found.environment, found.static_environment) == ((EnvVar("A", "1"),), (EnvVar("B", "2"),))


def test_every_kind_of_error_comes_at_once_the_clients_first() -> None:
    found = config(
        setupErrors=["pipeline.yaml: cannot be read"],
        environment=[{"name": "RUNABOUT_X", "value": "1"}],
        tasks=[task_spec("a", depends=[{"task": "b"}])],
    )
    paths = [error.split(": ")[0] for error in found.setup_errors]
    assert paths == ["pipeline.yaml", "spec.tasks[0].depends[0].task", "spec.environment[0].name"]


def test_what_the_schema_refuses_comes_after_the_clients_own_errors() -> None:
    found = config(setupErrors=["first", 3], tasks=[{"name": "A"}], unknown=1)
    assert found.setup_errors[0] == "first"
    assert {error.split(": ")[0] for error in found.setup_errors[1:]} == {
        "spec.setupErrors[1]",
        "spec.tasks[0].name",
        "spec.tasks[0].containers",
        "spec.unknown",
    }
    assert found.tasks == ()


def test_what_the_schema_refuses_hides_nothing_of_the_rest() -> None:
    tasks = [
        task_spec("a", depends=[{"task": "b"}], environment=[{"name": "RUNABOUT_X", "value": "1"}], image=5),
        task_spec("b", depends=[{"task": "a"}, {"task": "zz"}]),
        task_spec("c", depends=[{"task": "a"}], matrix={"go": ["1-"]}),
        {"depends": [{"task": "nobody"}], "containers": 3},
    ]
    found = config(tasks=tasks, environment=[{"name": "A B", "value": "x"}], stop="yes", group="/x//y")
    assert {error.split(": ")[0] for error in found.setup_errors} == {
        "spec.tasks[0].image",
        "spec.tasks[0].depends",
        "spec.tasks[1].depends[1].task",
        "spec.tasks[2].matrix",
        "spec.tasks[3].name",
        "spec.tasks[3].containers",
        "spec.tasks[3].depends[0].task",
        "spec.environment[0].name",
        "spec.stop",
        "spec.group",
    }
    assert found.setup_error_count == len(found.setup_errors)


@pytest.mark.parametrize("errors", [None, "x", {"a": 1}])
def test_errors_of_the_client_that_are_no_list_are_an_error(errors: object) -> None:
    assert bool(config(setupErrors=errors).setup_errors) is (errors is not None)


def test_an_error_is_told_once_and_whole() -> None:
    many = config(setupErrors=[f"error {number}" for number in range(100)] * 2).setup_errors
    assert len(many) == 100
    long = config(setupErrors=["x" * 4096, "y"]).setup_errors
    assert [len(error) for error in long] == [4096, 1]


def test_a_record_holds_the_first_errors_and_says_how_many_more_there_are() -> None:
    tasks = [task_spec(f"t{number}", depends=[{"task": "none"}, {"task": "nil"}]) for number in range(800)]
    errors = config(tasks=tasks).setup_errors
    assert len(errors) == MAX_ERRORS
    assert errors[-1] == "… and 601 more"
    assert config(tasks=tasks).setup_error_count == 1600
    assert all(len(error) <= MAX_ERROR for error in errors)


def test_errors_that_are_large_are_kept_as_far_as_a_transaction_has_room() -> None:
    errors = config(setupErrors=[f"{number}{'é' * 4000}" for number in range(500)]).setup_errors
    kept = len(errors) - 1
    assert errors[-1] == f"… and {500 - kept} more"
    assert MAX_ERROR_BYTES - 10_000 < len(encode(errors)) < MAX_ERROR_BYTES + 100


# names and values that collide with ours


def test_what_is_right_has_no_problems() -> None:
    task = task_spec(
        "a",
        arch="amd64",
        environment=[{"name": "RUNABOUTX", "value": "1"}],
        pod={
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "labels": {"app.kubernetes.io/name": "x"},
            "volumes": [{"name": "runabout", "emptyDir": {}}],
        },
    ) | {
        "containers": [{"image": "a", "volumeMounts": [{"name": "runabout", "mountPath": "/runabouts"}]}],
        "steps": [{"run": "a"}, {"run": "b"}, {"name": "c", "run": "c"}],
    }
    assert list(own_rules(spec(tasks=[task], approvals=[{"task": "a", "by": "anna"}]))) == []


PROBLEMS: list[tuple[str, dict[str, Any], str]] = [
    ("args of the first container", {"containers": [{"image": "a", "args": ["x"]}]}, "containers[0].args"),
    (
        "readiness of the first container",
        {"containers": [{"image": "a", "readiness": {"tcpSocket": {"port": 1}}}]},
        "containers[0].readiness",
    ),
    (
        "two containers of one name",
        {"containers": [{"image": "a"}, {"name": "db", "image": "b"}, {"name": "db", "image": "c"}]},
        "containers[2].name",
    ),
    (
        "a service called as the first one is by itself",
        {"containers": [{"image": "a"}, {"name": "main", "image": "b"}]},
        "containers[1].name",
    ),
    (
        "a mount at the root",
        {"containers": [{"image": "a", "volumeMounts": [{"name": "v", "mountPath": "/"}]}]},
        "containers[0].volumeMounts[0].mountPath",
    ),
    (
        "a mount over our own by another way of writing",
        {"containers": [{"image": "a", "volumeMounts": [{"name": "v", "mountPath": "/./runabout//x"}]}]},
        "containers[0].volumeMounts[0].mountPath",
    ),
    (
        "a mount over our own by a way back",
        {"containers": [{"image": "a", "volumeMounts": [{"name": "v", "mountPath": "/x/../runabout/bin"}]}]},
        "containers[0].volumeMounts[0].mountPath",
    ),
    (
        "a mount of a volume of ours in a service",
        {
            "containers": [
                {"image": "a"},
                {"image": "b", "volumeMounts": [{"name": "runabout-token", "mountPath": "/t"}]},
            ]
        },
        "containers[1].volumeMounts[0].name",
    ),
    (
        "a mount over the termination message",
        {"containers": [{"image": "a", "volumeMounts": [{"name": "v", "mountPath": "/dev/termination-log"}]}]},
        "containers[0].volumeMounts[0].mountPath",
    ),
    (
        "a reserved annotation",
        {"pod": {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}}},
        "pod.annotations[cluster-autoscaler.kubernetes.io/safe-to-evict]",
    ),
    (
        "a reserved label",
        {"pod": {"labels": {"app.kubernetes.io/managed-by": "me"}}},
        "pod.labels[app.kubernetes.io/managed-by]",
    ),
    ("NUL in a value", {"environment": [{"name": "A", "value": "a\0"}]}, "environment[0].value"),
    (
        "steps that no pod can be given",
        {"steps": [{"run": '"' * 15_000, "name": f"s{number}"} for number in range(60)]},
        "steps",
    ),
]


@pytest.mark.parametrize(("task", "where"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS])
def test_what_would_fail_a_pod_later_is_found_with_its_path(task: dict[str, Any], where: str) -> None:
    found = list(own_rules(spec(tasks=[task_spec("a") | task])))
    assert [problem.path for problem in found] == [f"spec.tasks[0].{where}"]
    assert all(problem.message for problem in found)


def test_an_approval_may_name_a_task_or_a_variant() -> None:
    tasks = [task_spec("a"), task_spec("b", matrix={"GO": ["1", "2"]})]
    approvals = [{"task": name, "by": "anna"} for name in ("a", "b-1", "c")]
    found = list(own_rules(spec(tasks=tasks, approvals=approvals)))
    assert [problem.path for problem in found] == ["spec.approvals[2].task"]


def test_check_and_the_record_of_a_run_have_the_same_errors() -> None:
    fields = {"environment": [{"name": "RUNABOUT_X", "value": "1"}], "tasks": [task_spec("a", depends=[{"task": "b"}])]}
    assert setup_errors(CheckedRun("x", "", spec(**fields))) == config(**fields).setup_errors


def variables(*lengths: int, prefix: str = "V") -> list[dict[str, str]]:
    return [{"name": f"{prefix}{number}", "value": "x" * length} for number, length in enumerate(lengths)]


SERVICES = {"containers": [{"image": "x"}, {"image": "y"}]}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"environment": variables(30_000, 30_000), "tasks": [task_spec("a"), task_spec("b")]}, "spec.environment"),
        ({"environment": variables(30_000), "tasks": [task_spec("a"), task_spec("b", **SERVICES)]}, "spec.tasks[1]"),
        (
            {
                "staticEnvironment": variables(30_000),
                "tasks": [task_spec("a", environment=variables(30_000, prefix="W"))],
            },
            "spec.tasks[0]",
        ),
        ({"environment": [{"name": "A", "value": "$" * 30_000}], "tasks": [task_spec("a")]}, "spec.environment"),
    ],
    ids=["of the run", "of a task with a service", "of run and task together", "doubled by Kubernetes' escape"],
)
def test_variables_that_no_pod_has_room_for_are_one_setup_error_with_their_bytes(
    fields: dict[str, Any], where: str
) -> None:
    [error] = config(**fields).setup_errors
    assert error.startswith(f"{where}: ")
    assert "bytes" in error
    assert "ConfigMap" in error


def test_of_variables_of_one_name_only_the_strongest_takes_room() -> None:
    tasks = [task_spec("a", environment=variables(30_000))]
    assert config(environment=variables(30_000), staticEnvironment=variables(30_000), tasks=tasks).setup_errors == ()
