"""What a stop, a suspension, an approval and a deletion do to a run in each state it can be in."""

import pytest

from lab.runs import Runs, condition, task
from lab.waiting import eventually

GONE = ("gone", "")


def queued(runs: Runs) -> str:
    first = runs.create(task("a", "sleep 5"), group="/project/one")
    runs.until(first, lambda status: status.get("phase") == "running")
    name = runs.create(task("a"), group="/project/one")
    runs.waiting(name, "QueuedBehind")
    return name


def suspended(runs: Runs) -> str:
    name = runs.create(task("a"), suspend=True)
    runs.waiting(name, "Suspended")
    return name


def without_executor(runs: Runs) -> str:
    name = runs.create(task("a", arch="s390x"))
    runs.waiting(name, "NoExecutor")
    return name


def awaiting_approval(runs: Runs) -> str:
    name = runs.create(task("a", needsApproval=True))
    runs.waiting(name, "AwaitingApproval")
    return name


def pending(runs: Runs) -> str:
    name = runs.create(task("a", pod={"nodeSelector": {"no": "such-node"}}))
    runs.waiting(name, "Unschedulable")
    return name


def running(runs: Runs) -> str:
    name = runs.create(task("a", "trap 'exit 0' TERM; sleep 6 & wait; sleep 1"))
    eventually(
        lambda: runs.pods(name),
        lambda pods: bool(pods) and pods[0]["status"]["phase"] == "Running",  # type: ignore[index] # JSON
    )
    return name


def finished(runs: Runs) -> str:
    name = runs.create(task("a"))
    runs.end(name)
    return name


def with_setup_errors(runs: Runs) -> str:
    name = runs.create(task("a", after=["nowhere"]))
    runs.end(name)
    return name


def stop(runs: Runs, name: str) -> None:
    runs.patch(name, stop=True)


def suspend(runs: Runs, name: str) -> None:
    runs.patch(name, suspend=True)


def resume(runs: Runs, name: str) -> None:
    runs.patch(name, suspend=False)


def approve(runs: Runs, name: str) -> None:
    status = runs.kubectl.json("auth", "whoami")["status"]
    assert isinstance(status, dict)
    runs.patch(name, approvals=[{"task": "a", "by": status["userInfo"]["username"], "verdict": "approved"}])


def delete(runs: Runs, name: str) -> None:
    runs.delete(name)


ENDS = [
    (queued, stop, ("cancelled", "unknown")),
    (queued, suspend, ("queued", "unknown")),
    (queued, resume, ("finished", "success")),
    (queued, approve, ("finished", "success")),
    (queued, delete, GONE),
    (suspended, stop, ("cancelled", "unknown")),
    (suspended, suspend, ("queued", "unknown")),
    (suspended, resume, ("finished", "success")),
    (suspended, approve, ("queued", "unknown")),
    (suspended, delete, GONE),
    (without_executor, stop, ("finished", "stopped")),
    (without_executor, suspend, ("running", "unknown")),
    (without_executor, delete, GONE),
    (awaiting_approval, stop, ("finished", "stopped")),
    (awaiting_approval, suspend, ("running", "unknown")),
    (awaiting_approval, approve, ("finished", "success")),
    (awaiting_approval, delete, GONE),
    (pending, stop, ("finished", "stopped")),
    (pending, suspend, ("running", "unknown")),
    (pending, delete, GONE),
    (running, stop, ("finished", "stopped")),
    (running, suspend, ("finished", "success")),
    (running, approve, ("finished", "success")),
    (running, delete, GONE),
    (finished, stop, ("finished", "success")),
    (finished, suspend, ("finished", "success")),
    (finished, approve, ("finished", "success")),
    (finished, delete, GONE),
    (with_setup_errors, stop, ("setuperror", "unknown")),
    (with_setup_errors, suspend, ("setuperror", "unknown")),
    (with_setup_errors, delete, GONE),
]


@pytest.mark.parametrize(
    ("state", "verb", "expected"), ENDS, ids=[f"{state.__name__}-{verb.__name__}" for state, verb, _ in ENDS]
)
def test_each_verb_means_the_same_in_each_state(
    runs: Runs, state: object, verb: object, expected: tuple[str, str]
) -> None:
    assert callable(state)
    assert callable(verb)
    name = str(state(runs))
    verb(runs, name)
    if expected == GONE:
        eventually(lambda: runs.exists(name), lambda there: not there, seconds=30)
        return
    phase, result = expected
    found = runs.until(name, lambda status: (status.get("phase"), status.get("result")) == expected, seconds=30)
    assert (found["phase"], found["result"]) == (phase, result)
    if phase in ("queued", "running"):
        generation = runs.kubectl.json("-n", runs.namespace, "get", "run", name)["metadata"]
        assert isinstance(generation, dict)
        seen = runs.until(name, lambda status: status.get("observedGeneration") == generation["generation"])
        assert (seen["phase"], seen["result"]) == expected
        assert condition(seen, "Completed")["status"] == "False"


def test_a_stop_cannot_be_taken_back(runs: Runs) -> None:
    name = suspended(runs)
    stop(runs, name)
    with pytest.raises(AssertionError, match="stop"):
        runs.patch(name, stop=False)


def test_a_step_that_ignores_the_signal_is_ended_by_force(runs: Runs) -> None:
    name = runs.create(task("a", "trap '' TERM; while true; do sleep 1; done"))
    eventually(
        lambda: runs.pods(name),
        lambda pods: bool(pods) and pods[0]["status"]["phase"] == "Running",  # type: ignore[index] # JSON
    )
    stop(runs, name)
    assert runs.end(name, seconds=40) == ("finished", "stopped")
    assert b"stopped" in runs.log(name, "a")


def test_a_namespace_with_running_runs_can_be_deleted(runs: Runs) -> None:
    running(runs)
    awaiting_approval(runs)
    runs.kubectl("delete", "namespace", runs.namespace, "--wait=false")
    eventually(
        lambda: runs.kubectl.json("get", "namespaces", "--field-selector", f"metadata.name={runs.namespace}")["items"],
        lambda items: items == [],
        seconds=60,
    )
