"""A task gets the gateway's address and a token of its own where one of its steps needs them, and nowhere else."""

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


def test_a_task_without_such_a_step_has_no_token() -> None:
    made = pod([{"run": "true"}], ACCESS)
    assert tokens(made) == []
    assert "gateway" not in json.loads(made["metadata"]["annotations"][PLAN_ANNOTATION])
    assert made["spec"]["automountServiceAccountToken"] is False


def test_every_kind_of_step_that_needs_it_is_known() -> None:
    assert set(STEPS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_gateway_no_pod_is_made_that_needs_it(kind: str) -> None:
    with pytest.raises(InvalidPodError, match=rf"tasks\[build\]\.steps\[1\]\.{kind}: needs the gateway: set gateway"):
        pod([{"run": "true"}, {kind: STEPS[kind]}], None)
