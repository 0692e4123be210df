"""The first state of a run: queued, or over with its setup errors."""

from runabout.engine.decide import Decision
from runabout.engine.state import State
from runabout.records import Event, Phase, Run, RunConfig, Status, Task


def create_run(config: RunConfig, *, counter: int, now: int) -> Decision:
    """Return the first decision about a run; every task is in `changed`.

    With setup errors the run is over at once: no task ever starts, and even those declared `skip` are notstarted.
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
    )
    tasks = {
        task.name: Task(
            run=config.id,
            name=task.name,
            status=Status.SKIPPED if task.skip and not broken else Status.NOTSTARTED,
        )
        for task in config.tasks
    }
    return Decision(
        state=State(config, run, tasks),
        changed=tuple(tasks.values()),
        events=(Event(run.id, run.phase, run.result, now),),
    )
