"""`down` leaves the machine as it was, and the next `up` begins afresh; how long it takes is what `up` itself says."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.tools import REPOSITORY
from localcluster import docker
from localcluster.settings import Places, cluster_name

pytestmark = [
    pytest.mark.skipif(
        docker.available(),
        reason="with Docker the cluster is kind's, which has its own way down",
    ),
    pytest.mark.usefixtures("kubeconfig"),
    pytest.mark.timeout(900),
]
PLACES = Places.of(cluster_name())
OURS = (str(PLACES.home), str(PLACES.run))


def hack(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(REPOSITORY / "hack" / program), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout


def processes() -> list[str]:
    """Return the command lines that name one of the cluster's folders; its kubeconfig is for anybody."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            others = line.replace(str(PLACES.kubeconfig), "")
            found += [line] if any(f"{folder}/" in others for folder in OURS) else []
    return found


def mounts() -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if any(each in line for each in OURS)]


def links() -> list[str]:
    return re.findall(r"^\d+: ((?:runabout0|veth)[^:@]*)", output("ip", "-o", "link"), re.MULTILINE)


def rules() -> list[str]:
    return [line for line in output("iptables-save").splitlines() if "KUBE-" in line or "runabout" in line]


def cgroups() -> list[str]:
    return [
        str(path) for path in (*Path("/sys/fs/cgroup").glob("kubepods*"), *Path("/sys/fs/cgroup").glob("*/kubepods*"))
    ]


LOOKS = {"processes": processes, "mounts": mounts, "links": links, "rules": rules, "cgroups": cgroups}


@pytest.fixture
def restored() -> Iterator[None]:
    """Whatever happens, the other tests get a cluster with its images."""
    yield
    for command in (("cluster", "up"), ("images", "load")):
        answer = hack(*command)
        assert answer.returncode == 0, answer.stderr


@pytest.mark.usefixtures("restored")
def test_down_leaves_nothing_behind_and_up_begins_afresh() -> None:
    for name, look in LOOKS.items():
        assert look(), f"this test would not see any {name} that are left"
    assert hack("cluster", "down").returncode == 0
    assert {name: found for name, look in LOOKS.items() if (found := look())} == {}
    assert not PLACES.run.exists()
    assert not PLACES.home.exists()
    answer = hack("cluster", "status")
    assert (answer.returncode, answer.stderr) == (1, f"cluster {PLACES.name}: not there\nnext: hack/cluster up\n")
    assert hack("cluster", "down").returncode == 0
    answer = hack("cluster", "up")
    assert answer.returncode == 0, answer.stderr
    assert hack("cluster", "status").returncode == 0
