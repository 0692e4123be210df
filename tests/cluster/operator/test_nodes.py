"""A node whose kubelet says nothing: the run says so, nothing starts twice, and it goes on when the node is back."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fixtures.tools import REPOSITORY
from lab.runs import Runs, task
from lab.waiting import eventually
from localcluster import docker

SILENCE_SECONDS = 120
"""The controller manager waits 50 s for a kubelet, and gives it some more."""

pytestmark = pytest.mark.skipif(
    docker.available(), reason="with Docker the kubelet is in kind's container, whose processes are not ours to stop"
)


@contextmanager
def silent_kubelet(runs: Runs) -> Iterator[None]:
    """Stop the kubelet; it goes on at the end, and the node is ready then."""
    program = str(REPOSITORY / "hack" / "cluster")
    answer = subprocess.run([program, "status"], capture_output=True, text=True, timeout=110, check=True)
    rows = (answer.stdout + answer.stderr).splitlines()
    [pid] = [int(row.split()[1]) for row in rows if row.startswith("kubelet ")]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        runs.kubectl("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=90s")


def test_a_silent_node_is_named_and_its_task_goes_on_where_it_was(runs: Runs) -> None:
    name = runs.create(task("a", "echo begin; sleep 20; echo end $RUNABOUT_ATTEMPT"), task("b", after=["a"]))
    pods = eventually(
        lambda: runs.kubectl.read(f"/api/v1/namespaces/{runs.namespace}/pods")["items"],
        lambda items: isinstance(items, list) and [item["status"]["phase"] for item in items] == ["Running"],
    )
    assert isinstance(pods, list)
    with silent_kubelet(runs):
        message = runs.waiting(name, "NodeLost", seconds=SILENCE_SECONDS)
        assert pods[0]["spec"]["nodeName"] in message
        assert runs.status(name)["phase"] == "running"
    assert runs.end(name) == ("finished", "success")
    assert runs.log(name, "a") == b"begin\nend 1\n"
    assert runs.log(name, "b") == b"hello\n"
