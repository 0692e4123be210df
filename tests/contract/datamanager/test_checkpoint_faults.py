"""Whatever call of a checkpoint or a collection meets a fault, and whoever is paused: no document is lost."""

import asyncio
from dataclasses import replace
from types import NoneType

import pytest

from contract.datamanager.conftest import Sealing
from lab.checkpoints import (
    NEVER,
    SMALL,
    checkpoint,
    checkpointer,
    covered,
    objects,
    seal,
    write,
)
from lab.etcds import MemoryLab
from lab.stores import DOC, Stores, put, view
from lab.trouble import KINDS, Trouble, kill, until_met
from runabout.datamanager import Fenced, Store, StoreError
from runabout.etcd import Compare, EtcdError, TxnResult, UnknownOutcomeError
from runabout.etcd import Put as EtcdPut
from runabout.ost import OstError

WAIT = 30.0


@pytest.mark.parametrize("when", ["while it writes files", "before it tells etcd"])
@pytest.mark.parametrize("wiped", [False, True], ids=["another opening", "another life"])
async def test_what_a_paused_checkpointer_covers_never_replaces_more(sealing: Sealing, when: str, wiped: bool) -> None:
    stores = sealing(interval=NEVER, checkpoints=SMALL)
    first = await stores.open()
    await write(first, 5)
    await seal(first)
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def pause(name: str, at: str) -> None:
        if (name, at) == ("ost write" if when == "while it writes files" else "txn", "before"):
            paused.set()
            await go_on.wait()

    assert stores.faulty_ost is not None
    stores.faulty.fault = stores.faulty_ost.fault = pause
    async with asyncio.timeout(WAIT):
        late = asyncio.ensure_future(checkpointer(first).checkpoint())
        await paused.wait()
        if wiped:
            await stores.wipe()
        second = await stores.open(etcd=stores.lab.etcd)
        await write(second, 5, prefix="second ")
        made = await checkpoint(second)
        await checkpointer(second).collect()
        go_on.set()
        with pytest.raises(Fenced):
            await late
    assert await covered(stores) == made.covers
    third = await stores.open(etcd=stores.lab.etcd)
    assert (await view(third), third.damage, checkpointer(third).covers) == (await view(second), (), made.covers)
    # And what the late one left behind is collected.
    collecting = sealing(number=stores.keys.store, interval=NEVER, checkpoints=replace(SMALL, orphan_seconds=-NEVER))
    last = await collecting.open()
    newest = await checkpoint(last)
    await checkpointer(last).collect()
    found = await objects(stores, "data/")
    assert found == sorted(each.object.removeprefix(f"store/{stores.keys.store}/") for each in newest.files)
    assert len(await objects(stores, "manifest/")) == 1


async def test_a_publication_that_arrives_late_replaces_none_that_was_made_since(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await write(store, 3)
    await seal(store)
    held: list[tuple[list[Compare], list[EtcdPut]]] = []

    async def hold(compares: list[Compare], puts: list[EtcdPut], **_: object) -> TxnResult:
        held.append((compares, puts))
        raise UnknownOutcomeError("it is on its way")

    with monkeypatch.context() as patch:
        patch.setattr(stores.faulty, "txn", hold)
        with pytest.raises(UnknownOutcomeError):
            await checkpointer(store).checkpoint()
    await write(store, 3, prefix="later ")
    made = await checkpoint(store)
    ((compares, puts),) = held
    assert not (await stores.lab.etcd.txn(compares, puts)).succeeded
    assert await covered(stores) == made.covers
    assert await view(await stores.open()) == await view(store)


async def test_two_who_make_a_checkpoint_at_once_agree(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await write(store, 5)
    await seal(store)
    other = await stores.open()
    with pytest.raises(Fenced):
        await checkpointer(store).checkpoint()
    made = await checkpoint(other)
    assert await covered(stores) == made.covers
    assert await view(await stores.open()) == await view(other)


FAULTS = tuple(kind for kind in KINDS if "refused" not in kind)


async def _two_checkpoints_and_a_collection(store: Store) -> None:
    """Tried again a few times, as the checkpointer does by itself."""
    for part in ("0", "1"):
        await write(store, 3, prefix=part, size=100)
        for _ in range(3):
            try:
                await checkpoint(store)
                await checkpointer(store).collect()
            except (OstError, EtcdError):
                continue
            break


@pytest.mark.parametrize("kind", FAULTS)
async def test_whatever_call_of_a_checkpoint_meets_a_fault_nothing_is_lost(sealing: Sealing, kind: str) -> None:
    policy = replace(SMALL, small=0, orphan_seconds=-NEVER)

    async def begin(at: int) -> tuple[Stores, Store, Trouble]:
        stores = sealing(interval=NEVER, keep=0, checkpoints=policy)
        store = await stores.open()
        await write(store, 3, prefix="first ", size=100)
        await checkpoint(store)
        trouble = Trouble(at, kind)
        assert stores.faulty_ost is not None
        stores.faulty.fault = stores.faulty_ost.fault = trouble
        return stores, store, trouble

    stores, store, counter = await begin(0)
    await _two_checkpoints_and_a_collection(store)
    assert len(counter.names) > 30
    first, step = (1, 1) if isinstance(stores.lab, MemoryLab) else (1 + FAULTS.index(kind), len(FAULTS))
    for at in range(first, len(counter.names) + 1, step):
        async with asyncio.timeout(WAIT):
            stores, store, trouble = await begin(at)
            before = await covered(stores)
            process = await until_met(trouble, _two_checkpoints_and_a_collection(store))
            if kind.startswith("crashes"):
                await kill(process, stores)
            elif kind.startswith("is paused"):
                other = await stores.open(etcd=stores.lab.etcd)
                await write(other, 2, prefix="other ", size=100)
                made = await checkpoint(other)
                await checkpointer(other).collect()
                trouble.go_on.set()
                await asyncio.wait((process,))
                assert isinstance(process.exception(), StoreError | NoneType)
                assert await covered(stores) == made.covers
            else:
                await process
            assert await covered(stores) >= before
            await _check(stores, at)


async def _check(stores: Stores, at: int) -> None:
    """What is in the log is what a store shows that was opened from what was left, and nothing superfluous stays."""
    again = await stores.open(etcd=stores.lab.etcd)
    assert again.damage == (), f"call {at}"
    assert {f"first {number:04}" for number in range(3)} <= set((await view(again))[DOC])
    await again.commit(put("afterwards"))
    made = await checkpoint(again)
    await checkpointer(again).collect()
    base = f"store/{stores.keys.store}/"
    assert await objects(stores, "data/") == sorted(each.object.removeprefix(base) for each in made.files)
    assert len(await objects(stores, "manifest/")) == 1
    last = await stores.open(etcd=stores.lab.etcd)
    assert await view(last) == await view(again)
    await last.close()
