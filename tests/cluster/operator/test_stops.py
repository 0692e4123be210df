"""A stop at each moment of a task's life ends it within seconds.

Waiting for a service is in test_services.py, saving an archive in test_uploads.py, being queued in test_verbs.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from lab.runs import IMAGE, Json, Runs, task
from lab.waiting import eventually

SECONDS = 25
"""From the request to the end of the run, also on a slow machine; the grace period is 3 seconds, a pod's own is 30."""


def waits(reason: str) -> Callable[[Runs, str], object]:
    return lambda runs, name: runs.waiting(name, reason)


def has_begun(runs: Runs, name: str) -> object:
    def begun(pods: Sequence[Json]) -> bool:
        return any(pod["status"]["phase"] == "Running" for pod in pods)  # type: ignore[index] # JSON

    return eventually(lambda: runs.pods(name), begun)


def has_ended_but_for_its_service(runs: Runs, name: str) -> object:
    def over(pods: Sequence[Json]) -> bool:
        containers = [each for pod in pods for each in pod["status"].get("containerStatuses", ())]  # type: ignore[attr-defined] # JSON
        return any("terminated" in each["state"] for each in containers)

    return eventually(lambda: runs.pods(name), over)


@dataclass(frozen=True, slots=True)
class Moment:
    """A task, how to tell that it has come there, and what the stop makes of it."""

    task: Json
    reached: Callable[[Runs, str], object]
    counts: dict[str, int]
    result: str = "stopped"


MAIN = {"image": IMAGE, "imagePullPolicy": "IfNotPresent"}
DEAF = {**MAIN, "name": "deaf", "command": ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"]}
NOTHING_THERE = {"image": "127.0.0.1:1/none:1", "imagePullPolicy": "Always"}
MISSING = [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "missing", "key": "k"}}}]
MOMENTS = {
    "waiting for an executor": Moment(task("a", arch="riscv64"), waits("NoExecutor"), {"skipped": 1}),
    "waiting for a node": Moment(
        task("a", pod={"nodeSelector": {"runabout.dev/test": "no-such-node"}}), waits("Unschedulable"), {"stopped": 1}
    ),
    "pulling": Moment(task("a", containers=[NOTHING_THERE]), waits("RegistryError"), {"stopped": 1}),
    "pulling a service": Moment(
        task("a", containers=[MAIN, NOTHING_THERE]),
        waits("RegistryError"),
        {"stopped": 1},
    ),
    "starting": Moment(task("a", environment=MISSING), waits("ConfigError"), {"stopped": 1}),
    "in a step": Moment(task("a", "sleep 600"), has_begun, {"stopped": 1}),
    "between steps": Moment(task("a", steps=[{"run": "sleep 0.3"}] * 64), has_begun, {"stopped": 1}),
    # Its last step has ended before, so it ends as that did; the further attempt that it has left would be stopped.
    "in clean-up": Moment(
        task("a", "[ $RUNABOUT_ATTEMPT = 2 ] || exit 1; sleep 600", containers=[MAIN, DEAF], retries={"limit": 1}),
        has_ended_but_for_its_service,
        {"failed": 1},
        "failed",
    ),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_stop_ends_a_task_within_seconds(runs: Runs, moment: Moment) -> None:
    name = runs.create(moment.task)
    moment.reached(runs, name)
    runs.patch(name, stop=True)
    assert runs.end(name, seconds=SECONDS) == ("finished", moment.result)
    assert runs.counts(name) == moment.counts
