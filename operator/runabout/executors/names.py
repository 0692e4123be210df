"""Names and labels of task pods: made from run, task and attempt alone, so that any replica finds the same pod.

What always holds: the name is a DNS label of at most 63 characters; two different (run, task, attempt) never get
the same name; what `labels` writes, `parse_labels` reads back.

`<run id>-<task>-<attempt>` where it fits, otherwise `<run id>--<start of the task>-<hash>-<attempt>`. A run id has 13
characters, a task never begins with a hyphen and an attempt is a number, so the two forms cannot meet and each can be
taken apart in one way only; two long tasks differ in 60 bits of hash.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from runabout.records import RunId, parse_run_id

DOMAIN = "runabout.dev"
RUN_ID_LABEL = f"{DOMAIN}/run-id"
TASK_LABEL = f"{DOMAIN}/task"
ATTEMPT_LABEL = f"{DOMAIN}/attempt"
RUN_LABEL = f"{DOMAIN}/run"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "runabout"
SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY},{RUN_ID_LABEL}"
"""The label selector under which the pod informer lists and watches."""

MAX_LABEL = 63
_HASH_LENGTH = 12
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class PodKey:
    """Which attempt of which task of which run a pod executes; attempts count from 1."""

    run: RunId
    task: str
    attempt: int


def pod_name(key: PodKey) -> str:
    """Return the name of the pod (and of its ConfigMap, where it has one).

    Raises:
        ValueError: the task's name is no DNS label, or the attempt is below 1.
    """
    _check(key)
    name = f"{key.run}-{key.task}-{key.attempt}"
    if len(name) <= MAX_LABEL:
        return name
    digest = base64.b32hexencode(hashlib.sha256(key.task.encode()).digest()).decode().lower()[:_HASH_LENGTH]
    room = MAX_LABEL - len(f"{key.run}----{key.attempt}") - len(digest)
    return f"{key.run}--{key.task[:room]}-{digest}-{key.attempt}"


def labels(key: PodKey, *, run_name: str) -> dict[str, str]:
    """Return the labels of the pod; the Run's name is left out where it is too long for a label."""
    _check(key)
    made = {
        MANAGED_BY_LABEL: MANAGED_BY,
        RUN_ID_LABEL: key.run,
        TASK_LABEL: key.task,
        ATTEMPT_LABEL: str(key.attempt),
    }
    if _LABEL_VALUE.fullmatch(run_name):
        made[RUN_LABEL] = run_name
    return made


def parse_labels(of_pod: Mapping[str, str]) -> PodKey | None:
    """Return what the labels of a pod say, or None for a pod that is not one of ours."""
    task, attempt = of_pod.get(TASK_LABEL, ""), of_pod.get(ATTEMPT_LABEL, "")
    if of_pod.get(MANAGED_BY_LABEL) != MANAGED_BY or not _DNS_LABEL.fullmatch(task):
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", attempt):
        return None
    try:
        return PodKey(run=parse_run_id(of_pod.get(RUN_ID_LABEL, "")), task=task, attempt=int(attempt))
    except ValueError:
        return None


def _check(key: PodKey) -> None:
    if not _DNS_LABEL.fullmatch(key.task):
        raise ValueError(f"the task name {key.task!r} is no DNS label of at most {MAX_LABEL} characters")
    if key.attempt < 1:
        raise ValueError(f"attempts count from 1, not {key.attempt}")
