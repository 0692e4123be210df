"""The chart on a real cluster, from its installation to its end. The images must be on the nodes (hack/images load)."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fixtures.tools import REPOSITORY, tool
from lab.waiting import eventually

if TYPE_CHECKING:
    from cluster.conftest import Kubectl

pytestmark = pytest.mark.timeout(600)

CHART = str(REPOSITORY / "charts" / "runabout")
RELEASE = "runabout"
OPERATOR = "runabout-operator"
POLICY = str(REPOSITORY / "crds" / "approvals-policy.yaml")


@dataclass(frozen=True, slots=True)
class Release:
    """helm on one namespace."""

    kubeconfig: str
    namespace: str

    def helm(self, *arguments: str) -> str:
        """Run helm and return what it says."""
        answer = subprocess.run(
            [tool("helm"), "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *arguments],
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert answer.returncode == 0, f"helm {' '.join(arguments)}: {answer.stderr}{answer.stdout}"
        return answer.stdout


@pytest.fixture(scope="module")
def release(
    kubectl: "Kubectl",
    no_other_operator: None,  # noqa: ARG001 - a cluster has one installation
) -> Iterator[Release]:
    """An installation without values, in a namespace that goes with it."""
    for line in Release(kubectl.kubeconfig, "default").helm("list", "--all-namespaces", "--short").splitlines():
        assert line != RELEASE, "uninstall the release runabout first: this test installs its own"
    kubectl("delete", "--ignore-not-found", "-f", POLICY)
    kubectl("delete", "executors", "--all", "--ignore-not-found", check=False)
    name = f"chart-{uuid.uuid4().hex[:8]}"
    installed = Release(kubectl.kubeconfig, name)
    kubectl("create", "namespace", name)
    try:
        # Its pods must be allowed where the strictest standard is enforced.
        kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        installed.helm("install", RELEASE, CHART, "--wait", "--timeout", "4m")
        yield installed
    finally:
        installed.helm("uninstall", RELEASE, "--ignore-not-found", "--timeout", "3m")
        kubectl("delete", "namespace", name, "--wait=false")


def allowed(kubectl: "Kubectl", release: Release, subject: str, verb: str, what: str, namespace: str) -> bool:
    account = f"system:serviceaccount:{release.namespace}:{subject}"
    where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    what, _, subresource = what.partition("/")
    where += [f"--subresource={subresource}"] if subresource else []
    return kubectl("auth", "can-i", verb, what, f"--as={account}", *where, check=False).stdout.strip() == "yes"


def test_an_installation_without_values_passes_its_own_test(release: Release) -> None:
    said = release.helm("test", RELEASE, "--timeout", "4m")
    assert "Phase:          Succeeded" in said


@pytest.mark.parametrize(
    ("verb", "what", "expected"),
    [
        ("create", "pods", True),
        ("delete", "pods", True),
        ("get", "pods/log", True),
        ("patch", "runs.runabout.dev/status", True),
        ("patch", "executors.runabout.dev/status", True),
        ("create", "configmaps", True),
        ("get", "configmaps", True),
        ("create", "runs.runabout.dev", False),
        ("patch", "executors.runabout.dev", False),
        ("update", "runs.runabout.dev/finalizers", False),
        ("list", "configmaps", False),
        ("create", "events", False),
        ("get", "secrets", False),
        ("list", "secrets", False),
        ("create", "pods/exec", False),
        ("create", "serviceaccounts/token", False),
        ("patch", "customresourcedefinitions.apiextensions.k8s.io", False),
        ("create", "leases.coordination.k8s.io", False),
        ("impersonate", "users", True),  # the gateway's, which is in its pod
        ("create", "tokenreviews.authentication.k8s.io", True),  # as well
    ],
)
def test_the_operator_may_do_what_it_must_and_no_more(
    kubectl: "Kubectl", release: Release, verb: str, what: str, expected: bool
) -> None:
    assert allowed(kubectl, release, OPERATOR, verb, what, "") is expected


def test_the_operator_has_a_lease_in_its_own_namespace(kubectl: "Kubectl", release: Release) -> None:
    assert allowed(kubectl, release, OPERATOR, "patch", "leases.coordination.k8s.io", release.namespace)


@pytest.mark.parametrize(
    ("role", "verbs"),
    [
        ("view", {"get", "list", "watch"}),
        ("edit", {"get", "list", "watch", "create", "patch", "delete"}),
        ("admin", {"get", "list", "watch", "create", "patch", "delete"}),
    ],
)
def test_people_get_what_their_role_says(kubectl: "Kubectl", release: Release, role: str, verbs: set[str]) -> None:
    kubectl("create", "serviceaccount", role, "--namespace", release.namespace)
    kubectl(
        *("create", "rolebinding", role, f"--clusterrole={role}", f"--serviceaccount={release.namespace}:{role}"),
        *("--namespace", release.namespace),
    )
    for verb in ("get", "list", "watch", "create", "patch", "delete"):
        can = allowed(kubectl, release, role, verb, "runs.runabout.dev", release.namespace)
        assert can is (verb in verbs), verb
    assert not allowed(kubectl, release, role, "create", "executors.runabout.dev", "")


def test_an_upgrade_brings_old_definitions_up_to_date(kubectl: "Kubectl", release: Release) -> None:
    def columns() -> list[str]:
        crd = kubectl.json("get", "crd", "runs.runabout.dev")
        spec = crd["spec"]
        assert isinstance(spec, dict)
        return [column["name"] for column in spec["versions"][0]["additionalPrinterColumns"]]

    current = columns()
    assert len(current) > 1
    old = [{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns/0"}]
    kubectl("patch", "crd", "runs.runabout.dev", "--type=json", "-p", json.dumps(old))
    assert columns() == current[1:]
    release.helm("upgrade", RELEASE, CHART, "--wait", "--timeout", "4m")
    assert columns() == current


def test_an_uninstallation_frees_the_runs_and_keeps_the_data(kubectl: "Kubectl", release: Release) -> None:
    run = {
        "apiVersion": "runabout.dev/v1alpha1",
        "kind": "Run",
        "metadata": {"name": "long", "namespace": release.namespace},
        "spec": {
            "tasks": [
                {
                    "name": "sleep",
                    "containers": [{"image": "runabout/steps:dev", "imagePullPolicy": "IfNotPresent", "user": "1000"}],
                    "steps": [{"run": "sleep 600"}],
                }
            ]
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(run))
    where = ("--namespace", release.namespace)
    kubectl("wait", *where, "run/long", "--for=jsonpath={.status.phase}=running", "--timeout=120s")
    assert kubectl("get", *where, "run", "long", "-o", "jsonpath={.metadata.finalizers}").stdout != ""
    release.helm("uninstall", RELEASE, "--wait", "--timeout", "3m")
    assert kubectl("get", *where, "run", "long", "-o", "jsonpath={.metadata.finalizers}").stdout == ""
    kubectl("delete", *where, "run", "long", "--timeout=90s")
    claims = kubectl("get", *where, "persistentvolumeclaims", "-o", "name").stdout.split()
    assert claims == ["persistentvolumeclaim/data-runabout-etcd-0", "persistentvolumeclaim/runabout-ost"]
    mine = ("-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name")

    def left() -> list[str]:
        found = kubectl("get", *where, "all,serviceaccounts,roles", *mine).stdout.split()
        return [name for name in found if "runabout-test" not in name]

    eventually(left, lambda found: found == [])  # Helm does not wait for pods that are ending
    roles = kubectl(
        "get", "clusterroles,clusterrolebindings", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name"
    )
    assert roles.stdout == ""
