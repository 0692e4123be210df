"""A task gets the gateway's address and a token of its own, for the gateway alone, where there is a gateway."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from fixtures.states import created, task_spec
from runabout.executors.errors import InvalidPodError
from runabout.executors.gatewayaccess import KINDS, GatewayAccess
from runabout.executors.manifest import PLAN_ANNOTATION, PodSettings, pod_manifest

ACCESS = GatewayAccess("https://gateway:8443", "-----BEGIN CERTIFICATE-----\n")
STEPS: Mapping[str, Mapping[str, Any]] = {
    "saveToWorkspace": {"contents": [{}]},
    "restoreWorkspace": {},
    "saveCache": {"key": "k", "contents": [{}]},
    "restoreCache": {"keys": ["k"]},
}


def pod(steps: list[Mapping[str, Any]], access: GatewayAccess | None) -> Any:  # noqa: ANN401 - JSON
    config = created(task_spec("build", steps=steps)).config
    settings = PodSettings(toolbox_image="toolbox", gateway=access)
    return pod_manifest(config, config.tasks[0], attempt=1, counter=1, executor_pod={}, settings=settings).pod


def tokens(made: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return [volume for volume in made["spec"]["volumes"] if "projected" in volume]


def test_without_a_gateway_no_task_has_a_token() -> None:
    made = pod([{"run": "true"}], None)
    assert tokens(made) == []
    assert "gateway" not in json.loads(made["metadata"]["annotations"][PLAN_ANNOTATION])
    assert made["spec"]["automountServiceAccountToken"] is False


def test_every_kind_of_step_that_needs_it_is_known() -> None:
    assert set(STEPS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_gateway_no_pod_is_made_that_needs_it(kind: str) -> None:
    with pytest.raises(InvalidPodError, match=rf"tasks\[build\]\.steps\[1\]\.{kind}: needs the gateway: set gateway"):
        pod([{"run": "true"}, {kind: STEPS[kind]}], None)


@pytest.mark.parametrize("steps", [[], *([{kind: STEPS[kind]}] for kind in KINDS)])
def test_a_task_has_the_address_and_a_token_for_the_gateway_alone(steps: list[Mapping[str, Any]]) -> None:
    made = pod([{"run": "true"}, *steps], ACCESS)
    [volume] = tokens(made)
    [source] = volume["projected"]["sources"]
    assert source["serviceAccountToken"] == {"audience": "runabout-gateway", "expirationSeconds": 3600, "path": "token"}
    assert made["spec"]["automountServiceAccountToken"] is False
    [main] = made["spec"]["containers"]
    mount = {"name": volume["name"], "mountPath": "/runabout/token", "readOnly": True}
    assert mount in main["volumeMounts"]
    assert not [each for each in made["spec"]["initContainers"] if mount in each["volumeMounts"]]
    planned = json.loads(made["metadata"]["annotations"][PLAN_ANNOTATION])["gateway"]
    assert planned == {"url": ACCESS.url, "ca": ACCESS.ca, "tokenFile": "/runabout/token/token"}
