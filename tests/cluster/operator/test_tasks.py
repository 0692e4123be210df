"""Tasks that are tried again, that stand for several, and that wait for the right person, on a real cluster."""

import json

import pytest

from fixtures.runs import as_user
from lab.runs import IMAGE, Json, Runs, condition, task
from runabout.executors.names import ATTEMPT_LABEL

SUCCESS, FAILED = ("finished", "success"), ("finished", "failed")
MANY_SECONDS = 200
"""For ten thousand tasks, on a slow machine."""
AGAIN = 'echo "attempt $RUNABOUT_ATTEMPT"; '


def attempts(runs: Runs, name: str) -> list[str]:
    """Return the attempts of all tasks of a run."""
    return sorted(pod["metadata"]["labels"][ATTEMPT_LABEL] for pod in runs.pods(name))  # type: ignore[index] # JSON


def approve(runs: Runs, name: str, user: str, *approvals: object) -> None:
    """Write a Run's approvals in the name of a user."""
    patch = json.dumps({"spec": {"approvals": approvals}})
    runs.kubectl("-n", runs.namespace, "patch", "run", name, "--type=merge", "-p", patch, *as_user(user))


def test_a_task_that_fails_twice_succeeds_on_its_third_attempt_and_all_three_logs_are_kept(runs: Runs) -> None:
    flaky = task("flaky", AGAIN + "[ $RUNABOUT_ATTEMPT = 3 ] || exit 7", retries={"limit": 2, "backoffSeconds": 2})
    name = runs.create(flaky, task("after", after=["flaky"]))
    assert " of 3 starts at " in runs.waiting(name, "BackOff")  # a slow machine may see the second pause only
    assert runs.end(name) == SUCCESS
    assert runs.counts(name) == {"success": 2}
    assert [runs.log(name, "flaky", attempt=number) for number in (1, 2, 3)] == [
        b"attempt 1\n",
        b"attempt 2\n",
        b"attempt 3\n",
    ]
    assert attempts(runs, name) == ["1", "1", "2", "3"]


def test_only_the_exit_codes_that_are_named_are_tried_again(runs: Runs) -> None:
    retries = {"limit": 5, "onExitCodes": [7]}
    name = runs.create(task("named", AGAIN + "exit $((6 + RUNABOUT_ATTEMPT))", retries=retries))
    assert runs.end(name) == FAILED
    assert attempts(runs, name) == ["1", "2"]
    rows = runs.status(name)["notable"]
    assert isinstance(rows, list)
    assert [row["reason"] for row in rows] == ["ExitCode"]
    assert rows[0]["message"].endswith("ended with exit code 8 (attempt 2, the last one)")


def test_a_task_without_retries_has_the_runs(runs: Runs) -> None:
    flaky = task("flaky", AGAIN + "[ $RUNABOUT_ATTEMPT = 2 ] || exit 7")
    own = task("own", AGAIN + "exit 7", retries={"limit": 0}, ignoreFailure=True)
    name = runs.create(flaky, own, retries={"limit": 1})
    assert runs.end(name) == SUCCESS
    assert runs.counts(name) == {"success": 1, "failed": 1}
    assert attempts(runs, name) == ["1", "1", "2"]


def test_an_exit_code_that_skips_the_rest_ends_the_task_well(runs: Runs) -> None:
    steps = [{"run": "echo nothing to do; exit 78"}, {"run": "echo never"}]
    name = runs.create(task("a", steps=steps, skipRestOnExitCodes=[78]), task("after", after=["a"]))
    assert runs.end(name) == SUCCESS
    assert runs.counts(name) == {"success": 2}
    assert runs.log(name, "a") == b"nothing to do\n[runabout: exit code 78: the task is done, the rest is skipped]\n"


def test_two_by_two_variants_run_with_their_values_and_join(runs: Runs) -> None:
    matrix = {"GO": ["1.25", "1.26"], "OS": ["linux", "mac"]}
    name = runs.create(
        task("test", 'echo "$GO on $OS"', matrix=matrix),
        task("all", after=["test"]),
        task("one", after=["test-1-26-mac"]),
    )
    assert runs.end(name) == SUCCESS
    assert runs.counts(name) == {"success": 6}
    for go in matrix["GO"]:
        for system in matrix["OS"]:
            variant = f"test-{go.replace('.', '-')}-{system}"
            assert runs.log(name, variant) == f"{go} on {system}\n".encode()


def test_settings_of_the_task_lie_over_the_runs_and_those_over_the_executors_a_claim_among_them(runs: Runs) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shared"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }
    runs.kubectl("-n", runs.namespace, "create", "-f", "-", stdin=json.dumps(claim))

    def level(name: str, *keys: str) -> Json:
        return {"labels": dict.fromkeys(keys, name), "annotations": {f"example.org/{name}": "yes"}}

    volumes = [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}]
    executor = {**level("executor", "a", "b", "c"), "volumes": volumes, "securityContext": {"fsGroup": 1000}}
    runs.executor("default", archs=["amd64", "arm64"], pod=executor)
    mount = [{"name": "shared", "mountPath": "/shared"}]
    container = {"image": IMAGE, "imagePullPolicy": "IfNotPresent", "user": "1000:1000", "volumeMounts": mount}
    both = {"containers": [container], "pod": level("task", "c"), "workingDir": "/tmp"}
    name = runs.create(
        {**task("writes", "echo shared > /shared/file"), **both},
        {**task("reads", "cat /shared/file", after=["writes"]), **both},
        pod=level("run", "b", "c"),
    )
    assert runs.end(name) == SUCCESS
    assert runs.log(name, "reads") == b"shared\n"
    for pod in runs.pods(name):
        metadata = pod["metadata"]
        assert isinstance(metadata, dict)
        assert {key: metadata["labels"][key] for key in "abc"} == {"a": "executor", "b": "run", "c": "task"}
        assert {f"example.org/{level}" for level in ("executor", "run", "task")} <= set(metadata["annotations"])


@pytest.mark.timeout(500)
def test_a_run_of_ten_thousand_tasks_runs_and_is_stopped_in_small_objects(runs: Runs) -> None:
    runs.executor("default", archs=["amd64", "arm64"], maxActiveTasks=2)
    matrix = {key: [str(number) for number in range(100)] for key in ("A", "B")}
    name = runs.create(task("wide", 'echo "$A $B"', matrix=matrix))
    runs.until(name, lambda _status: runs.counts(name).get("success", 0) >= 3, seconds=MANY_SECONDS)
    runs.patch(name, stop=True)
    assert runs.end(name, seconds=MANY_SECONDS) == ("finished", "stopped")
    counts = runs.counts(name)
    assert set(counts) <= {"success", "stopped", "skipped"}
    assert sum(counts.values()) == 10_000
    assert len(json.dumps(runs.status(name))) < 16 * 1024
    made = runs.kubectl.json("-n", runs.namespace, "get", "pods,configmaps")["items"]
    assert isinstance(made, list)
    assert made
    assert max(len(json.dumps(item)) for item in made) < 64 * 1024


def test_the_wrong_person_approves_in_vain_and_the_right_one_lets_the_task_start(runs: Runs) -> None:
    approvers = {"users": ["anna"], "groups": ["release"]}
    name = runs.create(task("deploy", needsApproval=True, approvers=approvers))
    assert runs.waiting(name, "AwaitingApproval").startswith(
        "task deploy: waits for an approval of anna or group release since 20"
    )
    eve = {"task": "deploy", "by": "eve", "verdict": "approved"}
    approve(runs, name, "eve", eve)
    status = runs.until(name, lambda found: condition(found, "ApprovalsValid").get("reason") == "NotAnApprover")
    assert str(condition(status, "ApprovalsValid")["message"]).startswith("eve is not among the approvers of deploy")
    assert runs.pods(name) == []
    bob = {"task": "deploy", "by": "bob", "verdict": "approved", "groups": ["release"]}
    approve(runs, name, "bob/release", eve, bob)
    assert runs.end(name) == SUCCESS
