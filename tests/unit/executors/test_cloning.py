"""What the toolbox is told of Secrets and of repositories to clone, and what the pod brings for both."""

import json
from typing import Any, cast

import pytest

from runabout.executors.manifest import PodSettings, pod_manifest
from runabout.records import EnvVar, EnvVarSource, RunConfig, RunId, TaskConfig

SETTINGS = PodSettings(toolbox_image="runabout/toolbox:1")


def reference(name: str, kind: str = "secretKeyRef") -> dict[str, object]:
    return {"name": name, "valueFrom": {kind: {"name": "s", "key": "k"}}}


def pod(body: dict[str, object], *, environment: tuple[EnvVar, ...] = ()) -> dict[str, Any]:
    config = RunConfig(
        id=RunId("1il7g1c000001"),
        namespace="ci",
        name="web-118",
        uid="c0ffee",
        group="/ci/project/web",
        cache_group="/ci/project/web",
        created=0,
        environment=environment,
    )
    task = TaskConfig(name="build", body={"containers": [{"image": "alpine"}], **body})
    made = pod_manifest(config, task, attempt=1, counter=1, executor_pod={}, settings=SETTINGS)
    return cast("dict[str, Any]", made.pod)


def plan(body: dict[str, object], *, environment: tuple[EnvVar, ...] = ()) -> dict[str, Any]:
    annotations = pod(body, environment=environment)["metadata"]["annotations"]
    return cast("dict[str, Any]", json.loads(annotations["runabout.dev/plan"]))


def test_every_variable_that_holds_a_secret_is_named_wherever_it_was_set() -> None:
    made = plan(
        {
            "containers": [{"image": "alpine", "environment": [reference("IN_CONTAINER"), reference("HIDDEN")]}],
            "environment": [
                reference("IN_TASK"),
                reference("MAP", "configMapKeyRef"),
                {"name": "HIDDEN", "value": "x"},
            ],
            "steps": [
                {"run": "a", "environment": [reference("PLAIN", "configMapKeyRef"), reference("OWN")]},
                {"run": "b", "environment": [reference("OTHER")]},
            ],
        },
        environment=(EnvVar("IN_RUN", value_from=EnvVarSource("secretKeyRef", "s", "k")), EnvVar("CI", "true")),
    )
    # A step's own travel as variables of the container, numbered over all steps; a ConfigMap's value is no secret, and
    # what a stronger level has replaced is nowhere.
    assert made["secrets"] == ["IN_CONTAINER", "IN_TASK", "IN_RUN", "RUNABOUT_ENV_1", "RUNABOUT_ENV_2"]
    assert [step["environment"] for step in made["steps"]] == [
        [{"name": "PLAIN", "from": "RUNABOUT_ENV_0"}, {"name": "OWN", "from": "RUNABOUT_ENV_1"}],
        [{"name": "OTHER", "from": "RUNABOUT_ENV_2"}],
    ]


@pytest.mark.parametrize("environment", [[], [{"name": "A", "value": "b"}], [reference("A", "configMapKeyRef")]])
def test_without_secrets_nothing_is_named(environment: list[dict[str, object]]) -> None:
    assert "secrets" not in plan({"environment": environment, "steps": [{"run": "a"}]})


CLONE = {
    "url": "https://example.org/web.git",
    "ref": "v1",
    "destDir": "web",
    "depth": 1,
    "submodules": True,
    "knownHosts": "example.org ssh-ed25519 AAAA",
}


def clone(**more: object) -> dict[str, object]:
    return {"clone": {**CLONE, **more}}


def test_a_clone_step_is_planned_with_the_place_of_its_credentials_and_nothing_of_them() -> None:
    body: dict[str, object] = {
        "steps": [clone(credentials={"name": "git"}), clone(), clone(credentials={"name": "other"})]
    }
    steps = plan(body)["steps"]

    assert [(step["name"], step["kind"]) for step in steps] == [(f"clone-{n}", "clone") for n in (1, 2, 3)]
    assert steps[0]["clone"] == {**CLONE, "credentials": {"secret": "git", "folder": "/runabout/credentials/0"}}
    assert steps[1]["clone"] == CLONE
    assert steps[2]["clone"]["credentials"] == {"secret": "other", "folder": "/runabout/credentials/1"}


def test_credentials_are_mounted_once_each_and_only_where_the_steps_run() -> None:
    login = {"credentials": {"name": "git"}}
    body: dict[str, object] = {
        "containers": [{"image": "alpine"}, {"name": "db", "image": "postgres"}],
        "steps": [clone(**login), clone(**login, destDir="b")],
    }
    made = pod(body)["spec"]

    assert [volume for volume in made["volumes"] if "secret" in volume] == [
        {"name": "runabout-credentials-0", "secret": {"secretName": "git", "defaultMode": 0o444, "optional": True}}
    ]
    mount = {"name": "runabout-credentials-0", "mountPath": "/runabout/credentials/0", "readOnly": True}
    assert mount in made["containers"][0]["volumeMounts"]
    assert all(mount not in other.get("volumeMounts", []) for other in made["initContainers"])


@pytest.mark.parametrize(("steps", "words"), [([{"run": "a"}], []), ([{"run": "a"}, clone()], ["clone"])])
def test_only_pods_that_clone_get_the_program_for_it(steps: list[dict[str, object]], words: list[str]) -> None:
    made = pod({"steps": steps})["spec"]
    assert made["initContainers"][0]["command"] == ["/toolbox", "install", "/runabout/bin", *words]
