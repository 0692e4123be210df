"""A restart of very many tasks, created in several transactions: whatever breaks off, what is kept stays kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.fake_kube import FakeKube
from fixtures.states import created, finished, task_spec, with_task
from lab.desk import Desk, desk
from lab.faulty_etcd import FaultyEtcd, no_fault
from lab.kube_suite import until
from runabout import etcd
from runabout.control.ledger import SHARED_BY, SHARING, TASK, Change
from runabout.control.portions import portions
from runabout.control.restarts import shared_by
from runabout.datamanager import Delete, Transaction, Unavailable
from runabout.engine.state import State
from runabout.etcd.memory import MemoryEtcd
from runabout.ost import MemoryObjectStore
from runabout.records import Result, RunId, Status
from runabout.records.encoding import RecordError

OLD, OLDEST = RunId("1il7g1c000002"), RunId("1il7g1c000001")
WIDE = {"N": [f"n{number}" for number in range(120)]}
STORY = "x" * 12_000
"""Makes a few tasks as large as thousands of small ones."""
PORTIONS = 3


def over() -> State:
    """Return a run that has failed at its end; the last of its many successes it had kept from an older one itself."""
    state = created(
        task_spec("wide", matrix=WIDE),
        task_spec("end", depends=[{"task": "wide"}]),
        task_spec("after", depends=[{"task": "end"}]),
        run=OLD,
        name="old",
    )
    names = [name for name in state.tasks if name.startswith("wide")]
    for name in names:
        executed_by = OLDEST if name == names[-1] else None
        state = with_task(
            state, name, status=Status.SUCCESS, attempt=1, pod=name, message=STORY, executed_by=executed_by
        )
    state = with_task(state, "end", status=Status.FAILED, attempt=1)
    return finished(with_task(state, "after", status=Status.SKIPPED), Result.FAILED)


async def keep(here: Desk, state: State) -> None:
    whole = Change(state.run, state.tasks.values(), (), state.config, shares=shared_by(state))
    for change in portions(whole, before=state.run):
        await here.ledger.commit(change)


@asynccontextmanager
async def scene(scratch: Path) -> AsyncIterator[tuple[FakeKube, FaultyEtcd, MemoryObjectStore, Desk]]:
    memory, ost = FaultyEtcd(MemoryEtcd()), MemoryObjectStore()
    async with FakeKube() as fake, desk(fake, scratch, etcd=memory, ost=ost) as here:
        await keep(here, over())
        await here.create("again", restartFrom={"run": OLD, "from": "failed"})
        yield fake, memory, ost, here


async def check(here: Desk) -> None:
    """Compare the record of the restart with what it would be if nothing had broken off."""
    state = await here.state("again")
    documents = {key.split("/")[1] for key, _ in await here.store.scan(TASK, prefix=f"{state.run.id}/")}
    assert documents == set(over().tasks)
    for name, old in over().tasks.items():
        kept = replace(old, run=state.run.id, executed_by=old.executed_by or OLD)
        assert state.tasks[name] == kept or not name.startswith("wide")
    assert {state.tasks[name].status for name in ("end", "after")} == {Status.NOTSTARTED}
    assert (state.run.id, f"{OLDEST} {OLD}".encode()) in await here.store.scan(SHARING)
    sharers = {key for key, _ in await here.store.scan(SHARED_BY)}
    assert sharers == {f"{OLDEST}/{OLD}", f"{OLDEST}/{state.run.id}", f"{OLD}/{state.run.id}"}


@pytest.mark.parametrize("written", range(1, PORTIONS + 1))
async def test_a_process_killed_after_any_portion_of_a_restart_has_kept_the_same_tasks(
    tmp_path: Path, written: int
) -> None:
    stuck, for_ever, count = asyncio.Event(), asyncio.Event(), 0

    async def kill(call: str, when: str) -> None:
        nonlocal count
        count += (call, when) == ("txn", "before")
        if count > written:
            stuck.set()
            await for_ever.wait()

    async with scene(tmp_path / "one") as (fake, memory, ost, first):
        memory.fault = kill
        [uid] = first.parts.objects.uids()
        one_pass = asyncio.create_task(first.parts.reconciler.reconcile(uid))
        await until(lambda: stuck.is_set() or one_pass.done())
        one_pass.cancel()
        memory.fault = no_fault
        async with desk(fake, tmp_path / "two", etcd=memory, ost=ost) as here:
            await here.work("again")
            await check(here)
        for_ever.set()
    assert count >= PORTIONS or written < PORTIONS


@pytest.mark.parametrize("written", range(1, PORTIONS))
async def test_a_portion_that_the_store_does_not_take_is_written_by_a_later_pass(tmp_path: Path, written: int) -> None:
    count = 0

    async def refuse(call: str, when: str) -> None:
        nonlocal count
        count += (call, when) == ("txn", "before")
        if count > written and call == "txn":
            raise etcd.FullError("no space")

    async with scene(tmp_path) as (_, memory, _, here):
        memory.fault = refuse
        with pytest.raises(Unavailable):
            await here.work("again")
        memory.fault = no_fault
        await here.work("again")
        await check(here)


async def test_a_restart_is_not_gone_on_with_if_nobody_knows_any_more_what_it_kept(tmp_path: Path) -> None:
    async with scene(tmp_path / "one") as (fake, memory, ost, first):
        await first.work("again")
        run = (await first.state("again")).run
        await first.store.commit(Transaction((Delete(TASK, f"{run.id}/wide-n7"),)))
        await first.ledger.remove(over().run)
        async with desk(fake, tmp_path / "two", etcd=memory, ost=ost) as here:
            assert not here.parts.reconciler.lives
            with pytest.raises(RecordError, match=f"tasks have no record, and run {OLD}, which says"):
                await here.work("again")
