"""Workspaces, caches, results and what people decide through the gateway of an installation, on a volume and on S3.

The images must be on the nodes (hack/images load, hack/images load s3).
"""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.tools import REPOSITORY, tool
from lab.waiting import eventually

if TYPE_CHECKING:
    from cluster.conftest import Kubectl

pytestmark = pytest.mark.timeout(600)

CHART = str(REPOSITORY / "charts" / "runabout")
S3 = "ost.type=s3,ost.s3.bucket=runabout,ost.s3.pathStyle=true,ost.s3.existingSecret=s3,ost.s3.endpoint=http://s3.{}:7070"
ASK = """
import ssl, sys, urllib.error, urllib.request
trusting = ssl.create_default_context(cafile="/etc/runabout/gateway/ca.crt")
whose = {"Authorization": "Bearer " + sys.argv[2]} if sys.argv[2] else {}
request = urllib.request.Request(sys.argv[1], headers=whose)
try:
    print(urllib.request.urlopen(request, context=trusting, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
READ = """
import ssl, sys, urllib.request
trusting = ssl.create_default_context(cafile="/etc/runabout/gateway/ca.crt")
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + sys.argv[2]})
print(urllib.request.urlopen(request, context=trusting, timeout=30).read().decode())
"""
SEND = """
import json, ssl, sys, urllib.error, urllib.request
trusting = ssl.create_default_context(cafile="/etc/runabout/gateway/ca.crt")
url, token, body = sys.argv[1:]
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
request = urllib.request.Request(url, method="POST", data=body.encode(), headers=headers)
try:
    answer = urllib.request.urlopen(request, context=trusting, timeout=30)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, json.loads(answer.read() or b"{}")]))
"""
IMAGE = {"image": "runabout/steps:dev", "imagePullPolicy": "IfNotPresent"}
SAVE = {"saveToWorkspace": {"contents": [{"paths": ["**"]}]}}


class Installation:
    """A release of the chart in a namespace of its own, where its Runs are, too."""

    def __init__(self, kubectl: "Kubectl", namespace: str, *, apart: bool) -> None:
        self._kubectl = kubectl
        self.namespace = namespace
        self.deployment = "deploy/runabout-gateway" if apart else "deploy/runabout-operator"

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        return self._kubectl("--namespace", self.namespace, *arguments, stdin=stdin).stdout

    def run(
        self, name: str, *tasks: Mapping[str, Any], group: str = "/project/web", namespace: str | None = None
    ) -> None:
        """Create a Run; in another `namespace` than that of the installation if one is given."""
        run = {"apiVersion": "runabout.dev/v1alpha1", "kind": "Run", "metadata": {"name": name}}
        place = ("--namespace", namespace) if namespace else ()
        self("apply", *place, "-f", "-", stdin=json.dumps({**run, "spec": {"group": group, "tasks": list(tasks)}}))

    def ended(self, name: str, *, seconds: int = 60) -> str:
        """Wait for a Run's end, and return its phase and result."""
        self("wait", f"run/{name}", "--for=condition=Completed", f"--timeout={seconds}s")
        return self("get", "run", name, "-o", "jsonpath={.status.phase}/{.status.result}")

    def log(self, pod: str, *place: str) -> str:
        """Return what the steps of a pod have printed, empty while they have not begun."""
        return self._kubectl("--namespace", self.namespace, *place, "logs", pod, "-c", "main", check=False).stdout

    def touch(self, pod: str, file: str) -> None:
        """Make a file in the main container of a pod, which may not have begun."""
        touch = ("--namespace", self.namespace, "exec", pod, "-c", "main", "--", "touch", file)
        eventually(lambda: self._kubectl(*touch, check=False).returncode, (0).__eq__)

    def inside(self, *command: str) -> str:
        """Run Python in the gateway's container."""
        return self("exec", self.deployment, "-c", "gateway", "--", "python3", *command).strip()

    def status(self, path: str, token: str) -> int:
        """Return with what status the gateway answers."""
        return int(self.inside("-c", ASK, f"https://localhost:8443{path}", token))

    def send(self, path: str, token: str, body: str = "") -> tuple[int, dict[str, str]]:
        """Return with what status and words the gateway answers a decision."""
        status, said = json.loads(self.inside("-c", SEND, f"https://localhost:8443{path}", token, body))
        return status, said

    def account(self, name: str, role: str) -> str:
        """Return the token of a new service account that has a role of the cluster in this namespace."""
        self("create", "serviceaccount", name)
        self("create", "rolebinding", name, f"--clusterrole={role}", f"--serviceaccount={self.namespace}:{name}")
        return self("create", "token", name).strip()

    def waiting(self, name: str) -> str:
        """Return reason and message with which a Run waits, empty if it does not."""
        path = '{.status.conditions[?(@.type=="Waiting")]}'
        condition = json.loads(self("get", "run", name, "-o", f"jsonpath={path}") or "{}")
        return f"{condition.get('reason', '')}: {condition.get('message', '')}"

    def read(self, path: str, token: str) -> str:
        """Return what the gateway answers, without blanks around it."""
        return self.inside("-c", READ, f"https://localhost:8443{path}", token)


def task(name: str, *steps: Mapping[str, Any], after: str = "") -> dict[str, Any]:
    depends = {"depends": [{"task": after}]} if after else {}
    return {"name": name, "containers": [IMAGE], "steps": list(steps), **depends}


@pytest.fixture(scope="module", params=["posix", "s3"])
def installation(
    request: pytest.FixtureRequest,
    kubectl: "Kubectl",
    no_other_operator: None,  # noqa: ARG001 - a cluster has one installation
) -> Iterator[Installation]:
    namespace, apart = f"gateway-{uuid.uuid4().hex[:8]}", request.param == "s3"
    made = Installation(kubectl, namespace, apart=apart)
    helm = [tool("helm"), "--kubeconfig", kubectl.kubeconfig, "--namespace", namespace]
    kubectl("delete", "--ignore-not-found", "-f", str(REPOSITORY / "crds" / "approvals-policy.yaml"))
    kubectl("delete", "executors", "--all", "--ignore-not-found", check=False)
    kubectl("create", "namespace", namespace)
    storage = ["--set", S3.format(namespace)] if apart else []
    try:
        if apart:
            made("apply", "-f", str(REPOSITORY / "hack" / "demo-s3.yaml"))
            made("rollout", "status", "deployment/s3", "--timeout=2m")
        install = [*helm, "install", "runabout", CHART, *storage, "--wait", "--timeout", "4m"]
        answer = subprocess.run(install, capture_output=True, text=True, timeout=300, check=False)
        assert answer.returncode == 0, answer.stderr
        yield made
    finally:
        subprocess.run(
            [*helm, "uninstall", "runabout", "--ignore-not-found", "--timeout", "3m"], timeout=300, check=False
        )
        kubectl("delete", "namespace", namespace, "--wait=false")


def test_a_child_restores_what_its_parent_saved_and_gets_its_results(installation: Installation) -> None:
    fill = "mkdir bin && head -c 20000000 /dev/urandom > bin/big && sha256sum bin/big > sum && ln -s big bin/link"
    hand_on = 'echo "VERSION=1.2.3" >> "$RUNABOUT_RESULTS"'
    check = 'sha256sum -c sum && [ "$(readlink bin/link)" = big ] && [ "{{ tasks.build.results.VERSION }}" = 1.2.3 ]'
    installation.run(
        "workspace",
        task("build", {"run": f"{fill} && {hand_on}"}, SAVE),
        task("test", {"restoreWorkspace": {}}, {"run": check}, after="build"),
    )
    assert installation.ended("workspace") == "finished/success"


def test_a_later_run_finds_the_cache_of_an_earlier_one(installation: Installation) -> None:
    save = {"saveCache": {"key": "deps-1", "contents": [{"paths": ["deps"]}]}}
    installation.run("first", task("build", {"run": "mkdir deps && echo module > deps/m"}, save))
    assert installation.ended("first") == "finished/success"
    restore = {"restoreCache": {"keys": ["deps-"]}}
    installation.run("second", task("build", restore, {"run": '[ "$(cat deps/m)" = module ]'}))
    assert installation.ended("second") == "finished/success"


def test_only_the_pod_of_a_running_attempt_gets_anything(installation: Installation) -> None:
    entry = {"saveCache": {"key": "border-1", "contents": [{"paths": ["m"]}]}}
    installation.run("held", task("build", {"run": "echo module > m"}, entry, {"run": "sleep 300"}, SAVE))
    installation.run("beside", task("build", {"run": "sleep 300"}), group="/project/web/beside")
    stranger = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}}
    containers = [{"name": "main", **IMAGE, "command": ["sleep", "300"]}]
    installation("apply", "-f", "-", stdin=json.dumps({**stranger, "spec": {"containers": containers}}))

    def running(name: str, *place: str) -> str:
        installation("wait", *place, f"run/{name}", "--for=jsonpath={.status.tasks.running}=1", "--timeout=120s")
        return installation("get", *place, "run", name, "-o", "jsonpath={.status.id}")

    def token(pod: str, *more: str) -> str:
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod}") if pod else ()
        return installation("create", "token", "default", *bound, *more).strip()

    audience = "--audience=runabout-gateway"
    run, beside = running("held"), running("beside")
    path = f"/task/v1/{run}/build/1/workspace"
    own = token(f"{run}-build-1", audience)
    others = token(f"{beside}-build-1", audience)
    assert installation.status(path, own) == 200
    assert installation.status(path.replace("/1/", "/2/"), own) == 403
    assert installation.status(path, others) == 403
    assert installation.status(path.replace(run, beside), others) == 200
    assert installation.status(path, token("stranger", audience)) == 403
    assert installation.status(path, token("", audience)) == 403
    assert installation.status(path, token(f"{run}-build-1")) == 401
    assert installation.status(path, "nonsense") == 401
    assert installation.status(path, "") == 401

    saved = "saved to the cache: border-1"
    eventually(lambda: installation.log(f"{run}-build-1"), lambda text: saved in text)
    elsewhere = f"{installation.namespace}-b"
    place = ("--namespace", elsewhere)
    installation("create", "namespace", elsewhere)
    try:
        find: list[Mapping[str, Any]] = [{"restoreCache": {"keys": ["border-"]}}, {"run": "test ! -e m; sleep 300"}]
        installation.run("elsewhere", task("build", *find), namespace=elsewhere)
        far = running("elsewhere", *place)
        of_far = token(f"{far}-build-1", audience, *place)
        assert installation.status(path, of_far) == 403
        assert installation.status(path.replace(run, far), of_far) == 200
        said = "the cache has nothing that begins with border-"
        eventually(lambda: installation.log(f"{far}-build-1", *place), lambda text: said in text)
    finally:
        installation("delete", "namespace", elsewhere, "--wait=false")

    for name in ("held", "beside"):
        installation("patch", "run", name, "--type=merge", "-p", '{"spec": {"stop": true}}')
        assert installation.ended(name) == "finished/stopped"
    assert installation.status(path, own) in (401, 409)  # the pod may be gone, and its token with it


def approved(installation: Installation, name: str) -> Sequence[str]:
    """Return who has said something of a Run's tasks, by what the API server has stored."""
    return installation("get", "run", name, "-o", "jsonpath={.spec.approvals[*].by}").split()


def test_people_approve_in_their_own_names_as_far_as_their_rights_and_the_approvers_go(
    installation: Installation,
) -> None:
    account = f"system:serviceaccount:{installation.namespace}:"
    tokens = {name: installation.account(name, "edit") for name in ("anna", "ben", "eve")}
    tokens["viewer"] = installation.account("viewer", "view")
    asked = {"min": 2, "users": [account + "anna", account + "ben", account + "viewer"]}
    installation.run(
        "approved",
        task("build", {"run": "until [ -e /tmp/end ]; do sleep 0.2; done"}),
        {**task("release", {"run": "true"}, after="build"), "needsApproval": True, "approvers": asked},
    )
    installation("wait", "run/approved", "--for=jsonpath={.status.tasks.running}=1", "--timeout=60s")
    run = installation("get", "run", "approved", "-o", "jsonpath={.status.id}")
    path = f"/v1/runs/{run}/tasks/release/approve"
    status, said = installation.send(path, tokens["anna"])
    assert (status, said["code"]) == (409, "Conflict")
    assert said["message"] == "the task release does not wait for an approval: what it depends on has not ended"
    installation.touch(f"{run}-build-1", "/tmp/end")
    eventually(lambda: installation.waiting("approved"), lambda text: text.startswith("AwaitingApproval: "))

    assert installation.send(path, tokens["viewer"])[0] == 403
    status, said = installation.send(path, tokens["eve"])
    assert (status, said["code"]) == (403, "Forbidden")
    assert "eve is not among the approvers of the task release" in said["message"]
    assert installation.send(path, "nonsense")[0] == 401
    assert approved(installation, "approved") == []
    assert installation.send(path, tokens["anna"]) == (204, {})
    eventually(lambda: installation.waiting("approved"), lambda text: "1 so far" in text)
    assert installation.send(path, tokens["anna"]) == (204, {}), "the same again is no second one"
    assert installation.send(path, tokens["ben"]) == (204, {})
    assert installation.ended("approved") == "finished/success"
    assert approved(installation, "approved") == [account + "anna", account + "ben"]
    status, said = installation.send(path, tokens["ben"])
    assert (status, said["message"]) == (409, "the task release does not wait for an approval: it is success")


def test_people_of_a_group_refuse_restart_and_stop(installation: Installation) -> None:
    token, viewer = installation.account("chris", "edit"), installation.account("onlooker", "view")
    asked = {"groups": [f"system:serviceaccounts:{installation.namespace}"]}
    installation.run("refused", {**task("release", {"run": "sleep 300"}), "needsApproval": True, "approvers": asked})
    eventually(lambda: installation.waiting("refused"), lambda text: text.startswith("AwaitingApproval: "))
    run = installation("get", "run", "refused", "-o", "jsonpath={.status.id}")
    from_failed = '{"from": "failed"}'
    assert installation.send(f"/v1/runs/{run}/restart", token, from_failed)[0] == 409
    assert installation.send(f"/v1/runs/{run}/tasks/release/refuse", token) == (204, {})
    assert installation.ended("refused") == "finished/failed"
    assert "Refused" in installation("get", "run", "refused", "-o", "jsonpath={.status.notable[*].reason}")

    assert installation.send(f"/v1/runs/{run}/restart", viewer, from_failed)[0] == 403
    status, made = installation.send(f"/v1/runs/{run}/restart", token, from_failed)
    assert status == 201
    name = made["name"]
    eventually(lambda: installation.waiting(name), lambda text: text.startswith("AwaitingApproval: "))
    again = installation("get", "run", name, "-o", "jsonpath={.status.id}")
    assert installation.send(f"/v1/runs/{again}/tasks/release/approve", token) == (204, {})
    installation("wait", f"run/{name}", "--for=jsonpath={.status.tasks.running}=1", "--timeout=60s")
    assert installation.send(f"/v1/runs/{again}/stop", viewer)[0] == 403
    assert installation.send(f"/v1/runs/{again}/stop", token) == (204, {})
    assert installation.ended(name) == "finished/stopped"


def test_the_log_of_a_service_is_shown_while_it_runs_and_followed_to_its_end(installation: Installation) -> None:
    installation("create", "serviceaccount", "reader")
    account = f"--serviceaccount={installation.namespace}:reader"
    installation("create", "rolebinding", "reader", "--clusterrole=view", account)
    token = installation("create", "token", "reader").strip()
    script = "trap 'echo bye; exit 0' TERM; echo ready; sleep 300 & wait"
    build = task("build", {"run": "until [ -e /tmp/end ]; do sleep 0.2; done"})
    service = {**IMAGE, "name": "db", "command": ["sh", "-c", script]}
    installation.run("service", {**build, "containers": [IMAGE, service]})
    installation("wait", "run/service", "--for=jsonpath={.status.tasks.running}=1", "--timeout=60s")
    run = installation("get", "run", "service", "-o", "jsonpath={.status.id}")
    log = f"/v1/runs/{run}/tasks/build/attempts/1/logs/service-db"
    eventually(lambda: installation.read(log, token), "ready".__eq__)
    installation.touch(f"{run}-build-1", "/tmp/end")
    assert installation.read(f"{log}?follow=1", token) == "ready\nbye"
    assert installation.read(log, token) == "ready\nbye"


def test_a_gateway_that_is_killed_in_the_middle_of_an_upload_costs_time_only(installation: Installation) -> None:
    fill = "head -c 400000000 /dev/urandom > big && sha256sum big > sum"
    installation.run(
        "upload",
        task("build", {"run": fill}, SAVE),
        task("test", {"restoreWorkspace": {}}, {"run": "sha256sum -c sum"}, after="build"),
    )
    part = 'route="/task/v1/{run}/{task}/{attempt}/parts",status="200"'
    asked = 'import urllib.request as u; print(u.urlopen("http://localhost:9091/metrics").read().decode())'
    eventually(lambda: installation.inside("-c", asked), lambda text: part in text, seconds=60)
    component = "gateway" if installation.deployment.endswith("gateway") else "operator"
    pods = ("-l", f"app.kubernetes.io/component={component}", "--grace-period=0", "--force", "--wait=false")
    installation("delete", "pods", *pods)
    assert installation.ended("upload", seconds=180) == "finished/success"
