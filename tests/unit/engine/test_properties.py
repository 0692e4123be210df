"""Laws of the engine on random runs: the order of what is said and seen does not matter, and every run ends."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from runabout.engine.attempts import next_attempt_at
from runabout.engine.create import create_run
from runabout.engine.decide import decide
from runabout.engine.facts import Assignment, Facts, TaskEnd
from runabout.engine.graph import Graph
from runabout.engine.restart import recreated, restart_config, restart_run
from runabout.engine.simulation import Outcome, Outcomes, simulate
from runabout.engine.state import State
from runabout.records import (
    FINISHED_STATUSES,
    TERMINAL_PHASES,
    Approval,
    Attempt,
    Condition,
    Dependency,
    Phase,
    Reason,
    RestartFrom,
    Result,
    Retries,
    RunConfig,
    RunId,
    Status,
    TaskConfig,
    Verdict,
)

CONDITIONS = st.frozensets(st.sampled_from(list(Condition)))
MATCHES = {
    Status.SUCCESS: Condition.ON_SUCCESS,
    Status.FAILED: Condition.ON_FAILURE,
    Status.SKIPPED: Condition.ON_SKIPPED,
}


@dataclass(frozen=True)
class Case:
    """A run and what its tasks do when they run."""

    tasks: tuple[TaskConfig, ...]
    ends: Mapping[str, Status]
    refused: frozenset[str] = frozenset()
    lost: Mapping[str, int] = field(default_factory=dict)
    """attempts that the machinery loses before those that fail"""
    failed: Mapping[str, int] = field(default_factory=dict)
    """attempts that fail by themselves and are tried again, with a pause, before the one that counts"""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    number = draw(st.integers(0, 9))
    tasks: list[TaskConfig] = []
    for index in range(number):
        parents = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        flags = draw(st.sets(st.sampled_from(["skip", "ignore_failure", "needs_approval"]), max_size=2))
        depends = tuple(Dependency(f"t{parent}", draw(CONDITIONS)) for parent in sorted(parents))
        tasks.append(TaskConfig(f"t{index}", depends, **dict.fromkeys(flags, True)))  # type: ignore[arg-type] # flags
    names = [task.name for task in tasks]
    ends = {name: draw(st.sampled_from([Status.SUCCESS, Status.SUCCESS, Status.FAILED])) for name in names}
    refused = frozenset(name for name in names if draw(st.integers(0, 5)) == 0)
    lost = {name: draw(st.integers(1, 2)) for name in names if draw(st.integers(0, 4)) == 0}
    failed = {name: draw(st.integers(1, 3)) for name in names if draw(st.integers(0, 4)) == 0}
    tasks = [replace(task, retries=Retries(failed.get(task.name, 0), draw(st.integers(0, 5)))) for task in tasks]
    return Case(tuple(tasks), ends, refused, lost, failed)


def config(tasks: Sequence[TaskConfig]) -> RunConfig:
    return RunConfig(RunId("0" * 13), "n", "r", "u", "/n/run/r", "/n/run/r", 0, tasks=tuple(tasks))


class World:
    """Plays a case fact by fact, in an order that `dice` chooses; keeps what was decided and which facts there were.

    The run is told to stop after `stop_after` facts, if it is still alive then.
    """

    def __init__(
        self, case: Case, dice: random.Random, *, together: bool = False, stop_after: int | None = None
    ) -> None:
        self.case = case
        self.dice = dice
        self.together = together
        self.stop_after = stop_after
        self.graph = Graph(case.tasks)
        self.state = create_run(config(case.tasks), counter=1, now=0).state
        self.events: list[tuple[Phase, Result]] = [(Phase.QUEUED, Result.UNKNOWN)]
        self.facts: list[Facts] = []
        self.attempts: dict[str, int] = {}
        self.on_executor: set[str] = set()
        self.unstored: set[str] = set()
        self.ready: tuple[str, ...] = ()
        self.now = 1
        self.wake: int | None = None
        self.started: dict[str, State] = {}

    def tell(self, facts: Facts) -> None:
        before = self.state
        self.facts.append(facts)
        decision = decide(self.graph, self.state, facts)
        again = decide(self.graph, decision.state, facts)
        assert again.state == decision.state, "deciding again with the same facts changes nothing"
        assert not again.events
        assert decision.state.run.stop or not before.run.stop, "a stop is not taken back"
        assert not (decision.state.run.stop and decision.ready), "nothing begins any more"
        self.state = decision.state
        self.ready = decision.ready
        self.wake = decision.wake
        self._check_pauses()
        self.events += [(event.phase, event.result) for event in decision.events]
        for name in facts.assigned:
            if before.tasks[name].status is not Status.RUNNING and self.state.tasks[name].status is Status.RUNNING:
                self.started[name] = before

    def _check_pauses(self) -> None:
        """Check that no task is ready before its pause is over, and that all others wake the run."""
        for name, task in self.state.tasks.items():
            if task.status is Status.RUNNING and task.executor is None and self.state.run.phase is Phase.RUNNING:
                at = next_attempt_at(self.graph.task(name), task.attempts)
                assert (name in self.ready) == (at <= self.facts[-1].now)
                assert name in self.ready or (self.wake is not None and self.wake <= at)

    def possible(self) -> list[Facts]:
        """Return each fact that may be seen next."""
        found: list[Facts] = []
        if self.state.run.phase is Phase.QUEUED:
            return [Facts(now=self.now, start=True)]
        for name in self.ready:
            number = self.attempts.get(name, 0) + 1
            found.append(Facts(now=self.now, assigned={name: Assignment("e", f"{name}-{number}", number)}))
        for name, task in self.state.tasks.items():
            if name in self.on_executor:
                number, lost = self.attempts[name], self.case.lost.get(name, 0)
                if number <= lost + self.case.failed.get(name, 0):
                    reason = Reason.POD_LOST if number <= lost else Reason.EXIT_CODE
                    past = Attempt(number, f"{name}-{number}", "e", reason, ended=self.now)
                    found.append(Facts(now=self.now, retry={name: past}))
                else:
                    status = Status.STOPPED if self.state.run.stop else self.case.ends[name]
                    end = TaskEnd(status, ended=self.now, attempt=number)
                    found.append(Facts(now=self.now, ended={name: end}))
            if task.waiting_since is not None and not task.finished:
                verdict = Verdict.REFUSED if name in self.case.refused else Verdict.APPROVED
                found.append(Facts(now=self.now, approvals=(Approval(name, "anna", verdict),)))
        found += [Facts(now=self.now, stored={name: ()}) for name in sorted(self.unstored)]
        if self.wake is not None:
            found.append(Facts(now=self.wake))
        return found

    def take(self, facts: Facts) -> None:
        self.now = facts.now
        self.tell(facts)
        for name in facts.assigned:
            if self.state.tasks[name].status is Status.RUNNING:
                self.on_executor.add(name)
                self.attempts[name] = self.attempts.get(name, 0) + 1
        for name in (*facts.ended, *facts.retry):
            self.on_executor.discard(name)
        self.unstored.update(facts.ended)
        self.unstored.difference_update(facts.stored)

    def play(self, *, steps: int | None = None) -> None:
        """Tell facts until nothing can happen any more, or so many."""
        while self.state.run.phase not in TERMINAL_PHASES and (steps is None or len(self.facts) < steps):
            if len(self.facts) == self.stop_after:
                self.tell(Facts(now=self.now, stop=True))
                continue
            possible = self.possible()
            if not possible:
                self.tell(Facts(now=self.now))
                if not self.possible():
                    return
                continue
            chosen = self.dice.choice(possible)
            if self.together and chosen.ended:  # everything that has ended is seen at once
                ended = {name: end for facts in possible for name, end in facts.ended.items()}
                chosen = Facts(now=self.now, ended=ended)
            self.take(chosen)


def end(world: World) -> tuple[Phase, Result, dict[str, Status]]:
    return (
        world.state.run.phase,
        world.state.run.result,
        {name: task.status for name, task in world.state.tasks.items()},
    )


def run_roots(case: Case) -> Case:
    """Return the case without roots that could be cancelled by a result: which are is a race by definition."""
    return replace(
        case,
        ends={
            name: Status.SUCCESS if not Graph(case.tasks).parents(name) else status
            for name, status in case.ends.items()
        },
        refused=frozenset(name for name in case.refused if Graph(case.tasks).parents(name)),
    )


@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_order_of_facts_does_not_change_the_end(case: Case, one: int, other: int) -> None:
    """Roots that fail are left out: whether another root was given to an executor by then is a race, and decides."""
    case = run_roots(case)
    first, second = World(case, random.Random(one)), World(case, random.Random(other), together=True)
    first.play()
    second.play()
    shared = settled(first) & settled(second)
    assert {name: end(first)[2][name] for name in shared} == {name: end(second)[2][name] for name in shared}
    assert end(first)[:2] == end(second)[:2]


def settled(world: World) -> set[str]:
    """Return the tasks that no result has cancelled, and what does not depend on a cancelled one."""
    cancelled = {name for name, task in world.state.tasks.items() if task.status is Status.CANCELLED}
    return set(world.state.tasks) - cancelled - world.graph.descendants(cancelled)


@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_the_order_of_tasks_in_the_spec_does_not_change_the_end(case: Case, seed: int, dice: random.Random) -> None:
    shuffled = list(case.tasks)
    dice.shuffle(shuffled)
    first = World(case, random.Random(seed))
    first.play()
    second = World(replace(case, tasks=tuple(shuffled)), random.Random(seed))
    for facts in first.facts:
        second.tell(facts)
    assert end(first) == end(second)
    assert first.events == second.events


@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(0, 2**32))
def test_every_run_ends_and_no_task_starts_before_its_parents_match(case: Case, seed: int) -> None:
    world = World(case, random.Random(seed))
    world.play()
    assert world.state.run.phase is Phase.FINISHED
    assert all(task.status in FINISHED_STATUSES for task in world.state.tasks.values())
    failed = any(
        world.state.tasks[task.name].status is Status.FAILED and not task.ignore_failure for task in case.tasks
    )
    assert world.state.run.result is (Result.FAILED if failed else Result.SUCCESS)
    assert world.events[-1] == (Phase.FINISHED, world.state.run.result)
    assert len(set(world.events)) == len(world.events), "no event twice"
    for name, before in world.started.items():
        for dependency in world.graph.task(name).depends:
            parent = before.tasks[dependency.task].status
            assert parent in MATCHES
            assert MATCHES[parent] in (dependency.conditions or {Condition.ON_SUCCESS})


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(0, 2**32), st.none() | st.integers(0, 30), st.data())
def test_any_prefix_of_facts_replayed_then_continued_gives_the_same_end(
    case: Case, seed: int, stop_after: int | None, data: st.DataObject
) -> None:
    whole = World(case, random.Random(seed), stop_after=stop_after)
    whole.play()
    assert whole.state.run.phase in TERMINAL_PHASES
    cut = data.draw(st.integers(0, len(whole.facts)))
    again = World(case, random.Random(seed))
    for facts in (*whole.facts[:cut], *whole.facts):
        again.tell(facts)
    assert end(again) == end(whole)
    assert again.state == whole.state


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(0, 2**32), st.integers(0, 30))
def test_a_stop_at_any_moment_ends_the_run(case: Case, seed: int, steps: int) -> None:
    world = World(case, random.Random(seed))
    world.play(steps=steps)
    running = set(world.on_executor)
    before = world.state
    decision = decide(world.graph, world.state, Facts(now=2, stop=True))
    if before.run.phase is Phase.QUEUED:
        assert decision.state.run.phase is Phase.CANCELLED
        return
    if before.run.phase is not Phase.FINISHED:
        assert set(decision.stop) == running
        assert decision.ready == ()
    ends = {name: TaskEnd(Status.STOPPED, ended=3) for name in running}
    stored = dict.fromkeys(world.state.tasks, ())
    last = decide(world.graph, decision.state, Facts(now=3, stop=True, ended=ends, stored=stored))
    last = decide(world.graph, last.state, Facts(now=3, stop=True, stored=stored))
    assert last.state.run.phase is Phase.FINISHED
    for name, task in last.state.tasks.items():
        if not before.tasks[name].finished:
            assert task.status in {Status.STOPPED, Status.SKIPPED}
        else:
            assert task.status is before.tasks[name].status


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(0, 2**32), st.sampled_from(list(RestartFrom)))
def test_a_kept_task_of_a_restart_is_untouched_and_the_old_run_too(case: Case, seed: int, start: RestartFrom) -> None:
    old = World(case, random.Random(seed))
    old.play()
    before = old.state
    again = recreated(old.graph, old.state, start)
    new = restart_config(
        old.state.config, id=RunId("1" * 13), name="again", uid="v", created=5, start_from=start, environment=()
    )
    world = World(
        replace(case, ends=dict.fromkeys(case.ends, Status.SUCCESS), refused=frozenset()), random.Random(seed)
    )
    world.state = restart_run(old.graph, old.state, new, counter=2, now=5).state
    kept = {name: task for name, task in world.state.tasks.items() if name not in again}
    world.play()
    assert world.state.run.phase is Phase.FINISHED
    for name, task in kept.items():
        assert world.state.tasks[name] == task
        assert task.status is Status.SUCCESS
        assert task.executed_by == RunId("0" * 13)
        assert name not in world.started
    if start is RestartFrom.START:
        assert not kept
    assert old.state == before


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(1, 3), st.randoms(use_true_random=False))
def test_a_simulation_is_the_same_whatever_the_order_of_the_tasks(case: Case, slots: int, dice: random.Random) -> None:
    shuffled = list(case.tasks)
    dice.shuffle(shuffled)
    approve = {task.name: 3 for task in case.tasks if task.needs_approval}
    outcomes = Outcomes(
        slots=slots, tasks={name: Outcome(status, 1 + len(name)) for name, status in case.ends.items()}, approve=approve
    )
    assert simulate(case.tasks, outcomes=outcomes) == simulate(shuffled, outcomes=outcomes)
