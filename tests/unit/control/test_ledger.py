"""Records of runs in a store on the etcd in memory: typed, small, whole after a restart, and written once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.states import NOW, RUN, a_task, created, finished, live, running, task_spec, with_task
from runabout.control.attempts import Attempt, Creation
from runabout.control.ledger import BY_UID, EVENT, Change, Ledger, uid_key
from runabout.control.objects import Uid
from runabout.control.runrows import run_index
from runabout.datamanager import Fenced, Store, Unknown, open_store
from runabout.engine.state import State
from runabout.etcd import UnknownOutcomeError
from runabout.etcd.memory import MemoryEtcd
from runabout.records import Counter, Event, Phase, Reason, Result, RunId, Status, StepState, Task
from runabout.records.encoding import decode

R1, R2, R3 = (RunId(f"1il7g1c00000{number}") for number in (1, 2, 3))
ROOT = "/ci/project/web"
virtual = pytest.mark.looptime


@asynccontextmanager
async def opened(etcd: MemoryEtcd, *, deadline: float = 30.0) -> AsyncIterator[tuple[Ledger, Store]]:
    store = await open_store(etcd, deadline=deadline, index=run_index(Path()))
    try:
        yield Ledger(store), store
    finally:
        await store.close()


def creation(state: State, *, counter: Counter | None = None) -> Change:
    return Change(
        state.run,
        tuple(state.tasks.values()),
        (Event(state.run.id, state.run.phase, state.run.result, NOW),),
        state.config,
        counter,
    )


def submitted(state: State, time: int) -> State:
    """Return a run whose Run was created at a time."""
    return replace(state, run=replace(state.run, submitted=time), config=replace(state.config, submitted=time))


async def written(etcd: MemoryEtcd) -> int:
    """Return the bytes of all values in etcd."""
    return sum(len(item.value) for item in (await etcd.range(b"", b"\xff")).items)


@virtual
async def test_a_run_is_read_back_as_it_was_written_also_by_the_next_process() -> None:
    state = created(
        task_spec("a", environment=[{"name": "A", "value": "é"}]), task_spec("b", depends=[{"task": "a"}]), group="/p/w"
    )
    etcd = MemoryEtcd()
    async with opened(etcd) as (ledger, _):
        assert await ledger.state(RUN) is None
        await ledger.commit(creation(state))
        assert await ledger.state(RUN) == state
    async with opened(etcd) as (ledger, _):
        assert await ledger.state(RUN) == state
        assert await ledger.run(RUN) == state.run
        assert await ledger.run_of(Uid(state.run.uid), submitted=0) == RUN


REASONS = st.none() | st.sampled_from(sorted(Reason))
TASKS = st.builds(
    Task,
    run=st.just(RUN),
    name=st.sampled_from(["a", "b", "c"]),
    status=st.sampled_from(sorted(Status)),
    attempt=st.integers(0, 3),
    executor=st.none() | st.just("linux"),
    pod=st.none() | st.just("pod"),
    reason=REASONS,
    message=st.text(max_size=20),
    exit_code=st.none() | st.integers(0, 255),
    ended=st.none() | st.integers(0, 2**43),
    steps=st.lists(st.builds(StepState, name=st.text(max_size=5), log_size=st.integers(0, 2**40)), max_size=2).map(
        tuple
    ),
    stored=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(TASKS, max_size=3), min_size=1, max_size=4))
def test_the_store_has_the_last_written_state_of_each_task(changes: list[list[Task]]) -> None:
    state = created(*(task_spec(name) for name in "abc"))

    async def commit_all() -> State | None:
        etcd = MemoryEtcd()
        async with opened(etcd) as (ledger, _):
            await ledger.commit(creation(state))
            for tasks in changes:
                await ledger.commit(Change(state.run, tasks))
        async with opened(etcd) as (ledger, _):
            return await ledger.state(RUN)

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        found = runner.run(commit_all())
    last = {task.name: task for tasks in changes for task in tasks}
    assert found == replace(state, tasks={**state.tasks, **last})


@virtual
async def test_runs_do_not_see_each_others_tasks_and_the_live_ones_are_known_oldest_first() -> None:
    async with opened(MemoryEtcd()) as (ledger, _):
        assert (ledger.live(), ledger.last_id()) == ([], None)
        for number, state in (
            (R3, created(task_spec("x"), run=R3)),
            (R1, running(created(task_spec("y"), run=R1))),
            (R2, finished(created(run=R2), Result.SUCCESS)),
        ):
            assert state.run.id == number
            await ledger.commit(creation(state))
        assert ledger.live() == [R1, R3]
        assert ledger.last_id() == R3
        found = await ledger.state(R1)
        assert found is not None
        assert list(found.tasks) == ["y"]


@pytest.mark.parametrize("phase", [Phase.SETUPERROR, Phase.CANCELLED, Phase.FINISHED])
@virtual
async def test_a_run_that_is_over_is_not_live(phase: Phase) -> None:
    state = created(task_spec("a"))
    async with opened(MemoryEtcd()) as (ledger, _):
        await ledger.commit(creation(replace(state, run=replace(state.run, phase=phase))))
        assert ledger.live() == []
        assert await ledger.run(RUN) is not None


@virtual
async def test_a_run_created_again_under_its_name_is_another_one() -> None:
    async with opened(MemoryEtcd()) as (ledger, _):
        await ledger.commit(creation(submitted(created(run=R1, uid="first"), NOW)))
        for time in (0, NOW, NOW + 1000):
            assert await ledger.run_of(Uid("second"), submitted=time) is None
        await ledger.commit(creation(submitted(created(run=R2, uid="second"), NOW)))
        found = [await ledger.run_of(Uid(uid), submitted=NOW) for uid in ("first", "second")]
        assert found == [R1, R2]


@pytest.mark.parametrize("recorded_with", [0, NOW], ids=["by an older version", "by this version"])
@virtual
async def test_a_run_is_found_by_its_uid_and_time_however_it_was_recorded_until_it_is_removed(
    recorded_with: int,
) -> None:
    state = submitted(finished(created(), Result.SUCCESS), recorded_with)
    uid = Uid(state.run.uid)
    async with opened(MemoryEtcd()) as (ledger, store):
        await ledger.commit(creation(state))
        assert await ledger.run_of(uid, submitted=NOW) == RUN
        await ledger.remove(state.run)
        assert await ledger.run_of(uid, submitted=NOW) is None
        assert await store.scan(BY_UID) == []


TIMES = st.integers(0, 253_402_300_799_000)
"""Milliseconds from 1970 to the end of the year 9999."""


@given(st.tuples(TIMES, st.uuids()), st.tuples(TIMES, st.uuids()))
def test_the_newest_runs_come_last_by_their_uids_keys(one: tuple[int, UUID], other: tuple[int, UUID]) -> None:
    keys = [uid_key(str(uid), time or 1) for time, uid in (one, other)]
    if one[0] != other[0]:
        assert (keys[0] < keys[1]) == (one[0] < other[0])
    assert (keys[0] == keys[1]) == ((one[0] or 1, one[1]) == (other[0] or 1, other[1]))


@virtual
async def test_counters_are_kept_for_each_root_group() -> None:
    async with opened(MemoryEtcd()) as (ledger, _):
        assert await ledger.counter(ROOT) == 0
        await ledger.commit(creation(created(run=R1), counter=Counter(ROOT, 1)))
        await ledger.commit(creation(created(run=R2), counter=Counter(ROOT, 2)))
        assert (await ledger.counter(ROOT), await ledger.counter(f"{ROOT}2")) == (2, 0)


@virtual
async def test_events_are_numbered_without_gaps_and_can_be_followed_from_any_number() -> None:
    async with opened(MemoryEtcd()) as (ledger, store):
        for run in (R1, R2, R3):
            await ledger.commit(creation(created(run=run)))
        over = finished(created(run=R1), Result.SUCCESS).run
        events = (Event(R1, Phase.RUNNING, Result.SUCCESS, NOW), Event(R1, Phase.FINISHED, Result.SUCCESS, NOW))
        committed = await ledger.commit(Change(over, (), events))
        assert committed.appended == (4, 5)
        found = []
        async with asyncio.timeout(5):
            async for number, body in store.numbered(EVENT, after=2):
                found.append((number, decode(Event, body)))
                if number == 5:
                    break
    assert [number for number, _ in found] == [3, 4, 5]
    assert [event for _, event in found[1:]] == list(events)


@virtual
async def test_a_change_of_one_task_writes_little_however_many_there_are() -> None:
    state = running(created(*(task_spec(f"t{number}") for number in range(1000))))
    etcd = MemoryEtcd()
    async with opened(etcd) as (ledger, _):
        await ledger.commit(creation(state))
        before = await written(etcd)
        task = a_task("t500", Status.RUNNING, executor="linux", pod="pod", attempt=1)
        await ledger.commit(Change(state.run, (task,)))
        assert await written(etcd) - before < 2_000


# trouble


@virtual
async def test_a_commit_whose_answer_got_lost_takes_effect_once() -> None:
    etcd = MemoryEtcd()
    async with opened(etcd) as (ledger, _):
        lost = iter([True, True])

        async def lose(call: str, when: str) -> None:
            if (call, when) == ("txn", "after") and next(lost, False):
                raise UnknownOutcomeError("the connection broke off")

        etcd.fault = lose
        committed = await ledger.commit(creation(created(run=R1)))
        assert committed.appended == (1,)
        assert (await ledger.commit(creation(created(run=R2)))).appended == (2,)


@virtual
async def test_after_an_unknown_outcome_reads_are_true_once_the_store_has_settled() -> None:
    etcd = MemoryEtcd()
    async with opened(etcd, deadline=2.0) as (ledger, store):
        away = asyncio.get_running_loop().time() + 20

        async def fail(call: str, when: str) -> None:
            if (call, when) == ("txn", "after") and asyncio.get_running_loop().time() < away:
                raise UnknownOutcomeError("no route")

        etcd.fault = fail
        with pytest.raises(Unknown, match="no route"):
            await ledger.commit(creation(created(run=R1)))
        assert await ledger.run(R1) is None
        async with asyncio.timeout(60):
            await store.settled()
        assert await ledger.run(R1) is not None


@virtual
async def test_a_process_that_was_replaced_can_write_no_more() -> None:
    etcd = MemoryEtcd()
    async with opened(etcd) as (old, _):
        await old.commit(creation(created(run=R1)))
        async with opened(etcd) as (new, _):
            await new.commit(creation(created(run=R2)))
            with pytest.raises(Fenced, match="another writer"):
                await old.commit(creation(created(run=R3)))
            assert await new.run(R3) is None
            assert new.live() == [R1, R2]


# what a restart makes of a record


def test_attempts_that_the_store_knows_are_never_created_here() -> None:
    state = running(created(*(task_spec(name) for name in ("waits", "runs", "storing", "over"))))
    state = with_task(state, "runs", status=Status.RUNNING, attempt=2, executor="linux", pod="p-runs", stored=False)
    state = with_task(state, "storing", status=Status.FAILED, attempt=1, pod="p-storing", stored=False)
    state = with_task(state, "over", status=Status.SUCCESS, attempt=1, pod="p-over", stored=True)
    run = live(state)
    run.adopt(since=NOW)
    assert run.attempts == {
        "runs": Attempt("p-runs", "runs", 2, Creation.FOREIGN, NOW),
        "storing": Attempt("p-storing", "storing", 1, Creation.FOREIGN, NOW),
    }
    assert not any(attempt.known for attempt in run.attempts.values())


def test_a_live_run_is_over_with_its_phase() -> None:
    assert not live(created()).over
    assert live(finished(created(), Result.STOPPED)).over
    assert live(created()).id == RUN
