"""What of a Run only a cluster can do: errors where it would be another run, notices where it is left out."""

import platform
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy

from runabout.records import ARCH_KEY
from runabout.resources import RunSpec

ARCHS = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_OF_RUNS = ("pod", "suspend", "stop", "approvals")
_OF_TASKS = ("pod", "executorSelector", "approvers", "arch")


def machine_arch() -> str:
    """Return this machine's architecture, in Kubernetes' word."""
    return ARCHS.get(platform.machine().lower(), platform.machine().lower())


_OF_CONTAINERS = ("volumes", "securityContext")
"""What of a pod's settings has a meaning for containers of this machine."""


def needs_containers(spec: RunSpec) -> str | None:
    """Return the first task with a service, None if no task has one."""
    return next((task.name for task in spec.tasks if len(task.containers) > 1), None)


def local_problems(
    spec: RunSpec, *, arch: str, answers: bool, approved: Collection[str], containers: bool = False, advice: str = ""
) -> Iterator[str]:
    """Yield what keeps a run from being executed on this machine, each with its place and what to do.

    `answers` is whether somebody can be asked for approvals; `approved` are the tasks that are approved beforehand;
    `containers` whether tasks are containers, and `advice` how they could be.
    """
    for place, task in enumerate(spec.tasks):
        where = f"spec.tasks[{place}]"
        for number, _ in enumerate(() if containers else task.containers[1:], start=1):
            yield (
                f"{where}.containers[{number}]: services need a container runtime, and tasks are processes here: "
                f"{advice}start it yourself and take it out of the file, or run the file on a cluster"
            )
        if task.arch is not None and task.arch != arch:
            yield f"{where}.arch: this machine is {arch}: run the file on one that is {task.arch}, or on a cluster"
        for number, value in enumerate((task.matrix or {}).get(ARCH_KEY, ())):
            if value != arch:
                yield (
                    f"{where}.matrix.{ARCH_KEY}[{number}]: this machine is {arch}: leave {value} out, or run the file "
                    "on a cluster"
                )
        if task.needs_approval and not answers and task.name not in approved:
            yield f"{where}.needsApproval: there is no terminal to ask: give --approve {task.name}"
    if spec.restart_from is not None:
        return  # its tasks are in the record
    for name in sorted(set(approved) - {task.name for task in spec.tasks}):
        yield f"--approve {name}: the run has no task of this name"


def local_notices(spec: RunSpec, *, containers: bool = False) -> Iterator[str]:
    """Yield what is left out, one sentence for each kind."""
    if spec.tasks and not containers:
        yield "tasks are processes of this machine: images, pod settings and limits are not used"
    if any(task.executor_selector is not None for task in spec.tasks):
        yield "executorSelector is not used: there is one place for tasks, this machine"
    if any(task.approvers is not None for task in spec.tasks):
        yield "approvers are not used: whoever runs this approves"


def local_spec(document: object, *, containers: bool = False) -> dict[str, object]:
    """Return the spec of a Run without what is not used here; the document is as in the file, without errors."""
    spec = document.get("spec") if isinstance(document, Mapping) else None
    if not isinstance(spec, Mapping):
        return {}
    made = {name: deepcopy(value) for name, value in spec.items() if name not in _OF_RUNS} | _pod(spec, containers)
    tasks = made.get("tasks")
    if isinstance(tasks, list):
        made["tasks"] = [
            {name: value for name, value in task.items() if name not in _OF_TASKS} | _pod(task, containers)
            for task in tasks
        ]
    return made


def _pod(owner: Mapping[str, object], containers: bool) -> dict[str, object]:
    """Return what counts here of the pod's settings of a run or a task."""
    pod = owner.get("pod")
    if not containers or not isinstance(pod, Mapping):
        return {}
    return {"pod": {name: value for name, value in pod.items() if name in _OF_CONTAINERS}}
