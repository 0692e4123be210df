"""What of a Run only a cluster can do: errors where it would be another run, notices where it is left out."""

import platform
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy

from runabout.resources import RunSpec

ARCHS = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_OF_RUNS = ("pod", "suspend", "stop", "approvals")
_OF_TASKS = ("pod", "executorSelector", "approvers", "arch")


def machine_arch() -> str:
    """Return this machine's architecture, in Kubernetes' word."""
    return ARCHS.get(platform.machine().lower(), platform.machine().lower())


def local_problems(spec: RunSpec, *, arch: str, answers: bool, approved: Collection[str]) -> Iterator[str]:
    """Yield what keeps a run from being executed on this machine, each with its place and what to do.

    `answers` is whether somebody can be asked for approvals; `approved` are the tasks that are approved beforehand.
    """
    for place, task in enumerate(spec.tasks):
        where = f"spec.tasks[{place}]"
        for number, _ in enumerate(task.containers[1:], start=1):
            yield (
                f"{where}.containers[{number}]: services need a container runtime, and tasks are processes here: "
                "start it yourself and take it out of the file, or run the file on a cluster"
            )
        if task.arch is not None and task.arch != arch:
            yield f"{where}.arch: this machine is {arch}: run the file on one that is {task.arch}, or on a cluster"
        if task.needs_approval and not answers and task.name not in approved:
            yield f"{where}.needsApproval: there is no terminal to ask: give --approve {task.name}"
    if spec.restart_from is not None:
        return  # its tasks are in the record
    for name in sorted(set(approved) - {task.name for task in spec.tasks}):
        yield f"--approve {name}: the run has no task of this name"


def local_notices(spec: RunSpec) -> Iterator[str]:
    """Yield what is left out, one sentence for each kind."""
    if spec.tasks:
        yield "tasks are processes of this machine: images, pod settings and limits are not used"
    if any(task.executor_selector is not None for task in spec.tasks):
        yield "executorSelector is not used: there is one place for tasks, this machine"
    if any(task.approvers is not None for task in spec.tasks):
        yield "approvers are not used: whoever runs this approves"


def local_spec(document: object) -> dict[str, object]:
    """Return the spec of a Run without what is not used here; the document is as in the file, without errors."""
    spec = document.get("spec") if isinstance(document, Mapping) else None
    if not isinstance(spec, Mapping):
        return {}
    made = {name: deepcopy(value) for name, value in spec.items() if name not in _OF_RUNS}
    tasks = made.get("tasks")
    if isinstance(tasks, list):
        made["tasks"] = [{name: value for name, value in task.items() if name not in _OF_TASKS} for task in tasks]
    return made
