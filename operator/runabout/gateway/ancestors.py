"""The tasks before a task: where their archives and results are.

A task is started when all its parents have ended, so its ancestors' records say everything, once they have come here.
What a restart kept is where the run that executed it has put it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from runabout.engine.graph import Graph
from runabout.gateway.callers import Caller
from runabout.gateway.errors import ForbiddenError, UnavailableError
from runabout.gateway.records import Records
from runabout.records import RunId, Task, TaskConfig


@dataclass(frozen=True, slots=True)
class Executed:
    """An ancestor that was executed: the run that did it, and the attempt that decided it."""

    task: TaskConfig
    run: RunId
    attempt: int


def ancestors(graph: Graph, name: str) -> tuple[str, ...]:
    """Return the tasks on which one depends, however indirectly, in the order in which they are unpacked."""
    found: set[str] = set()
    ready = list(graph.parents(name))
    while ready:
        parent = ready.pop()
        if parent not in found and parent in graph:
            found.add(parent)
            ready.extend(graph.parents(parent))
    return tuple(sorted(found, key=graph.rank))


async def executed(records: Records, caller: Caller, only: Collection[str] = ()) -> tuple[Executed, ...]:
    """Return the ancestors that were executed, in level order, then by name: all, or `only` some of them.

    Raises:
        ForbiddenError: one of `only` is no ancestor. UnavailableError: their ends have not come here yet. Errors of
        reading.
    """
    names = ancestors(caller.plan.graph, caller.key.task)
    if only:
        for name in only:
            if name not in names:
                raise ForbiddenError(f"the task {caller.key.task} does not depend on {name[:200]!r}")
        names = tuple(name for name in names if name in only)
    states = await _states(records, caller.key.run, names)
    if _unfinished(states):
        await records.catch_up()
        states = await _states(records, caller.key.run, names)
    missing = _unfinished(states)
    if missing:
        raise UnavailableError(f"the end of {', '.join(missing[:5])} is not known here yet: ask again")
    graph = caller.plan.graph
    return tuple(
        Executed(graph.task(name), state.executed_by or state.run, state.attempt)
        for name, state in states.items()
        if state is not None and state.attempt
    )


async def executed_one(records: Records, caller: Caller, name: str) -> Executed | None:
    """Return one ancestor, None if it was not executed.

    Raises:
        ForbiddenError: it is no ancestor. As `executed`.
    """
    found = await executed(records, caller, (name,))
    return found[0] if found else None


async def _states(records: Records, run: RunId, names: tuple[str, ...]) -> dict[str, Task | None]:
    return {name: await records.task(run, name) for name in names}


def _unfinished(states: Mapping[str, Task | None]) -> list[str]:
    return [name for name, state in states.items() if state is None or not state.finished]
