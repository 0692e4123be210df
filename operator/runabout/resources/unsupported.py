"""What a spec may say but this version does not do yet: setup errors, so that nothing is ignored silently."""

from runabout.resources.run import RunSpec, TaskSpec


def not_yet(spec: RunSpec) -> tuple[str, ...]:
    """Return one error for each use of something whose execution comes later."""
    errors = []
    if spec.restart_from is not None:
        errors.append("spec.restartFrom: restarts are not executed yet by this version")
    if spec.concurrency != "queue":
        errors.append(f"spec.concurrency: {spec.concurrency} is not executed yet by this version; use queue")
    if spec.timeout_seconds:
        errors.append("spec.timeoutSeconds: time-outs of runs are not executed yet by this version")
    for number, task in enumerate(spec.tasks):
        errors.extend(_task(task, f"spec.tasks[{number}]"))
    return tuple(errors)


def _task(task: TaskSpec, path: str) -> list[str]:
    errors = []
    if len(task.containers) > 1:
        errors.append(f"{path}.containers[1]: services are not executed yet by this version")
    if task.retries is not None and task.retries.limit:
        errors.append(f"{path}.retries: retries are not executed yet by this version")
    if task.matrix:
        errors.append(f"{path}.matrix: matrices are not executed yet by this version")
    for number, step in enumerate(task.steps):
        errors.extend(
            f"{path}.steps[{number}].{kind}: {kind} steps are not executed yet by this version"
            for kind in step.kinds
            if kind != "run"
        )
    return errors
