"""Services in the pod of a task: what each field of a container becomes there."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from runabout.executors.errors import InvalidPodError
from runabout.executors.manifest import PodSettings, pod_manifest
from runabout.executors.services import SERVICE_CAPABILITIES, Service, services_of
from runabout.records import EnvVar, EnvVarSource, RunConfig, RunId, TaskConfig

SETTINGS = PodSettings(toolbox_image="runabout/toolbox:1")
CONFIG = RunConfig(
    id=RunId("1il7g1c000001"),
    namespace="ci",
    name="web-118",
    uid="c0ffee",
    group="/ci/project/web",
    cache_group="/ci/project/web",
    created=0,
    environment=(EnvVar("LEVEL", "environment"),),
    static_environment=(EnvVar("LEVEL", "static"), EnvVar("TOKEN", value_from=EnvVarSource("secretKeyRef", "s", "k"))),
)
MAIN: dict[str, Any] = {"image": "golang:1.26"}
READY = {"tcpSocket": {"port": "5432"}}


def task(*services: dict[str, Any], **body: Any) -> TaskConfig:  # noqa: ANN401 - fields of a task's spec
    return TaskConfig(name="test", body={"containers": [MAIN, *services], "steps": [{"run": "go test"}], **body})


def pod(of: TaskConfig, settings: PodSettings = SETTINGS) -> dict[str, Any]:
    manifest = pod_manifest(CONFIG, of, attempt=1, counter=118, executor_pod={}, settings=settings)
    spec: dict[str, Any] = json.loads(orjson.dumps(manifest.pod))["spec"]
    return spec


def service(fields: dict[str, Any], settings: PodSettings = SETTINGS) -> dict[str, Any]:
    toolbox, made = pod(task({"image": "postgres:17", **fields}), settings)["initContainers"]
    assert toolbox["name"] == "runabout-toolbox"
    assert isinstance(made, dict)
    return made


def test_services_are_sidecars_behind_the_toolbox_in_their_order() -> None:
    spec = pod(task({"image": "postgres:17", "name": "db"}, {"image": "redis:8"}))

    assert [each["name"] for each in spec["containers"]] == ["main"]
    assert [(each["name"], each.get("restartPolicy")) for each in spec["initContainers"]] == [
        ("runabout-toolbox", None),
        ("db", "Always"),
        ("service-2", "Always"),
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"command": ["postgres"], "args": ["-c", "fsync=off"]},
            {"command": ["postgres"], "args": ["-c", "fsync=off"]},
        ),
        ({"imagePullPolicy": "Never"}, {"imagePullPolicy": "Never"}),
        ({"resources": {"limits": {"memory": "1Gi"}}}, {"resources": {"limits": {"memory": "1Gi"}}}),
        (
            {"volumeMounts": [{"name": "data", "mountPath": "/var/lib"}]},
            {"volumeMounts": [{"name": "data", "mountPath": "/var/lib"}]},
        ),
        ({}, {"terminationMessagePolicy": "FallbackToLogsOnError", "volumeMounts": []}),
    ],
)
def test_a_field_goes_into_the_pod(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    found = service(fields)

    assert {key: found[key] for key in expected} == expected


PROBE = {
    "initialDelaySeconds": 0,
    "periodSeconds": 1,
    "timeoutSeconds": 1,
    "failureThreshold": 60,
    "terminationGracePeriodSeconds": 5,
}


@pytest.mark.parametrize(
    ("readiness", "probe", "seconds"),
    [
        ({"tcpSocket": {"port": "5432"}}, {"tcpSocket": {"port": 5432}}, (59, 60)),
        ({"tcpSocket": {"port": 5432}}, {"tcpSocket": {"port": 5432}}, (59, 60)),
        ({"exec": {"command": ["pg_isready"]}}, {"exec": {"command": ["pg_isready"]}}, (59, 60)),
        (
            {"httpGet": {"port": "http"}},
            {"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}},
            (59, 60),
        ),
        (
            {
                "httpGet": {"path": "/ready", "port": 8443, "scheme": "HTTPS"},
                "initialDelaySeconds": 5,
                "periodSeconds": 2,
                "timeoutSeconds": 3,
                "failureThreshold": 10,
            },
            {
                "httpGet": {"path": "/ready", "port": 8443, "scheme": "HTTPS"},
                "initialDelaySeconds": 5,
                "periodSeconds": 2,
                "timeoutSeconds": 3,
                "failureThreshold": 10,
            },
            (23, 35),
        ),
    ],
)
def test_readiness_is_a_startup_probe_with_the_specs_numbers(
    readiness: dict[str, Any], probe: dict[str, Any], seconds: tuple[int, int]
) -> None:
    assert service({"readiness": readiness})["startupProbe"] == {**PROBE, **probe}
    assert services_of(task({"image": "a", "name": "db", "readiness": readiness})) == (Service("db", *seconds),)


def test_a_service_without_readiness_is_ready_when_it_has_started() -> None:
    assert "startupProbe" not in service({})
    assert services_of(task({"image": "a"})) == (Service("service-1"),)
    assert services_of(task()) == ()


def test_a_service_has_its_own_and_the_runs_environment_but_not_the_steps() -> None:
    def level(name: str) -> list[dict[str, str]]:
        return [{"name": "LEVEL", "value": name}, {"name": f"ONLY_{name.upper()}", "value": name}]

    of = task({"image": "a", "environment": level("container")}, environment=level("task"))
    made = pod(of)["initContainers"][1]
    found = {item["name"]: item.get("value", item.get("valueFrom")) for item in made["env"]}

    assert found["LEVEL"] == "environment"
    assert found["ONLY_CONTAINER"] == "container"
    assert "ONLY_TASK" not in found
    assert found["TOKEN"] == {"secretKeyRef": {"name": "s", "key": "k"}}
    assert found["RUNABOUT_TASK"] == "test"


def test_the_variables_of_steps_are_in_no_service() -> None:
    secret = [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    spec = pod(task({"image": "a"}, steps=[{"run": "a", "environment": secret}]))

    assert "RUNABOUT_ENV_0" in {item["name"] for item in spec["containers"][0]["env"]}
    assert "RUNABOUT_ENV_0" not in {item["name"] for item in spec["initContainers"][1]["env"]}


def test_a_service_keeps_what_its_image_begins_with_unless_the_namespace_is_restricted() -> None:
    assert service({"user": "999:1000"})["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": sorted(SERVICE_CAPABILITIES)},
        "runAsUser": 999,
        "runAsGroup": 1000,
    }
    assert service({}, replace(SETTINGS, restricted=True))["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
    }


def test_privileges_are_those_of_one_container() -> None:
    of = replace(task({"image": "docker:dind", "privileged": True}), privileged=True)
    spec = pod(of, replace(SETTINGS, allow_privileged=True))

    assert spec["initContainers"][1]["securityContext"] == {"privileged": True}
    assert "privileged" not in spec["containers"][0]["securityContext"]
    with pytest.raises(InvalidPodError, match=r"containers\[1\].privileged: the executor does not allow"):
        pod(of)


def test_a_token_is_there_only_where_it_is_asked_for() -> None:
    assert pod(task())["automountServiceAccountToken"] is False
    assert pod(task(pod={"automountServiceAccountToken": True}))["automountServiceAccountToken"] is True
