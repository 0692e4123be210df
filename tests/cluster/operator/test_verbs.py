"""What a stop, a suspension, an approval, a refusal and a deletion do to a run in each state it can be in."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lab.runs import Runs, condition, task
from lab.waiting import SECONDS, eventually

GONE = ("gone", "")
QUEUED, RUNNING, CANCELLED = ("queued", "unknown"), ("running", "unknown"), ("cancelled", "unknown")
SUCCESS, FAILED, STOPPED = ("finished", "success"), ("finished", "failed"), ("finished", "stopped")
ERROR = ("setuperror", "unknown")
LONG = "trap 'exit 0' TERM; sleep 20 & wait $!"
"""Long enough for everything that is done meanwhile on a slow machine."""
DEAF = "trap '' TERM; while true; do sleep 1; done"


def holder(name: str) -> str:
    """Return the name of the run that holds the group of a queued one."""
    return f"{name}-holder"


def make_queued(runs: Runs, name: str) -> None:
    group = f"/project/{name}"
    runs.create(task("a", "sleep 600"), name=holder(name), group=group)
    runs.until(holder(name), lambda status: status.get("phase") == "running")
    runs.create(task("a"), name=name, group=group)


def make_suspended(runs: Runs, name: str) -> None:
    runs.create(task("a"), name=name, suspend=True)


def make_without_executor(runs: Runs, name: str) -> None:
    runs.create(task("a", arch="s390x"), name=name)


def make_awaiting_approval(runs: Runs, name: str) -> None:
    runs.create(task("a", needsApproval=True), name=name)


def make_pending(runs: Runs, name: str) -> None:
    runs.create(task("a", pod={"nodeSelector": {"no": "such-node"}}), name=name)


def make_running(runs: Runs, name: str) -> None:
    runs.create(task("a", LONG), name=name)


def make_stopping(runs: Runs, name: str) -> None:
    runs.create(task("a", DEAF), name=name)


def make_failing(runs: Runs, name: str) -> None:
    runs.create(task("a", LONG), task("b", "exit 1"), name=name)


def make_finished(runs: Runs, name: str) -> None:
    runs.create(task("a"), name=name)


def make_cancelled(runs: Runs, name: str) -> None:
    runs.create(task("a"), name=name, suspend=True, stop=True)


def make_with_setup_errors(runs: Runs, name: str) -> None:
    runs.create(task("a", after=["nowhere"]), name=name)


def waits(reason: str) -> Callable[[Runs, str], object]:
    return lambda runs, name: runs.waiting(name, reason)


def ends(runs: Runs, name: str) -> object:
    return runs.end(name)


def executes(runs: Runs, name: str) -> object:
    return eventually(
        lambda: runs.pods(name),
        lambda pods: any(pod["status"]["phase"] == "Running" for pod in pods),  # type: ignore[index] # JSON
    )


def is_told_to_stop(runs: Runs, name: str) -> object:
    executes(runs, name)
    stop(runs, name)
    return name


def has_failed_and_goes_on(runs: Runs, name: str) -> object:
    executes(runs, name)
    return runs.until(name, lambda status: (status.get("phase"), status.get("result")) == ("running", "failed"))


def stop(runs: Runs, name: str) -> None:
    runs.patch(name, stop=True)


def suspend(runs: Runs, name: str) -> None:
    runs.patch(name, suspend=True)


def resume(runs: Runs, name: str) -> None:
    runs.patch(name, suspend=False)


def approve(runs: Runs, name: str) -> None:
    runs.answer(name, "a", "approved")


def refuse(runs: Runs, name: str) -> None:
    runs.answer(name, "a", "refused")


def delete(runs: Runs, name: str) -> None:
    runs.delete(name)


VERBS = (stop, suspend, resume, approve, refuse, delete)
Verb = Callable[[Runs, str], None]
Ends = tuple[str, str]


@dataclass(frozen=True)
class State:
    """How a run comes to be in it, and how one ends on which each of VERBS was used in it, in their order."""

    make: Callable[[Runs, str], None]
    reached: Callable[[Runs, str], object]
    ends: tuple[Ends, Ends, Ends, Ends, Ends, Ends]


STATES = {
    "queued": State(make_queued, waits("QueuedBehind"), (CANCELLED, QUEUED, SUCCESS, SUCCESS, SUCCESS, GONE)),
    "suspended": State(make_suspended, waits("Suspended"), (CANCELLED, QUEUED, SUCCESS, QUEUED, QUEUED, GONE)),
    "without executor": State(
        make_without_executor, waits("NoExecutor"), (STOPPED, RUNNING, RUNNING, RUNNING, RUNNING, GONE)
    ),
    "awaiting approval": State(
        make_awaiting_approval, waits("AwaitingApproval"), (STOPPED, RUNNING, RUNNING, SUCCESS, FAILED, GONE)
    ),
    "pending": State(make_pending, waits("Unschedulable"), (STOPPED, RUNNING, RUNNING, RUNNING, RUNNING, GONE)),
    "running": State(make_running, executes, (STOPPED, SUCCESS, SUCCESS, SUCCESS, SUCCESS, GONE)),
    "failing": State(make_failing, has_failed_and_goes_on, (FAILED, FAILED, FAILED, FAILED, FAILED, GONE)),
    "stopping": State(make_stopping, is_told_to_stop, (STOPPED, STOPPED, STOPPED, STOPPED, STOPPED, GONE)),
    "finished": State(make_finished, ends, (SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, GONE)),
    "cancelled": State(make_cancelled, ends, (CANCELLED, CANCELLED, CANCELLED, CANCELLED, CANCELLED, GONE)),
    "setuperror": State(make_with_setup_errors, ends, (ERROR, ERROR, ERROR, ERROR, ERROR, GONE)),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_each_verb_means_what_it_should_in_each_state(runs: Runs, state: State) -> None:
    names = [verb.__name__ for verb in VERBS]
    for name in names:
        state.make(runs, name)
    for name in names:
        state.reached(runs, name)
    for verb, name in zip(VERBS, names, strict=True):
        verb(runs, name)
    for name in names:
        if runs.exists(holder(name)):
            runs.delete(holder(name))
    for name, expected in zip(names, state.ends, strict=True):
        check_end(runs, name, expected)


def check_end(runs: Runs, name: str, expected: Ends) -> None:
    """Wait until a run has come to where it stays; every change of its spec has been looked at by then."""
    if expected == GONE:
        eventually(lambda: runs.exists(name), lambda there: not there)
        return
    metadata = runs.get(name)["metadata"]
    assert isinstance(metadata, dict)
    found = runs.until(
        name,
        lambda status: (
            (status.get("phase"), status.get("result"), status.get("observedGeneration"))
            == (*expected, metadata["generation"])
        ),
        seconds=SECONDS,
    )
    over = expected[0] in ("finished", "cancelled", "setuperror")
    assert condition(found, "Completed")["status"] == str(over), name


@pytest.mark.parametrize("state", ["queued", "running", "finished"])
def test_a_stop_cannot_be_taken_back(runs: Runs, state: str) -> None:
    name = "run"
    STATES[state].make(runs, name)
    STATES[state].reached(runs, name)
    stop(runs, name)
    with pytest.raises(AssertionError, match="stop"):
        runs.patch(name, stop=False)


def test_a_step_that_ignores_the_signal_is_ended_by_force(runs: Runs) -> None:
    make_stopping(runs, "deaf")
    is_told_to_stop(runs, "deaf")
    assert runs.end("deaf") == STOPPED
    assert b"stopped" in runs.log("deaf", "a")


def test_a_namespace_can_be_deleted_whatever_its_runs_do(runs: Runs) -> None:
    for state in STATES.values():
        name = state.make.__name__.removeprefix("make_").replace("_", "-")
        state.make(runs, name)
        state.reached(runs, name)
    runs.kubectl("delete", "namespace", runs.namespace, "--wait=false")
    eventually(
        lambda: runs.kubectl.read("/api/v1/namespaces", fieldSelector=f"metadata.name={runs.namespace}")["items"],
        lambda items: items == [],
    )
