"""An etcd that is restored from a snapshot, as people do it, with etcd's own tools, under a store that has gone on.

`test_recovery.py` sets etcd back in many more ways by writing what it had; what a real restore does besides is shown
here: a new cluster, other revisions, and a client and a writer that were connected to the old one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from lab.checkpoints import NEVER, SMALL, checkpoint, checkpointer, covered, seal, write
from lab.etcds import GrpcLab
from lab.stores import DOC, Stores, outcome, put, view
from runabout.datamanager import Case, Durability, Fenced, SealPolicy, Store
from runabout.datamanager.batch import decode_batch
from runabout.datamanager.segment import decode_segment
from runabout.ost import OstSettings, open_ost

RESTORES = {
    "as it was": (),
    "with higher revisions": ("--bump-revision=1000000", "--mark-compacted"),
}
"""Options of `etcdutl snapshot restore`; the second are for those who watch, and must not matter to a store."""


@dataclass(frozen=True, slots=True)
class Place:
    """An etcd of its own and a directory, and a store on both."""

    server: EtcdServer
    stores: Stores
    snapshot: Path

    async def save(self) -> None:
        await asyncio.to_thread(self.server.save, self.snapshot)

    async def restore(self, *options: str) -> None:
        await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(self.server.restore, self.snapshot, *options)
        await asyncio.to_thread(self.server.start)


@pytest.fixture
async def place(tmp_path: Path, store_numbers: Iterator[int]) -> AsyncIterator[Place]:
    server = EtcdServer(tmp_path / "etcd", fsync=False)
    await asyncio.to_thread(server.start)
    try:
        ost = await open_ost(OstSettings(f"file://{tmp_path}/ost"))
        async with (
            GrpcLab(server.endpoint) as lab,
            Stores(
                lab,
                next(store_numbers),
                ost=ost,
                policy=SealPolicy(interval=NEVER, keep=2),
                checkpoints=SMALL,
            ) as stores,
        ):
            yield Place(server, stores, tmp_path / "snapshot.db")
        await ost.close()
    finally:
        await asyncio.to_thread(server.kill)


async def go_on(store: Store, place: Place, kept: dict[str, bytes]) -> None:
    """The store is a whole one again: it is written, sealed, covered, and opened without anything to report."""
    await store.commit(put("new"))
    await checkpoint(store)
    await checkpointer(store).collect()
    again = await place.stores.open()
    assert (again.recovery, again.damage) == (None, ())
    assert (await view(again))[DOC] == kept | {"new": b""}


@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("cover", [False, True], ids=["sealed", "covered"])
@pytest.mark.parametrize("options", RESTORES.values(), ids=RESTORES)
async def test_after_the_restore_of_a_snapshot_all_that_was_sealed_is_there_and_what_is_lost_is_named(
    place: Place, durability: Durability, cover: bool, options: tuple[str, ...]
) -> None:
    stores = place.stores
    stores.durability = durability
    store = await stores.open()
    await write(store, 3)
    await seal(store)
    await place.save()
    saved = store.sequence
    await write(store, 5, prefix="later ")
    await seal(store)
    if cover:
        await checkpoint(store)
        await checkpointer(store).collect()
    kept, end = (await view(store))[DOC], store.sequence
    if durability is Durability.ETCD:
        await store.commit(put("not sealed"))
    await stores.crash()
    await place.restore(*options)
    again = await stores.open()
    assert (await view(again))[DOC] == kept, "the snapshot has less, the object storage all but what was not sealed"
    found = again.recovery
    assert found is not None
    assert found.head is not None
    assert (found.case, found.head.sequence, found.sequence) == (Case.SET_BACK, saved, end)
    assert f"it had sequence {saved}, the object storage goes up to sequence {end}" in str(found)
    assert "Whatever was committed after it is lost" in str(found)
    assert await covered(stores) == (end if cover else 0)
    await go_on(again, place, kept)


@pytest.mark.parametrize("options", RESTORES.values(), ids=RESTORES)
async def test_a_snapshot_of_the_log_s_end_loses_nothing_and_says_nothing(
    place: Place, options: tuple[str, ...]
) -> None:
    store = await place.stores.open()
    await write(store, 3)
    await seal(store)
    await write(store, 2, prefix="in etcd alone ")
    kept = (await view(store))[DOC]
    await place.save()
    await place.stores.crash()
    await place.restore(*options)
    again = await place.stores.open()
    assert again.recovery is None
    await go_on(again, place, kept)


async def test_a_writer_that_lives_through_a_restore_is_stopped_and_what_it_added_is_put_aside(place: Place) -> None:
    stores = place.stores
    first = await stores.open()
    await write(first, 3)
    await seal(first)
    await place.save()
    second = await stores.open()
    await write(second, 3, prefix="second ")
    await seal(second)
    kept, end = (await view(second))[DOC], second.sequence
    await place.restore()
    await write(first, 2, prefix="first ")  # it finds its own head again, and cannot know better
    assert isinstance(await outcome(second.commit(put("x"))), Fenced)
    again = await stores.open()
    assert (await view(again))[DOC] == kept
    found = again.recovery
    assert found is not None
    assert (found.case, found.sequence) == (Case.SET_BACK, end)
    assert found.refused is not None
    assert stores.ost is not None
    aside = decode_segment(await stores.ost.read(found.quarantine[0]), where="aside")
    keys = [decode_batch(value, where="aside").transactions[0][0].key for value, _ in aside.values]
    assert keys == ["first 0000", "first 0001"]
    assert isinstance(await outcome(first.commit(put("x"))), Fenced)
    await go_on(again, place, kept)
