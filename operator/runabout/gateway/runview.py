"""A run's record as JSON for people: the words of the records, times as Kubernetes writes them, nothing secret."""

from collections.abc import Mapping

from runabout.control.status import rfc3339
from runabout.engine.graph import Graph
from runabout.records import Approval, Attempt, Run, RunConfig, StepState, Task


def run_view(config: RunConfig, run: Run, tasks: Mapping[str, Task], graph: Graph) -> dict[str, object]:
    """Return what is known of a run; its tasks are in level order, then by name. What is not known is left out."""
    return _known(
        {
            "id": run.id,
            "namespace": run.namespace,
            "name": run.name,
            "group": run.group.removeprefix(f"/{run.namespace}"),
            "counter": run.counter,
            "phase": run.phase.value,
            "result": run.result.value,
            "reason": run.reason,
            "stop": run.stop,
            "created": _time(run.created),
            "started": _time(run.started),
            "ended": _time(run.ended),
            "restartedFrom": run.restarted_from,
            "labels": dict(config.labels),
            "setupErrors": {"count": config.setup_error_count, "errors": list(config.setup_errors)},
            "tasks": [_task(graph, tasks[name]) for name in graph.order if name in tasks],
        }
    )


def _task(graph: Graph, task: Task) -> dict[str, object]:
    return _known(
        {
            "name": task.name,
            "depends": list(graph.parents(task.name)),
            "status": task.status.value,
            "attempt": task.attempt,
            "executedBy": task.executed_by,
            "executor": task.executor,
            "pod": task.pod,
            "reason": task.reason,
            "message": task.message or None,
            "exitCode": task.exit_code,
            "started": _time(task.started),
            "ended": _time(task.ended),
            "waitingSince": _time(task.waiting_since),
            "approvals": [_approval(each) for each in task.approvals],
            "steps": [_step(each) for each in task.steps],
            "attempts": [_attempt(each) for each in task.attempts],
        }
    )


def _step(step: StepState) -> dict[str, object]:
    return _known(
        {
            "name": step.name,
            "status": step.status.value,
            "exitCode": step.exit_code,
            "started": _time(step.started),
            "ended": _time(step.ended),
        }
    )


def _attempt(attempt: Attempt) -> dict[str, object]:
    return _known(
        {
            "number": attempt.number,
            "executor": attempt.executor,
            "pod": attempt.pod,
            "reason": attempt.reason,
            "message": attempt.message or None,
            "exitCode": attempt.exit_code,
            "started": _time(attempt.started),
            "ended": _time(attempt.ended),
        }
    )


def _approval(approval: Approval) -> dict[str, object]:
    return {"by": approval.by, "verdict": approval.verdict.value}


def _time(milliseconds: int | None) -> str | None:
    return rfc3339(milliseconds) if milliseconds else None


def _known(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
