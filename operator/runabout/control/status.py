"""The status of a Run: a small window on its progress, below 16 KB whatever the run's size.

A pure function of the run's state, of what is being waited for, and of the Run's approvals. `phase` and
`result` are for people; programs read the conditions: `Succeeded` (Unknown until the end), `Completed` (True for any
end), `Started`, `Waiting` and `Stored`; where an approval has no effect, also `ApprovalsValid`.
A condition's lastTransitionTime changes only when its status does.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from runabout.control.approvals import ineffective
from runabout.engine.state import State
from runabout.records import MACHINERY_REASONS, TERMINAL_PHASES, Approval, Phase, Reason, Result, Run, Status, Task

MAX_NOTABLE = 20
MAX_ERRORS = 20
MAX_MESSAGE = 256
"""Characters of any message in the status; the record has the whole text."""
MAX_WRITTEN = 400
"""Bytes of the same as the API server writes it, escapes and all: 20 of them and the rest stay below 16 KB."""

_ESCAPED = re.compile(r'[\x00-\x1f<>&"\\\u2028\u2029]')

JsonDict = dict[str, object]


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something does not go on; `since` in milliseconds since 1970."""

    reason: Reason
    message: str
    since: int | None = None


def rfc3339(milliseconds: int) -> str:
    """Return a time as Kubernetes writes it, in whole seconds."""
    return _rfc3339(milliseconds // 1000)


@lru_cache(maxsize=1024)
def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return `text` with at most `limit` characters and MAX_WRITTEN bytes, an ellipsis where its middle was.

    Both ends stay: the beginning says what it is about, the end often why, as in the API server's refusals.
    """
    if len(text) <= limit and _written(text) <= MAX_WRITTEN:
        return text
    begin, end = text[: limit // 2], text[len(text) - (limit - 1) // 2 :]
    room = MAX_WRITTEN - len("…".encode()) - _written(begin) - _written(end)
    while room < 0:
        if len(begin) > len(end):
            begin, cut = begin[:-1], begin[-1]
        else:
            end, cut = end[1:], end[0]
        room += _written(cut)
    return f"{begin}…{end}"


def _written(text: str) -> int:
    """Return the bytes of `text` in JSON as Go writes it, quotation marks around it apart."""
    escapes = sum(1 if found in '"\\' else 5 for found in _ESCAPED.findall(text))
    return len(text.encode(errors="replace")) + escapes


def run_status(
    state: State,
    *,
    generation: int,
    waits: Mapping[str, Wait],
    run_wait: Wait | None,
    judged: Sequence[Approval] = (),
    previous: Mapping[str, object],
    now: int,
) -> JsonDict:
    """Return the whole status.

    Args:
        state: the run as committed.
        generation: the generation of the spec that the state takes into account.
        waits: what keeps each waiting or troubled task, by its name.
        run_wait: what keeps the run itself.
        judged: the Run's approvals, whether they count or not.
        previous: the status before, for the times of conditions that did not flip.
        now: milliseconds since 1970.
    """
    run = state.run
    counts = Counter(task.status for task in state.tasks.values())
    waiting = sum(1 for name in waits if not state.tasks[name].finished)
    status: JsonDict = {
        "observedGeneration": generation,
        "id": run.id,
        "phase": run.phase.value,
        "result": run.result.value,
        "tasks": {
            "total": len(state.tasks),
            "waiting": waiting,
            **{word.value: counts.get(word, 0) for word in Status},
        },
        "conditions": _conditions(state, waits, run_wait, judged, previous, now),
        "notable": _notable(state, waits),
    }
    if run.counter:
        status["counter"] = run.counter
    if run.started is not None:
        status["startTime"] = rfc3339(run.started)
    if run.ended is not None:
        status["completionTime"] = rfc3339(run.ended)
    if run.phase is Phase.SETUPERROR:
        errors = state.config.setup_errors
        status["setupErrors"] = {"count": _error_count(state), "first": [short(text) for text in errors[:MAX_ERRORS]]}
    return status


def without_record(status: Mapping[str, object], *, now: int) -> JsonDict | None:
    """Return the status of a Run whose record the store does not have, None if the run was over anyway."""
    if status.get("phase") in {phase.value for phase in TERMINAL_PHASES}:
        return None
    message = f"the store has no record of run {status.get('id')}; to run it again, delete this Run and create it anew"
    waiting = _condition(
        "Waiting",
        "True",
        Reason.RECORD_MISSING.value,
        message,
        before=_by_type(status).get("Waiting"),
        generation_time=now,
    )
    others = [item for kind, item in _by_type(status).items() if kind != "Waiting"]
    return {**status, "conditions": [*others, waiting]}


def _notable(state: State, waits: Mapping[str, Wait]) -> list[JsonDict]:
    """Return the tasks worth a look: what failed first, then what waits, each with the reason and since when."""
    failed = [task for task in state.tasks.values() if task.status is Status.FAILED]
    rows: list[JsonDict] = [
        _row(task, task.reason, _failure(task), task.ended)
        for task in sorted(failed, key=lambda task: (task.ended or 0, task.name))[:MAX_NOTABLE]
    ]
    for name, wait in sorted(waits.items(), key=lambda item: (item[1].since or 0, item[0])):
        if len(rows) >= MAX_NOTABLE:
            break
        rows.append(_row(state.tasks[name], wait.reason, wait.message, wait.since))
    return rows


def _failure(task: Task) -> str:
    """Return why a task failed, and that it was tried more than once."""
    if not task.attempts or task.reason in MACHINERY_REASONS:
        return task.message
    return f"{task.message} (attempt {task.attempt}, the last one)"


def _row(task: Task, reason: Reason | None, message: str, since: int | None) -> JsonDict:
    row: JsonDict = {"task": task.name, "status": task.status.value}
    if reason is not None:
        row["reason"] = reason.value
    if message:
        row["message"] = short(message)
    if since is not None:
        row["since"] = rfc3339(since)
    return row


def _conditions(
    state: State,
    waits: Mapping[str, Wait],
    run_wait: Wait | None,
    judged: Sequence[Approval],
    previous: Mapping[str, object],
    now: int,
) -> list[JsonDict]:
    run = state.run
    completed = run.phase in TERMINAL_PHASES
    rows = [
        _succeeded(state, wait=_waiting(waits, run_wait, completed=completed)),
        ("Completed", "True" if completed else "False", _stage(run), ""),
        (
            "Started",
            "True" if run.started is not None else "False",
            "Running" if run.started is not None else _word(run.phase.value),
            "",
        ),
        _waiting(waits, run_wait, completed=completed),
    ]
    if run.started is not None:
        late = sum(1 for task in state.tasks.values() if task.late_logs)
        missing = sum(1 for task in state.tasks.values() if not task.stored)
        if late:
            rows.append(
                ("Stored", "False", "StorageUnavailable", f"the logs of {late} tasks wait for the object storage")
            )
        elif missing or not completed:
            rows.append(("Stored", "False", "InProgress", ""))
        else:
            rows.append(("Stored", "True", "Stored", ""))
    awaited = [name for name, wait in waits.items() if wait.reason is Reason.AWAITING_APPROVAL]
    useless = ineffective(state, judged, awaited)
    if useless is not None and run.phase is not Phase.SETUPERROR:  # there it is one of the errors
        rows.append(("ApprovalsValid", "False", useless[0], short(useless[1])))
    before = _by_type(previous)
    return [
        _condition(kind, status, reason, message, before=before.get(kind), generation_time=now)
        for kind, status, reason, message in rows
    ]


def _stage(run: Run) -> str:
    """Return the result of a finished run, else the phase."""
    return _word(run.result.value if run.phase is Phase.FINISHED else run.phase.value)


def _succeeded(state: State, *, wait: tuple[str, str, str, str]) -> tuple[str, str, str, str]:
    """Return the condition whose reason says most: of the end, of what is waited for, or just the phase."""
    run = state.run
    if run.result is Result.SUCCESS:
        return ("Succeeded", "True", "Success", _summary(state))
    if run.phase in (Phase.SETUPERROR, Phase.CANCELLED):
        count = _error_count(state)
        many = f"{count} setup errors, the first: " if count > 1 else "setup error: "
        message = f"{many}{short(state.config.setup_errors[0])}" if count else _ended_by(state)
        return ("Succeeded", "False", run.reason.value if run.reason is not None else _word(run.phase.value), message)
    if run.result is Result.UNKNOWN:
        _, waits, reason, _ = wait
        return ("Succeeded", "Unknown", reason if waits == "True" else _word(run.phase.value), _summary(state))
    reason = run.reason.value if run.reason is not None else _word(run.result.value)
    why = _ended_by(state)
    return ("Succeeded", "False", reason, f"{why}; {_summary(state)}" if why else _summary(state))


def _ended_by(state: State) -> str:
    """Return what has ended a run before its tasks were done, if nobody asked for it."""
    run = state.run
    if run.reason is Reason.REPLACED:
        return f"replaced by run {run.replaced_by}"
    if run.reason is Reason.TIMEOUT:
        return f"took longer than its timeoutSeconds ({state.config.timeout_seconds} s)"
    return ""


def _error_count(state: State) -> int:
    return state.config.setup_error_count or len(state.config.setup_errors)


def _waiting(waits: Mapping[str, Wait], run_wait: Wait | None, *, completed: bool) -> tuple[str, str, str, str]:
    if completed or (run_wait is None and not waits):
        return ("Waiting", "False", "NotWaiting", "")
    if run_wait is not None:
        return ("Waiting", "True", run_wait.reason.value, short(run_wait.message))
    name, wait = min(waits.items(), key=lambda item: (item[1].since or 0, item[0]))
    more = f" (and {len(waits) - 1} more)" if len(waits) > 1 else ""
    return ("Waiting", "True", wait.reason.value, short(f"task {name}: {wait.message}", MAX_MESSAGE) + more)


def _summary(state: State) -> str:
    counts = Counter(task.status for task in state.tasks.values())
    parts = [f"{counts[word]} {word.value}" for word in Status if counts.get(word)]
    noun = "task" if len(state.tasks) == 1 else "tasks"
    return f"{len(state.tasks)} {noun}: {', '.join(parts)}" if parts else "no tasks"


_WORDS = {"setuperror": "SetupError", "notstarted": "NotStarted"}


def _word(word: str) -> str:
    """Return a phase or result as the CamelCase reason of a condition."""
    return _WORDS.get(word, word.capitalize())


def _by_type(status: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    conditions = status.get("conditions")
    if not isinstance(conditions, Sequence) or isinstance(conditions, str):
        return {}
    return {str(item.get("type")): item for item in conditions if isinstance(item, Mapping)}


def _condition(
    kind: str,
    status: str,
    reason: str,
    message: str,
    *,
    before: Mapping[str, object] | None,
    generation_time: int,
) -> JsonDict:
    since = before.get("lastTransitionTime") if before is not None and before.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since if isinstance(since, str) else rfc3339(generation_time),
    }
