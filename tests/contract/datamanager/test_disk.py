"""A disk under the object storage that is full, or fails: what the store makes of it."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.checkpoints import NEVER
from lab.etcds import MemoryLab
from lab.stores import DOC, Stores, put, view
from runabout.datamanager import CheckpointPolicy, SealPolicy, StorageFailed, Store
from runabout.ost import FullError, MemoryObjectStore, OstSettings, WriteFailedError, open_ost

SOON = 0.01
WAIT = 30.0


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    ost = await open_ost(OstSettings(f"file://{tmp_path}"))
    async with Stores(MemoryLab(), 0, ost=ost, policy=SealPolicy(interval=SOON)) as made:
        yield made
    await ost.close()


async def broken(store: Store) -> Exception:
    async with asyncio.timeout(WAIT):
        return await store.broken()


async def sealed(store: Store) -> None:
    assert store.sealer is not None
    async with asyncio.timeout(WAIT), store.sealer.changed:
        await store.sealer.changed.wait_for(lambda: store.sealer is not None and store.sealer.sealed == store.sequence)


async def test_a_full_disk_delays_sealing_and_nothing_half_written_is_seen(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await stores.open()
    met, write = asyncio.Event(), os.write
    loop = asyncio.get_running_loop()

    def full(file: int, data: bytes) -> int:
        loop.call_soon_threadsafe(met.set)
        if len(data) > 20:
            return write(file, data[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert stores.ost is not None
    before = [each.key for each in await stores.ost.list()]
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        await store.commit(put("a"))
        async with asyncio.timeout(WAIT):
            await met.wait()
            while not isinstance(store.sealer.trouble if store.sealer else None, FullError):  # noqa: ASYNC110 - not told
                await asyncio.sleep(SOON)
        await store.commit(put("b"))
        assert [each.key for each in await stores.ost.list()] == before
        assert store.failed is None
    await sealed(store)
    assert sorted((await view(await stores.open()))[DOC]) == ["a", "b"]


@pytest.mark.parametrize("call", ["fsync", "write"])
async def test_a_device_that_fails_makes_the_store_read_only_until_it_is_opened_again(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = await stores.open()
    await store.commit(put("a"))
    await sealed(store)

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        await store.commit(put("b"))
        assert isinstance(await broken(store), StorageFailed)
    with pytest.raises(StorageFailed, match=r"the object storage's device failed: writing .*check the disk"):
        await store.commit(put("c"))
    assert sorted((await view(store))[DOC]) == ["a", "b"], "reads go on"
    again = await stores.open()
    await again.commit(put("c"))
    await sealed(again)
    assert sorted((await view(again))[DOC]) == ["a", "b", "c"]


async def test_a_device_that_fails_under_a_checkpoint_stops_the_store_too() -> None:
    ost = MemoryObjectStore()
    policy = CheckpointPolicy(interval=NEVER, target=1)
    async with Stores(MemoryLab(), 0, ost=ost, policy=SealPolicy(interval=SOON), checkpoints=policy) as stores:
        ost.fault = lambda _operation, key, _done: WriteFailedError("writing: EIO") if "/data/" in key else None
        store = await stores.open()
        await store.commit(put("a"))
        assert isinstance(await broken(store), StorageFailed)
