"""Order between runs: turns in groups and places on executors, given out before the commit and taken back with it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import process_time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fixtures.states import NOW, created, live, running, task_spec, with_task
from runabout.control.executors import Executors, executor_object
from runabout.control.live import LiveRun
from runabout.control.objects import Uid
from runabout.control.order import Order
from runabout.control.status import Wait
from runabout.engine.decide import Assignment
from runabout.engine.state import State
from runabout.executors.names import PodKey, pod_name
from runabout.records import Reason, RunId, Status, Task

R1, R2, R3 = (RunId(f"1il7g1c00000{number}") for number in (1, 2, 3))
GROUP = "/project/web/branch/main"


@dataclass
class Cluster:
    """An order with executors, and whom it woke."""

    order: Order
    executors: Executors
    woken: list[Uid]
    time: int = NOW

    def executor(self, name: str = "linux", **spec: Any) -> None:  # noqa: ANN401 - fields of an Executor's spec
        body = {"metadata": {"name": name, "uid": name}, "spec": {"archs": ["amd64"], **spec}}
        executor = executor_object(body)
        assert not executor.error
        self.executors.put(executor)
        self.order.executor_changed(executor)

    def woke(self) -> list[Uid]:
        found, self.woken[:] = list(self.woken), []
        return found


def cluster(**spec: Any) -> Cluster:  # noqa: ANN401 - fields of an Executor's spec
    executors = Executors(toolbox_image="toolbox", toolbox_pull_policy="Never")
    woken: list[Uid] = []
    made = Cluster(Order(executors=executors, wake=woken.append, now=lambda: made.time), executors, woken)
    made.executor(**spec)
    return made


def run(
    number: RunId = R1,
    *tasks: str,
    group: str | None = None,
    **spec: Any,  # noqa: ANN401 - fields of a Run's spec
) -> LiveRun:
    rows = [task_spec(name) for name in tasks or ("a", "b")]
    return live(created(*rows, run=number, name=str(number), group=group or f"/run/{number}", **spec))


def place(where: Cluster, what: LiveRun, *ready: str, priority: int = 0) -> dict[str, str]:
    """Return where tasks go; each to the pod of its next attempt."""
    found = where.order.place(what, ready, what.state, priority=priority)
    for name, assignment in found.items():
        assert assignment.pod == pod_name(PodKey(what.id, name, what.state.tasks[name].attempt + 1))
    return {name: assignment.executor for name, assignment in found.items()}


# groups


def test_runs_of_a_group_start_one_after_the_other_and_the_next_one_is_woken() -> None:
    here, first, second = cluster(), run(R1, group=GROUP), run(R2, group=GROUP)
    here.order.arrive(first)
    here.order.arrive(second)
    assert (here.order.may_start(first), here.order.may_start(second)) == (True, False)
    first.state = running(first.state)
    here.order.started(first)
    assert here.order.queued_behind(second) == Wait(
        Reason.QUEUED_BEHIND, f"waits for run {R1} of group /ci{GROUP}; 1 in all before it", NOW
    )
    here.order.leave(first)
    assert here.woke() == [second.uid]
    assert here.order.may_start(second)
    assert here.order.queued_behind(second) is None


def test_suspending_the_first_run_wakes_the_second_one() -> None:
    here, first, second = cluster(), run(R1, group=GROUP), run(R2, group=GROUP)
    here.order.arrive(first)
    here.order.arrive(second)
    here.order.suspend(first, suspended=True)
    assert here.woke() == [second.uid]
    assert here.order.may_start(second)
    assert not here.order.may_start(first)
    here.order.suspend(first, suspended=False)
    assert here.order.may_start(first)


def test_namespaces_share_no_group() -> None:
    here, ours, theirs = cluster(), run(R1, group=GROUP), run(R2, group=GROUP)
    theirs = live(created(task_spec("a"), run=R2, namespace="other", group=GROUP))
    here.order.arrive(ours)
    here.order.arrive(theirs)
    assert here.order.may_start(ours)
    assert here.order.may_start(theirs)


def test_after_a_restart_a_run_that_was_running_holds_its_group() -> None:
    here, first, second = cluster(), run(R1, group=GROUP), run(R2, group=GROUP)
    second.state = running(second.state)
    here.order.restore(first)
    here.order.restore(second)
    assert not here.order.may_start(first)
    here.order.leave(second)
    assert here.order.may_start(first)


# places


def test_ready_tasks_are_given_to_executors_as_far_as_there_are_slots() -> None:
    here, what = cluster(maxActiveTasks=1), run()
    assert place(here, what, "a", "b") == {"a": "linux"}
    assert here.order.waits(what) == {
        "b": Wait(Reason.NO_FREE_SLOT, "executor linux has no free slot (1 of 1)", NOW),
    }
    assert here.order.load("linux") == (1, 1)
    assert here.order.waiting == 1


def test_a_slot_that_becomes_free_is_kept_for_the_run_that_waits_and_wakes_it() -> None:
    here, first, second = cluster(maxActiveTasks=1), run(R1), run(R2)
    here.order.arrive(first)
    here.order.arrive(second)
    place(here, first, "a")
    place(here, second, "a")
    here.order.release(first, "a")
    assert here.woke() == [second.uid]
    assert place(here, first, "b") == {}
    assert place(here, second, "a") == {"a": "linux"}


def test_what_a_woken_run_does_not_want_any_more_goes_to_the_next_one() -> None:
    here, first, second, third = cluster(maxActiveTasks=1), run(R1), run(R2), run(R3)
    for item in (first, second, third):
        here.order.arrive(item)
        place(here, item, "a")
    here.order.release(first, "a")
    assert here.woke() == [second.uid]
    assert place(here, second) == {}
    assert here.woke() == [third.uid]
    assert place(here, third, "a") == {"a": "linux"}


def test_a_run_is_asked_for_what_it_wants_until_it_wants_nothing_any_more() -> None:
    here, first, second = cluster(maxActiveTasks=1), run(R1), run(R2)
    for item in (first, second):
        here.order.arrive(item)
        place(here, item, "a")
    assert (here.order.is_asked(first), here.order.is_asked(second)) == (False, True)
    here.order.release(first, "a")  # granted to the second one, which is stopped before it comes for it
    assert here.order.is_asked(second)
    assert place(here, second) == {}
    assert not here.order.is_asked(second)
    assert here.order.load("linux") == (0, 0)


def test_an_arriving_run_wakes_those_that_it_ends_and_they_know_by_whom() -> None:
    here = cluster()
    first, second = run(R1, group=GROUP), run(R2, group=GROUP)
    third = run(R3, group=GROUP, concurrency="cancelInProgress")
    for item in (first, second, third):
        here.order.arrive(item)
    here.order.started(first)
    assert here.order.replaced_by(first) is None  # the third one has no record yet
    here.order.claim(third)
    assert sorted(here.woke()) == [first.uid, second.uid]
    assert [here.order.replaced_by(item) for item in (first, second, third)] == [R3, R3, None]
    here.order.claim(third)
    assert here.woke() == []
    here.order.leave(third)
    assert here.order.replaced_by(first) is None


def test_places_of_a_commit_that_failed_are_given_back() -> None:
    here, what = cluster(maxActiveTasks=1), run()
    given_out = here.order.place(what, ["a"], what.state, priority=0)
    here.order.withdraw(what, given_out)
    assert here.order.load("linux") == (0, 0)
    assert place(here, what, "a") == {"a": "linux"}


def test_a_run_that_is_over_leaves_its_places_to_others() -> None:
    here, first, second = cluster(maxActiveTasks=1), run(R1), run(R2)
    here.order.arrive(first)
    here.order.arrive(second)
    place(here, first, "a")
    place(here, second, "a", "b")
    here.order.release(first, "a")  # granted to the second one, which has not come for it yet
    place(here, first, "b")
    here.woke()
    here.order.leave(second)
    assert here.woke() == [first.uid]
    assert place(here, first, "b") == {"b": "linux"}
    assert here.order.waits(second) == {}


def test_after_a_restart_tasks_on_executors_count() -> None:
    here, what = cluster(maxActiveTasks=1), run()
    what.state = with_task(running(what.state), "a", status=Status.RUNNING, attempt=1, executor="linux", pod="p")
    here.order.restore(what)
    assert here.order.load("linux") == (1, 0)
    assert place(here, what, "b") == {}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"paused": True}, "paused"),
        ({"archs": ["arm64"]}, "no ready executor serves arch amd64"),
        ({"namespaceSelector": {"matchLabels": {"team": "web"}}}, "takes tasks of namespace ci"),
        ({"requireNodes": True}, "linux is not ready: requireNodes is set and there is no ready node for amd64"),
    ],
)
def test_a_task_that_fits_nowhere_says_why_and_is_placed_when_it_fits(spec: dict[str, Any], why: str) -> None:
    here = cluster(**spec)
    what = live(created(task_spec("a", arch="amd64")))
    here.order.arrive(what)
    assert place(here, what, "a") == {}
    (wait,) = here.order.waits(what).values()
    assert wait.reason is Reason.NO_EXECUTOR
    assert why in wait.message
    here.woke()
    here.executor()
    assert what.uid in here.woke()
    assert place(here, what, "a") == {"a": "linux"}


def test_the_labels_of_a_namespace_let_waiting_tasks_in() -> None:
    here, what = cluster(namespaceSelector={"matchLabels": {"team": "web"}}), run()
    here.order.arrive(what)
    place(here, what, "a")
    here.order.namespace_changed("ci", {"team": "web"})
    assert what.uid in here.woke()
    assert place(here, what, "a") == {"a": "linux"}


def test_without_its_executor_a_task_waits_again_for_one() -> None:
    here, what = cluster(maxActiveTasks=1), run()
    here.order.arrive(what)
    place(here, what, "a", "b")
    here.order.executor_removed("linux")
    assert here.woke() == [what.uid]
    assert here.order.waits(what)["b"].message == "there is no Executor; create one"


HOST_PATH = {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}


@pytest.mark.parametrize(
    "asked",
    [
        {"containers": [{"image": "busybox", "privileged": True}]},
        {"containers": [{"image": "busybox"}, {"image": "docker:dind", "privileged": True}]},
        {"pod": HOST_PATH},
    ],
    ids=["steps", "a service", "a volume of the node"],
)
def test_privileged_tasks_only_go_where_that_is_allowed(asked: dict[str, object]) -> None:
    here = cluster()
    what = live(created(task_spec("a") | asked))
    assert place(here, what, "a") == {}
    here.executor(allowPrivileged=True)
    assert place(here, what, "a") == {"a": "linux"}


def test_a_higher_priority_overtakes_and_the_wait_keeps_its_beginning() -> None:
    here, busy, first, second = cluster(maxActiveTasks=1), run(R1), run(R2), run(R3)
    for item in (busy, first, second):
        here.order.arrive(item)
    place(here, busy, "a")
    place(here, first, "a")
    place(here, second, "a")
    here.time += 5000
    place(here, second, "a", priority=7)
    assert here.order.waits(second)["a"].since == NOW
    here.order.release(busy, "a")
    assert here.woke()[-1] == second.uid


def test_a_run_with_a_limit_of_its_own_has_no_more_tasks_on_executors() -> None:
    here = cluster()
    what = run(R1, "a", "b", "c", maxActiveTasks=2)
    assert place(here, what, "a", "b", "c") == {"a": "linux", "b": "linux"}
    assert here.order.waits(what)["c"].message == "the run has 2 of at most 2 tasks on executors"


# whatever happens

RUNS = (R1, R2, R3)
NAMES = ("a", "b", "c", "d")


class Histories(RuleBasedStateMachine):
    """Runs that commit or fail to, tasks that end, and a process that dies and begins again from the records."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = {number: run(number, *NAMES) for number in RUNS}
        for item in self.runs.values():
            item.state = running(item.state)

    @initialize(slots=st.integers(1, 3))
    def begin(self, slots: int) -> None:
        self.slots = slots
        self.crash()

    @rule()
    def crash(self) -> None:
        self.here = cluster(maxActiveTasks=self.slots)
        for item in self.runs.values():
            self.here.order.restore(item)

    @rule(number=st.sampled_from(RUNS))
    def commit(self, number: RunId) -> None:
        item = self.runs.get(number)
        if item is not None:
            item.state = assigned(item.state, self.place(item))

    @rule(number=st.sampled_from(RUNS))
    def fail_to_commit(self, number: RunId) -> None:
        item = self.runs.get(number)
        if item is not None:
            self.here.order.withdraw(item, self.place(item))

    @rule(number=st.sampled_from(RUNS), name=st.sampled_from(NAMES))
    def end(self, number: RunId, name: str) -> None:
        item = self.runs.get(number)
        if item is not None and item.state.tasks[name].executor is not None:
            item.state = with_task(item.state, name, status=Status.SUCCESS, executor=None)
            self.here.order.release(item, name)

    @rule(number=st.sampled_from(RUNS))
    def leave(self, number: RunId) -> None:
        item = self.runs.get(number)
        if item is not None and not any(task.executor for task in item.state.tasks.values()):
            self.here.order.leave(item)
            del self.runs[number]

    @rule()
    def everybody_comes_for_their_places(self) -> None:
        """Nothing is kept from those who want it: slots are free only if nobody waits."""
        for number in RUNS:
            self.commit(number)
        if self.on_executors() < self.slots:
            assert not any(task.status is Status.NOTSTARTED for task in self.tasks())

    @invariant()
    def never_more_tasks_than_slots(self) -> None:
        counted, _ = self.here.order.load("linux")
        assert self.on_executors() <= counted <= self.slots

    def place(self, item: LiveRun) -> dict[str, Assignment]:
        ready = [name for name, task in item.state.tasks.items() if task.status is Status.NOTSTARTED]
        return self.here.order.place(item, ready, item.state, priority=0)

    def tasks(self) -> Iterator[Task]:
        for item in self.runs.values():
            yield from item.state.tasks.values()

    def on_executors(self) -> int:
        return sum(task.executor is not None for task in self.tasks())


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestHistories = Histories.TestCase


def assigned(state: State, given_out: dict[str, Assignment]) -> State:
    """Return the state once these assignments are committed."""
    tasks = {
        name: replace(state.tasks[name], status=Status.RUNNING, attempt=1, executor=to.executor, pod=to.pod)
        for name, to in given_out.items()
    }
    return replace(state, tasks={**state.tasks, **tasks})


def test_what_a_pass_costs_grows_with_the_tasks_that_wait_and_not_with_their_square() -> None:
    def seconds(number: int) -> float:
        where = cluster(paused=True)
        values = [str(value) for value in range(100)]
        tasks = task_spec("a", matrix={"A": values, "B": values[: number // 100]})
        what = live(created(tasks))
        names = [task.name for task in what.state.config.tasks]
        assert len(names) == number
        times = []
        for _ in range(3):
            begin = process_time()
            where.order.place(what, names, what.state, priority=0)
            assert len(where.order.waits(what)) == number
            times.append(process_time() - begin)
        return min(times)

    assert seconds(10_000) < 40 * max(seconds(1_000), 0.001)
