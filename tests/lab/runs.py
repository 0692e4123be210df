"""A bench for Runs on a real cluster: create them, watch them, look into their records' logs."""

import json
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from fixtures.operator_process import OperatorProcess
from lab.waiting import SECONDS, eventually

IMAGE = "runabout/steps:dev"
TERMINAL = ("setuperror", "cancelled", "finished")
Json = dict[str, object]


class Kubectl(Protocol):
    """See tests/cluster/conftest.py."""

    def __call__(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]: ...

    def json(self, *arguments: str) -> Json: ...

    def read(self, path: str, **query: str) -> Json: ...


def task(
    name: str,
    run: str = "echo hello",
    *,
    after: Sequence[str] | Mapping[str, Sequence[str]] = (),
    image: str = IMAGE,
    **more: object,
) -> Json:
    """Return a task with one step; `after` names its parents, with their conditions where it is a mapping."""
    depends = (
        [{"task": parent, "conditions": list(conditions)} for parent, conditions in after.items()]
        if isinstance(after, Mapping)
        else [{"task": parent} for parent in after]
    )
    container = {"image": image, "imagePullPolicy": "IfNotPresent"}
    return {"name": name, "containers": [container], "steps": [{"run": run}], "depends": depends, **more}


class Runs:
    """Runs of one namespace; executors made here are removed again."""

    def __init__(self, kubectl: Kubectl, namespace: str, operator: OperatorProcess) -> None:
        self.kubectl = kubectl
        self.namespace = namespace
        self.operator = operator
        self._executors: list[str] = []
        self._runs = f"/apis/runabout.dev/v1alpha1/namespaces/{namespace}/runs"

    def executor(self, name: str, **spec: object) -> str:
        """Create an Executor that takes Runs of this namespace only; return its full name."""
        full = f"{self.namespace}-{name}"
        selector = {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}
        body = {
            "apiVersion": "runabout.dev/v1alpha1",
            "kind": "Executor",
            "metadata": {"name": full},
            "spec": {"gracePeriodSeconds": 3, "namespaceSelector": selector, **spec},
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        if full not in self._executors:
            self._executors.append(full)
        return full

    def clean(self) -> None:
        """Remove what was made outside the namespace."""
        for name in self._executors:
            self.kubectl("delete", "executor", name, "--ignore-not-found", check=False)

    def create(self, *tasks: Json, name: str = "", **spec: object) -> str:
        """Create a Run; return its name."""
        name = name or f"run-{uuid.uuid4().hex[:6]}"
        self.create_all({name: {"tasks": list(tasks), **spec}})
        return name

    def create_all(self, specs: Mapping[str, Json]) -> None:
        """Create Runs with these names, with one command."""
        items = [
            {
                "apiVersion": "runabout.dev/v1alpha1",
                "kind": "Run",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": spec,
            }
            for name, spec in specs.items()
        ]
        self.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def patch(self, name: str, **spec: object) -> None:
        """Merge fields into the spec of a Run."""
        self.kubectl("-n", self.namespace, "patch", "run", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def me(self) -> str:
        """Return the name under which the API server knows us."""
        status = self.kubectl.json("auth", "whoami")["status"]
        assert isinstance(status, dict)
        return str(status["userInfo"]["username"])

    def answer(self, name: str, task_name: str, verdict: str) -> None:
        """Approve or refuse a task in our own name."""
        self.patch(name, approvals=[{"task": task_name, "by": self.me(), "verdict": verdict}])

    def delete(self, name: str) -> None:
        """Delete a Run without waiting for its end."""
        self.kubectl("-n", self.namespace, "delete", "run", name, "--wait=false")

    def all(self, **query: str) -> list[Json]:
        """Return the Runs of the namespace; the query is the API server's."""
        items = self.kubectl.read(self._runs, **query)["items"]
        assert isinstance(items, list)
        return items

    def exists(self, name: str) -> bool:
        """Whether the Run is still there."""
        return bool(self.all(fieldSelector=f"metadata.name={name}"))

    def get(self, name: str) -> Json:
        """Return a Run as it is."""
        return self.kubectl.read(f"{self._runs}/{name}")

    def status(self, name: str) -> Json:
        """Return the status of a Run, empty while it has none."""
        status = self.get(name).get("status", {})
        assert isinstance(status, dict)
        return status

    def until(self, name: str, reached: Callable[[Json], bool], *, seconds: float = SECONDS) -> Json:
        """Return the first status of a Run that is `reached`."""
        return eventually(lambda: self.status(name), reached, seconds=seconds)

    def end(self, name: str, *, seconds: float = SECONDS) -> tuple[str, str]:
        """Return phase and result of a Run at its end."""
        status = self.until(name, lambda found: found.get("phase") in TERMINAL, seconds=seconds)
        return str(status["phase"]), str(status["result"])

    def waiting(self, name: str, reason: str, *, seconds: float = SECONDS) -> str:
        """Return the message with which a Run waits for this reason, once it does."""
        status = self.until(name, lambda found: condition(found, "Waiting").get("reason") == reason, seconds=seconds)
        return str(condition(status, "Waiting")["message"])

    def counts(self, name: str) -> dict[str, int]:
        """Return how many tasks there are in each status that occurs; none before the Run has a status."""
        tasks = self.status(name).get("tasks", {})
        assert isinstance(tasks, dict)
        return {word: count for word, count in tasks.items() if count and word not in ("total", "waiting")}

    def pods(self, name: str | None = None) -> list[Json]:
        """Return the pods of a Run, or of all Runs of the namespace."""
        selector = f"runabout.dev/run={name}" if name else "app.kubernetes.io/managed-by=runabout"
        items = self.kubectl.read(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector)["items"]
        assert isinstance(items, list)
        return items

    def log(self, name: str, task_name: str, *, attempt: int = 1, step: int | str = 0) -> bytes:
        """Return the stored log of a step; posix keys carry a plus sign behind each folder."""
        run = self.status(name)["id"]
        folder = self.operator.ost / "objects" / "logs+" / f"{run}+" / f"{task_name}+" / f"{attempt}+"
        return (folder / str(step)).read_bytes()


def condition(status: Json, kind: str) -> Json:
    """Return a condition of a status, empty if it has none of that kind."""
    conditions = status.get("conditions", [])
    assert isinstance(conditions, list)
    return next((item for item in conditions if item["type"] == kind), {})
