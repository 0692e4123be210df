"""Asking what became of a batch by its id: while its writer lives, after it, and when the place is known no more."""

import asyncio

import pytest

from lab.checkpoints import NEVER, checkpoint, remove_segments, seal, write
from lab.damage import scene
from lab.etcds import MemoryLab
from lab.stores import Stores, outcome, put
from runabout.datamanager import (
    BatchId,
    BrokenLog,
    Durability,
    Fenced,
    Outcome,
    SealPolicy,
    Store,
    Unavailable,
    Unknown,
)
from runabout.etcd import UnavailableError, UnknownOutcomeError
from runabout.ost import MemoryObjectStore
from runabout.ost import UnavailableError as AwayError


async def unknown(stores: Stores, store: Store, *, written: bool) -> BatchId:
    """Have a commit whose callers are not told what became of it; etcd is away afterwards."""
    sent = asyncio.Event()

    async def lose(call: str, when: str) -> None:
        if call == "txn":
            if when == ("after" if written else "before") and not sent.is_set():
                sent.set()
                raise UnknownOutcomeError("the connection broke")
            if sent.is_set():
                raise UnavailableError("nobody listens")

    stores.faulty.fault = lose
    told = await outcome(store.commit(put("a", b"1")))
    assert isinstance(told, Unknown)
    assert str(told).endswith(f"(batch {told.batch})")
    return told.batch


async def works(_call: str, _when: str) -> None:
    """Let every call through."""


@pytest.mark.parametrize("written", [True, False])
async def test_the_writer_itself_knows_once_it_has_settled(stores: Stores, *, written: bool) -> None:
    store = await stores.open(deadline=0.2)
    batch = await unknown(stores, store, written=written)
    asked = asyncio.ensure_future(store.outcome(batch))
    await asyncio.sleep(0)
    assert not asked.done()
    stores.faulty.fault = works
    assert await asked is Outcome.COMMITTED  # by the first attempt or by the one that found etcd again


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("more", [0, 3])
async def test_a_later_process_knows_what_a_dead_writer_could_not_tell(
    stores: Stores, *, written: bool, more: int
) -> None:
    store = await stores.open(deadline=0.2)
    batch = await unknown(stores, store, written=written)
    await store.halt()
    again = await stores.open(etcd=stores.lab.etcd)
    await write(again, more)
    assert await again.outcome(batch) is (Outcome.COMMITTED if written else Outcome.NOT_COMMITTED)


async def test_a_commit_that_is_under_way_when_its_store_is_closed_can_be_asked_for(stores: Stores) -> None:
    store = await stores.open()
    begun = asyncio.Event()

    async def hang(call: str, when: str) -> None:
        if (call, when) == ("txn", "after"):
            begun.set()
            await asyncio.Event().wait()

    stores.faulty.fault = hang
    told = asyncio.ensure_future(outcome(store.commit(put("a"))))
    await begun.wait()
    await store.close()
    error = await told
    assert isinstance(error, Unknown)
    assert await (await stores.open(etcd=stores.lab.etcd)).outcome(error.batch) is Outcome.COMMITTED


async def test_a_writer_that_was_replaced_does_not_say_what_it_cannot_know(stores: Stores) -> None:
    store = await stores.open()
    second = await stores.open(etcd=stores.lab.etcd)
    batch = (await second.commit(put("a"))).batch
    with pytest.raises(Fenced):
        await store.outcome(batch)
    assert await second.outcome(batch) is Outcome.COMMITTED


@pytest.mark.parametrize("text", ["", "1", "x" * 49, f"{1:016x}-{'A' * 32}", f"{1:016x}{'0' * 33}"])
async def test_what_is_no_id_is_refused(stores: Stores, text: str) -> None:
    store = await stores.open()
    with pytest.raises(ValueError, match="no batch's id"):
        await store.outcome(BatchId(text))


async def test_segments_know_what_etcd_has_no_more_and_what_was_collected_is_no_longer_known() -> None:
    policy = SealPolicy(interval=NEVER, keep=0)
    async with Stores(MemoryLab(), 0, ost=MemoryObjectStore(), policy=policy) as stores:
        store = await stores.open()
        early = (await store.commit(put("a"))).batch
        other = BatchId(early[:17] + "0" * 32)
        await seal(store)
        await write(store, 3)
        late = (await store.commit(put("b"))).batch
        await checkpoint(store)
        assert not [key for key in await stores.snapshot() if b"/wal/" in key]
        assert await store.outcome(early) is await store.outcome(late) is Outcome.COMMITTED
        assert await store.outcome(other) is Outcome.NOT_COMMITTED
        await remove_segments(stores, before=int(early[:16], 16) + 1)
        assert await store.outcome(early) is await store.outcome(other) is Outcome.FORGOTTEN
        assert await store.outcome(late) is Outcome.COMMITTED
        assert await store.outcome(BatchId(f"{10**6:016x}-{'0' * 32}")) is Outcome.NOT_COMMITTED


async def test_a_damaged_segment_or_an_object_storage_that_is_away_is_no_answer() -> None:
    async with scene() as it:
        store = await it.stores.open()
        batch = BatchId(f"{15:016x}-{'0' * 32}")
        key = it.stores.keys.segment(14)
        assert isinstance(it.stores.ost, MemoryObjectStore)
        it.stores.ost.fault = lambda *_: AwayError("nobody listens")
        with pytest.raises(Unavailable, match="nobody listens"):
            await store.outcome(batch)
        it.stores.ost.fault = lambda *_: None
        await it.change(key, lambda data: data[:-1])
        with pytest.raises(BrokenLog, match=key):
            await store.outcome(batch)


async def test_who_waits_for_the_object_storage_in_vain_can_ask_too() -> None:
    async with Stores(MemoryLab(), 0, ost=MemoryObjectStore(), durability=Durability.OBJECT) as stores:
        assert isinstance(stores.ost, MemoryObjectStore)
        store = await stores.open(deadline=0.2)
        stores.ost.fault = lambda operation, *_: AwayError("nobody listens") if operation == "write" else None
        told = await outcome(store.commit(put("a")))
        assert isinstance(told, Unknown)
        assert "not yet on the object storage" in str(told)
        stores.ost.fault = lambda *_: None
        assert await store.outcome(told.batch) is Outcome.COMMITTED
