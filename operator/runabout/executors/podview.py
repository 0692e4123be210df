"""A pod's status as types: what observing reads, and nothing else. A pod of any shape can be read, none raises.

What always holds: a message is on one line and bounded, except the main container's termination message, which is
bounded only; of what an init container said last, the end is kept; viewing what :mod:`runabout.executors.trim` leaves
of a pod gives the same view.

Times are milliseconds since 1970; a time that is missing or no time is None.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from runabout.executors.manifest import MAIN_ANNOTATION, MAIN_CONTAINER, TOOLBOX_CONTAINER
from runabout.records.json import JsonObject

MAX_MESSAGE = 1_024
"""Characters kept of what a scheduler, a kubelet or a registry says."""
MAX_TERMINATION_MESSAGE = 4_096
"""Characters; the kubelet's own limit in bytes."""
CONDITIONS = frozenset({"PodScheduled", "DisruptionTarget", "Ready"})
"""The kinds of conditions that are looked at."""
MAX_LAST_LINES = 600
"""Characters kept of what a container wrote before it ended."""
MAX_OTHER_INITS = 22
"""Init containers beside the toolbox: fifteen services, and what admission webhooks add, seldom more than two."""

_NOTHING: JsonObject = {}


@dataclass(frozen=True, slots=True)
class Death:
    """How a container ended that was, or may be, started again; `message` is what it wrote last."""

    reason: str
    message: str
    exit_code: int | None
    started: int | None
    ended: int | None


_NO_DEATH = Death("", "", None, None, None)


@dataclass(frozen=True, slots=True)
class Container:
    """The state of one container; `state` is None where the kubelet has said nothing yet.

    The last two are told of init containers only: `is_ready` whether those after it may begin, `died` how it ended
    last, whatever it does now.
    """

    name: str
    state: Literal["waiting", "running", "terminated"] | None = None
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started: int | None = None
    ended: int | None = None
    restarts: int = 0
    is_ready: bool = False
    died: Death | None = None


@dataclass(frozen=True, slots=True)
class PodCondition:
    """One condition of a pod."""

    kind: str
    true: bool
    reason: str
    message: str
    since: int | None


@dataclass(frozen=True, slots=True)
class PodView:
    """What a pod says. `deleted` is when it has to be gone: the request's time plus the grace period."""

    phase: str
    reason: str
    message: str
    created: int | None
    deleted: int | None
    node: str
    main: Container
    others_run: bool
    """Whether a container beside the main one runs, which keeps the pod from ending."""
    toolbox: Container
    other_inits: tuple[Container, ...]
    conditions: tuple[PodCondition, ...]

    def init(self, name: str) -> Container:
        """Return the service, or other init container, of that name; one that says nothing if there is none."""
        return next((each for each in self.other_inits if each.name == name), Container(name))

    @property
    def services_run(self) -> bool:
        """Whether an init container runs that is not the toolbox's, as services do until some time after the steps."""
        return any(each.state == "running" for each in self.other_inits)

    def condition(self, kind: str) -> PodCondition | None:
        """Return the condition of that kind, if the pod has it."""
        return next((condition for condition in self.conditions if condition.kind == kind), None)

    @property
    def disruption(self) -> PodCondition | None:
        """Return why the cluster ends this pod, if it does."""
        condition = self.condition("DisruptionTarget")
        return condition if condition is not None and condition.true else None


def pod_view(pod: JsonObject) -> PodView:
    """Return what `pod` says."""
    metadata, spec, status = mapping(pod.get("metadata")), mapping(pod.get("spec")), mapping(pod.get("status"))
    inits = [_init(item) for item in items(status.get("initContainerStatuses"))]
    return PodView(
        phase=text(status.get("phase")),
        reason=text(status.get("reason")),
        message=shortened(text(status.get("message"))),
        created=milliseconds(metadata.get("creationTimestamp")),
        deleted=milliseconds(metadata.get("deletionTimestamp")),
        node=text(spec.get("nodeName")),
        main=_main(metadata, status),
        others_run=_others_run(metadata, status),
        toolbox=next((item for item in inits if item.name == TOOLBOX_CONTAINER), Container(TOOLBOX_CONTAINER)),
        other_inits=tuple(item for item in inits if item.name != TOOLBOX_CONTAINER)[:MAX_OTHER_INITS],
        conditions=tuple(
            _condition(item) for item in items(status.get("conditions")) if item.get("type") in CONDITIONS
        ),
    )


def main_container(pod: JsonObject) -> str:
    """Return the name of the container that runs the steps."""
    return _main_name(mapping(pod.get("metadata")))


def mapping(value: object) -> JsonObject:
    """Return `value` if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else _NOTHING


def items(value: object) -> Iterator[JsonObject]:
    """Return the objects in `value` if it is a list, else nothing."""
    if isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, Mapping))


def text(value: object) -> str:
    """Return `value` if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def shortened(message: str) -> str:
    """Return `message` on one line, cut in the middle where it is too long: causes stand at the end."""
    line = " ".join(message.split())
    if len(line) <= MAX_MESSAGE:
        return line
    half = (MAX_MESSAGE - 3) // 2
    return f"{line[:half].rstrip()} … {line[-half:].lstrip()}"


def last_lines(written: str) -> str:
    """Return the last lines of what a container wrote, on one line, from the beginning of a line if there is one."""
    line = " | ".join(filter(None, (" ".join(each.split()) for each in written.splitlines())))
    if len(line) <= MAX_LAST_LINES:
        return line
    kept = line[-(MAX_LAST_LINES - 2) :]
    begin = kept.find(" | ")
    return f"… {(kept[begin + 3 :] if 0 <= begin < len(kept) // 2 else kept).strip()}"


def milliseconds(value: object) -> int | None:
    """Return a Kubernetes time (`2026-01-02T03:04:05Z`) in milliseconds since 1970, None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    if time.tzinfo is None:
        return None
    # A container that never started "started" at the epoch.
    return round(time.timestamp() * 1000) or None


def _main_name(metadata: JsonObject) -> str:
    return text(mapping(metadata.get("annotations")).get(MAIN_ANNOTATION)) or MAIN_CONTAINER


def _main(metadata: JsonObject, status: JsonObject) -> Container:
    name = _main_name(metadata)
    for item in items(status.get("containerStatuses")):
        if item.get("name") == name:
            return _container(item, whole="terminated" in mapping(item.get("state")))
    return Container(name)


def _others_run(metadata: JsonObject, status: JsonObject) -> bool:
    name = _main_name(metadata)
    return any(
        item.get("name") != name and "running" in mapping(item.get("state"))
        for item in items(status.get("containerStatuses"))
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _container(raw: JsonObject, *, whole: bool = False) -> Container:
    states = mapping(raw.get("state"))
    for state in ("terminated", "running", "waiting"):
        if state not in states:
            continue
        detail = mapping(states[state])
        message = text(detail.get("message"))
        return Container(
            name=text(raw.get("name")),
            state=state,
            reason=text(detail.get("reason")),
            message=message[:MAX_TERMINATION_MESSAGE] if whole else shortened(message),
            exit_code=_number(detail.get("exitCode")),
            started=milliseconds(detail.get("startedAt")),
            ended=milliseconds(detail.get("finishedAt")),
            restarts=_number(raw.get("restartCount")) or 0,
        )
    return Container(name=text(raw.get("name")), restarts=_number(raw.get("restartCount")) or 0)


def _init(raw: JsonObject) -> Container:
    """Return the state of an init container, services among them, with its last end."""
    made = _container(raw)
    ended = made.state == "terminated"
    now = mapping(mapping(raw.get("state")).get("terminated"))
    before = mapping(mapping(raw.get("lastState")).get("terminated"))
    return replace(
        made,
        message=last_lines(text(now.get("message"))) if ended else made.message,
        is_ready=raw.get("started") is True,
        died=_death(before) or (_death(now) if ended else None),
    )


def _death(detail: JsonObject) -> Death | None:
    made = Death(
        reason=text(detail.get("reason")),
        message=last_lines(text(detail.get("message"))),
        exit_code=_number(detail.get("exitCode")),
        started=milliseconds(detail.get("startedAt")),
        ended=milliseconds(detail.get("finishedAt")),
    )
    return made if made != _NO_DEATH else None


def _condition(raw: JsonObject) -> PodCondition:
    return PodCondition(
        kind=text(raw.get("type")),
        true=raw.get("status") == "True",
        reason=text(raw.get("reason")),
        message=shortened(text(raw.get("message"))),
        since=milliseconds(raw.get("lastTransitionTime")),
    )
