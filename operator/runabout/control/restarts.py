"""Restarts: from a Run with `restartFrom` to the run it restarts and what is made of that.

The old run is a record: its Run may be gone. It is read before the new run gets its id; what was read is in a change
group of the old run's output, so that a restart whose old run is removed meanwhile is not committed but looked at anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from runabout.control.archiverules import saving_steps
from runabout.control.environments import crowded, no_room
from runabout.control.ledger import Ledger
from runabout.control.objects import RunObject, RunObjects
from runabout.datamanager import Sequence
from runabout.engine.create import create_run
from runabout.engine.facts import Decision
from runabout.engine.graph import Graph
from runabout.engine.restart import check_restart, recreated, restart_config, restart_run
from runabout.engine.state import State
from runabout.records import RestartFrom, RunConfig, RunId, parse_run_id

LOOK_BACK = 20_000
"""The newest runs of a namespace among which one of a name is looked for, if its Run is gone: about a second."""


@dataclass(frozen=True, slots=True)
class Restart:
    """What a Run restarts, as the store had it at `read_at`; `old` only if the restart is legal.

    `known` is the old run's configuration where there is such a run in the namespace.
    """

    start_from: RestartFrom
    read_at: Sequence
    old: State | None = None
    known: RunConfig | None = None
    error: str | None = None


class Restarts:
    """Finds what Runs restart, by the ledger and by the Runs that exist."""

    def __init__(self, *, ledger: Ledger, objects: RunObjects) -> None:
        self._ledger = ledger
        self._objects = objects

    async def find(self, run: RunObject) -> Restart | None:
        """Return what a Run restarts, None if it is no restart; errors as those of the ledger's reads."""
        asked = run.spec.get("restartFrom")
        if not isinstance(asked, Mapping):
            return None
        text, word = asked.get("run"), asked.get("from")
        if not isinstance(text, str) or word not in tuple(RestartFrom):
            return None  # the schema has refused it
        start_from, read_at = RestartFrom(word), self._ledger.sequence
        found = await self._id_of(run, text)
        old = await self._ledger.state(found) if found is not None else None
        if old is not None and old.run.namespace != run.namespace:
            old = None
        error = check_restart(text, old.run if old else None, namespace=run.namespace, start_from=start_from)
        if old is None and found is None and self._named(run, text) is not None:
            error = f"spec.restartFrom.run: run {text} has no record yet; create this Run again when it is over"
        if old is not None and error is None:
            error = await self._lacks_archives(old, start_from)
        return Restart(start_from, read_at, None if error else old, old.config if old is not None else None, error)

    async def _lacks_archives(self, old: State, start_from: RestartFrom) -> str | None:
        """Return why a restart cannot keep tasks whose files are gone, None if it can.

        As long as a run has its archives, those that it shares are there, too. Without them what depends on a kept task
        would begin without its files.
        """
        again = recreated(Graph(old.config.tasks), old, start_from)
        saved = [task.name for task in old.config.tasks if task.name not in again and saving_steps(task)]
        if not saved or await self._ledger.has_archives(old.run.id):
            return None
        return (
            f"spec.restartFrom.from: the files that run {old.run.id} has saved to its workspace were removed by "
            f"retention, and task {saved[0]}, which would be kept, has some; use from: start"
        )

    async def _id_of(self, run: RunObject, text: str) -> RunId | None:
        """Return the id that a restart means: that itself, or of the newest run whose Run has this name."""
        found = await self._ledger.run(RunId(text)) if _is_id(text) else None
        if found is not None and found.namespace == run.namespace:
            return found.id
        named = self._named(run, text)
        if named is not None:
            return await self._ledger.run_of(named.uid, submitted=named.created)
        return await self._ledger.newest_named(run.namespace, text, among=LOOK_BACK)

    def _named(self, run: RunObject, name: str) -> RunObject | None:
        """Return the other Run that has this name; a Run may restart an earlier one of its own name."""
        named = self._objects.named(run.namespace, name)
        return named if named is not None and named.uid != run.uid else None


def _is_id(text: str) -> bool:
    try:
        parse_run_id(text)
    except ValueError:
        return False
    return True


def restarted(config: RunConfig, restart: Restart) -> RunConfig:
    """Return the configuration of a restart.

    The old run's environment is replaced; its concurrency and limits are, where the restart gives others; the
    restart's labels and annotations come to the old ones. One that is not legal, or has other errors (such as an
    environment for which the old run's tasks have no room), has no tasks, and is in the old run's group, where its
    author looks for it.

    Args:
        config: what the Run alone says, with its setup errors.
        restart: what it restarts.
    """
    old, error = restart.old, restart.error
    if old is not None and not config.setup_errors:
        made = _restarted(config, restart, old)
        tasks = crowded(made)
        if tasks:
            again = recreated(Graph(old.config.tasks), old, restart.start_from)
            tasks = {name: size for name, size in tasks.items() if name in again}
        if not tasks:
            return made
        error = no_room(tasks)
    known = restart.known
    return replace(
        config,
        group=known.group if known is not None else config.group,
        cache_group=known.cache_group if known is not None else config.cache_group,
        restarted_from=known.id if known is not None else None,
        restart_from=restart.start_from,
        setup_errors=(*config.setup_errors, *((error,) if error else ())),
        setup_error_count=config.setup_error_count + bool(error),
    )


def _restarted(config: RunConfig, restart: Restart, old: State) -> RunConfig:
    made = restart_config(
        old.config,
        id=config.id,
        name=config.name,
        uid=config.uid,
        created=config.created,
        submitted=config.submitted,
        start_from=restart.start_from,
        environment=config.environment,
    )
    return replace(
        made,
        concurrency=config.concurrency if config.concurrency != "queue" else old.config.concurrency,
        max_active_tasks=config.max_active_tasks or old.config.max_active_tasks,
        timeout_seconds=config.timeout_seconds or old.config.timeout_seconds,
        labels={**old.config.labels, **config.labels},
        annotations={**config.annotations, **old.config.annotations},
    )


def shared_by(state: State) -> frozenset[RunId]:
    """Return the runs that executed tasks which a restart keeps; it shares their output."""
    return frozenset(task.executed_by for task in state.tasks.values() if task.executed_by is not None)


def first_decision(config: RunConfig, restart: Restart | None, *, counter: int, now: int) -> Decision:
    """Return the first decision about a new run, a restart or not; `now` in milliseconds since 1970."""
    if restart is None or restart.old is None or config.setup_errors:
        return create_run(config, counter=counter, now=now)
    return restart_run(Graph(restart.old.config.tasks), restart.old, config, counter=counter, now=now)
