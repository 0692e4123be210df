"""Why an attempt has to be ended, or was: a service that died or never got ready, a time-out nobody else enforced.

Pure. What always holds: a service that the kubelet ended, after the main container or with its pod, is no fault; the
fault of a pod that was ended because of one is found in that pod again, as far as it says so itself.
"""

from collections.abc import Iterator, Sequence

from runabout.executors.podview import Container, Death, PodView
from runabout.executors.services import Service
from runabout.executors.state import Fault, Limits
from runabout.records import Reason

MARGIN_SECONDS = 10
"""What a kubelet gets beyond a service's own numbers before the service counts as not ready."""
NOT_STARTED = frozenset({"StartError", "ContainerCannotRun", "ContainerCannotStart"})
"""Reasons of a container whose program could not be begun."""
ENDED_FOR_A_FAULT = "DeadlineExceeded"
"""How a kubelet calls what it does for us; see `pods.STOP_NOW`."""

_LOST = frozenset({"ContainerStatusUnknown"})


def pending_fault(view: PodView, services: Sequence[Service], now: int) -> Fault | None:
    """Return why a pod whose main container has not started never comes to a good end, None if it may."""
    for service, container in _both(view, services):
        if container.died is not None and container.died.reason not in _LOST:
            return _died(service, container.died, begun=False)
        late = not_ready_at(service, container)
        if late is not None and now >= late:
            message = f"service {service.name} was not ready within {service.ready_seconds} seconds"
            return Fault(Reason.SERVICE_NOT_READY, message, service.name)
    return None


def running_fault(view: PodView, services: Sequence[Service]) -> Fault | None:
    """Return why a pod whose main container runs has to be ended, None if it has not."""
    for service, container in _both(view, services):
        if container.died is not None and container.died.reason not in _LOST:
            return _died(service, container.died, begun=True)
    return None


def not_ready_at(service: Service, container: Container) -> int | None:
    """Return when a service that runs and is not ready has had its time (ms since 1970), None if nothing runs out."""
    if container.state != "running" or container.is_ready or container.started is None:
        return None
    if service.ready_seconds is None:
        return None
    return container.started + (service.ready_seconds + MARGIN_SECONDS) * 1000


def past_fault(view: PodView, services: Sequence[Service], limits: Limits) -> Fault | None:
    """Return the fault that a pod which is over tells of by itself, None if it tells of none.

    Of a service that died in the second in which the main container ended nobody can say which was first: it is none.
    """
    main = view.main
    failed_by_itself = view.phase == "Failed" and not view.reason and view.deleted is None
    unbegun = failed_by_itself and main.state in (None, "waiting")
    for service, container in _both(view, services):
        death = container.died
        if death is None or death.reason in _LOST:
            continue
        again = container.restarts > 0 or container.state != "terminated"
        if again or unbegun or (main.ended is not None and death.ended is not None and death.ended < main.ended):
            return _died(service, death, begun=main.started is not None)
    if (
        view.reason == ENDED_FOR_A_FAULT
        and limits.timeout_seconds > 0
        and main.started is not None
        and main.ended is not None
        and main.ended - main.started >= limits.timeout_seconds * 1000
    ):
        return overdue(limits)
    return None


def overdue(limits: Limits) -> Fault:
    """Return the fault of an attempt whose toolbox has not ended it in time."""
    return Fault(
        Reason.TIMEOUT,
        f"not ended {limits.timeout_seconds} seconds after its start, nor by itself when that time was over",
    )


def _both(view: PodView, services: Sequence[Service]) -> Iterator[tuple[Service, Container]]:
    for service in services:
        yield service, view.init(service.name)


def _died(service: Service, death: Death, *, begun: bool) -> Fault:
    if death.reason in NOT_STARTED:
        message = f"service {service.name} could not be started: {death.message or death.reason}"
        return Fault(Reason.CONFIG_ERROR, message, service.name, told=True)
    if not begun and _was_given_up(service, death):
        reason = Reason.SERVICE_NOT_READY
        message = f"service {service.name} was not ready within {service.ready_seconds} seconds"
    else:
        reason = Reason.SERVICE_FAILED
        how = f"ended with exit code {death.exit_code}" if death.exit_code is not None else "ended"
        how = "was killed for lack of memory" if death.reason == "OOMKilled" else how
        before = " while steps were running" if begun else " before it was ready" if service.ready_seconds else ""
        message = f"service {service.name} {how}{before}"
    return Fault(reason, with_last_lines(message, death.message), service.name, told=bool(death.message))


def with_last_lines(message: str, lines: str) -> str:
    """Return a message with what the service wrote last, if it wrote anything."""
    return f"{message}; its last lines: {lines}" if lines else message


def _was_given_up(service: Service, death: Death) -> bool:
    """Whether a service lived so long that the kubelet has used up all tries and ended it.

    The kubelet says so in an event only; times have whole seconds.
    """
    if service.probe_seconds is None or death.started is None or death.ended is None:
        return False
    return death.ended - death.started >= max(service.probe_seconds - 1, 0) * 1000
