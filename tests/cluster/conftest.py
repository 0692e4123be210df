"""One real cluster for all tests here, kind's or the native one; see hack/kind. It stays up for the next time."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_kind import KindCluster

from fixtures.tools import REPOSITORY, tool
from lab.waiting import eventually


class Kubectl:
    """kubectl with the cluster's kubeconfig."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        self._program = tool("kubectl")

    def __call__(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(
            [self._program, "--kubeconfig", self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and answer.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {answer.stderr.strip()}")
        return answer

    def json(self, *arguments: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self(*arguments, "-o", "json").stdout)
        return found


@pytest.fixture(scope="session")
def kubeconfig(kind_cluster: KindCluster) -> str:
    path = str(kind_cluster.kubeconfig_path)
    os.environ["KUBECONFIG"] = path
    return path


@pytest.fixture(scope="session")
def kubectl(kubeconfig: str) -> Kubectl:
    return Kubectl(kubeconfig)


@pytest.fixture(scope="session")
def definitions(kubectl: Kubectl) -> None:
    """The project's resources and its policy, as they are in the tree; no other operator works on them."""
    helm = tool("helm")
    subprocess.run(
        [helm, "--kubeconfig", kubectl.kubeconfig, "-n", "runabout", "uninstall", "runabout", "--ignore-not-found"],
        capture_output=True,
        timeout=180,
        check=False,
    )
    folder: Path = REPOSITORY / "crds"
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))
    kubectl(
        "wait", "--for=condition=Established", "crd/runs.runabout.dev", "crd/executors.runabout.dev", "--timeout=30s"
    )
    probe = {
        "apiVersion": "runabout.dev/v1alpha1",
        "kind": "Run",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"tasks": [], "approvals": [{"task": "a", "by": "nobody"}]},
    }
    eventually(  # the API server takes a moment to enforce a new policy
        lambda: kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(probe), check=False).stderr,
        lambda answer: "ValidatingAdmissionPolicy" in answer,
        seconds=60,
    )


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
