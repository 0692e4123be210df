"""The first state of a run: queued, or over with its setup errors."""

from collections.abc import Mapping

from runabout.engine.facts import Decision
from runabout.engine.state import State
from runabout.records import Event, Phase, Run, RunConfig, Status, Task

_NOTHING_KEPT: Mapping[str, Task] = {}


def create_run(config: RunConfig, *, counter: int, now: int, kept: Mapping[str, Task] = _NOTHING_KEPT) -> Decision:
    """Return the first decision about a run; every task is in `changed`, in the order of the configuration.

    With setup errors the run is over at once: no task ever starts, and even those declared `skip` are notstarted.

    Args:
        config: what was asked for, with all its setup errors.
        counter: the run's number in its root group.
        now: milliseconds since 1970.
        kept: tasks that a restart takes over as they are (see `restart`); without effect on a run with setup errors.
    """
    broken = bool(config.setup_errors)
    run = Run(
        id=config.id,
        namespace=config.namespace,
        name=config.name,
        uid=config.uid,
        group=config.group,
        counter=counter,
        phase=Phase.SETUPERROR if broken else Phase.QUEUED,
        created=now,
        restarted_from=config.restarted_from,
        submitted=config.submitted,
    )
    tasks: dict[str, Task] = {}
    for task in config.tasks:
        if task.name in kept and not broken:
            tasks[task.name] = kept[task.name]
        else:
            status = Status.SKIPPED if task.skip and not broken else Status.NOTSTARTED
            tasks[task.name] = Task(run=config.id, name=task.name, status=status)
    return Decision(
        state=State(config, run, tasks),
        changed=tuple(tasks.values()),
        events=(Event(run.id, run.phase, run.result, now),),
    )
