"""Restarts, replacements and the run's time-out, from end to end: with pods that are told to end, or are not made."""

from lab.runs import Runs, condition, task

BROKEN = [{"name": "BROKEN", "value": "yes"}]
LONG = "trap 'exit 0' TERM; echo begun; sleep 60 & wait $!"


def executed(runs: Runs, name: str) -> set[str]:
    """Return the tasks of which a Run has pods."""
    found = set()
    for pod in runs.pods(name):
        metadata = pod["metadata"]
        assert isinstance(metadata, dict)
        found.add(metadata["labels"]["runabout.dev/task"])
    return found


def failed(runs: Runs) -> str:
    """Return the name of a Run whose second task fails as long as BROKEN is set."""
    name = runs.create(
        task("build", "echo built"),
        task("test", 'test -z "$BROKEN"', after=["build"]),
        task("release", after=["test"]),
        environment=BROKEN,
    )
    assert runs.end(name) == ("finished", "failed")
    return name


def test_from_failed_executes_only_what_did_not_succeed(runs: Runs) -> None:
    old = failed(runs)
    again = runs.create(restartFrom={"run": old, "from": "failed"})
    assert runs.end(again) == ("finished", "success")
    assert runs.counts(again) == {"success": 3}
    assert executed(runs, again) == {"test", "release"}
    assert runs.log(old, "build") == b"built\n"


def test_from_start_executes_everything_also_when_the_old_run_is_gone(runs: Runs) -> None:
    old = failed(runs)
    runs.kubectl("-n", runs.namespace, "delete", "run", old)
    assert not runs.exists(old)
    again = runs.create(restartFrom={"run": old, "from": "start"})
    assert runs.end(again) == ("finished", "success")
    assert executed(runs, again) == {"build", "test", "release"}
    assert runs.log(again, "build") == b"built\n"


def test_a_run_that_cancels_what_is_in_progress_takes_the_place_of_the_one_that_runs(runs: Runs) -> None:
    group = "/project/replaced/branch/main"
    first = runs.create(task("a", LONG), group=group)
    runs.until(first, lambda status: status.get("phase") == "running")
    second = runs.create(task("a", LONG), group=group)
    runs.until(second, lambda status: status.get("phase") == "queued")
    third = runs.create(task("a"), group=group, concurrency="cancelInProgress")
    assert runs.end(third) == ("finished", "success")
    assert [runs.end(name) for name in (first, second)] == [("finished", "stopped"), ("cancelled", "unknown")]
    newest = runs.status(third)["id"]
    for name in (first, second):
        succeeded = condition(runs.status(name), "Succeeded")
        assert succeeded["reason"] == "Replaced"
        assert str(succeeded["message"]).startswith(f"replaced by run {newest}")


def test_a_run_whose_time_is_up_is_ended_and_failed(runs: Runs) -> None:
    name = runs.create(
        task("lasts", LONG), task("handler", after={"lasts": ["on_failure", "on_skipped"]}), timeoutSeconds=4
    )
    assert runs.end(name) == ("finished", "failed")
    assert runs.counts(name) == {"stopped": 1, "skipped": 1}
    succeeded = condition(runs.status(name), "Succeeded")
    assert (succeeded["status"], succeeded["reason"]) == ("False", "Timeout")
    assert str(succeeded["message"]).startswith("took longer than its timeoutSeconds (4 s)")
