"""Groups as queues: a table of situations, and a naive model that every sequence of changes has to agree with."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runabout.records import RunId
from runabout.scheduling.queue import CANCEL_IN_PROGRESS, QUEUE, REPLACE_QUEUED, GroupQueues

A, B, C, D = (RunId(f"run-{letter}") for letter in "abcd")
GROUP, OTHER = "/ci/project/web", "/ci/project/web2"


def queues(*runs: RunId, group: str = GROUP) -> GroupQueues:
    found = GroupQueues()
    for run in runs:
        found.add(run, group)
    return found


def test_the_oldest_run_of_a_group_starts_first_whatever_the_order_of_arrival() -> None:
    groups = queues(C, A, B)
    assert [run for run in (A, B, C) if groups.may_start(run)] == [A]


def test_a_running_run_holds_its_group_until_it_is_over() -> None:
    groups = queues(A, B)
    groups.start(A)
    assert not groups.may_start(B)
    assert groups.remove(A) == B
    assert groups.may_start(B)


def test_an_older_run_that_arrives_late_waits_for_the_one_that_runs() -> None:
    groups = queues(B)
    groups.start(B)
    assert groups.add(A, GROUP) is None
    assert not groups.may_start(A)


def test_groups_run_side_by_side_and_a_prefix_is_another_group() -> None:
    groups = queues(A)
    groups.add(B, OTHER)
    groups.add(C, f"{GROUP}/branch")
    groups.start(A)
    assert groups.may_start(B)
    assert groups.may_start(C)


def test_a_suspended_run_holds_no_place() -> None:
    groups = queues(A, B)
    assert groups.suspend(A, suspended=True) == B
    assert groups.may_start(B)
    assert groups.behind(A) is None


def test_a_resumed_run_has_its_old_place_again() -> None:
    groups = queues(A, B)
    groups.suspend(A, suspended=True)
    assert groups.suspend(A, suspended=False) == A
    assert groups.behind(B) == (A, 1)


def test_a_running_run_cannot_be_suspended() -> None:
    groups = queues(A, B)
    groups.start(A)
    assert groups.suspend(A, suspended=True) is None
    assert not groups.may_start(B)


def test_who_waits_is_told_behind_whom_and_how_many() -> None:
    groups = queues(A, B, C)
    assert groups.behind(A) is None
    assert groups.behind(C) == (A, 2)
    groups.start(A)
    assert groups.behind(C) == (A, 2)
    assert groups.behind(A) is None


def test_a_run_that_is_not_known_waits_for_nobody_and_holds_nothing() -> None:
    groups = queues(A)
    assert groups.remove(D) is None
    assert groups.suspend(D, suspended=True) is None
    groups.start(D)
    assert not groups.may_start(D)
    assert groups.behind(D) is None
    assert groups.claim(D, CANCEL_IN_PROGRESS) == ()
    assert groups.replaced_by(D) is None


def test_a_change_names_a_run_only_if_its_turn_came_by_it() -> None:
    groups = GroupQueues()
    assert groups.add(A, GROUP) == A
    assert groups.add(A, GROUP) is None
    assert groups.add(B, GROUP) is None
    assert groups.remove(B) is None


@pytest.mark.parametrize(
    ("concurrency", "ended"),
    [(QUEUE, ()), (REPLACE_QUEUED, (B, C)), (CANCEL_IN_PROGRESS, (A, B, C)), ("unknown", ())],
)
def test_an_arriving_run_ends_the_older_ones_that_its_concurrency_names(
    concurrency: str, ended: tuple[RunId, ...]
) -> None:
    groups = queues(A, B, C, D)
    groups.start(A)
    groups.suspend(B, suspended=True)
    groups.add(RunId("run-e"), GROUP)
    groups.add(RunId("run-0"), OTHER)
    assert groups.claim(D, concurrency) == ended
    assert groups.claim(D, concurrency) == ()
    assert tuple(run for run in (A, B, C, D) if groups.replaced_by(run) == D) == ended


def test_a_suspended_run_ends_nobody_before_it_has_its_place() -> None:
    groups = queues(A, B)
    groups.start(A)
    groups.suspend(B, suspended=True)
    assert groups.claim(B, CANCEL_IN_PROGRESS) == ()
    assert groups.replaced_by(A) is None
    groups.suspend(B, suspended=False)
    assert groups.claim(B, CANCEL_IN_PROGRESS) == (A,)
    groups.suspend(B, suspended=True)
    assert groups.replaced_by(A) is None


def test_of_several_the_newest_is_the_one_that_replaces() -> None:
    groups = queues(A, B, C)
    groups.start(A)
    groups.claim(B, CANCEL_IN_PROGRESS)
    groups.claim(C, REPLACE_QUEUED)
    assert (groups.replaced_by(A), groups.replaced_by(B), groups.replaced_by(C)) == (B, C, None)
    groups.remove(C)
    assert (groups.replaced_by(A), groups.replaced_by(B)) == (B, None)


@dataclass
class _Known:
    group: str
    running: bool = False
    suspended: bool = False
    claims: str = ""


RUNS = st.sampled_from([RunId(f"run-{letter}") for letter in "abcdefgh"])
GROUPS = st.sampled_from(["/ci/a", "/ci/ab", "/ci/a/b"])


class QueuesAgainstModel(RuleBasedStateMachine):
    """The model looks at every run for every question."""

    def __init__(self) -> None:
        super().__init__()
        self.groups = GroupQueues()
        self.known: dict[RunId, _Known] = {}

    def turn(self, group: str) -> RunId | None:
        here = {run: state for run, state in self.known.items() if state.group == group}
        if any(state.running for state in here.values()):
            return None
        return min((run for run, state in here.items() if not state.suspended), default=None)

    def told(self, group: str, before: RunId | None, said: RunId | None) -> None:
        after = self.turn(group)
        assert said == (after if after != before else None)

    @rule(run=RUNS, group=GROUPS, running=st.booleans(), suspended=st.booleans())
    def add(self, run: RunId, group: str, *, running: bool, suspended: bool) -> None:
        before = self.turn(group)
        if run not in self.known:
            self.known[run] = _Known(group, running, suspended and not running)
        self.told(group, before, self.groups.add(run, group, running=running, suspended=suspended))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), suspended=st.booleans())
    def suspend(self, data: st.DataObject, *, suspended: bool) -> None:
        run = data.draw(st.sampled_from(sorted(self.known)))
        state = self.known[run]
        before = self.turn(state.group)
        if not state.running:
            state.suspended = suspended
            state.claims = "" if suspended else state.claims
        self.told(state.group, before, self.groups.suspend(run, suspended=suspended))

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.known)))
        self.groups.start(run)
        self.known[run].running, self.known[run].suspended = True, False

    @precondition(lambda self: self.known)
    @rule(data=st.data(), concurrency=st.sampled_from([QUEUE, REPLACE_QUEUED, CANCEL_IN_PROGRESS]))
    def claim(self, data: st.DataObject, concurrency: str) -> None:
        run = data.draw(st.sampled_from(sorted(self.known)))
        state = self.known[run]
        concurrency = state.claims or concurrency  # a run's concurrency never changes
        new = concurrency != QUEUE and not state.suspended and not state.claims
        if new:
            state.claims = concurrency
        ended = [
            other
            for other, item in sorted(self.known.items())
            if item.group == state.group and other < run and (concurrency == CANCEL_IN_PROGRESS or not item.running)
        ]
        assert self.groups.claim(run, concurrency) == (tuple(ended) if new else ())

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.known)))
        group = self.known[run].group
        before = self.turn(group)
        del self.known[run]
        self.told(group, before, self.groups.remove(run))

    @invariant()
    def every_answer_is_the_model_s(self) -> None:
        assert len(self.groups) == len(self.known)
        for run, state in self.known.items():
            assert self.groups.may_start(run) == (self.turn(state.group) == run)
            assert self.groups.next(state.group) == self.turn(state.group)
            here = [(other, item) for other, item in sorted(self.known.items()) if item.group == state.group]
            running = [other for other, item in here if item.running]
            queued = [other for other, item in here if not item.running and not item.suspended]
            before = [*running, *(other for other in queued if other < run)]
            waits = run in queued and before
            assert self.groups.behind(run) == ((before[0], len(before)) if waits else None)
            able = {CANCEL_IN_PROGRESS} if state.running else {CANCEL_IN_PROGRESS, REPLACE_QUEUED}
            newer = [other for other, item in here if other > run and item.claims in able]
            assert self.groups.replaced_by(run) == max(newer, default=None)


QueuesAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestQueuesAgainstModel = QueuesAgainstModel.TestCase
