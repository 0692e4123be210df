"""Attempts: retries and the machinery's budget, pauses, time-outs of a run, and what storage holds up."""

from dataclasses import replace

import pytest

from fixtures.states import NOW, created, task_spec
from runabout.engine.attempts import MACHINERY_ATTEMPTS, next_attempt_at, tries_again
from runabout.engine.decide import decide
from runabout.engine.facts import Assignment, Decision, Facts, TaskEnd
from runabout.engine.graph import Graph
from runabout.records import MACHINERY_REASONS, Attempt, Phase, Reason, Result, Retries, Status, Task, TaskConfig

USER, LOST = Reason.EXIT_CODE, Reason.POD_LOST


def past(*reasons: Reason) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(number, f"p-{number}", "e", reason, ended=NOW + number) for number, reason in enumerate(reasons, 1)
    )


def again(reason: Reason, before: tuple[Attempt, ...], exit_code: int | None = None, **retries: object) -> bool:
    config = TaskConfig("a", retries=Retries(**retries))  # type: ignore[arg-type] # fields of Retries
    task = Task(created().run.id, "a", Status.RUNNING, executor="e", attempts=before)
    return tries_again(config, task, reason=reason, exit_code=exit_code)


@pytest.mark.parametrize(
    ("reason", "before", "retries", "expected"),
    [
        (USER, past(), {}, False),
        (USER, past(), {"limit": 1}, True),
        (USER, past(USER), {"limit": 1}, False),
        (USER, past(USER), {"limit": 2}, True),
        (USER, past(LOST, LOST), {"limit": 1}, True),
        (LOST, past(), {}, True),
        (LOST, past(LOST), {}, True),
        (LOST, past(LOST, LOST), {}, False),
        (LOST, past(LOST, LOST), {"limit": 100}, False),
        (LOST, past(USER, USER, USER), {"limit": 3}, True),
        (Reason.OOM_KILLED, past(), {"limit": 1}, True),
        (Reason.TIMEOUT, past(), {"limit": 1}, True),
        (Reason.REFUSED, past(), {"limit": 1}, False),
        (Reason.STOPPED, past(), {"limit": 1}, False),
        (Reason.INVALID_POD, past(), {"limit": 1}, False),
    ],
)
def test_users_and_machinerys_failures_have_budgets_of_their_own(
    reason: Reason, before: tuple[Attempt, ...], retries: dict[str, int], expected: bool
) -> None:
    assert again(reason, before, **retries) is expected


@pytest.mark.parametrize("reason", sorted(MACHINERY_REASONS))
def test_the_machinery_may_lose_three_attempts_whatever_its_reasons(reason: Reason) -> None:
    made = 1
    while again(reason, past(*[reason] * (made - 1))):
        made += 1
    assert made == MACHINERY_ATTEMPTS == 3


@pytest.mark.parametrize(
    ("codes", "exit_code", "expected"),
    [((), 1, True), ((), None, True), ((7, 9), 9, True), ((7, 9), 8, False), ((7,), None, False)],
)
def test_only_named_exit_codes_are_tried_again_if_any_are_named(
    codes: tuple[int, ...], exit_code: int | None, expected: bool
) -> None:
    assert again(USER, past(), exit_code, limit=1, on_exit_codes=codes) is expected


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [((), 0), (past(USER), 10), (past(USER, USER), 20), (past(USER, LOST, USER, USER), 40), (past(LOST), 0)],
)
def test_a_pause_doubles_with_each_failure_of_the_user_and_the_machinerys_have_none(
    attempts: tuple[Attempt, ...], seconds: int
) -> None:
    config = TaskConfig("a", retries=Retries(limit=9, backoff_seconds=10))
    at = next_attempt_at(config, attempts)
    assert at == (NOW + len(attempts) + seconds * 1000 if seconds else 0)


@pytest.mark.parametrize(
    ("first", "failures", "seconds"), [(60, 8, 3600), (7200, 1, 7200), (7200, 5, 7200), (0, 90, 0)]
)
def test_a_pause_grows_to_an_hour_unless_it_is_longer_from_the_start(first: int, failures: int, seconds: int) -> None:
    config = TaskConfig("a", retries=Retries(limit=100, backoff_seconds=first))
    assert next_attempt_at(config, past(*[USER] * failures)) == NOW + failures + seconds * 1000


# decisions


class Play:
    """A running run of `a` and `b` after it; `a` is on an executor."""

    def __init__(self, *, timeout_seconds: int = 0, limit: int = 5) -> None:
        state = created(task_spec("a"), task_spec("b", depends=[{"task": "a"}]))
        tasks = (replace(state.config.tasks[0], retries=Retries(limit, 10)), *state.config.tasks[1:])
        config = replace(state.config, tasks=tasks, timeout_seconds=timeout_seconds)
        self.graph = Graph(config.tasks)
        self.state = replace(state, config=config)
        self.tell(Facts(now=NOW, start=True))
        self.tell(Facts(now=NOW, assigned={"a": Assignment("e", "p-1", 1)}))

    def tell(self, facts: Facts) -> Decision:
        decision = decide(self.graph, self.state, facts)
        assert decide(self.graph, decision.state, facts).state == decision.state
        self.state = decision.state
        return decision

    def retry(self, reason: Reason = USER) -> Decision:
        return self.tell(Facts(now=NOW, retry={"a": Attempt(1, "p-1", "e", reason, ended=NOW)}))

    def task(self, name: str) -> Task:
        return self.state.tasks[name]


def test_a_task_stays_running_between_attempts_and_waits_for_its_pause() -> None:
    play = Play()
    decision = play.retry()
    task = play.task("a")
    assert (task.status, task.executor, task.attempt, len(task.attempts)) == (Status.RUNNING, None, 1, 1)
    assert (decision.ready, decision.wake, play.task("b").status) == ((), NOW + 10_000, Status.NOTSTARTED)
    assert play.tell(Facts(now=NOW + 9_999)).ready == ()
    decision = play.tell(Facts(now=NOW + 10_000))
    assert (decision.ready, decision.wake) == (("a",), None)
    play.tell(Facts(now=NOW + 10_001, assigned={"a": Assignment("e", "p-2", 2)}))
    assert (play.task("a").attempt, play.task("a").pod, play.task("a").started) == (2, "p-2", NOW)


def test_an_attempt_that_the_machinery_lost_is_followed_at_once() -> None:
    assert Play().retry(LOST).ready == ("a",)


def test_facts_of_an_earlier_attempt_have_no_effect() -> None:
    play = Play()
    play.retry(LOST)
    play.tell(Facts(now=NOW, assigned={"a": Assignment("e", "p-2", 2)}))
    before = play.state
    play.tell(Facts(now=NOW, ended={"a": TaskEnd(Status.FAILED, ended=NOW, attempt=1)}))
    play.retry(LOST)
    play.tell(Facts(now=NOW, assigned={"a": Assignment("e", "p-1", 1), "none": Assignment("e", "x")}))
    assert play.state == before


def test_a_stop_between_two_attempts_stops_the_task() -> None:
    play = Play()
    play.retry()
    decision = play.tell(Facts(now=NOW + 1, stop=True))
    assert (play.task("a").status, play.task("b").status) == (Status.STOPPED, Status.SKIPPED)
    assert (decision.run.phase, decision.run.result) == (Phase.FINISHED, Result.STOPPED)


@pytest.mark.parametrize("status", [Status.NOTSTARTED, Status.RUNNING, Status.SKIPPED, Status.CANCELLED])
def test_an_attempt_ends_in_success_failed_or_stopped_only(status: Status) -> None:
    with pytest.raises(ValueError, match="an attempt ends in"):
        TaskEnd(status, ended=NOW)


# time-outs of a run


def test_a_run_whose_time_is_up_is_ended_as_by_a_stop_but_failed() -> None:
    play = Play(timeout_seconds=60)
    assert play.tell(Facts(now=NOW + 59_999)).wake == NOW + 60_000
    decision = play.tell(Facts(now=NOW + 60_000))
    assert (decision.stop, decision.ready, decision.wake) == (("a",), (), None)
    assert (decision.run.result, decision.run.reason) == (Result.FAILED, Reason.TIMEOUT)
    assert play.task("b").status is Status.SKIPPED
    ended = {"a": TaskEnd(Status.STOPPED, ended=NOW + 60_001)}
    decision = play.tell(Facts(now=NOW + 60_001, ended=ended, stored={"a": ()}))
    assert (decision.run.phase, decision.run.result) == (Phase.FINISHED, Result.FAILED)


def test_the_last_end_just_in_time_is_no_timeout() -> None:
    play = Play(timeout_seconds=60)
    play.tell(Facts(now=NOW, ended={"a": TaskEnd(Status.SUCCESS, ended=NOW)}))
    play.tell(Facts(now=NOW, assigned={"b": Assignment("e", "p")}))
    decision = play.tell(Facts(now=NOW + 60_000, ended={"b": TaskEnd(Status.SUCCESS, ended=NOW + 59_000)}))
    assert (decision.run.result, decision.run.reason, decision.run.stop) == (Result.SUCCESS, None, False)


def test_a_run_that_is_being_stopped_does_not_time_out() -> None:
    play = Play(timeout_seconds=60)
    play.tell(Facts(now=NOW + 1, stop=True))
    decision = play.tell(Facts(now=NOW + 60_000))
    assert (decision.run.result, decision.run.reason, decision.wake) == (Result.STOPPED, None, None)


# storage


def test_a_child_waits_for_its_parents_archives_and_the_run_for_all_logs() -> None:
    play = Play()
    ended = {"a": TaskEnd(Status.SUCCESS, ended=NOW, archived=False)}
    decision = play.tell(Facts(now=NOW, ended=ended))
    assert (decision.ready, decision.blocked) == ((), ("b",))
    assert play.tell(Facts(now=NOW, assigned={"b": Assignment("e", "p")})).blocked == ("b",)
    decision = play.tell(Facts(now=NOW, archived=frozenset({"a", "none"})))
    assert (decision.ready, decision.blocked) == (("b",), ())
    play.tell(Facts(now=NOW, assigned={"b": Assignment("e", "p")}))
    decision = play.tell(Facts(now=NOW, ended={"b": TaskEnd(Status.SUCCESS, ended=NOW)}))
    assert (decision.run.phase, decision.run.result) == (Phase.RUNNING, Result.SUCCESS)
    play.tell(Facts(now=NOW, stored={"a": ()}))
    assert play.state.run.phase is Phase.RUNNING
    assert play.tell(Facts(now=NOW, stored={"b": ()})).run.phase is Phase.FINISHED


def test_while_the_storage_is_away_too_long_the_run_ends_and_its_logs_come_late() -> None:
    play = Play()
    play.tell(Facts(now=NOW, ended={"a": TaskEnd(Status.FAILED, ended=NOW)}))
    assert play.state.run.phase is Phase.RUNNING
    decision = play.tell(Facts(now=NOW, storage_late=True))
    assert (decision.run.phase, play.task("a").late_logs, play.task("a").stored) == (Phase.FINISHED, True, False)
    decision = play.tell(Facts(now=NOW, stored={"a": ()}))
    assert (play.task("a").late_logs, play.task("a").stored, decision.events) == (False, True, ())


# a foreign pipeline, attempts and all: argo-workflows, test/e2e/expectedfailures/dag-exhausted-retries.yaml


def test_a_task_that_fails_with_one_retry_has_exactly_two_attempts_and_skips_what_comes_later() -> None:
    play = Play(limit=1)
    config = play.graph.task("a")
    for number in (1, 2, 3):
        task = play.task("a")
        if task.finished:
            break
        now = NOW + number * 100_000
        if task.executor is None:
            play.tell(Facts(now=now, assigned={"a": Assignment("e", f"p-{number}", number)}))
        if tries_again(config, play.task("a"), reason=USER, exit_code=1):
            play.tell(Facts(now=now, retry={"a": Attempt(number, f"p-{number}", "e", USER, ended=now)}))
        else:
            failed = TaskEnd(Status.FAILED, ended=now, reason=USER, exit_code=1, attempt=number)
            play.tell(Facts(now=now, ended={"a": failed}, stored={"a": ()}))
    task = play.task("a")
    assert (task.status, task.attempt, len(task.attempts)) == (Status.FAILED, 2, 1)
    assert (play.task("b").status, play.task("b").started) == (Status.SKIPPED, None)
    assert (play.state.run.phase, play.state.run.result) == (Phase.FINISHED, Result.FAILED)
