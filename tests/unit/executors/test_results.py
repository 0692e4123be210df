"""References to results of other tasks in the plan and in scripts."""

import json
import shutil
import subprocess
from typing import Any, cast

import pytest

from runabout.executors.errors import InvalidPodError
from runabout.executors.gatewayaccess import GatewayAccess, access_for
from runabout.executors.names import PodKey
from runabout.executors.plan import plan
from runabout.executors.results import Reference, in_script, references
from runabout.records import RunId, TaskConfig

VERSION = "{{ tasks.build-1.results.VERSION }}"


def steps(*given: dict[str, object]) -> dict[str, object]:
    return {"steps": list(given)}


def test_references_are_found_in_scripts_and_values_of_steps_each_once() -> None:
    body = steps(
        {"run": f"echo {VERSION} {{{{tasks.a.results.x_1}}}} {VERSION}"},
        {"run": "true", "environment": [{"name": "A", "value": "{{ tasks.b.results.Y }}"}, {"name": "B"}]},
        {"clone": {"url": "https://example.org/{{ tasks.c.results.Z }}"}},
    )
    assert references(body) == (Reference("build-1", "VERSION"), Reference("a", "x_1"), Reference("b", "Y"))


@pytest.mark.parametrize(
    "text", ["{{ tasks.a.result.x }}", "{{ tasks.A.results.x }}", "{{ tasks.a.results.1 }}", "{ tasks.a.results.x }"]
)
def test_what_is_no_reference_is_left_alone(text: str) -> None:
    assert references(steps({"run": text})) == ()
    assert in_script(text) == text


def test_a_value_is_never_read_as_a_command() -> None:
    script = in_script(f'printf "%s|" "v{VERSION}x" v{VERSION}')
    value = '1; echo no $(echo no) `echo no` "'
    done = subprocess.run(
        [str(shutil.which("sh")), "-c", script],
        env={"RUNABOUT_RESULT_BUILD_1_VERSION": value},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    # Unquoted it is several words, as every variable is.
    assert done.stdout == f"v{value}x|" + "".join(f"{word}|" for word in f"v{value}".split())


def test_the_plan_says_what_to_fetch_and_which_values_to_fill_in() -> None:
    variables = [{"name": "TAG", "value": f"v{VERSION}"}, {"name": "PLAIN", "value": "{{ other }}"}]
    body = {"containers": [{"image": "a"}], **steps({"run": f"echo {VERSION}", "environment": variables})}
    key = PodKey(run=RunId("1il7g1c000001"), task="a", attempt=1)
    task = TaskConfig("a", body=body)
    planned = plan(key, task, user="", grace_seconds=1, gateway={"url": "https://gateway", "tokenFile": "/token"})
    made = cast("dict[str, Any]", json.loads(planned.body))

    variable = "RUNABOUT_RESULT_BUILD_1_VERSION"
    assert made["results"] == [{"task": "build-1", "key": "VERSION", "environment": variable}]
    [step] = made["steps"]
    assert step["command"] == f"echo ${{{variable}}}"
    assert step["environment"] == [
        {"name": "TAG", "value": f"v{VERSION}", "results": True},
        {"name": "PLAIN", "value": "{{ other }}"},
    ]


def test_without_a_gateway_a_task_that_refers_to_results_is_refused() -> None:
    tasks = (
        TaskConfig("build-1", body=steps({"run": "make"})),
        TaskConfig("release", body=steps({"run": "x", "environment": [{"name": "V", "value": VERSION}]})),
    )
    access = GatewayAccess("https://gateway")
    assert [access_for(task, access, "tasks[x]") for task in tasks] == [access, access]
    # Nobody hears of results where there is no gateway, so it is enough that those who refer to some are refused.
    assert access_for(tasks[0], None, "tasks[x]") is None
    with pytest.raises(InvalidPodError, match=r"tasks\[x\].steps\[0\].environment: needs the gateway"):
        access_for(tasks[1], None, "tasks[x]")
