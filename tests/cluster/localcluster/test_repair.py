"""The native local cluster: bringing it up twice is harmless, and a half-dead one is named and repaired."""

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures.tools import REPOSITORY
from lab.waiting import eventually
from localcluster import archive, docker
from localcluster.layers import Store

if TYPE_CHECKING:
    from cluster.conftest import Kubectl

pytestmark = [
    pytest.mark.skipif(
        docker.available(),
        reason="with Docker the cluster is kind's, which repairs itself in its own way",
    ),
    pytest.mark.usefixtures("kubeconfig"),
]
ROW = re.compile(r"^(\S+) +(\d+|-) +(healthy|NOT HEALTHY|NOT RUNNING)", re.MULTILINE)
PARTS = {"etcd", "containerd", "apiserver", "controller-manager", "scheduler", "kubelet", "proxy", "dns", "provisioner"}


@dataclass(frozen=True)
class Status:
    code: int
    states: dict[str, str]
    pids: dict[str, int]


def cluster(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(REPOSITORY / "hack" / "cluster")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=110, check=False)


def status() -> Status:
    answer = cluster("status")
    rows = ROW.findall(answer.stdout + answer.stderr)
    return Status(
        answer.returncode,
        {name: word for name, _, word in rows},
        {name: int(pid) for name, pid, _ in rows if pid != "-"},
    )


def test_up_on_a_healthy_cluster_starts_nothing() -> None:
    before = status()
    assert (before.code, before.states) == (0, dict.fromkeys(PARTS, "healthy"))
    assert cluster("up").returncode == 0
    assert status() == before


@pytest.mark.parametrize(
    "killed",
    [{"scheduler"}, {"containerd", "kubelet"}, {"etcd", "apiserver"}, PARTS],
    ids=lambda killed: "everything" if killed == PARTS else " and ".join(sorted(killed)),
)
def test_what_has_died_is_named_and_started_again_and_nothing_else(killed: set[str]) -> None:
    before = status()
    for name in killed:
        os.kill(before.pids[name], signal.SIGKILL)
    broken = eventually(status, lambda found: killed <= {name for name in PARTS if found.states[name] == "NOT RUNNING"})
    assert broken.code == 1
    assert cluster("up").returncode == 0
    after = status()
    assert (after.code, after.states) == (0, dict.fromkeys(PARTS, "healthy"))
    lost_their_server = {"controller-manager", "scheduler"}  # they end by themselves without an API server
    assert {name for name in PARTS if after.pids[name] != before.pids[name]} <= killed | lost_their_server


def test_pods_have_their_network_again_when_the_bridge_was_lost(kubectl: "Kubectl", namespace: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "talker", "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "runabout/steps:dev", "command": ["sleep", "600"]}],
        },
    }
    where = ("--namespace", namespace)
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    kubectl("wait", *where, "pod/talker", "--for=condition=Ready", "--timeout=90s")
    connect = ("exec", *where, "talker", "--", "sh", "-c", "nc -w 2 kubernetes.default 443 </dev/null")
    assert kubectl(*connect).returncode == 0
    subprocess.run(["ip", "link", "delete", "runabout0"], check=True, timeout=10)
    assert status().code == 1
    assert cluster("up").returncode == 0
    assert (status().code, status().states) == (0, dict.fromkeys(PARTS, "healthy"))
    eventually(lambda: kubectl(*connect, check=False).returncode, lambda code: code == 0)


def test_pods_find_the_node_at_the_same_hardware_address_whatever_other_pods_come_and_go() -> None:
    before = Path("/sys/class/net/runabout0/address").read_text()
    lowest = ("ip", "link", "add", "runabout-a", "address", "00:00:5e:00:53:01", "type", "veth", "peer", "runabout-b")
    subprocess.run(lowest, check=True, timeout=10)
    try:
        for setting in (("master", "runabout0"), ("up",)):
            subprocess.run(["ip", "link", "set", "runabout-a", *setting], check=True, timeout=10)
        assert Path("/sys/class/net/runabout0/address").read_text() == before
    finally:
        subprocess.run(["ip", "link", "delete", "runabout-a"], check=True, timeout=10)


def test_an_image_in_a_file_is_brought_to_the_node(kubectl: "Kubectl", namespace: str, tmp_path: Path) -> None:
    store = Store.of_user()
    built = archive.find(store, archive.full_name("runabout/steps:dev"))
    assert built is not None, "hack/images load comes before these tests"
    name = f"docker.io/runabout/from-file:{namespace}"
    with (tmp_path / "image.tar").open("wb") as file:
        archive.write(store, replace(built, name=name), file)
    answer = cluster("load-image", str(tmp_path / "image.tar"))
    assert answer.returncode == 0, answer.stderr
    where = ("--namespace", namespace)
    run = ("run", "talker", "--restart=Never", "--image-pull-policy=Never", f"--image={name}")
    kubectl(*run, *where, "--command", "--", "echo", "from a file")
    eventually(lambda: kubectl("logs", *where, "talker", check=False).stdout, lambda said: said == "from a file\n")


def test_words_that_mean_nothing_are_answered_with_what_there_is() -> None:
    answer = cluster("tool", "hammer")
    assert answer.returncode == 2
    assert "kubectl" in answer.stderr
    answer = cluster("up", "--name", "Not A Name")
    assert answer.returncode == 1
    assert "lower-case letters" in answer.stdout + answer.stderr
