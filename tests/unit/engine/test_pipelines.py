"""Pipelines of other projects, re-expressed as Runs: accepted as they are, and ending as their projects say."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.tools import REPOSITORY
from runabout.client.simulate import Format, simulation_text
from runabout.resources import API_VERSION, CheckedRun, check

FILES = sorted((REPOSITORY / "tests" / "data" / "pipelines").glob("*.yaml"))
PIPELINES: dict[str, dict[str, Any]] = {path.stem: yaml.safe_load(path.read_text()) for path in FILES}
SCENARIOS = [
    pytest.param(pipeline, scenario, id=f"{name}: {scenario['name']}")
    for name, pipeline in PIPELINES.items()
    for scenario in pipeline["scenarios"]
]


def document(pipeline: dict[str, Any], skip: list[str]) -> dict[str, Any]:
    tasks = [
        {**task, "containers": [{"image": "stub"}], "steps": [{"run": "true"}], "skip": task["name"] in skip}
        for task in pipeline["tasks"]
    ]
    return {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": "pipeline"}, "spec": {"tasks": tasks}}


def test_there_are_pipelines() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize(("pipeline", "scenario"), SCENARIOS)
def test_a_foreign_pipeline_is_a_run_and_ends_as_its_project_says(
    pipeline: dict[str, Any], scenario: dict[str, Any], tmp_path: Path
) -> None:
    run = document(pipeline, scenario.get("skip", []))
    assert isinstance(check(run), CheckedRun)
    (tmp_path / "run.json").write_text(json.dumps(run))
    (tmp_path / "outcomes.yaml").write_text(yaml.safe_dump(scenario["outcomes"]))
    found = json.loads(simulation_text(tmp_path / "run.json", tmp_path / "outcomes.yaml", Format.JSON))
    assert found["setupErrors"] == []
    assert {name: task["status"] for name, task in found["tasks"].items()} == scenario["tasks"]
    assert {name: found["tasks"][name]["start"] for name in scenario["starts"]} == scenario["starts"]
    assert (found["phase"], found["result"]) == (scenario.get("phase", "finished"), scenario["result"])
