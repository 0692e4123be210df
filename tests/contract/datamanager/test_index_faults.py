"""Whatever call of a checkpoint with index files meets a fault: who opens the store afterwards has the right index."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import NoneType

import pytest

from contract.datamanager.conftest import Sealing
from contract.datamanager.test_checkpoint_faults import FAULTS
from lab.checkpoints import NEVER, SMALL, checkpoint, checkpointer, objects
from lab.etcds import MemoryLab
from lab.indexed import CONFIG, RUN, check, created, gone, record, source
from lab.stores import Stores, view
from lab.trouble import Trouble, kill, until_met
from runabout.datamanager import Action, Store, StoreError, Transaction, Unreadable
from runabout.etcd import EtcdError
from runabout.ost import OstError
from runabout.records import Phase

WAIT = 30.0
FEW = replace(SMALL, rows=3, orphan_seconds=-NEVER)


async def _commit(store: Store, *actions: Action) -> None:
    await store.commit(Transaction(actions))


async def _two_checkpoints_and_a_collection(store: Store) -> None:
    """Tried again a few times, as the checkpointer does by itself."""
    for part in (1, 2):
        await _commit(store, *created(10 * part), *created(10 * part + 1, team="blue"))
        await _commit(store, record(2, group=part, phase=Phase.FINISHED), gone(part + 2))
        for _ in range(3):
            try:
                await checkpoint(store)
                await checkpointer(store).collect()
                check(store.runs, await view(store, (RUN, CONFIG)))
            except (OstError, EtcdError, Unreadable):
                continue
            break


@pytest.mark.parametrize("kind", FAULTS)
async def test_whatever_call_meets_a_fault_the_index_is_right_afterwards(
    sealing: Sealing, tmp_path: Path, kind: str
) -> None:
    async def begin(at: int) -> tuple[Stores, Store, Trouble]:
        stores = sealing(interval=NEVER, keep=0, checkpoints=FEW, index=source(tmp_path))
        store = await stores.open()
        for place in range(1, 6):
            await _commit(store, *created(place, group=place % 4))
        await checkpoint(store)
        trouble = Trouble(at, kind)
        assert stores.faulty_ost is not None
        stores.faulty.fault = stores.faulty_ost.fault = trouble
        return stores, store, trouble

    stores, store, counter = await begin(0)
    await _two_checkpoints_and_a_collection(store)
    assert len(counter.names) > 40
    first, step = (1, 1) if isinstance(stores.lab, MemoryLab) else (1 + FAULTS.index(kind), len(FAULTS))
    for at in range(first, len(counter.names) + 1, step):
        async with asyncio.timeout(WAIT):
            stores, store, trouble = await begin(at)
            process = await until_met(trouble, _two_checkpoints_and_a_collection(store))
            if kind.startswith("crashes"):
                await kill(process, stores)
            elif kind.startswith("is paused"):
                other = await stores.open(etcd=stores.lab.etcd)
                await _commit(other, *created(30), gone(1))
                await checkpoint(other)
                await checkpointer(other).collect()
                check(other.runs, await view(other, (RUN, CONFIG)))
                trouble.go_on.set()
                await asyncio.wait((process,))
                assert isinstance(process.exception(), StoreError | NoneType)
            else:
                await process
            await _check(stores, at)


async def _check(stores: Stores, at: int) -> None:
    again = await stores.open(etcd=stores.lab.etcd)
    assert again.damage == (), f"call {at}"
    check(again.runs, await view(again, (RUN, CONFIG)))
    await _commit(again, record(2, phase=Phase.CANCELLED))
    made = await checkpoint(again)
    await checkpointer(again).collect()
    assert made.index is not None
    base = f"store/{stores.keys.store}/"
    assert sorted(await objects(stores, "index/")) == sorted(
        each.object.removeprefix(base) for each in made.index.files
    )
    last = await stores.open(etcd=stores.lab.etcd)
    assert last.damage == ()
    check(last.runs, await view(again, (RUN, CONFIG)))
    await last.close()
    await again.close()
