"""A store whose commits are acknowledged when they are sealed: nothing that was said to be done needs etcd any more."""

import asyncio

import pytest

from contract.datamanager.conftest import Sealing
from lab.checkpoints import NEVER
from lab.sealing import WAIT, segments
from lab.stores import DOC, NOTE, Stores, note, outcome, put, view
from runabout.datamanager import (
    Committed,
    Durability,
    StorageFailed,
    Store,
    Transaction,
    Unknown,
    open_store,
)
from runabout.etcd import MemoryEtcd
from runabout.ost import UnavailableError, WriteFailedError

MANY = 200


def sealed_first(sealing: Sealing) -> Stores:
    """Return a store whose seals would wait for ever if nobody waited for them."""
    stores = sealing(interval=NEVER)
    stores.durability = Durability.OBJECT
    return stores


async def acknowledged(store: Store, transaction: Transaction) -> Committed:
    async with asyncio.timeout(WAIT):
        return await store.commit(transaction)


async def test_what_is_acknowledged_is_sealed_at_once_and_outlives_etcd(sealing: Sealing) -> None:
    stores = sealed_first(sealing)
    store = await stores.open()
    done = await acknowledged(store, put("a", b"1"))
    assert (await segments(stores))[-1][-1] >= done.sequence
    await stores.wipe()
    await store.close()
    again = await stores.open()
    assert (await view(again))[DOC] == {"a": b"1"}


async def test_many_who_wait_share_a_few_objects(sealing: Sealing) -> None:
    stores = sealed_first(sealing)
    store = await stores.open()
    before = len(await segments(stores))
    async with asyncio.timeout(WAIT):
        done = await asyncio.gather(*(store.commit(note(b"%d" % number)) for number in range(MANY)))
    assert sorted(each.appended[0] for each in done) == list(range(1, MANY + 1))
    assert len(await segments(stores)) - before <= 3
    await stores.wipe()
    assert len((await view(await stores.open()))[NOTE]) == MANY


async def test_those_who_come_while_something_is_sealed_share_the_next_object(sealing: Sealing) -> None:
    stores = sealed_first(sealing)
    store = await stores.open()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(call: str, when: str) -> None:
        if (call, when) == ("ost write", "before") and not begun.is_set():
            begun.set()
            await go_on.wait()

    stores.meet(slow)
    first = asyncio.ensure_future(acknowledged(store, put("first")))
    await begun.wait()
    later = [asyncio.ensure_future(acknowledged(store, note(b"%d" % number))) for number in range(20)]
    async for number, _ in store.numbered(NOTE):  # reads see what etcd has
        if number == len(later):
            break
    assert not any(each.done() for each in (first, *later))
    before = len(await segments(stores))
    go_on.set()
    done = [await each for each in (first, *later)]
    assert len(await segments(stores)) - before == 2
    assert [each.sequence for each in done] == sorted(each.sequence for each in done)


async def test_what_the_object_storage_does_not_take_in_time_is_unknown_and_settles_later(sealing: Sealing) -> None:
    stores = sealed_first(sealing)
    store = await stores.open(deadline=1.0)
    away = True

    async def fault(call: str, _when: str) -> None:
        if away and call.startswith("ost"):
            raise UnavailableError("nobody listens")

    stores.meet(fault)
    told = await outcome(store.commit(put("a")))
    assert isinstance(told, Unknown)
    assert "in etcd, and not yet on the object storage" in str(told)
    away = False
    async with asyncio.timeout(WAIT):
        await store.settled()
    await stores.wipe()
    assert (await view(await stores.open(etcd=stores.lab.etcd)))[DOC] == {"a": b""}


async def test_who_waits_when_the_store_is_closed_gets_a_last_seal(sealing: Sealing) -> None:
    stores = sealed_first(sealing)
    store = await stores.open()
    waiting = asyncio.ensure_future(store.commit(put("a")))
    await asyncio.sleep(0)
    await store.close()
    assert isinstance(await waiting, Committed)


async def test_who_waits_for_a_storage_that_stays_away_is_told_so_when_the_store_is_closed(sealing: Sealing) -> None:
    stores = sealed_first(sealing)
    store = await stores.open()
    met = asyncio.Event()

    async def fault(call: str, _when: str) -> None:
        if call.startswith("ost"):
            met.set()
            raise UnavailableError("nobody listens")

    stores.meet(fault)
    waiting = asyncio.ensure_future(outcome(store.commit(put("a"))))
    await met.wait()
    await store.close()
    told = await waiting
    assert isinstance(told, Unknown)
    assert "the store was closed" in str(told)


async def test_who_waits_when_the_device_of_the_object_storage_fails_is_told_so(sealing: Sealing) -> None:
    stores = sealed_first(sealing)
    store = await stores.open()

    async def fault(call: str, when: str) -> None:
        if (call, when) == ("ost write", "before"):
            raise WriteFailedError("input/output error")

    stores.meet(fault)
    assert isinstance(await outcome(store.commit(put("a"))), Unknown)
    assert isinstance(store.failed, StorageFailed)
    assert isinstance(await outcome(store.commit(put("b"))), StorageFailed)
    async with asyncio.timeout(WAIT):
        await store.settled()


async def test_without_an_object_storage_nothing_can_be_sealed() -> None:
    with pytest.raises(ValueError, match="without an object storage"):
        await open_store(MemoryEtcd(), durability=Durability.OBJECT)


async def test_a_commit_that_waits_only_for_etcd_is_not_sealed_at_once(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    before = await segments(stores)
    await acknowledged(store, put("a"))
    assert await segments(stores) == before
