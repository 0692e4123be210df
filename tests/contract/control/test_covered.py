"""Records that a checkpoint covers: control reads them from the object storage, and waits for it if it is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from fixtures.fake_kube import FakeKube
from fixtures.states import NOW, created, finished, task_spec
from lab.checkpoints import SMALL, checkpoint
from lab.faulty_ost import FaultyOst
from runabout.control.ledger import BY_UID, RUN, Change, Ledger
from runabout.control.metrics import Metrics
from runabout.control.objects import RunObjects, Uid, run_object
from runabout.control.opener import Opener
from runabout.control.parts import Parts, compose
from runabout.control.restarts import Restarts
from runabout.control.runrows import run_index
from runabout.control.settings import Settings
from runabout.datamanager import Put, ReadPolicy, Store, Transaction, Unavailable, open_store, vitals
from runabout.engine.groups import root_group
from runabout.etcd.memory import MemoryEtcd
from runabout.kube.connection import Connection
from runabout.kube.session import Session
from runabout.ost import MemoryObjectStore, UnavailableError
from runabout.records import Counter, Result, RunId
from runabout.runindex.row import id_of

LIVE, OVER, BROKEN = (RunId(f"1il7g1c00000{number}") for number in (1, 2, 3))


def body(uid: str, *, run: str = "", submitted: str = "") -> dict[str, object]:
    time = {"creationTimestamp": submitted} if submitted else {}
    return {
        "metadata": {"name": uid, "namespace": "ci", "uid": uid, "resourceVersion": "1", "generation": 1, **time},
        "spec": {"tasks": [{"name": "a", "containers": [{"name": "a", "image": "i"}], "steps": [{"run": "x"}]}]},
        **({"status": {"id": run}} if run else {}),
    }


@dataclass
class Scene:
    parts: Parts
    store: Store
    ost: FaultyOst

    async def _away(self, call: str, _when: str) -> None:
        if call == "ost read":
            raise UnavailableError("503")

    def leave(self) -> None:
        self.ost.fault, self._well = self._away, self.ost.fault

    def come_back(self) -> None:
        self.ost.fault = self._well


async def _write(store: Store, runs: Sequence[RunId]) -> None:
    ledger = Ledger(store)
    for number, run in enumerate(runs):
        state = created(task_spec("a"), run=run, uid=f"u{number}")
        if run == OVER:
            state = finished(state, Result.SUCCESS)
        counter = Counter(root_group("/ci/run/same"), 7)
        await ledger.commit(Change(state.run, tuple(state.tasks.values()), (), state.config, counter))
    await store.commit(Transaction((Put(RUN, BROKEN, b"no record"),)))


def opener_of(store: Store, *, now: int = NOW) -> Opener:
    ledger = Ledger(store)
    restarts = Restarts(ledger=ledger, objects=RunObjects())
    return Opener(ledger=ledger, restarts=restarts, store=0, now=lambda: now)


@asynccontextmanager
async def scene(scratch: Path) -> AsyncIterator[Scene]:
    """A store that was opened again: everything is in a checkpoint, nothing in memory, and nothing is kept."""
    etcd, ost = MemoryEtcd(), FaultyOst(MemoryObjectStore())
    index, reads = run_index(scratch), ReadPolicy(groups=1, footers=1)
    first = await open_store(etcd, ost=ost, index=index)
    await _write(first, (LIVE, OVER, BROKEN))
    await checkpoint(first)
    await first.close()
    async with FakeKube() as fake, Session(Connection(server=fake.url, ssl=False, authorize=dict)) as session:
        await fake.put("namespaces", {"metadata": {"name": "ci"}})
        store = await open_store(etcd, ost=ost, index=index, reads=reads)
        made = compose(Settings(scratch_dir=scratch), session=session, store=store, ost=ost, metrics=Metrics())
        yield Scene(made, store, ost)
        await store.close()


async def test_a_start_takes_the_live_runs_and_reads_none_that_is_over(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        assert Ledger(here.store).live() == [LIVE, BROKEN]
        assert Ledger(here.store).last_id() == BROKEN
        assert await here.parts.reconciler.restore() == 1
        assert {live.id for live in here.parts.reconciler.lives.values()} == {LIVE}


async def test_a_start_without_the_object_storage_takes_nothing_and_all_once_it_is_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.leave()
        with pytest.raises(Unavailable, match="cannot be read from the object store/0/data/run"):
            await here.parts.reconciler.restore()
        assert not here.parts.reconciler.lives
        here.come_back()
        assert await here.parts.reconciler.restore() == 1


@pytest.mark.parametrize("known", ["", OVER], ids=["without a status", "with its id"])
async def test_a_run_with_a_record_is_not_created_again_while_that_cannot_be_read(tmp_path: Path, known: str) -> None:
    async with scene(tmp_path) as here:
        here.parts.news.run_seen(body("u1", run=known), deleted=False)
        here.leave()
        with pytest.raises(Unavailable):
            await here.parts.reconciler.reconcile(Uid("u1"))
        assert here.store.runs.count() == 2
        here.come_back()
        live = await opener_of(here.store).recorded(Uid("u1"), submitted=0, known_as=known)
        assert live is not None
        assert live.id == OVER


async def test_an_id_in_a_status_that_is_another_runs_is_not_believed(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        opener = opener_of(here.store)
        live = await opener.recorded(Uid("u0"), submitted=0, known_as=OVER)
        assert live is not None
        assert live.id == LIVE
        assert await opener.recorded(Uid("nobody"), submitted=0, known_as=OVER) is None


async def test_numbers_are_unique_and_in_order_also_while_the_last_one_is_being_read(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        ledger = Ledger(here.store)
        opener = opener_of(here.store)

        async def slow(call: str, _when: str) -> None:
            if call == "ost read":
                await asyncio.sleep(0)

        here.ost.fault = slow

        async def create(name: str) -> int:
            live = await opener.create(run_object(body(name)))
            counter = opener.counter(live.state.run.group)
            await ledger.commit(Change(live.state.run, config=live.state.config, counter=counter))
            opener.committed(live.state.run.group)
            return live.state.run.counter

        found = await asyncio.gather(*(create("same") for _ in range(10)))
        found += await asyncio.gather(*(create("same") for _ in range(3)))
        assert found == list(range(8, 21))
        ids = [row.id for row in here.store.runs.page(limit=13).rows]
        assert [row.counter for row in here.store.runs.page(limit=13).rows] == found[::-1]
        assert len(set(ids)) == 13


async def test_a_run_without_a_status_is_found_by_its_uid_by_the_process_after_the_one_that_created_it(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        run = run_object(body("new", submitted="2026-01-02T03:04:05Z"))
        opener = opener_of(here.store)
        assert await opener.recorded(run.uid, submitted=run.created) is None
        live = await opener.create(run)
        await Ledger(here.store).commit(Change(live.state.run, config=live.state.config))
        [(key, _)] = await here.store.scan(BY_UID, after="000", prefix="0")
        assert key == f"{run.created:012x}/new"
        after = opener_of(here.store, now=NOW + 1)
        found = await after.recorded(run.uid, submitted=run.created)
        assert found is not None
        assert found.id == live.id


async def test_new_runs_read_nothing_of_the_old_ones_and_a_checkpoint_leaves_those_as_they_are(tmp_path: Path) -> None:
    etcd, ost, index = MemoryEtcd(), MemoryObjectStore(), run_index(tmp_path)
    policy = replace(SMALL, small=0)

    async def write(store: Store, first: int, count: int) -> None:
        for number in range(first, first + count):
            state = created(run=id_of(NOW << 12 | number), uid=uid(number))
            await Ledger(store).commit(
                Change(replace(state.run, submitted=time(number)), config=replace(state.config, submitted=time(number)))
            )

    def uid(number: int) -> str:
        return str(UUID(int=Random(number).getrandbits(128)))

    def time(number: int) -> int:
        return NOW + number // 3 * 1000

    store = await open_store(etcd, ost=ost, index=index, checkpoints=policy)
    await write(store, 0, 500)
    before = [file.object for file in (await checkpoint(store)).files if file.type == BY_UID]
    await store.close()
    store = await open_store(etcd, ost=ost, index=index, checkpoints=policy)
    try:
        assert len(before) > 3
        ledger = Ledger(store)
        for number in range(500, 600):
            assert await ledger.run_of(Uid(uid(number)), submitted=time(number + 1)) is None
        assert vitals(store).groups.misses == 0
        for number in range(480, 500):
            assert await ledger.run_of(Uid(uid(number)), submitted=time(number)) is not None
        assert vitals(store).groups.misses <= 3, "those of one moment lie together"
        await write(store, 500, 50)
        after = [file.object for file in (await checkpoint(store)).files if file.type == BY_UID]
        assert after[: len(before) - 1] == before[:-1]
    finally:
        await store.close()
