"""Plans of steps that save and restore files: what the toolbox reads is what the author wrote."""

from typing import Any

import orjson
import pytest

from runabout.executors.errors import InvalidPodError
from runabout.executors.names import PodKey
from runabout.executors.plan import plan
from runabout.records import RunId, TaskConfig

KEY = PodKey(RunId("1il7g1c000001"), "build", 1)
GATEWAY = {"url": "https://gateway", "tokenFile": "/runabout/token/token"}
CONTENTS = [{"sourceDir": "out", "paths": ["**", "!tmp"]}, {}]


def planned(*steps: object, gateway: dict[str, str] | None = None) -> dict[str, Any]:
    of = TaskConfig(name="build", body={"steps": list(steps)})
    found: dict[str, Any] = orjson.loads(plan(KEY, of, user="", grace_seconds=30, gateway=gateway).body)
    return found


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"saveToWorkspace": {"contents": CONTENTS}}, {"contents": CONTENTS}),
        ({"restoreWorkspace": {}}, {}),
        ({"restoreWorkspace": {"destDir": "~/x"}}, {"destDir": "~/x"}),
        ({"saveCache": {"key": "k-{{ os }}", "contents": [{}]}}, {"key": "k-{{ os }}", "contents": [{}]}),
        ({"restoreCache": {"keys": ["a", "b"], "destDir": "x"}}, {"keys": ["a", "b"], "destDir": "x"}),
    ],
)
def test_a_step_for_files_is_planned_with_all_its_fields(step: dict[str, Any], expected: dict[str, Any]) -> None:
    (kind,) = step
    common = {"workingDir": "sub", "user": "1000", "timeoutSeconds": 60}
    found = planned(
        {**step, **common, "environment": [{"name": "A", "value": "b"}]},
        gateway=GATEWAY,
    )
    assert found["steps"] == [
        {"name": f"{kind}-1", "kind": kind, **common, "environment": [{"name": "A", "value": "b"}], **expected}
    ]
    assert found["gateway"] == GATEWAY


def test_a_plan_without_a_gateway_says_nothing_of_one() -> None:
    assert "gateway" not in planned({"run": "true"})


def test_what_is_no_object_is_refused_with_its_path() -> None:
    with pytest.raises(InvalidPodError, match=r"tasks\[build\].steps\[0\].saveCache: expected an object, found str"):
        planned({"saveCache": "k"}, gateway=GATEWAY)
