"""A replica that is killed between any two steps: the next one carries out what runs say of each other, once."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from fixtures.fake_kube import FakeKube
from fixtures.states import created, finished, task_spec, with_task
from lab.desk import Desk, desk
from lab.faulty_etcd import FaultyEtcd, no_fault
from lab.trouble import Trouble, until_met
from runabout.control.ledger import BY_UID, EVENT, SHARED_BY, SHARING, Change
from runabout.engine.state import State
from runabout.etcd.memory import MemoryEtcd
from runabout.ost import MemoryObjectStore
from runabout.records import Event, Phase, Reason, Result, RunId, Status
from runabout.records.encoding import decode

OLD = RunId("1il7g1c000001")
GROUP = "/project/web/branch/main"
TASKS = [task_spec("a")]
TERMINAL = (Phase.FINISHED, Phase.CANCELLED)


async def replacing(here: Desk) -> None:
    """Have two runs of a group, one of which runs, replaced by a third one."""
    for name in ("first", "second"):
        await here.create(name, group=GROUP, tasks=TASKS)
        await here.work(name)
    await here.create("third", group=GROUP, tasks=TASKS, concurrency="cancelInProgress")
    await here.work("third", "second", "first")


async def replaced(here: Desk) -> None:
    third = await here.run("third")
    first, second = await here.run("first"), await here.run("second")
    assert third.phase is Phase.RUNNING
    assert (first.phase, first.result, second.phase) == (Phase.FINISHED, Result.STOPPED, Phase.CANCELLED)
    for run in (first, second):
        assert (run.reason, run.replaced_by) == (Reason.REPLACED, third.id)


async def restarting(here: Desk) -> None:
    """Have a run restarted that failed."""
    await here.create("again", restartFrom={"run": OLD, "from": "failed"})
    await here.work("again")


async def restarted(here: Desk) -> None:
    new = await here.state("again")
    assert (new.run.phase, new.run.restarted_from) == (Phase.RUNNING, OLD)
    assert {name: task.executed_by for name, task in new.tasks.items()} == {"a": OLD, "b": None}
    assert await here.store.scan(SHARING) == [(new.run.id, OLD.encode())]
    assert await here.store.scan(SHARED_BY) == [(f"{OLD}/{new.run.id}", b"")]


async def timing_out(here: Desk) -> None:
    """Have a run whose time is up at once."""
    await here.create("short", group=GROUP, tasks=TASKS, timeoutSeconds=1)
    await here.work("short")
    started = (await here.run("short")).started
    assert started is not None
    await here.wait_until(started + 1_000)
    await here.work("short")


async def timed_out(here: Desk) -> None:
    await here.wait_until(((await here.run("short")).started or 0) + 1_000)
    await here.work()
    run = await here.run("short")
    assert (run.phase, run.result, run.reason) == (Phase.FINISHED, Result.FAILED, Reason.TIMEOUT)


def old() -> State:
    state = created(task_spec("a"), task_spec("b", depends=[{"task": "a"}]), run=OLD, name="web-1")
    state = with_task(state, "a", status=Status.SUCCESS, attempt=1)
    return finished(with_task(state, "b", status=Status.FAILED, attempt=1), Result.FAILED)


Step = Callable[[Desk], Coroutine[None, None, None]]
STORIES: dict[str, tuple[Step, Step]] = {
    "replacing": (replacing, replaced),
    "restarting": (restarting, restarted),
    "timing out": (timing_out, timed_out),
}


async def prepared(here: Desk) -> None:
    if await here.ledger.run(OLD) is None:
        state = old()
        await here.ledger.commit(Change(state.run, state.tasks.values(), (), state.config))


async def once(here: Desk) -> None:
    """Check that each Run has one record, and each run its events once and in order."""
    assert len(await here.store.scan(BY_UID)) == len(here.fake.items("runs")) + 1
    told: dict[RunId, list[tuple[Phase, Result]]] = {}
    for _, body in await here.store.scan(EVENT):
        event = decode(Event, body)
        told.setdefault(event.run, []).append((event.phase, event.result))
    for events in told.values():
        assert len(set(events)) == len(events)
        assert all(phase not in TERMINAL for phase, _ in events[:-1])


async def killed(scratch: Path, story: Step, expected: Step, at: int, kind: str) -> list[str]:
    """Play a story whose call number `at` is the last one of its process; go on in another one; return the calls."""
    trouble = Trouble(at, kind)
    etcd, ost = FaultyEtcd(MemoryEtcd()), MemoryObjectStore()

    async def only_writes(call: str, when: str) -> None:
        if call == "txn":
            await trouble(call, when)

    async with FakeKube() as fake:
        async with desk(fake, scratch, etcd=etcd, ost=ost) as here:
            await prepared(here)
            etcd.fault = only_writes
            if at:
                process = await until_met(trouble, story(here))
                process.cancel()
                await asyncio.wait((process,))
            else:
                await story(here)
        calls, etcd.fault = list(trouble.names), no_fault
        async with desk(fake, scratch, etcd=etcd, ost=ost) as here:
            await here.work()
            await _rest_of(story, here)
            await here.work()
            await expected(here)
            await once(here)
    return calls


async def _rest_of(story: Step, here: Desk) -> None:
    """Create what its author had not yet created when the process was killed."""
    there = {item["metadata"]["name"] for item in here.fake.items("runs")}
    if story is replacing:
        for name, concurrency in (("first", "queue"), ("second", "queue"), ("third", "cancelInProgress")):
            if name not in there:
                await here.create(name, group=GROUP, tasks=TASKS, concurrency=concurrency)
                await here.work(name)


@pytest.mark.parametrize("kind", ["crashes before", "crashes after"])
@pytest.mark.parametrize("story", STORIES)
async def test_what_runs_say_of_each_other_is_done_once_whenever_a_replica_is_killed(
    tmp_path: Path, story: str, kind: str
) -> None:
    play, expected = STORIES[story]
    calls = await killed(tmp_path, play, expected, 0, kind)
    assert calls
    for at in range(1, len(calls) + 1):
        await killed(tmp_path, play, expected, at, kind)


@pytest.mark.parametrize("suspended", [False, True])
async def test_a_run_that_was_replaced_does_not_begin_in_the_next_process_whose_pass_comes_first(
    tmp_path: Path, *, suspended: bool
) -> None:
    etcd, ost = MemoryEtcd(), MemoryObjectStore()
    async with FakeKube() as fake:
        async with desk(fake, tmp_path, etcd=etcd, ost=ost) as here:
            for name in ("first", "second"):
                await here.create(name, group=GROUP, tasks=TASKS)
                await here.work(name)
            await here.create("third", group=GROUP, tasks=TASKS, concurrency="replaceQueued", suspend=suspended)
            await here.work("third")
            assert (await here.run("second")).phase is Phase.QUEUED
        async with desk(fake, tmp_path, etcd=etcd, ost=ost) as here:
            await here.change("first", stop=True)
            await here.work("first", "second")
            second = await here.run("second")
            assert second.phase is (Phase.RUNNING if suspended else Phase.CANCELLED)
            assert second.replaced_by == (None if suspended else (await here.run("third")).id)
