"""One real cluster for all tests here, kind's or the native one; see hack/kind. It stays up for the next time.

What is put into it lasts no longer than a module: a test of the cluster itself takes it down and begins afresh.
"""

import json
import os
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml
from kubernetes import client, config
from pytest_kind import KindCluster

from fixtures.tools import REPOSITORY, tool
from lab.waiting import eventually

GIVING = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
"""Kinds of objects that give rights, and to whom."""


class Kubectl:
    """kubectl with the cluster's kubeconfig."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        self._program = tool("kubectl")
        self._written = 0
        self._connect()

    def _connect(self) -> None:
        """Use what the kubeconfig says; a cluster that was made anew has other certificates."""
        written = Path(self.kubeconfig).stat().st_mtime_ns
        if written == self._written:
            return
        settings = client.Configuration()
        config.load_kube_config(self.kubeconfig, client_configuration=settings)  # type: ignore[no-untyped-call] # untyped
        token = settings.auth_settings().get("BearerToken")  # kind's users have certificates instead
        self._headers = {"Accept": "application/json"} | ({"Authorization": str(token["value"])} if token else {})
        self._server, self._client = settings.host, client.ApiClient(settings)
        self._written = written

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

    def read(self, path: str, **query: str) -> dict[str, object]:
        """Return what is at a path of the API server; for what is looked at again and again.

        The connection is kept: tests that look ten times a second would keep half a core busy with starting kubectl.
        """
        self._connect()
        answer = self._client.call_api("GET", f"{self._server}{path}?{urlencode(query)}", self._headers)
        body: bytes = answer.read()  # type: ignore[no-untyped-call] # the package has no types
        assert answer.status == HTTPStatus.OK, body.decode()
        found: dict[str, object] = json.loads(body)
        return found


@pytest.fixture(scope="session")
def kubeconfig(kind_cluster: KindCluster) -> str:
    path = str(kind_cluster.kubeconfig_path)
    os.environ["KUBECONFIG"] = path
    return path


@pytest.fixture(scope="session")
def kubectl(kubeconfig: str) -> Kubectl:
    return Kubectl(kubeconfig)


@contextmanager
def rights(kubectl: Kubectl, folder: Path, *templates: str) -> Iterator[str]:
    """A kubeconfig that may do what these templates of the chart let the operator's account do, and nothing else."""
    name = f"rights-{uuid.uuid4().hex[:8]}"
    helm = [tool("helm"), "template", name, str(REPOSITORY / "charts" / "runabout"), "--namespace", name]
    shown = [f"--show-only=templates/{template}.yaml" for template in templates]
    rendered = subprocess.run([*helm, *shown], capture_output=True, text=True, timeout=60, check=True).stdout
    given = [each for each in yaml.safe_load_all(rendered) if each and each["kind"] in GIVING]
    manifests = yaml.safe_dump_all(given)
    kubectl("create", "namespace", name)
    try:
        kubectl("apply", "--filename", "-", stdin=manifests)
        account = f"{name}-runabout-operator"
        token = kubectl("create", "token", account, "--namespace", name, "--duration", "12h").stdout.strip()
        config = yaml.safe_load(Path(kubectl.kubeconfig).read_text())
        config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
        path = folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        yield str(path)
    finally:
        kubectl("delete", "--filename", "-", "--ignore-not-found", stdin=manifests)
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def operator_kubeconfig(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A kubeconfig that may do what the chart lets the operator do, all over the cluster, and nothing else."""
    with rights(kubectl, tmp_path_factory.mktemp("rights"), "rbac") as path:
        yield path


def own_address(kubectl: Kubectl) -> str:
    """Return the address of this machine that the cluster's node knows; nothing is sent to find it."""
    items = kubectl.json("get", "nodes")["items"]
    assert isinstance(items, list)
    [node] = [each["address"] for each in items[0]["status"]["addresses"] if each["type"] == "InternalIP"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 9))
        return str(probe.getsockname()[0])


def uninstall_demos(kubeconfig: str) -> None:
    """Remove what `hack/demo` installs, data apart."""
    for namespace in ("runabout", "runabout-s3"):
        helm = [tool("helm"), "--kubeconfig", kubeconfig, "--namespace", namespace]
        answer = subprocess.run(
            [*helm, "uninstall", "runabout", "--ignore-not-found", "--wait"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert answer.returncode == 0, f"the installation in namespace {namespace} cannot be removed: {answer.stderr}"


@pytest.fixture(scope="session")
def no_other_operator(kubectl: Kubectl) -> None:
    """The demo's installations go, data apart: `hack/demo` makes them again."""
    uninstall_demos(kubectl.kubeconfig)


@pytest.fixture(scope="module")
def definitions(
    kubectl: Kubectl,
    no_other_operator: None,  # noqa: ARG001 - it would work on the tests' Runs
) -> None:
    """The project's resources and its policy, as they are in the tree; no other operator works on them."""
    folder: Path = REPOSITORY / "crds"
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))
    kubectl(
        "wait", "--for=condition=Established", "crd/runs.runabout.dev", "crd/executors.runabout.dev", "--timeout=90s"
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
