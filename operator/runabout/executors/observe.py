"""What a task's pod says, judged: whose failure it is, what it waits for, until when. Pure; `now` comes in.

What always holds: the same pod at an end gives the same end, however late it is looked at; a machinery
failure is never called the user's because it happened while we stopped the pod, nor the other way round.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from runabout.executors.endings import main_end, outside_cause, pod_end
from runabout.executors.faults import ENDED_FOR_A_FAULT, not_ready_at, overdue, past_fault, pending_fault, running_fault
from runabout.executors.manifest import TOOLBOX_CONTAINER, TOOLBOX_GRACE_SECONDS
from runabout.executors.podview import Container, PodView, pod_view
from runabout.executors.services import Service
from runabout.executors.state import (
    Absent,
    Cleanup,
    Ended,
    Fault,
    Limits,
    Machinery,
    Outcome,
    Pending,
    PodState,
    Running,
)
from runabout.executors.waits import Wait, container_wait, is_image_wait
from runabout.records import Reason
from runabout.records.json import JsonObject

MARGIN_SECONDS = 60
"""What a kubelet gets on top of every grace period before its node counts as lost."""
_NOT_YET = frozenset({"", "PodInitializing", "ContainerCreating"})
"""Reasons of a container whose turn has not come, or just has."""
LOST_SECONDS = 600
"""How long a lost node may take to come back, or to be removed from the cluster, before its task fails."""


def observe(
    pod: JsonObject | None,
    *,
    now: int,
    limits: Limits,
    steps: Sequence[str] = (),
    services: Sequence[Service] = (),
    stopped_at: int | None = None,
    fault: Fault | None = None,
    gone: bool = False,
    nonce: str | None = None,
) -> PodState:
    """Return the state of the attempt that `pod` executes.

    Args:
        pod: the pod as the API server sent it, whole or trimmed; None if there is none and none was seen.
        now: milliseconds since 1970.
        limits: of the executor and the task.
        steps: the names of the task's steps, see `plan.step_names`.
        services: the task's, see `services.services_of`.
        stopped_at: when we told this pod to end (a deletion is then ours); None if we did not.
        fault: what an earlier look found, because of which we had the pod ended; None if it was, or will be, a stop.
        gone: `pod` is what was last seen of a pod that no longer exists.
        nonce: the one in the attempt's log, where it was read; a summary without it is not believed.
    """
    if pod is None:
        return Absent()
    view = pod_view(pod)
    stopped = stopped_at is not None and fault is None
    why = None if stopped else fault or past_fault(view, services, limits)
    if view.main.state == "terminated":
        return main_end(view, steps=steps, stopped=stopped, gone=gone, nonce=nonce, fault=why)
    over = pod_end(view, stopped=stopped, gone=gone, fault=_of_pod(view, fault, why)) or _unreachable(
        view, now, limits, stopped_at, stopped=stopped
    )
    if over is not None:
        return over
    if view.main.state == "running" or (view.phase == "Running" and view.main.state is None):
        return _running(view, now, limits, services, stopped_at, fault)
    return _pending(view, now, limits, services, stopped_at, fault)


def _of_pod(view: PodView, known: Fault | None, told: Fault | None) -> Fault | None:
    """Return the fault for which a pod was ended before its main container was seen to end.

    One that it tells of by itself may not be the reason, unless it was ended in the way in which we end pods, or nobody
    ended it.
    """
    by_itself = view.phase == "Failed" and not view.reason and view.deleted is None
    return known or (told if by_itself or view.reason == ENDED_FOR_A_FAULT else None)


def _after(start: int | None, seconds: int) -> int | None:
    return None if start is None or seconds <= 0 else start + seconds * 1000


def pod_grace(limits: Limits) -> int:
    """Return how many seconds a pod that has to end gets before its node counts as lost."""
    return limits.grace_seconds + TOOLBOX_GRACE_SECONDS + MARGIN_SECONDS


def _earliest(times: Iterable[int | None]) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _end_of_waiting(view: PodView, limits: Limits, stopped_at: int | None) -> int | None:
    """Return until when a pod that has been told to end may take for it."""
    return _earliest((_after(view.deleted, MARGIN_SECONDS), _after(stopped_at, pod_grace(limits))))


def _unreachable(view: PodView, now: int, limits: Limits, stopped_at: int | None, *, stopped: bool) -> PodState | None:
    """Return the state of a pod that should be gone and is not: its node does not answer.

    Such a node may still execute the steps, and come back with them. So there is no other attempt before the pod is
    really gone, which its kubelet says, or whoever removes the node; a pod that no node ever had cannot do harm.
    """
    ended = _end_of_waiting(view, limits, stopped_at)
    if ended is None or now < ended:
        return None
    started = view.main.started
    message = f"node {view.node or '(none)'} has not ended the pod in time; it may be lost"
    if stopped:
        return Ended(Outcome.STOPPED, Reason.STOPPED, message, started=started, ended=ended, cleanup=Cleanup.FORCE)
    if not view.node and started is None:
        return Machinery(Reason.NODE_LOST, message, ended=ended, cleanup=Cleanup.FORCE)
    given_up = ended + LOST_SECONDS * 1000
    if now < given_up:
        if started is None:
            return Pending(Reason.NODE_LOST, message, since=ended, look_again=given_up)
        return Running(started, Reason.NODE_LOST, message, look_again=given_up)
    message = f"{message}, and there is no other attempt because it may still execute this one"
    return Ended(Outcome.FAILED, Reason.NODE_LOST, message, started=started, ended=given_up, cleanup=Cleanup.FORCE)


def _running(
    view: PodView,
    now: int,
    limits: Limits,
    services: Sequence[Service],
    stopped_at: int | None,
    known: Fault | None,
) -> PodState:
    since = view.main.started or view.created or now
    if view.main.restarts:
        return Machinery(
            Reason.MACHINERY_ERROR,
            "the container was restarted in its place, although steps may run only once",
            started=since,
            cleanup=Cleanup.DELETE,
        )
    ending = _end_of_waiting(view, limits, stopped_at)
    if known is not None:
        return Running(since, known.reason, known.message, look_again=ending, fault=known)
    if stopped_at is not None:
        return Running(since, Reason.STOPPING, "is being stopped", look_again=ending)
    cause = outside_cause(view, gone=False)
    if cause is not None:
        return Running(since, cause.reason, cause.message, look_again=ending)
    fault = running_fault(view, services)
    if fault is not None:
        return Running(since, fault.reason, fault.message, fault=fault)
    ready = view.condition("Ready")
    silent = ready is not None and not ready.true and not ready.reason  # a kubelet always gives a reason
    reason = Reason.NODE_LOST if silent else None
    message = f"node {view.node} does not answer" if silent else ""
    if limits.timeout_seconds <= 0:
        return Running(since, reason, message)
    deadline = _after(since, limits.timeout_seconds + pod_grace(limits))
    if deadline is not None and now >= deadline:
        fault = overdue(limits)
        return Running(since, fault.reason, fault.message, fault=fault)
    return Running(since, reason, message, look_again=deadline)


def _pending(
    view: PodView,
    now: int,
    limits: Limits,
    services: Sequence[Service],
    stopped_at: int | None,
    known: Fault | None,
) -> PodState:
    created = view.created or now
    if known is not None:
        ending = _end_of_waiting(view, limits, stopped_at)
        return Pending(known.reason, known.message, since=created, look_again=ending, fault=known)
    if stopped_at is not None:
        ending = _end_of_waiting(view, limits, stopped_at)
        return Pending(Reason.STOPPING, "is being stopped", since=stopped_at, look_again=ending)
    cause = outside_cause(view, gone=False)
    if cause is not None:
        ending = _end_of_waiting(view, limits, stopped_at)
        return Pending(cause.reason, cause.message, since=created, look_again=ending)
    fault = pending_fault(view, services, now)
    if fault is not None:
        return Pending(fault.reason, fault.message, since=created, fault=fault)
    wait, since, image = _wait(view, created, services)
    deadline = _earliest(
        (
            _after(view.created, limits.pending_seconds),
            _after(since, limits.image_pull_seconds) if image else None,
        ),
    )
    if wait.final:
        return _given_up(wait, wait.message, since)
    if deadline is not None and now >= deadline:
        message = f"given up after {(deadline - since) // 1000} seconds: {wait.message}"
        return _given_up(wait, message, deadline)
    late = _earliest(not_ready_at(service, view.init(service.name)) for service in services)
    return Pending(wait.reason, wait.message, since=since, look_again=_earliest((deadline, late)))


def _given_up(wait: Wait, message: str, ended: int) -> Ended | Machinery:
    if wait.users:
        return Ended(Outcome.FAILED, wait.reason, message, ended=ended, cleanup=Cleanup.DELETE)
    return Machinery(wait.reason, message, ended=ended, cleanup=Cleanup.DELETE)


def _wait(view: PodView, created: int, services: Sequence[Service]) -> tuple[Wait, int, bool]:
    """Return what a pod waits for, since when, and whether it is an image."""
    placed = view.condition("PodScheduled")
    if placed is None or not placed.true:
        if placed is None or not (placed.reason or placed.message):
            return Wait(Reason.CONTAINER_CREATING, "waits for the scheduler", users=False), created, False
        since = placed.since or created
        return Wait(Reason.UNSCHEDULABLE, placed.message or placed.reason, users=True), since, False
    on_node = placed.since or created
    known = {service.name for service in services}
    for init in (view.toolbox, *(other for other in view.other_inits if other.name not in known)):
        if init.state == "waiting" and init.reason not in _NOT_YET:
            return _init_wait(init), on_node, is_image_wait(init)
    since = max(on_node, view.toolbox.ended or on_node)
    for service in services:
        container = view.init(service.name)
        if container.state == "running" and container.is_ready:
            since = max(since, container.started or since)
            continue
        if container.state == "running":
            wait = Wait(Reason.SERVICE_NOT_READY, f"service {service.name} is not ready yet", users=True)
            return wait, container.started or since, False
        if container.state == "waiting" and container.reason not in _NOT_YET:
            wait = container_wait(container)
            return replace(wait, message=f"service {service.name}: {wait.message}"), since, is_image_wait(container)
        break
    return container_wait(view.main), since, is_image_wait(view.main)


def _init_wait(init: Container) -> Wait:
    """Return what an init container waits for, ours or an admission webhook's: whatever it is, not the user's doing."""
    wait = container_wait(init)
    reason = wait.reason if wait.reason is Reason.REGISTRY_ERROR else Reason.MACHINERY_ERROR
    what = "the toolbox cannot be installed" if init.name == TOOLBOX_CONTAINER else f"init container {init.name}"
    return Wait(reason, f"{what}: {wait.message}", users=False, final=wait.final)
