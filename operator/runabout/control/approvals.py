"""Approvals in words: whose are awaited, and which of those that were given have no effect, and why."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from runabout.engine.approvals import counts
from runabout.engine.state import State
from runabout.records import Approval, Approvers, Status, TaskConfig

MAX_NAMED = 3
"""Tasks or people that one message names."""


def whom(approvers: Approvers) -> str:
    """Return whose approvals count (`anna, ben or group release`), empty if anybody's do."""
    people = [*approvers.users, *(f"group {group}" for group in approvers.groups)]
    return listed(people, "or")


def listed(names: Sequence[str], last: str) -> str:
    """Return the first few names as people say them, and how many there are besides."""
    if len(names) > MAX_NAMED:
        return f"{', '.join(names[:MAX_NAMED])} {last} {len(names) - MAX_NAMED} more"
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def ineffective(state: State, said: Iterable[Approval], awaited: Collection[str]) -> tuple[str, str] | None:
    """Return reason and message for approvals that have no effect, None if all have one, or may have it later.

    Args:
        state: the run as committed.
        said: all approvals of its Run.
        awaited: tasks that wait for an approval.
    """
    found = list(dict.fromkeys(said))
    if not found:
        return None
    configs = {task.name: task for task in state.config.tasks}
    parts = [
        ("UnknownTask", _unknown([each.task for each in found if each.task not in state.tasks], awaited)),
        ("NotAnApprover", "; ".join(_strangers(state, configs, found))),
        ("NotNeeded", _needless([each for each in found if _is_needless(configs.get(each.task))])),
    ]
    left = [(reason, text) for reason, text in parts if text]
    return (left[0][0], "; ".join(text for _, text in left)) if left else None


def _unknown(names: Sequence[str], awaited: Collection[str]) -> str:
    if not names:
        return ""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    quoted = ", ".join(f'"{name}"' for name in names[:MAX_NAMED])
    todo = "add one with the task's full name"
    if awaited:
        todo = f"one is awaited for {', '.join(sorted(awaited)[:MAX_NAMED])}"
    return f"approvals without effect, the run has no task {quoted}{more}: {todo}"


def _strangers(state: State, configs: dict[str, TaskConfig], said: Iterable[Approval]) -> Iterator[str]:
    """Say of tasks that have not begun who is not among their approvers."""
    by_task: dict[str, list[Approval]] = {}
    for each in said:
        config, task = configs.get(each.task), state.tasks.get(each.task)
        if config is None or task is None or not config.needs_approval or task.status is not Status.NOTSTARTED:
            continue
        if not counts(config, each):
            by_task.setdefault(each.task, []).append(each)
    for name, given in list(by_task.items())[:MAX_NAMED]:
        approvers = configs[name].approvers
        people = listed(list(dict.fromkeys(each.by for each in given)), "and")
        hint = ""
        if approvers.groups and any(not each.groups for each in given):
            hint = ", and the approval names no group"
        verb = "is" if len({each.by for each in given}) == 1 else "are"
        yield f"{people} {verb} not among the approvers of {name} ({whom(approvers)}){hint}"


def _is_needless(config: TaskConfig | None) -> bool:
    return config is not None and not config.needs_approval


def _needless(said: Sequence[Approval]) -> str:
    names = list(dict.fromkeys(each.task for each in said))
    if not names:
        return ""
    return f"{listed(names, 'and')} {'needs' if len(names) == 1 else 'need'} no approval"
