"""The status of a Run: what it says, when its conditions flip, and that it stays small."""

from collections.abc import Sequence
from typing import Any, cast

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures.openapi import Structural
from fixtures.states import NOW, a_task, created, finished, running, state_of, task_spec, with_run, with_task
from runabout.control.status import MAX_NOTABLE, Wait, rfc3339, run_status, short, without_record
from runabout.engine.state import State
from runabout.records import TERMINAL_PHASES, Approval, Phase, Reason, Result, RunId, Status
from runabout.resources.definitions import RUN
from runabout.resources.schema import structural

SCHEMA = Structural(structural(RUN.status))
LIMIT = 16 * 1024
HOUR = 3_600_000


def report(
    state: State,
    *,
    waits: dict[str, Wait] | None = None,
    run_wait: Wait | None = None,
    judged: Sequence[str | Approval] = (),
    previous: dict[str, object] | None = None,
    now: int = NOW,
) -> dict[str, Any]:
    status = run_status(
        state,
        generation=3,
        waits=waits or {},
        run_wait=run_wait,
        judged=[Approval(item, "anna") if isinstance(item, str) else item for item in judged],
        previous=previous or {},
        now=now,
    )
    assert SCHEMA.accepts(status)
    return status


def condition(status: dict[str, Any], kind: str) -> tuple[str, str, str]:
    (row,) = [row for row in status["conditions"] if row["type"] == kind]
    return row["status"], row["reason"], row["message"]


def times(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {row["type"]: (row["status"], row["lastTransitionTime"]) for row in status["conditions"]}


def size(status: object) -> int:
    """Bytes of a status as the API server writes it: with Go's escapes."""
    text = orjson.dumps(status)
    return len(text) + sum(5 * text.count(character) for character in (b"<", b">", b"&"))


# what it says

ONE = created(task_spec("a"))
NEWER = RunId("1il7g1c000009")
STARTED = running(ONE)
STORED = with_task(STARTED, "a", status=Status.SUCCESS)
ENDS: list[tuple[str, State, dict[str, tuple[str, str]]]] = [
    (
        "queued",
        ONE,
        {"Succeeded": ("Unknown", "Queued"), "Completed": ("False", "Queued"), "Started": ("False", "Queued")},
    ),
    (
        "running",
        STARTED,
        {
            "Succeeded": ("Unknown", "Running"),
            "Completed": ("False", "Running"),
            "Started": ("True", "Running"),
            "Stored": ("False", "InProgress"),
        },
    ),
    (
        "failed, but still running",
        with_run(STARTED, result=Result.FAILED),
        {"Succeeded": ("False", "Failed"), "Completed": ("False", "Running")},
    ),
    (
        "success",
        finished(STORED, Result.SUCCESS),
        {"Succeeded": ("True", "Success"), "Completed": ("True", "Success"), "Stored": ("True", "Stored")},
    ),
    (
        "failed",
        finished(STORED, Result.FAILED),
        {"Succeeded": ("False", "Failed"), "Completed": ("True", "Failed"), "Started": ("True", "Running")},
    ),
    (
        "timed out",
        with_run(finished(STORED, Result.FAILED), reason=Reason.TIMEOUT),
        {"Succeeded": ("False", "Timeout"), "Completed": ("True", "Failed")},
    ),
    (
        "replaced while it ran",
        with_run(finished(STORED, Result.STOPPED), reason=Reason.REPLACED, replaced_by=NEWER),
        {"Succeeded": ("False", "Replaced"), "Completed": ("True", "Stopped")},
    ),
    (
        "replaced in the queue",
        with_run(ONE, phase=Phase.CANCELLED, reason=Reason.REPLACED, replaced_by=NEWER),
        {"Succeeded": ("False", "Replaced"), "Completed": ("True", "Cancelled")},
    ),
    (
        "stopped",
        finished(STORED, Result.STOPPED),
        {"Succeeded": ("False", "Stopped"), "Completed": ("True", "Stopped")},
    ),
    (
        "cancelled",
        with_run(ONE, phase=Phase.CANCELLED),
        {
            "Succeeded": ("False", "Cancelled"),
            "Completed": ("True", "Cancelled"),
            "Started": ("False", "Cancelled"),
        },
    ),
    (
        "setup error",
        created(task_spec("a", depends=[{"task": "b"}])),
        {
            "Succeeded": ("False", "SetupError"),
            "Completed": ("True", "SetupError"),
            "Started": ("False", "SetupError"),
        },
    ),
]


@pytest.mark.parametrize(("state", "expected"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_conditions_say_how_far_a_run_is(state: State, expected: dict[str, tuple[str, str]]) -> None:
    status = report(state)
    assert {kind: condition(status, kind)[:2] for kind in expected} == expected
    assert condition(status, "Completed")[0] == ("True" if state.run.phase in TERMINAL_PHASES else "False")
    assert ("Stored" in times(status)) is (state.run.started is not None)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (with_run(ONE, phase=Phase.CANCELLED, reason=Reason.REPLACED, replaced_by=NEWER), f"replaced by run {NEWER}"),
        (
            with_run(finished(STORED, Result.STOPPED), reason=Reason.REPLACED, replaced_by=NEWER),
            f"replaced by run {NEWER}; 1 task: 1 success",
        ),
        (
            with_run(finished(created(task_spec("a"), timeoutSeconds=90), Result.FAILED), reason=Reason.TIMEOUT),
            "took longer than its timeoutSeconds (90 s); 1 task: 1 notstarted",
        ),
    ],
    ids=["replaced in the queue", "replaced while it ran", "timed out"],
)
def test_a_run_that_was_ended_says_by_whom_or_after_what_time(state: State, message: str) -> None:
    assert condition(report(state), "Succeeded")[2] == message


def test_the_head_of_a_status_names_the_run_and_its_times() -> None:
    status = report(finished(STORED, Result.SUCCESS))
    assert {key: value for key, value in status.items() if key not in {"tasks", "conditions", "notable"}} == {
        "observedGeneration": 3,
        "id": "1il7g1c000001",
        "counter": 118,
        "phase": "finished",
        "result": "success",
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T00:01:00Z",
    }


def test_tasks_are_counted_by_status_and_the_waiting_ones_among_them() -> None:
    tasks = [a_task(f"{status}-{number}", status) for status in Status for number in range(2)]
    waits = {name: Wait(Reason.NO_EXECUTOR, "none") for name in ("running-0", "notstarted-0", "success-0")}
    status = report(state_of(tasks, phase=Phase.RUNNING, started=NOW), waits=waits)
    assert status["tasks"] == {"total": 14, "waiting": 2, **{status.value: 2 for status in Status}}


def test_a_run_without_tasks_says_so() -> None:
    assert condition(report(finished(created(), Result.SUCCESS)), "Succeeded")[2] == "no tasks"


def test_setup_errors_are_counted_and_the_first_ones_shown() -> None:
    errors = tuple(f"error {number}" for number in range(30))
    status = report(state_of((), phase=Phase.SETUPERROR, errors=errors))
    assert status["setupErrors"] == {"count": 30, "first": list(errors[:20])}
    assert condition(status, "Succeeded")[2] == "30 setup errors, the first: error 0"


def test_failed_tasks_are_notable_first_then_those_that_wait_each_since_when() -> None:
    tasks = [
        a_task("late", Status.FAILED, ended=NOW + 2000, reason=Reason.OOM_KILLED, message="out of memory"),
        a_task("early", Status.FAILED, ended=NOW + 1000, reason=Reason.EXIT_CODE),
        a_task("waits"),
        a_task("fine", Status.SUCCESS),
    ]
    waits = {"waits": Wait(Reason.NO_FREE_SLOT, "full", NOW)}
    status = report(state_of(tasks, phase=Phase.RUNNING, started=NOW), waits=waits)
    assert status["notable"] == [
        {"task": "early", "status": "failed", "reason": "ExitCode", "since": rfc3339(NOW + 1000)},
        {
            "task": "late",
            "status": "failed",
            "reason": "OOMKilled",
            "message": "out of memory",
            "since": rfc3339(NOW + 2000),
        },
        {"task": "waits", "status": "notstarted", "reason": "NoFreeSlot", "message": "full", "since": rfc3339(NOW)},
    ]


def test_waiting_names_the_task_that_waits_longest_and_counts_the_others() -> None:
    state = running(created(task_spec("a"), task_spec("b"), task_spec("c")))
    waits = {
        "a": Wait(Reason.NO_FREE_SLOT, "full", NOW + 1),
        "b": Wait(Reason.NO_EXECUTOR, "no ready executor serves arch arm64", NOW),
        "c": Wait(Reason.NO_FREE_SLOT, "full", NOW + 2),
    }
    expected = ("True", "NoExecutor", "task b: no ready executor serves arch arm64 (and 2 more)")
    status = report(state, waits=waits)
    assert condition(status, "Waiting") == expected
    assert condition(status, "Succeeded")[:2] == ("Unknown", "NoExecutor")


def test_a_run_that_waits_itself_says_that_first_and_one_that_is_over_waits_for_nothing() -> None:
    behind = Wait(Reason.QUEUED_BEHIND, "waits for run x")
    assert condition(report(ONE, run_wait=behind), "Waiting") == ("True", "QueuedBehind", "waits for run x")
    over = finished(STORED, Result.SUCCESS)
    assert condition(report(over, run_wait=behind), "Waiting") == ("False", "NotWaiting", "")


def test_logs_that_wait_for_the_storage_are_counted() -> None:
    state = finished(with_task(STORED, "a", stored=False, late_logs=True), Result.SUCCESS)
    assert condition(report(state), "Stored") == (
        "False",
        "StorageUnavailable",
        "the logs of 1 tasks wait for the object storage",
    )
    assert condition(report(finished(with_task(STORED, "a", stored=False), Result.SUCCESS)), "Stored")[:2] == (
        "False",
        "InProgress",
    )


AWAITING = {name: Wait(Reason.AWAITING_APPROVAL, "waits for an approval", NOW) for name in ("b", "a")}
WITHOUT = "approvals without effect, the run has no task "


@pytest.mark.parametrize(
    ("judged", "waits", "expected"),
    [
        ((), AWAITING, None),
        (("a", "b", "a"), AWAITING, None),
        (("a", "x", "x"), {}, f'{WITHOUT}"x": add one with the task\'s full name'),
        (("x", "a"), AWAITING, f'{WITHOUT}"x": one is awaited for a, b'),
        (("v", "w", "x", "y", "z"), AWAITING, f'{WITHOUT}"v", "w", "x" and 2 more: one is awaited for a, b'),
        (("x",), {"a": Wait(Reason.NO_FREE_SLOT, "full")}, f'{WITHOUT}"x": add one with the task\'s full name'),
    ],
)
def test_an_approval_of_a_task_that_the_run_does_not_have_is_said_to_have_no_effect(
    judged: tuple[str, ...], waits: dict[str, Wait], expected: str | None
) -> None:
    tasks = [task_spec(name, needsApproval=True) for name in ("a", "b")]
    status = report(running(created(*tasks)), waits=waits, judged=judged)
    found = [(row["status"], row["reason"], row["message"]) for row in status["conditions"]]
    assert [row for row in found if row[1] == "UnknownTask"] == (
        [("False", "UnknownTask", expected)] if expected else []
    )
    assert len(found) == 5 + (expected is not None)


def said(task: str, by: str, *groups: str) -> Approval:
    return Approval(task, by, groups=groups)


@pytest.mark.parametrize(
    ("judged", "reason", "message"),
    [
        ([said("b", "anna"), said("g", "ben", "qa"), said("o", "anyone")], None, ""),
        ([said("b", "eve")], "NotAnApprover", "eve is not among the approvers of b (anna or ben)"),
        (
            [said("b", "eve"), said("b", "bob"), said("b", "anna")],
            "NotAnApprover",
            "eve and bob are not among the approvers of b (anna or ben)",
        ),
        (
            [said("g", "ben")],
            "NotAnApprover",
            "ben is not among the approvers of g (group qa), and the approval names no group",
        ),
        ([said("g", "ben", "ops")], "NotAnApprover", "ben is not among the approvers of g (group qa)"),
        ([said("n", "anna")], "NotNeeded", "n needs no approval"),
        ([said("n", "anna"), said("m", "ben"), said("n", "ben")], "NotNeeded", "n and m need no approval"),
        (
            [said("n", "anna"), said("b", "eve"), said("x", "eve")],
            "UnknownTask",
            (
                f'{WITHOUT}"x": add one with the task\'s full name; eve is not among the approvers of b (anna or ben); '
                "n needs no approval"
            ),
        ),
    ],
)
def test_an_approval_without_effect_is_said_with_the_reason(
    judged: list[Approval], reason: str | None, message: str
) -> None:
    approvers = {"b": {"users": ["anna", "ben"]}, "g": {"groups": ["qa"]}, "o": {}}
    tasks = [task_spec(name, needsApproval=True, approvers=whose) for name, whose in approvers.items()]
    status = report(running(created(*tasks, task_spec("n"), task_spec("m"))), judged=judged)
    if reason is None:
        assert "ApprovalsValid" not in times(status)
    else:
        assert condition(status, "ApprovalsValid") == ("False", reason, message)


@pytest.mark.parametrize("task_status", [Status.RUNNING, Status.SUCCESS, Status.SKIPPED])
def test_who_is_no_approver_does_not_matter_once_the_task_was_decided(task_status: Status) -> None:
    state = running(created(task_spec("b", needsApproval=True, approvers={"users": ["anna"]})))
    judged = [said("b", "eve")]
    assert "ApprovalsValid" in times(report(state, judged=judged))
    assert "ApprovalsValid" not in times(report(with_task(state, "b", status=task_status), judged=judged))


def test_an_unknown_task_that_is_a_setup_error_already_is_not_said_twice() -> None:
    state = created(task_spec("a"), approvals=[{"task": "x", "by": "anna"}])
    status = report(state, judged=("x",))
    assert status["setupErrors"]["first"] == ['spec.approvals[0].task: unknown task "x"']
    assert "ApprovalsValid" not in times(status)


# when conditions flip

STATES = [row[1] for row in ENDS]


@given(st.lists(st.sampled_from(STATES), min_size=2, max_size=8))
def test_a_conditions_time_changes_exactly_when_its_status_does(states: list[State]) -> None:
    previous: dict[str, Any] = {}
    for step, state in enumerate(states):
        now = NOW + step * HOUR
        status = report(state, previous=previous, now=now)
        before = times(previous) if previous else {}
        for kind, (word, since) in times(status).items():
            flipped = kind not in before or before[kind][0] != word
            assert since == (rfc3339(now) if flipped else before[kind][1])
        previous = status


@pytest.mark.parametrize("state", STATES, ids=[row[0] for row in ENDS])
def test_nothing_new_is_the_same_status_at_any_later_time(state: State) -> None:
    first = report(state)
    assert report(state, previous=first, now=NOW + HOUR) == first


@pytest.mark.parametrize(
    "previous", [{"conditions": None}, {"conditions": "x"}, {"conditions": [1, {"type": "Started"}]}, {"tasks": 3}]
)
def test_a_previous_status_of_any_shape_is_no_obstacle(previous: dict[str, object]) -> None:
    assert report(STARTED, previous=previous) == report(STARTED)


# how small it is

TEXTS = st.text(max_size=40) | st.sampled_from(["x", "é", "语", "🧨", "\0", "<&>", '"\\', "\u2028", "a\nb"])
WAITS = sorted(Reason)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(Status)), min_size=1, max_size=7),
    TEXTS,
    st.integers(0, 3000),
    st.sampled_from(sorted(Phase)),
    st.sampled_from(sorted(Result)),
)
@example([Status.FAILED, Status.RUNNING], "🧨", 3000, Phase.RUNNING, Result.FAILED)
@example([Status.RUNNING, Status.NOTSTARTED], "\0<", 3000, Phase.RUNNING, Result.UNKNOWN)
@example([Status.NOTSTARTED], "<html>", 3000, Phase.SETUPERROR, Result.UNKNOWN)
def test_the_status_stays_below_16_kb_whatever_the_run(
    statuses: list[Status], text: str, times_text: int, phase: Phase, result: Result
) -> None:
    message = text * times_text
    tasks = [
        a_task(f"{number:063}", status, reason=Reason.STORAGE_UNAVAILABLE, message=message, ended=NOW)
        for number, status in zip(range(10_000), statuses * 10_000, strict=False)
    ]
    waits = {task.name: Wait(WAITS[place % len(WAITS)], message, NOW) for place, task in enumerate(tasks)}
    if phase is Phase.SETUPERROR:  # no task ever starts, or waits for anything
        tasks, waits = [a_task(task.name) for task in tasks], {}
    state = state_of(tasks, phase=phase, result=result, started=NOW, ended=NOW, errors=(message or "x",) * 1000)
    judged = [f"{text[:250]}{number}" for number in range(1000)]
    status = report(state, waits=waits, judged=judged)
    assert size(status) < LIMIT
    assert len(status["notable"]) == MAX_NOTABLE or not any(
        task.status is Status.FAILED or task.name in waits for task in tasks
    )


@given(st.text() | TEXTS.map(lambda text: text * 500), st.integers(2, 300))
def test_a_cut_text_is_a_beginning_and_an_end_of_the_text_with_an_ellipsis_between(text: str, limit: int) -> None:
    found = short(text, limit)
    assert len(found) <= limit
    ends = [(found[:at], found[at + 1 :]) for at, each in enumerate(found) if each == "…"]
    assert found == text or any(text.startswith(begin) and text.endswith(end) for begin, end in ends)
    assert short(found, limit) == found


REFUSED = 'pods "web-118" is forbidden: ' + "a long list of what was asked for, " * 20 + "exceeded quota: pods=4"


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("x" * 256, 256, "x" * 256),
        ("a" * 128 + "b" * 129, 256, "a" * 128 + "…" + "b" * 127),
        ("abcdefghij", 10, "abcdefghij"),
        ("abcdefghijk", 10, "abcde…hijk"),
        ("abcdefghijk", 3, "a…k"),
        ("abcdefghijk", 2, "a…"),
        ("", 2, ""),
        ("<" * 300, 256, "<" * 33 + "…" + "<" * 33),  # by its bytes, six each
        ("<" * 100 + "a" * 200, 256, "<" * 56 + "…" + "a" * 56),
        ("a" * 200 + "<" * 100, 256, "a" * 57 + "…" + "<" * 56),
    ],
)
def test_a_text_that_is_too_long_loses_its_middle(text: str, limit: int, expected: str) -> None:
    assert short(text, limit) == expected


def test_of_a_long_refusal_what_it_is_about_and_why_can_both_be_read() -> None:
    waits = {"a": Wait(Reason.CREATION_REFUSED, REFUSED, NOW)}
    message = condition(report(STARTED, waits=waits), "Waiting")[2]
    assert message.startswith('task a: pods "web-118" is forbidden: ')
    assert message.endswith("exceeded quota: pods=4")


# a run without a record


def test_a_run_whose_record_is_missing_waits_and_says_what_to_do() -> None:
    status = without_record(report(STARTED), now=NOW + HOUR)
    assert status is not None
    word, reason, message = condition(status, "Waiting")
    assert (word, reason) == ("True", "RecordMissing")
    assert "1il7g1c000001" in message
    assert "create it anew" in message
    assert times(status)["Started"] == times(report(STARTED))["Started"]
    assert without_record(status, now=NOW + 2 * HOUR) == status


@pytest.mark.parametrize("phase", sorted(TERMINAL_PHASES))
def test_a_run_that_is_over_needs_no_record_any_more(phase: Phase) -> None:
    assert without_record({"phase": phase.value}, now=NOW) is None


def test_a_status_without_conditions_gets_one() -> None:
    status = cast("dict[str, Any]", without_record({"id": "x"}, now=NOW))
    assert [row["type"] for row in status["conditions"]] == ["Waiting"]
