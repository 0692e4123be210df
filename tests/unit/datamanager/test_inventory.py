"""What a store has, counted without opening it."""

import asyncio
from pathlib import Path

import pytest

from lab.damage import CHANGES, scene
from lab.stores import DOC, NOTE, put, view
from runabout.datamanager import Delete, StoreError, Transaction
from runabout.datamanager.head import Keys
from runabout.datamanager.inventory import take_inventory


async def test_the_inventory_counts_what_there_is(tmp_path: Path) -> None:
    async with scene() as it:
        before = await it.contents()
        found = await take_inventory(it.stores.lab.etcd, it.ost, it.stores.keys, scratch=tmp_path)
        assert await it.contents() == before
    assert (found.store, found.epoch, found.sequence, found.sealed, found.covers) == (0, 1, 18, 16, 13)
    assert found.documents == {kind: len(documents) for kind, documents in it.documents.items()}
    assert found.waiting.count == 2
    counts = {kind: amount.count for kind, amount in found.objects.items()}
    assert counts == {"data files": 3, "epochs": 1, "identity": 1, "manifests": 2, "segments": 4}
    sizes = {key: len(body) for key, body in before[1].items()}
    assert found.objects["segments"].size == sum(size for key, size in sizes.items() if "/wal/" in key)
    assert not any(await asyncio.to_thread(lambda: list(tmp_path.iterdir())))


async def test_documents_that_were_changed_or_deleted_after_the_checkpoint_are_counted_once(tmp_path: Path) -> None:
    async with scene() as it:
        store = await it.stores.open()
        await store.commit(put("a 0000", b"again"))
        await store.commit(Transaction((Delete(DOC, "b 0003"), Delete(DOC, "nowhere"), Delete(NOTE, "0" * 15 + "1"))))
        assert it.stores.ost is not None
        found = await take_inventory(it.stores.lab.etcd, it.ost, it.stores.keys, scratch=tmp_path)
        assert found.documents == {kind: len(documents) for kind, documents in (await view(store)).items()}


async def test_data_files_in_whose_range_nothing_changed_are_not_read(tmp_path: Path) -> None:
    async with scene() as it:
        store = await it.stores.open()
        await store.commit(put("0 before all"))
        documents = await view(store)
        for key in (it.stores.keys.segment(2), *(file.object for file in it.second.files)):
            await it.change(key, CHANGES["zeros"])
        assert it.stores.ost is not None
        found = await take_inventory(it.stores.lab.etcd, it.ost, it.stores.keys, scratch=tmp_path)
        assert found.documents == {kind: len(documents) for kind, documents in documents.items()}
        assert found.covers == it.second.covers


async def test_the_inventory_of_a_store_whose_etcd_was_wiped_is_that_of_the_object_storage(tmp_path: Path) -> None:
    async with scene() as it:
        await it.stores.wipe()
        found = await take_inventory(it.stores.lab.etcd, it.ost, it.stores.keys, scratch=tmp_path)
        assert (found.incarnation, found.sequence, found.sealed, found.waiting.count) == (None, 16, 16, 0)
        with pytest.raises(StoreError, match="there is no store 1: neither in etcd nor on the object storage"):
            await take_inventory(it.stores.lab.etcd, it.ost, Keys(1), scratch=tmp_path)
