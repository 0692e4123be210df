"""A first opening that was cut off is told from the loss of etcd: where nobody was told anything, nothing is lost."""

import pytest

from contract.datamanager.conftest import Sealing
from lab.checkpoints import NEVER, SMALL, checkpoint, objects, write
from lab.stores import Stores, put
from runabout import etcd, ost
from runabout.datamanager import Case, Recovery, Store, Unavailable, open_store
from runabout.datamanager.audit import audit_store


def reported(store: Store) -> Recovery:
    assert store.recovery is not None
    return store.recovery


async def cut_off_behind_its_epoch(stores: Stores) -> None:
    """Open a store in a process that ends after it has stored the marker of its epoch."""
    before = await objects(stores, "epochs/")

    async def die(name: str, when: str) -> None:
        if (name, when) == ("txn", "before") and await objects(stores, "epochs/") != before:
            raise etcd.UnavailableError("the process died")

    stores.faulty.fault = die
    with pytest.raises(Unavailable):
        await stores.open()
    assert len(await objects(stores, "epochs/")) == len(before) + 1


async def test_an_opening_that_was_cut_off_in_front_of_its_epoch_left_nothing_to_lose(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    assert stores.faulty_ost is not None

    async def die(name: str, when: str) -> None:
        if (name, when) == ("ost write", "after"):
            raise ost.UnavailableError("the process died")

    stores.faulty_ost.fault = die
    with pytest.raises(Unavailable):
        await stores.open()
    assert (await objects(stores, "identity"), await objects(stores, "epochs/")) == (["identity"], [])
    store = await stores.open(etcd=stores.lab.etcd)
    assert (store.recovery, store.epoch) == (None, 1)


@pytest.mark.parametrize("cuts", [1, 2])
async def test_an_opening_that_was_cut_off_behind_its_epoch_left_nothing_to_lose(sealing: Sealing, cuts: int) -> None:
    stores = sealing(interval=NEVER)
    for _ in range(cuts):
        await cut_off_behind_its_epoch(stores)
    assert await stores.snapshot() == {}
    assert stores.ost is not None
    report = await audit_store(stores.lab.etcd, stores.ost, stores.keys)
    assert (report.findings, "first opening was cut off" in report.notes[0]) == ((), True)
    store = await stores.open(etcd=stores.lab.etcd)
    assert (store.recovery, store.epoch) == (None, cuts + 1)


async def test_a_store_that_was_lost_before_its_first_segment_was_never_open_and_is_new(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    assert stores.faulty_ost is not None

    async def die(name: str, when: str) -> None:
        if (name, when) == ("ost write", "before") and await stores.snapshot():
            raise ost.UnavailableError("the process died")

    stores.faulty_ost.fault = die
    with pytest.raises(Unavailable):
        await stores.open()
    await stores.wipe()
    store = await stores.open(etcd=stores.lab.etcd)
    assert (store.recovery, store.epoch) == (None, 2)


async def test_what_was_committed_before_there_was_an_object_storage_is_missed_if_etcd_is_lost(
    sealing: Sealing,
) -> None:
    stores = sealing(interval=NEVER)
    alone = await open_store(stores.lab.etcd, number=stores.keys.store)
    await alone.commit(put("a"))
    await alone.close()
    await cut_off_behind_its_epoch(stores)
    await stores.wipe()
    store = await stores.open(etcd=stores.lab.etcd)
    assert (reported(store).case, reported(store).sequence) == (Case.WIPED, 0)


async def test_a_store_of_which_only_files_are_left_is_not_taken_for_a_new_one(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=SMALL)
    store = await stores.open()
    await write(store, 2)
    await checkpoint(store)
    await store.close()
    assert stores.ost is not None
    for name in (*await objects(stores, "wal/"), *await objects(stores, "manifest/")):
        await stores.ost.delete(f"{stores.keys.prefix}{name}")
    await stores.wipe()
    again = await stores.open()
    assert (reported(again).case, reported(again).sequence) == (Case.WIPED, 0)
