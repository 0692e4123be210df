"""A task whose node's last place is taken by a pod of higher priority: the machinery's failure, and not the task's.

The place is an extended resource that the node is said to have one of. The priorities are below that of all other pods,
so that nothing but these two is in the way of the other.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cluster.conftest import Kubectl
from fixtures.etcd_server import EtcdServer
from lab.followed import recorded_tasks
from lab.runs import IMAGE, Json, Runs, task
from lab.waiting import eventually
from runabout.records import Reason, Status

PLACE = "runabout.dev/place"


@dataclass(frozen=True, slots=True)
class Priorities:
    """Names of priority classes."""

    low: str
    high: str


@pytest.fixture
def priorities(kubectl: Kubectl, namespace: str) -> Iterator[Priorities]:
    made = Priorities(f"{namespace}-low", f"{namespace}-high")
    items = [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
        }
        for name, value in ((made.low, -20), (made.high, -10))
    ]
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    yield made
    kubectl("delete", "priorityclass", made.low, made.high, "--ignore-not-found")


@pytest.fixture
def node(kubectl: Kubectl) -> Iterator[str]:
    """The name of a node that has one place."""
    items = kubectl.json("get", "nodes")["items"]
    assert isinstance(items, list)
    name = str(items[0]["metadata"]["name"])

    def change(operation: Json) -> None:
        patch = json.dumps([{**operation, "path": f"/status/capacity/{PLACE.replace('/', '~1')}"}])
        kubectl("patch", "node", name, "--subresource=status", "--type=json", "-p", patch)

    def places() -> object:
        status = kubectl.json("get", "node", name)["status"]
        assert isinstance(status, dict)
        return status["allocatable"].get(PLACE)

    change({"op": "add", "value": "1"})
    eventually(places, "1".__eq__)  # the kubelet takes it over
    yield name
    change({"op": "remove"})


def test_a_task_that_a_pod_of_higher_priority_drives_out_is_tried_again_on_the_machinerys_budget(
    runs: Runs, etcd: EtcdServer, priorities: Priorities, node: str
) -> None:
    resources = {"resources": {"requests": {PLACE: "1"}, "limits": {PLACE: "1"}}}
    container = {"image": IMAGE, "imagePullPolicy": "IfNotPresent", **resources}
    name = runs.create(
        task(
            "a",
            'echo "attempt $RUNABOUT_ATTEMPT"; [ $RUNABOUT_ATTEMPT = 2 ] || sleep 600',
            containers=[container],
            pod={"priorityClassName": priorities.low},
            retries={"limit": 0},
        )
    )
    eventually(
        lambda: runs.pods(name),
        lambda pods: [pod["status"]["phase"] for pod in pods] == ["Running"],  # type: ignore[index] # JSON
    )
    stronger = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stronger"},
        "spec": {
            "restartPolicy": "Never",
            "nodeSelector": {"kubernetes.io/hostname": node},
            "priorityClassName": priorities.high,
            "containers": [{"name": "main", **container, "command": ["true"]}],
        },
    }
    runs.kubectl("-n", runs.namespace, "create", "-f", "-", stdin=json.dumps(stronger))
    assert runs.end(name) == ("finished", "success")
    assert runs.log(name, "a", attempt=2) == b"attempt 2\n"
    lost = runs.log(name, "a", attempt=1)
    assert lost.startswith(b"attempt 1\n")
    assert b"Preempted" in lost.splitlines()[-1]
    run = str(runs.status(name)["id"])
    found = recorded_tasks(etcd.endpoint, runs.operator.ost, [run])[run]["a"]
    assert (found.status, found.attempt) == (Status.SUCCESS, 2)
    assert [past.reason for past in found.attempts] == [Reason.PREEMPTED]
