"""What a newer manifest makes superfluous is deleted, later, and nothing else ever."""

from dataclasses import replace

import pytest

from contract.datamanager.conftest import Sealing
from lab.checkpoints import (
    NEVER,
    SMALL,
    checkpoint,
    checkpointer,
    objects,
    write,
)
from lab.stores import view
from runabout.datamanager import Fenced
from runabout.datamanager.objects import list_segments
from runabout.etcd import Put as EtcdPut

WAIT = 30.0


async def test_what_three_later_manifests_and_a_day_have_made_superfluous_goes(sealing: Sealing) -> None:
    policy = replace(SMALL, keep=3, small=0, orphan_seconds=-NEVER)
    stores = sealing(interval=NEVER, checkpoints=policy)
    store = await stores.open()
    made = []
    for part in range(6):
        await write(store, 3, size=100, prefix=f"{part % 2} ")
        made.append(await checkpoint(store))
    assert len(await objects(stores, "manifest/")) == 6
    await checkpointer(store).collect()
    base = f"store/{stores.keys.store}/"
    named = {each.object.removeprefix(base) for each_made in made[2:] for each in each_made.files}
    assert set(await objects(stores, "data/")) == named
    assert [int(key.removeprefix("manifest/")[:16], 16) for key in await objects(stores, "manifest/")] == [
        each.covers for each in made[2:]
    ]
    assert stores.ost is not None
    assert (await list_segments(stores.ost, stores.keys))[0] == made[2].sealed.first
    assert await view(await stores.open()) == await view(store)


async def test_what_is_young_stays(sealing: Sealing) -> None:
    policy = replace(SMALL, keep=0, small=0, keep_seconds=NEVER, orphan_seconds=NEVER)
    stores = sealing(interval=NEVER, checkpoints=policy)
    store = await stores.open()
    assert stores.ost is not None
    for part in range(3):
        await write(store, 3, prefix=f"{part}")
        await checkpoint(store)
    orphan = f"{1:016x}-{0:016x}-{bytes(16).hex()}"
    await stores.ost.write(f"{stores.keys.data}doc/{orphan}.parquet", b"of somebody who died")
    await stores.ost.write(f"{stores.keys.data}doc/notes.txt", b"of somebody else")
    before = await objects(stores)
    await checkpointer(store).collect()
    assert await objects(stores) == before


async def test_orphans_go_and_what_is_not_ours_stays(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, keep_seconds=NEVER, orphan_seconds=-NEVER))
    store = await stores.open()
    assert stores.ost is not None
    await write(store, 3)
    made = await checkpoint(store)
    name = f"{1:016x}-{0:016x}-{bytes(16).hex()}"
    later = f"{1:016x}-{99:016x}-{bytes(16).hex()}"
    for key in (f"doc/{name}.parquet", f"doc/{later}.parquet", "doc/notes.txt"):
        await stores.ost.write(stores.keys.data + key, b"x")
    await stores.ost.write(stores.keys.manifests + name, replace(made, epoch=0, files=()).encode())
    before = set(await objects(stores))
    await checkpointer(store).collect()
    assert before - set(await objects(stores)) == {f"data/doc/{name}.parquet", f"manifest/{name}"}


@pytest.mark.parametrize("what", ["another opening", "another manifest", "a wiped etcd"])
async def test_nothing_is_deleted_by_one_who_has_lost_the_store_while_it_listed(sealing: Sealing, what: str) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, orphan_seconds=-NEVER))
    store = await stores.open()
    for part in range(3):
        await write(store, 3, prefix=f"{part}")
        await checkpoint(store)
    lists = 0

    async def overtake(name: str, at: str) -> None:
        nonlocal lists
        lists += (name, at) == ("ost list", "after")
        if lists == 3:
            lists = 0
            if what == "another opening":
                await stores.open(etcd=stores.lab.etcd)
            elif what == "another manifest":
                await stores.lab.etcd.txn((), [EtcdPut(stores.keys.manifest, first)])
            else:
                await stores.wipe()

    first = b"something else"
    assert stores.faulty_ost is not None
    stores.faulty_ost.fault = overtake
    before = set(await objects(stores))
    with pytest.raises(Fenced):
        await checkpointer(store).collect()
    assert before <= set(await objects(stores))


async def test_a_writer_collects_only_what_a_manifest_of_its_own_made_superfluous(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, orphan_seconds=-NEVER))
    store = await stores.open()
    for part in range(3):
        await write(store, 3, prefix=f"{part}")
        await checkpoint(store)
    again = await stores.open()
    before = await objects(stores)
    await checkpointer(again).collect()
    assert await objects(stores) == before
