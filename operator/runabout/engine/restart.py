"""Restarts: whether one is legal, what the new run is made of, and which tasks it takes over.

A restart is a new run that names the old one, which is never touched. Kept tasks are over from the beginning and name
the run that executed them, whose logs and archives they share.
"""

from collections.abc import Sequence
from dataclasses import replace

from runabout.engine.create import create_run
from runabout.engine.facts import Decision
from runabout.engine.graph import Graph
from runabout.engine.state import State
from runabout.records import EnvVar, Phase, RestartFrom, Result, Run, RunConfig, RunId, Status, Task, altered

_PATH = "spec.restartFrom"


def check_restart(run: str, old: Run | None, *, namespace: str, start_from: RestartFrom) -> str | None:
    """Return the setup error of a restart that is not legal, None if it is.

    Args:
        run: the id that the restart names.
        old: that run, None if there is none; one of another namespace counts as none.
        namespace: the new run's.
        start_from: which tasks are to be recreated.
    """
    if old is None or old.namespace != namespace:
        return f'{_PATH}.run: unknown run "{run}" in namespace {namespace}'
    if old.phase is Phase.SETUPERROR:
        return f"{_PATH}.run: run {run} has setup errors; correct its spec and create a new run"
    if old.phase in (Phase.QUEUED, Phase.RUNNING):
        return f"{_PATH}.run: run {run} is {old.phase.value}; wait until it is over, or stop it"
    if start_from is RestartFrom.START:
        return None
    if old.phase is Phase.CANCELLED:
        return f"{_PATH}.from: run {run} was cancelled before anything could fail; use from: start"
    if old.result is Result.SUCCESS:
        return f"{_PATH}.from: run {run} was a success; use from: start"
    return None


def restart_config(
    old: RunConfig,
    *,
    id: RunId,  # noqa: A002 - the record's field
    name: str,
    uid: str,
    created: int,
    submitted: int = 0,
    start_from: RestartFrom,
    environment: Sequence[EnvVar] = (),
) -> RunConfig:
    """Return the configuration of a restart: the old one's, with the request's `environment`, also if that is empty."""
    return replace(
        old,
        id=id,
        name=name,
        uid=uid,
        created=created,
        submitted=submitted,
        environment=tuple(environment),
        restarted_from=old.id,
        restart_from=start_from,
    )


def recreated(graph: Graph, old: State, start_from: RestartFrom) -> frozenset[str]:
    """Return the tasks that are executed again.

    From start all of them; from failed those that are no success, and whatever depends on one of them, however
    indirectly, even if it had succeeded.
    """
    if start_from is RestartFrom.START:
        return frozenset(old.tasks)
    failed = {name for name, task in old.tasks.items() if task.status is not Status.SUCCESS}
    return graph.descendants(failed) | failed


def restart_run(graph: Graph, old: State, config: RunConfig, *, counter: int, now: int) -> Decision:
    """Return the first decision about a restart that is legal.

    Args:
        graph: the old run's.
        old: the run that is restarted.
        config: the new run's, see `restart_config`.
        counter: the new run's number in its root group.
        now: milliseconds since 1970.
    """
    again = recreated(graph, old, config.restart_from or RestartFrom.START)
    kept = {name: _keep(task, config.id) for name, task in old.tasks.items() if name not in again}
    return create_run(config, counter=counter, now=now, kept=kept)


def _keep(task: Task, run: RunId) -> Task:
    """Return a task as the new run takes it over; nothing of it is left to be stored by the new run."""
    return altered(task, run=run, executed_by=task.executed_by or task.run, stored=True, archived=True, late_logs=False)
