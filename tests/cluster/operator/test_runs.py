"""Runs from end to end: applied with kubectl, executed by a real kubelet, recorded in a real etcd."""

import json
import re

import pytest

from fixtures.etcd_server import EtcdServer
from lab.runs import IMAGE, Json, Runs, condition, task
from lab.waiting import eventually
from runabout.etcd import connect
from runabout.executors.names import ATTEMPT_LABEL


def test_a_diamond_succeeds_and_its_logs_are_stored_to_the_byte(runs: Runs) -> None:
    name = runs.create(
        task("a", "printf 'no newline at the end'"),
        task("b", "echo b1; echo b2 >&2", after=["a"]),
        task("c", "printf '\\000\\377\\r\\n[runabout not a marker]\\n'", after=["a"]),
        task("d", "echo $RUNABOUT_TASK", after=["b", "c"]),
    )
    assert runs.end(name) == ("finished", "success")
    assert runs.counts(name) == {"success": 4}
    assert runs.log(name, "a") == b"no newline at the end"
    assert runs.log(name, "b") == b"b1\nb2\n"
    assert runs.log(name, "c") == b"\0\xff\r\n[runabout not a marker]\n"
    assert runs.log(name, "d") == b"d\n"


def test_a_failed_task_fails_the_run_and_starts_its_on_failure_child_only(runs: Runs) -> None:
    name = runs.create(
        task("build", "exit 7"),
        task("test", after=["build"]),
        task("report", after={"build": ["on_failure"]}),
        task("always", after={"test": ["on_skipped", "on_success"]}),
    )
    assert runs.end(name) == ("finished", "failed")
    assert runs.counts(name) == {"failed": 1, "skipped": 1, "success": 2}
    notable = runs.status(name)["notable"]
    assert isinstance(notable, list)
    assert [(row["task"], row["reason"]) for row in notable] == [("build", "ExitCode")]
    assert "7" in notable[0]["message"]


def test_an_ignored_failure_does_not_fail_the_run(runs: Runs) -> None:
    name = runs.create(task("flaky", "exit 1", ignoreFailure=True), task("rest"))
    assert runs.end(name) == ("finished", "success")
    assert runs.counts(name) == {"failed": 1, "success": 1}


def test_a_run_without_tasks_succeeds(runs: Runs) -> None:
    assert runs.end(runs.create()) == ("finished", "success")


def test_setup_errors_end_a_run_at_once_with_all_reasons(runs: Runs) -> None:
    name = runs.create(task("a", after=["nowhere"]), task("b", after=["c"]), task("c", after=["b"]))
    assert runs.end(name) == ("setuperror", "unknown")
    errors = runs.status(name)["setupErrors"]
    assert isinstance(errors, dict)
    assert errors["count"] == 2
    assert any('"nowhere"' in text for text in errors["first"])
    assert any("cycle" in text for text in errors["first"])
    assert condition(runs.status(name), "Completed")["status"] == "True"


def test_what_needs_a_gateway_where_there_is_none_is_a_setup_error_that_says_so(runs: Runs) -> None:
    name = runs.create(task("a", steps=[{"run": "true"}, {"restoreWorkspace": {}}]))
    assert runs.end(name) == ("setuperror", "unknown")
    said = json.dumps(runs.status(name)["setupErrors"])
    assert "spec.tasks[0].steps[1].restoreWorkspace" in said
    assert "needs the gateway: set gateway.enabled in the chart" in said


def test_runs_of_one_group_take_turns_in_order_and_say_whom_they_wait_for(runs: Runs) -> None:
    first = runs.create(task("a", needsApproval=True), name="first", group="/project/web/branch/main")
    second = runs.create(task("a"), name="second", group="/project/web/branch/main")
    other = runs.create(task("a"), name="other", group="/project/web/branch/topic")
    first_id = str(runs.until(first, lambda status: "id" in status)["id"])
    assert first_id in runs.waiting(second, "QueuedBehind")
    runs.answer(first, "a", "approved")
    assert runs.end(other) == ("finished", "success")
    assert runs.end(second) == ("finished", "success")
    begin, end = runs.status(second)["startTime"], runs.status(first)["completionTime"]
    assert str(begin) >= str(end)
    assert [runs.status(name)["counter"] for name in (first, second, other)] == [1, 2, 3]


def test_a_suspended_run_waits_and_holds_no_place_in_its_group(runs: Runs) -> None:
    held = runs.create(task("a"), name="held", group="/project/held", suspend=True)
    assert "suspend" in runs.waiting(held, "Suspended")
    after = runs.create(task("a"), name="after", group="/project/held")
    assert runs.end(after) == ("finished", "success")
    assert runs.status(held)["phase"] == "queued"
    runs.patch(held, suspend=False)
    assert runs.end(held) == ("finished", "success")


def test_an_approval_in_ones_own_name_lets_a_task_start(runs: Runs) -> None:
    name = runs.create(task("build"), task("release", after=["build"], needsApproval=True))
    runs.waiting(name, "AwaitingApproval")
    assert len(runs.pods(name)) == 1
    runs.answer(name, "release", "approved")
    assert runs.end(name) == ("finished", "success")


def test_a_refusal_fails_the_task_before_it_starts(runs: Runs) -> None:
    name = runs.create(task("release", needsApproval=True))
    runs.waiting(name, "AwaitingApproval")
    runs.answer(name, "release", "refused")
    assert runs.end(name) == ("finished", "failed")
    assert runs.pods(name) == []
    notable = runs.status(name)["notable"]
    assert isinstance(notable, list)
    assert notable[0]["reason"] == "Refused"


CLOCK = "cut -d' ' -f1 /proc/uptime"


def test_an_executor_never_holds_more_tasks_than_it_may(runs: Runs) -> None:
    runs.executor("default", archs=["amd64"], maxActiveTasks=2)
    name = runs.create(*(task(f"t{number}", CLOCK + "; sleep 1; " + CLOCK) for number in range(6)))
    eventually(lambda: runs.pods(name), lambda pods: sum(map(is_at_work, pods)) == 2)
    assert runs.end(name) == ("finished", "success")
    spans = [tuple(map(float, runs.log(name, f"t{number}").split())) for number in range(6)]
    assert max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans) <= 2


def is_at_work(pod: Json) -> bool:
    return pod["status"]["phase"] in ("Pending", "Running")  # type: ignore[index] # JSON


def test_a_task_that_fits_nowhere_says_why_within_seconds_and_blocks_nobody(runs: Runs) -> None:
    stuck = runs.create(task("a", arch="riscv64"))
    free = runs.create(task("a"))
    message = runs.waiting(stuck, "NoExecutor", seconds=25)
    assert "no ready executor serves arch riscv64" in message
    assert runs.end(free) == ("finished", "success")
    runs.patch(stuck, stop=True)
    assert runs.end(stuck) == ("finished", "stopped")


@pytest.mark.parametrize(
    ("container", "pod"),
    [
        ({"privileged": True}, {}),
        (
            {"volumeMounts": [{"name": "node", "mountPath": "/node"}]},
            {"volumes": [{"name": "node", "hostPath": {"path": "/proc"}}]},
        ),
    ],
    ids=["privileged", "a volume of the node"],
)
def test_what_reaches_into_the_node_waits_until_an_executor_allows_it(runs: Runs, container: Json, pod: Json) -> None:
    containers = [{"image": IMAGE, "imagePullPolicy": "IfNotPresent", **container}]
    name = runs.create(task("a", containers=containers, pod=pod))
    assert "privileged" in runs.waiting(name, "NoExecutor")
    assert runs.pods(name) == []
    runs.executor("default", archs=["amd64", "arm64"], allowPrivileged=True)
    eventually(lambda: runs.pods(name), lambda pods: len(pods) == 1)
    runs.patch(name, stop=True)
    assert runs.end(name)[0] == "finished"


def test_a_quota_is_a_wait_in_the_api_servers_words_until_there_is_room(runs: Runs) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    runs.kubectl("-n", runs.namespace, "apply", "-f", "-", stdin=json.dumps(quota))
    name = runs.create(task("a"))
    message = runs.waiting(name, "CreationRefused")
    assert "exceeded quota" in message
    runs.kubectl("-n", runs.namespace, "delete", "resourcequota", "none")
    assert runs.end(name) == ("finished", "success")


def test_an_image_that_cannot_be_pulled_is_visible_at_once_and_fails_at_its_limit(runs: Runs) -> None:
    runs.executor("default", archs=["amd64"], imagePullTimeoutSeconds=40)
    name = runs.create(task("a", image="runabout/no-such-image:1"))
    runs.waiting(name, "ImagePull")  # where no name server answers, the kubelet says so after 10 s or more
    assert runs.end(name) == ("finished", "failed")
    notable = runs.status(name)["notable"]
    assert isinstance(notable, list)
    assert notable[0]["reason"] == "ImagePull"


def test_a_pod_that_no_node_takes_is_visible_at_once_and_fails_at_its_limit(runs: Runs) -> None:
    runs.executor("default", archs=["amd64"], pendingTimeoutSeconds=30)
    name = runs.create(task("a", pod={"nodeSelector": {"runabout.dev/test": "no-such-node"}}))
    runs.waiting(name, "Unschedulable")
    assert runs.end(name) == ("finished", "failed")
    notable = runs.status(name)["notable"]
    assert isinstance(notable, list)
    assert notable[0]["reason"] == "Unschedulable"


def test_an_executor_says_what_it_serves_what_is_on_it_and_what_it_lacks(runs: Runs) -> None:
    full = runs.executor("default", archs=["amd64", "riscv64"])
    name = runs.create(task("a", "sleep 600", arch="amd64"))

    def look() -> Json:
        status = runs.kubectl.read(f"/apis/runabout.dev/v1alpha1/executors/{full}").get("status", {})
        assert isinstance(status, dict)
        return status

    status = eventually(look, lambda found: found.get("activeTasks") == 1)
    ready = condition(status, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "ArchsWithoutNodes")
    assert "riscv64" in str(ready["message"])
    row = runs.kubectl("get", "executor", full, "--no-headers").stdout
    assert row.startswith(f"{full} ")
    assert {"amd64, riscv64", "True", "unlimited"} <= set(re.split(r"\s{2,}", row.strip()))
    runs.patch(name, stop=True)
    assert runs.end(name) == ("finished", "stopped")


async def test_a_secret_reaches_the_step_and_nothing_that_is_stored(runs: Runs, etcd: EtcdServer) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token"},
        "stringData": {"value": "hunter2-hunter2"},
    }
    runs.kubectl("-n", runs.namespace, "apply", "-f", "-", stdin=json.dumps(secret))
    reference = {"valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}}
    name = runs.create(
        {
            **task("a"),
            "steps": [{"run": "echo ${#TOKEN} ${#OTHER}", "environment": [{"name": "OTHER", **reference}]}],
        },
        environment=[{"name": "TOKEN", **reference}],
    )
    assert runs.end(name) == ("finished", "success")
    assert runs.log(name, "a") == b"15 15\n"
    assert "hunter2" not in json.dumps(runs.pods(name))
    client = connect(etcd.endpoint)
    try:
        page = await client.range(b"store/", b"store0")
    finally:
        await client.close()
    assert page.items
    assert not any(b"hunter2" in item.value for item in page.items)


def test_a_lost_pod_is_a_new_attempt_and_not_the_tasks_failure(runs: Runs) -> None:
    name = runs.create(task("a", "test $RUNABOUT_ATTEMPT = 2 || sleep 60"))
    pods = eventually(
        lambda: runs.pods(name),
        lambda found: bool(found) and found[0]["status"]["phase"] == "Running",  # type: ignore[index] # JSON
    )
    metadata = pods[0]["metadata"]
    assert isinstance(metadata, dict)
    runs.kubectl("-n", runs.namespace, "delete", "pod", str(metadata["name"]), "--grace-period=1", "--wait=false")
    assert runs.end(name) == ("finished", "success")
    assert str(metadata["name"]).removesuffix("1") + "2" in {str(pod["metadata"]["name"]) for pod in runs.pods(name)}  # type: ignore[index] # JSON
    assert runs.log(name, "a", attempt=1).endswith(b"PodDeleted: somebody deleted the pod]\n")


def test_what_is_evicted_three_times_has_used_the_machinerys_budget_up_and_not_its_own(runs: Runs) -> None:
    name = runs.create(task("a", 'echo "attempt $RUNABOUT_ATTEMPT"; sleep 600', retries={"limit": 5}))
    for attempt in (1, 2, 3):
        pods = eventually(
            lambda attempt=attempt: [pod for pod in runs.pods(name) if is_attempt(pod, attempt)],  # type: ignore[misc] # bound
            lambda found: [pod["status"]["phase"] for pod in found] == ["Running"],  # type: ignore[index] # JSON
        )
        metadata = pods[0]["metadata"]
        assert isinstance(metadata, dict)
        evict(runs, str(metadata["name"]))
    assert runs.end(name) == ("finished", "failed")
    notable = runs.status(name)["notable"]
    assert isinstance(notable, list)
    assert [row["reason"] for row in notable] == ["Evicted"]
    for attempt in (1, 2, 3):
        log = runs.log(name, "a", attempt=attempt)
        assert log.startswith(f"attempt {attempt}\n".encode())
        assert b"Evicted" in log.splitlines()[-1]
    assert not any(is_attempt(pod, 4) for pod in runs.pods(name))


def is_attempt(pod: Json, number: int) -> bool:
    return str(pod["metadata"]["labels"][ATTEMPT_LABEL]) == str(number)  # type: ignore[index] # JSON


def evict(runs: Runs, pod: str) -> None:
    """Evict a pod as those do who drain its node."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": runs.namespace}}
    path = f"/api/v1/namespaces/{runs.namespace}/pods/{pod}/eviction"
    runs.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def test_a_finished_run_is_held_by_nothing_and_goes_at_its_time(runs: Runs) -> None:
    name = runs.create(task("a"), ttlSecondsAfterFinished=2)
    eventually(lambda: runs.exists(name), lambda there: not there)
    assert runs.pods(name) == [] or eventually(lambda: runs.pods(name), lambda pods: pods == []) == []
