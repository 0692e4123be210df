"""Whose an ending is: of a main container that has terminated, and of a pod that ended or vanished without one.

What always holds: a summary that can be trusted is believed before anything else; what a task had done before the
cluster or a stop ended its pod stays done; told to stop, an attempt that did not end by itself is `stopped`, whatever
else happened to its pod.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runabout.executors.faults import NOT_STARTED
from runabout.executors.podview import Container, PodView
from runabout.executors.state import Cleanup, Ended, Fault, Machinery, Outcome
from runabout.executors.summary import EndReason, Summary, parse_summary
from runabout.records import Reason, StepState

SIGKILLED = 137
"""128 + 9: how a process that was killed for lack of memory ends."""

_DISRUPTIONS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
    "TerminationByKubelet": Reason.EVICTED,
}
_POD_REASONS = {
    "Evicted": Reason.EVICTED,
    "Preempting": Reason.PREEMPTED,
    "Terminated": Reason.NODE_LOST,
    "NodeShutdown": Reason.NODE_LOST,
    "Shutdown": Reason.NODE_LOST,
    "NodeLost": Reason.NODE_LOST,
    "NodeAffinity": Reason.MACHINERY_ERROR,
    "UnexpectedAdmissionError": Reason.MACHINERY_ERROR,
    "TopologyAffinityError": Reason.MACHINERY_ERROR,
    "InvalidNodeInfo": Reason.MACHINERY_ERROR,
    "NodeName": Reason.MACHINERY_ERROR,
    "NodePorts": Reason.MACHINERY_ERROR,
    "PodOSNotSupported": Reason.MACHINERY_ERROR,
    "PodOSSelectorNodeLabelDoesNotMatch": Reason.MACHINERY_ERROR,
    "DeadlineExceeded": Reason.POD_DELETED,
}
_STEP_ERRORS = frozenset(
    {
        EndReason.NO_SHELL,
        EndReason.UNKNOWN_USER,
        EndReason.USER_NOT_PERMITTED,
        EndReason.WORKING_DIR,
        EndReason.CANNOT_START,
    },
)
_SAME_WORD = {EndReason.TIMEOUT: Reason.TIMEOUT, EndReason.MISSING_RESULT: Reason.MISSING_RESULT}
_TOOLBOX_ERRORS = frozenset({EndReason.BAD_PLAN, EndReason.INTERNAL})


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the cluster, or somebody in it, ends a pod."""

    reason: Reason
    message: str


def outside_cause(view: PodView, *, gone: bool) -> Cause | None:
    """Return why something other than the task ends this pod, None if nothing does."""
    disruption = view.disruption
    if view.reason in _POD_REASONS or view.reason.startswith("OutOf"):
        reason = _POD_REASONS.get(view.reason, Reason.MACHINERY_ERROR)
        return Cause(reason, f"{view.reason}: {view.message}" if view.message else view.reason)
    if disruption is not None:
        reason = _DISRUPTIONS.get(disruption.reason, Reason.EVICTED)
        return Cause(reason, f"{disruption.reason}: {disruption.message}")
    if view.deleted is not None:
        return Cause(Reason.POD_DELETED, "somebody deleted the pod")
    if gone:
        return Cause(Reason.POD_DELETED, "the pod vanished while it was needed: somebody deleted it by force")
    return None


def main_end(
    view: PodView, *, steps: Sequence[str], stopped: bool, gone: bool, nonce: str | None, fault: Fault | None
) -> Ended | Machinery:
    """Return how an attempt ended whose main container has terminated.

    `fault` is why we had it ended, or would have had: it explains what did not end well.
    """
    main = view.main
    # The phase follows a moment later by itself, unless another container keeps the pod from ending.
    ending = gone or view.deleted is not None or view.phase in {"Succeeded", "Failed"} or not view.others_run
    cleanup = Cleanup.NONE if ending else Cleanup.DELETE
    times = Ended(Outcome.FAILED, exit_code=main.exit_code, started=main.started, ended=main.ended, cleanup=cleanup)
    cause = outside_cause(view, gone=gone)
    summary = parse_summary(main.message, nonce=nonce, exit_code=main.exit_code, steps=len(steps) or None)
    if summary is not None:
        known = replace(times, steps=_step_states(summary, steps), summary=summary)
        ended = _said(summary, main, known, cause, stopped=stopped, fault=fault)
        return _explained(ended, fault)
    return _unsaid(main, times, cause, stopped=stopped, fault=fault)


def pod_end(view: PodView, *, stopped: bool, gone: bool, fault: Fault | None) -> Ended | Machinery | None:
    """Return how an attempt ended whose pod is over without a terminated main container, None if it is not over."""
    if view.phase == "Succeeded":
        return Ended(Outcome.SUCCESS, exit_code=0, ended=_last(view))
    if not gone and view.phase != "Failed":
        return None
    if stopped:
        return Ended(Outcome.STOPPED, Reason.STOPPED, "stopped", started=view.main.started, ended=_last(view))
    if fault is not None:
        started, ended = view.main.started, _last(view)
        return Ended(Outcome.FAILED, fault.reason, fault.message, started=started, ended=ended, fault=fault)
    cause = outside_cause(view, gone=gone)
    if cause is not None:
        return Machinery(cause.reason, cause.message, started=view.main.started, ended=_last(view))
    for container in (view.toolbox, *view.other_inits):
        if container.state == "terminated" and container.exit_code != 0:
            words = f"{container.reason}: {container.message}"
            return Machinery(
                Reason.MACHINERY_ERROR,
                f"the init container {container.name} ended with exit code {container.exit_code} ({words})",
                ended=container.ended,
            )
    message = "the pod failed without an exit code" + (f": {view.message}" if view.message else "")
    return Ended(Outcome.FAILED, Reason.EXIT_CODE, message, started=view.main.started, ended=_last(view))


def _explained(ended: Ended | Machinery, fault: Fault | None) -> Ended | Machinery:
    """Return an ending with the fault that explains it: a step that fails because its service died is no riddle."""
    if fault is None or fault.service is None or not isinstance(ended, Ended) or ended.reason is not Reason.EXIT_CODE:
        return ended
    return replace(ended, reason=fault.reason, message=f"{ended.message}; {fault.message}", fault=fault)


def _said(
    summary: Summary, main: Container, known: Ended, cause: Cause | None, *, stopped: bool, fault: Fault | None
) -> Ended | Machinery:
    """Judge an ending by what the toolbox says of it."""
    if summary.reason is EndReason.COMPLETED:
        return replace(known, outcome=Outcome.SUCCESS, message=summary.message)
    if summary.reason in _SAME_WORD:
        return replace(known, reason=_SAME_WORD[summary.reason], message=summary.message)
    if summary.reason in _STEP_ERRORS:
        return replace(known, reason=Reason.STEP_ERROR, message=f"{summary.reason}: {summary.message}")
    if summary.reason in _TOOLBOX_ERRORS:
        message = f"the toolbox failed ({summary.reason}): {summary.message}"
        return _machinery(known, Cause(Reason.MACHINERY_ERROR, message))
    if summary.reason is EndReason.STOPPED:
        if stopped:
            return replace(known, outcome=Outcome.STOPPED, reason=Reason.STOPPED, message=summary.message)
        if fault is not None:
            return replace(known, reason=fault.reason, message=fault.message, fault=fault)
        return _machinery(
            known, cause or Cause(Reason.MACHINERY_ERROR, "something outside the task sent it a signal to end")
        )
    if main.reason == "OOMKilled":
        if main.exit_code == SIGKILLED:
            return replace(known, reason=Reason.OOM_KILLED, message=f"{summary.message}: out of memory")
        message = f"{summary.message}; before that, a process in it was killed for lack of memory"
        return replace(known, reason=Reason.EXIT_CODE, message=message)
    return replace(known, reason=Reason.EXIT_CODE, message=summary.message)


def _unsaid(
    main: Container, known: Ended, cause: Cause | None, *, stopped: bool, fault: Fault | None
) -> Ended | Machinery:
    """Judge an ending without a summary: the exit code counts, and what Kubernetes says of it."""
    code = main.exit_code
    if code == 0:
        return replace(known, outcome=Outcome.SUCCESS)
    if stopped:
        return replace(known, outcome=Outcome.STOPPED, reason=Reason.STOPPED, message=f"stopped, exit code {code}")
    if fault is not None:
        return replace(known, reason=fault.reason, message=fault.message, fault=fault)
    if cause is not None:
        return _machinery(known, cause)
    if main.reason == "ContainerStatusUnknown":
        return _machinery(known, Cause(Reason.NODE_LOST, f"its node lost the container: {main.message}"))
    if main.reason == "OOMKilled":
        return replace(known, reason=Reason.OOM_KILLED, message="the container used more memory than its limit")
    if main.reason in NOT_STARTED:
        message = f"the container could not be started: {main.message}"
        return replace(known, reason=Reason.CONFIG_ERROR, message=message)
    if code is None:
        return replace(known, reason=Reason.EXIT_CODE, message="the container ended without an exit code")
    return replace(known, reason=Reason.EXIT_CODE, message=f"exit code {code}, and no word about the steps")


def _machinery(known: Ended, cause: Cause) -> Machinery:
    return Machinery(
        cause.reason,
        cause.message,
        exit_code=known.exit_code,
        started=known.started,
        ended=known.ended,
        steps=known.steps,
        summary=known.summary,
        cleanup=known.cleanup,
    )


def _step_states(summary: Summary, names: Sequence[str]) -> tuple[StepState, ...]:
    return tuple(
        StepState(
            name=names[index] if index < len(names) else f"step-{index + 1}",
            status=step.status,
            exit_code=step.exit_code,
            started=step.started,
            ended=step.ended,
            log_size=step.size,
        )
        for index, step in enumerate(summary.steps)
    )


def _last(view: PodView) -> int | None:
    """Return when the pod last changed for the better or worse, the nearest there is to when it ended."""
    times = [condition.since for condition in view.conditions if condition.since is not None]
    return view.main.ended or max(times, default=None)
