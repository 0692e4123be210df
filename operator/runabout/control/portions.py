"""A change of very many tasks as several transactions, each of which leaves a record that can be gone on from.

A store takes about 1 MiB at once, and a run may have ten thousand tasks of which one decision gives most to executors,
or skips them. What holds after each portion, wherever the process ends: the run has begun if any of its tasks has; it
is to be stopped if any task ended by that; its result and its end come last. So whoever goes on comes to the same
decision again: what was observed is observed again, and what follows from it, follows again.
"""

from collections.abc import Collection
from dataclasses import replace
from itertools import takewhile

from runabout.control.ledger import Change
from runabout.records import Event, Phase, Run, Status, Task
from runabout.records.encoding import encode

PORTION = 512 * 1024
"""Bytes of the tasks of one transaction."""
FEW = 8
"""Tasks that are not measured: the record of one is below 64 KiB."""
_FOLLOWING = frozenset({Status.SKIPPED, Status.CANCELLED})
"""What only follows from others' ends, and is written after them."""


def portions(change: Change, *, before: Run) -> tuple[Change, ...]:
    """Return the transactions of a change, in order; most are one.

    Args:
        change: what is to be stored, with the run as it is then.
        before: the run as it is stored now, or was created.
    """
    if len(change.tasks) <= FEW and change.config is None:
        return (change,)
    first = PORTION if change.config is None else PORTION - len(encode(change.config))
    groups = _groups(change.tasks, first)
    if len(groups) == 1:
        return (change,)
    begun = _begun(before, change.run)
    events = tuple(change.events)
    early = tuple(takewhile(lambda event: begun == change.run or _is_early(event, begun), events))
    return (
        replace(change, run=begun, tasks=groups[0], events=early),
        *(Change(run=begun, tasks=group) for group in groups[1:-1]),
        Change(run=change.run, tasks=groups[-1], events=events[len(early) :]),
    )


def _begun(before: Run, after: Run) -> Run:
    """Return the run with nothing new but that it has begun, and that it is to be stopped."""
    starts = before.started is None and after.started is not None
    return replace(after, phase=Phase.RUNNING if starts else before.phase, result=before.result, ended=before.ended)


def _is_early(event: Event, begun: Run) -> bool:
    return event.phase in (Phase.QUEUED, Phase.RUNNING) and event.result is begun.result


def _groups(tasks: Collection[Task], first: int) -> list[tuple[Task, ...]]:
    """Return the tasks in an order in which they can be written, as many together as a transaction takes.

    The first transaction has room for `first` bytes of them, if any.
    """
    groups: list[tuple[Task, ...]] = []
    group: list[Task] = []
    size = 0
    for task in sorted(tasks, key=lambda task: (task.executed_by is None, task.status in _FOLLOWING)):
        more = len(encode(task)) + len(task.run) + len(task.name) + 64
        if size + more > (PORTION if groups else first) and (group or not groups):
            groups.append(tuple(group))
            group, size = [], 0
        group.append(task)
        size += more
    return [*groups, tuple(group)]
