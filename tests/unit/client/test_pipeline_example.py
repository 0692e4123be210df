"""The example of a whole pipeline: whatever fails, nothing is released and people are told; else nobody is."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.tools import REPOSITORY
from runabout.client.simulate import Format, simulation_text

EXAMPLES = REPOSITORY / "docs" / "examples"
FAILED: dict[str, Any] = {"result": "failed"}
APPROVED = {"release": 20}


def ended(outcomes: Path) -> tuple[str, dict[str, str]]:
    found = json.loads(simulation_text(EXAMPLES / "pipeline.yaml", outcomes, Format.JSON))
    return found["result"], {name: task["status"] for name, task in found["tasks"].items()}


@pytest.mark.parametrize(
    ("outcomes", "result", "release", "notify"),
    [
        ({"approve": APPROVED}, "success", "success", "skipped"),
        ({"tasks": {"build": FAILED}}, "failed", "skipped", "success"),
        ({"tasks": {"test-1": FAILED}}, "failed", "skipped", "success"),
        ({"tasks": {"test-2": FAILED}}, "failed", "skipped", "success"),
        ({"tasks": {"release": FAILED}, "approve": APPROVED}, "failed", "failed", "success"),
        ({}, "unknown", "notstarted", "notstarted"),  # nobody has said a word yet
        ({"stopAt": 1}, "stopped", "skipped", "skipped"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_failure_anywhere_releases_nothing_and_is_told(
    tmp_path: Path, outcomes: dict[str, Any], result: str, release: str, notify: str
) -> None:
    file = tmp_path / "outcomes.yaml"
    file.write_text(yaml.safe_dump(outcomes))
    came, statuses = ended(file)
    assert (came, statuses["release"], statuses["notify"]) == (result, release, notify)


def test_the_outcomes_beside_the_example_are_of_it() -> None:
    result, statuses = ended(EXAMPLES / "outcomes" / "pipeline.yaml")
    assert result == "failed"
    assert statuses == {
        "build": "success",
        "test-1": "success",
        "test-2": "failed",
        "release": "skipped",
        "notify": "success",
    }
