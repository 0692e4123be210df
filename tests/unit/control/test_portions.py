"""A change of very many tasks, cut into transactions: whichever was written last, the run comes to the same end."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fixtures.states import NOW, created, task_spec
from runabout.control.ledger import SHARING, Change, Ledger
from runabout.control.portions import PORTION, portions
from runabout.control.restarts import shared_by
from runabout.datamanager import Store, open_store
from runabout.engine.decide import Assignment, Decision, Facts, TaskEnd, decide
from runabout.engine.graph import Graph
from runabout.engine.restart import restart_config, restart_run
from runabout.engine.state import State
from runabout.etcd.memory import MemoryEtcd
from runabout.records import Event, Phase, RestartFrom, Result, RunConfig, RunId, Status
from runabout.records.encoding import encode

WIDE = {"A": [f"a{value}" for value in range(80)], "B": [f"b{value}" for value in range(80)]}
EVER = frozenset(["on_success", "on_failure", "on_skipped"])
virtual = pytest.mark.looptime


def new() -> State:
    """Return a run of one root, 6,400 tasks that depend on it, and one that depends on all of them."""
    tasks = [
        task_spec("root"),
        task_spec("wide", matrix=WIDE, depends=[{"task": "root"}]),
        task_spec("end", depends=[{"task": "wide", "conditions": sorted(EVER)}]),
    ]
    return created(*tasks)


def after(state: State, *facts: Facts) -> Decision:
    """Return the last decision; events are of all of them."""
    graph, events = Graph(state.config.tasks), list[Event]()
    for each in facts:
        decision = decide(graph, state, each)
        state, events = decision.state, [*events, *decision.events]
    return replace(decision, events=tuple(events))


START = Facts(now=NOW, start=True)
ROOT = Facts(now=NOW, assigned={"root": Assignment("e", "p")})


def ending(status: Status) -> Facts:
    return Facts(now=NOW, ended={"root": TaskEnd(status, ended=NOW)}, stored={"root": ()})


def all_assigned(state: State) -> Facts:
    names = [task.name for task in state.config.tasks if task.name.startswith("wide")]
    return Facts(now=NOW, assigned={name: Assignment("executor", f"1il7g1c000001-{name}-1") for name in names})


def begun(state: State) -> State:
    return after(state, START, ROOT).state


def ready(state: State) -> State:
    return after(begun(state), ending(Status.SUCCESS)).state


CHANGES: dict[str, tuple[Callable[[State], State], Callable[[State], Facts]]] = {
    "all are skipped because the root failed": (begun, lambda _: ending(Status.FAILED)),
    "all are given to an executor": (ready, all_assigned),
    "all are skipped by a stop": (ready, lambda _: Facts(now=NOW, stop=True)),
    "the run is cancelled": (lambda state: state, lambda _: Facts(now=NOW, stop=True)),
}


async def store_all(store: Store, changes: list[Change]) -> None:
    for change in changes:
        await Ledger(store).commit(change)


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES)
@virtual
async def test_whatever_was_written_last_the_same_facts_lead_to_the_same_end(
    case: tuple[Callable[[State], State], Callable[[State], Facts]],
) -> None:
    first = new()
    before, facts = case[0](first), case[1](first)
    last = after(before, facts)
    made = portions(Change(last.run, last.changed, last.events), before=before.run)
    assert [event for portion in made for event in portion.events] == list(last.events)
    for written in range(len(made) + 1):
        store = await open_store(MemoryEtcd())
        created_first = Change(before.run, tuple(before.tasks.values()), (), before.config)
        await store_all(store, [*portions(created_first, before=before.run), *made[:written]])
        found = await Ledger(store).state(before.run.id)
        assert found is not None
        again = after(found, facts)
        assert again.state == last.state
        assert [*(event for portion in made[:written] for event in portion.events), *again.events] == list(last.events)
        await store.close()


@virtual
async def test_a_run_of_six_thousand_tasks_is_created_in_transactions_that_the_store_takes() -> None:
    state = new()
    change = Change(
        state.run, tuple(state.tasks.values()), (Event(state.run.id, Phase.QUEUED, Result.UNKNOWN, NOW),), state.config
    )
    made = portions(change, before=state.run)
    assert len(made) > 1
    assert (made[0].config, len(made[0].events)) == (state.config, 1)
    for portion in made:
        assert sum(len(encode(task)) for task in portion.tasks) <= PORTION
    for written in range(1, len(made) + 1):
        store = await open_store(MemoryEtcd())
        await store_all(store, list(made[:written]))
        assert await Ledger(store).state(state.run.id) == state
        await store.close()


@virtual
async def test_a_restart_keeps_its_tasks_also_if_its_process_ended_between_two_portions() -> None:
    first = new()
    old = after(ready(first), all_assigned(first)).state
    failing = next(name for name in old.tasks if name.startswith("wide"))
    ends = {name: TaskEnd(Status.SUCCESS, ended=NOW) for name in old.tasks if name.startswith("wide")}
    ends[failing] = TaskEnd(Status.FAILED, ended=NOW)
    old = after(old, Facts(now=NOW, ended=ends, stored=dict.fromkeys(ends, ()))).state
    old = replace(old, run=replace(old.run, phase=Phase.FINISHED, result=Result.FAILED))
    config = restart_config(
        old.config, id=RunId("1il7g1c000002"), name="again", uid="v", created=NOW, start_from=RestartFrom.FAILED
    )
    decision = restart_run(Graph(old.config.tasks), old, config, counter=2, now=NOW)
    assert sum(task.status is Status.SUCCESS for task in decision.state.tasks.values()) == 6400
    change = Change(decision.run, decision.changed, decision.events, config, shares=shared_by(decision.state))
    made = portions(change, before=decision.run)
    assert len(made) > 2
    for written in range(1, len(made) + 1):
        store = await open_store(MemoryEtcd())
        before = Change(old.run, tuple(old.tasks.values()), (), old.config)
        await store_all(store, [*portions(before, before=old.run), *made[:written]])
        found = await Ledger(store).state(config.id)
        assert found is not None
        assert found.tasks == decision.state.tasks
        assert await store.get(SHARING, config.id) == old.run.id.encode()
        await store.close()


def test_a_run_that_starts_with_a_large_change_has_begun_before_any_of_its_tasks() -> None:
    state = created(task_spec("wide", matrix=WIDE))
    last = after(state, START, Facts(now=NOW, assigned=all_assigned(state).assigned))
    first, *_, final = portions(Change(last.run, last.changed, last.events, state.config), before=state.run)
    assert (first.run.phase, first.run.started) == (Phase.RUNNING, NOW)
    assert [event.phase for event in first.events] == [Phase.RUNNING]
    assert (final.run, final.events, final.config) == (last.run, (), None)


def test_a_small_change_is_one_transaction() -> None:
    state = created(task_spec("a"))
    change = Change(state.run, tuple(state.tasks.values()), (), state.config)
    assert portions(change, before=state.run) == (change,)


def test_a_configuration_that_fills_a_transaction_has_it_for_itself() -> None:
    state = created(*[task_spec(f"t{number}", steps=[{"run": "x" * 15_000}]) for number in range(60)])
    first, second = portions(Change(state.run, tuple(state.tasks.values()), (), state.config), before=state.run)
    assert isinstance(first.config, RunConfig)
    assert (first.tasks, len(second.tasks)) == ((), 60)
