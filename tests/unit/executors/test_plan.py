"""The plan of a pod: what the toolbox is told beside the steps' scripts."""

import json
from typing import Any, cast

import pytest

from runabout.executors.manifest import PodSettings, pod_manifest
from runabout.records import EnvVar, EnvVarSource, RunConfig, RunId, TaskConfig

SETTINGS = PodSettings(toolbox_image="runabout/toolbox:1")


def reference(name: str, kind: str = "secretKeyRef") -> dict[str, object]:
    return {"name": name, "valueFrom": {kind: {"name": "s", "key": "k"}}}


def plan(body: dict[str, object], *, environment: tuple[EnvVar, ...] = ()) -> dict[str, Any]:
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
    annotations = cast("dict[str, Any]", made.pod)["metadata"]["annotations"]
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
