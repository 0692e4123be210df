"""The way of the log from etcd to the object storage, on both kinds of both."""

import asyncio
import random
from contextlib import aclosing

import pytest

from contract.datamanager.conftest import Sealing
from lab.sealing import WAIT, in_etcd, seal, sealed, segments, write
from lab.stores import DOC, NOTE, note, put, view
from runabout.datamanager import BrokenLog, Fenced, StoreError, Unavailable, follow_store
from runabout.datamanager.batch import encode_batch, next_chain
from runabout.datamanager.head import Meta, decode_meta, decode_sealed
from runabout.datamanager.sealer import KEPT
from runabout.datamanager.segment import encode_segment
from runabout.etcd import CompactedError, UnknownOutcomeError
from runabout.etcd import Put as EtcdPut
from runabout.ost import UnavailableError

NEVER = 3600.0
SOON = 0.01


async def test_what_is_committed_is_sealed_a_little_later_and_trimmed(sealing: Sealing) -> None:
    stores = sealing(interval=SOON, keep=3)
    store = await stores.open()
    for part in range(3):
        await write(store, 10, prefix=f"{part} ")
        await sealed(store)
    assert store.sealer is not None
    assert (store.sealer.sealed, store.sealer.waiting_bytes, store.sealer.trouble) == (31, 0, None)
    found = await segments(stores)
    assert found[0][0] == 1
    assert found[-1][1] == 31
    assert [first for first, _ in found[1:]] == [last + 1 for _, last in found[:-1]]
    assert await in_etcd(stores) == [29, 30, 31]
    pointer = await stores.lab.etcd.get(stores.keys.sealed)
    assert pointer is not None
    assert decode_sealed(pointer, where="sealed").last == 31
    assert [batch.sequence for batch in await stores.log()] == list(range(1, 32))


async def test_what_is_committed_while_the_log_is_sealed_is_left_to_the_next_time(sealing: Sealing) -> None:
    """Else one who commits without a pause would have every batch sealed by itself."""
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await write(store, 3)
    before, writes = store.sequence, 0

    async def meanwhile(call: str, when: str) -> None:
        nonlocal writes
        if call == "ost write" and when == "before":
            writes += 1
            if writes <= 5:
                await store.commit(put("meanwhile"))

    assert stores.faulty_ost is not None
    stores.faulty_ost.fault = meanwhile
    await seal(store)
    assert writes == 1
    assert store.sealer is not None
    assert (store.sealer.sealed, store.sequence) == (before, before + 1)
    await seal(store)
    assert store.sealer.sealed == before + 1


async def test_many_small_batches_share_a_segment_and_a_large_amount_is_split(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, target=100_000)
    store = await stores.open()
    await write(store, 50)
    await seal(store)
    assert await segments(stores) == [(1, 1), (2, 51)]
    store2 = await stores.open()
    for number in range(6):
        await store2.commit(put(f"large {number}", bytes([number]) * 1000 + b"".join(map(bytes, [range(256)])) * 150))
    async with asyncio.timeout(WAIT):
        await seal(store2)
    assert (await segments(stores))[-1][1] == 58


async def test_what_is_sealed_is_what_was_acknowledged_whatever_etcd_has_since(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await write(store, 5)
    await stores.lab.etcd.txn((), (EtcdPut(stores.keys.wal(4), b"damaged"),))
    await seal(store)
    await store.close()
    again = await stores.open()
    assert (again.sequence, again.recovery, again.damage) == (7, None, ())
    assert len((await view(again))[DOC]) == 5


async def test_more_than_is_kept_in_memory_is_sealed_too(sealing: Sealing) -> None:
    noise = random.Random(1)
    stores = sealing(interval=NEVER, target=KEPT // 4)
    store = await stores.open()
    for number in range(2 * KEPT // 1_000_000):
        await store.commit(put(f"{number}", noise.randbytes(1_000_000)))
    await seal(store)
    found = await segments(stores)
    assert found[-1][1] == store.sequence
    assert len(found) > 2 * KEPT // (KEPT // 4 + 2_000_000)
    seen = await view(store)
    await store.close()
    assert await view(await stores.open()) == seen


async def test_what_was_sealed_is_there_after_opening_again_and_so_is_the_rest(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, keep=2)
    store = await stores.open()
    await write(store, 10)
    await seal(store)
    await write(store, 5, prefix="later ")
    seen = await view(store)
    await store.close()
    again = await stores.open()
    assert (await view(again), again.sequence, again.recovery) == (seen, 17, None)
    assert again.sealer is not None
    assert again.sealer.waiting_bytes == 0
    assert await segments(stores) == [(1, 1), (2, 11), (12, 17)]
    third = await stores.open()
    assert await view(third) == seen


async def test_numbers_of_appends_go_on_over_sealed_and_trimmed_ones(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, keep=0)
    store = await stores.open()
    for _ in range(3):
        await store.commit(note(b"x"))
    await seal(store)
    assert await in_etcd(stores) == []
    again = await stores.open()
    assert (await again.commit(note(b"y"))).appended == (4,)
    assert len((await view(again))[NOTE]) == 4


async def test_a_store_that_was_never_sealed_is_sealed_from_its_beginning(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    ost, stores.ost, stores.faulty_ost = (stores.ost, stores.faulty_ost), None, None
    alone = await stores.open()
    await write(alone, 5)
    await alone.close()
    stores.ost, stores.faulty_ost = ost
    store = await stores.open()
    await seal(store)
    assert await segments(stores) == [(1, 6)]
    stores.ost = stores.faulty_ost = None
    with pytest.raises(BrokenLog, match="is on an object storage up to sequence 6: open it with that one"):
        await stores.open()


async def test_a_store_of_the_format_before_is_opened_and_has_this_one_from_then_on(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    ost, stores.ost, stores.faulty_ost = (stores.ost, stores.faulty_ost), None, None
    alone = await stores.open()
    await write(alone, 3)
    head = await stores.head()
    await alone.close()
    stores.ost, stores.faulty_ost = ost
    await stores.lab.etcd.txn((), [EtcdPut(stores.keys.meta, b"runabout-store-1" + head.incarnation)])
    again = await stores.open()
    assert len((await view(again))[DOC]) == 3
    meta = await stores.lab.etcd.get(stores.keys.meta)
    assert meta is not None
    assert meta.startswith(b"runabout-store-2")
    assert decode_meta(meta, where="meta") == Meta(head.incarnation, 1, head.incarnation)


# unclear outcomes


@pytest.mark.parametrize("call", ["ost write", "txn"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_attempt_without_an_answer_is_made_again_and_there_is_one_segment(
    sealing: Sealing, call: str, when: str
) -> None:
    stores = sealing(interval=SOON, keep=0)
    store = await stores.open()
    left = [UnavailableError("lost") if call == "ost write" else UnknownOutcomeError("lost")]

    async def lose(name: str, at: str) -> None:
        if (name, at) == (call, when) and left:
            raise left.pop()

    assert stores.faulty_ost is not None
    await store.commit(put("a"))
    stores.faulty.fault = stores.faulty_ost.fault = lose
    await sealed(store)
    assert left == []
    assert store.failed is None
    assert await segments(stores) == [(1, 1), (2, 2)]


async def test_a_segment_of_a_writer_that_died_before_it_told_etcd_is_adopted(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await write(store, 4)

    async def die(name: str, at: str) -> None:
        if (name, at) == ("txn", "before"):
            raise asyncio.CancelledError

    stores.faulty.fault = die
    with pytest.raises(asyncio.CancelledError):
        await seal(store)
    await stores.crash()
    again = await stores.open(etcd=stores.lab.etcd)
    assert again.sequence == 6
    assert await segments(stores) == [(1, 1), (2, 5), (6, 6)]


async def test_a_segment_that_a_replaced_writer_would_store_late_is_refused_and_it_hears_why(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    first = await stores.open()
    await write(first, 4)
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def pause(name: str, at: str) -> None:
        if (name, at) == ("ost write", "before"):
            paused.set()
            await go_on.wait()

    assert stores.faulty_ost is not None
    stores.faulty_ost.fault = pause
    late = asyncio.ensure_future(seal(first))
    await paused.wait()
    second = await stores.open(etcd=stores.lab.etcd)
    await write(second, 3, prefix="second ")
    go_on.set()
    with pytest.raises(Fenced, match="epoch 2, ours is 1"):
        await late
    await seal(second)
    assert await segments(stores) == [(1, 1), (2, 6), (7, 9)]
    with pytest.raises(Fenced):
        await first.commit(put("x"))
    assert await view(await stores.open(etcd=stores.lab.etcd)) == await view(second)


async def test_a_pointer_that_is_ahead_is_never_set_back_by_a_slower_sealer(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    first = await stores.open()
    await write(first, 4)
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def pause(name: str, at: str) -> None:
        if (name, at) == ("txn", "before"):
            paused.set()
            await go_on.wait()

    stores.faulty.fault = pause
    late = asyncio.ensure_future(seal(first))
    await paused.wait()
    second = await stores.open(etcd=stores.lab.etcd)
    await write(second, 3, prefix="second ")
    await seal(second)
    go_on.set()
    await late
    pointer = await stores.lab.etcd.get(stores.keys.sealed)
    assert pointer is not None
    assert decode_sealed(pointer, where="sealed").last == 9


# what must stop


async def test_two_histories_meet_at_the_name_of_a_segment_and_the_writer_stops(sealing: Sealing) -> None:
    stores = sealing(interval=SOON)
    store = await stores.open()
    await store.commit(put("a"))
    await sealed(store)
    batch = (await stores.log())[-1]
    assert stores.ost is not None
    meta = decode_meta(await stores.lab.etcd.get(stores.keys.meta) or b"", where="meta")
    foreign = encode_segment(
        [_value(3, batch.chain)],
        store_id=meta.store_id,
        first=3,
        epoch=9,
        incarnation=b"x" * 16,
        previous=batch.chain,
        chain=_chain(3, batch.chain),
    )
    await stores.ost.write(stores.keys.segment(3), foreign, create_only=True)
    await store.commit(put("b"))
    async with asyncio.timeout(WAIT):
        assert isinstance(await store.broken(), BrokenLog)
    assert "is of another history of this store" in str(store.failed)
    with pytest.raises(BrokenLog):
        await store.commit(put("c"))
    assert await stores.ost.read(stores.keys.segment(3)) == foreign


def _value(sequence: int, previous: bytes) -> bytes:
    return encode_batch(sequence=sequence, previous=previous, batch_id=b"f" * 16, transactions=())


def _chain(sequence: int, previous: bytes) -> bytes:
    return next_chain(previous, _value(sequence, previous))


async def test_a_replaced_writer_seals_nothing_more(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    first = await stores.open()
    await first.commit(put("a"))
    await stores.open()
    with pytest.raises(Fenced, match=r"epoch 2, ours is 1"):
        await seal(first)
    assert await segments(stores) == [(1, 1), (2, 3)]


async def test_etcd_that_was_wiped_or_set_back_stops_the_sealer(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await store.commit(put("a"))
    snapshot = await stores.snapshot()
    await store.commit(put("b"))
    await stores.set_back(snapshot)
    with pytest.raises(Fenced, match="was set back"):
        await seal(store)
    await stores.wipe()
    with pytest.raises(Fenced, match="is gone from etcd"):
        await seal(store)
    assert await segments(stores) == [(1, 1)]


# an object storage that is away


async def test_while_the_object_storage_is_away_commits_go_on_until_too_much_waits(sealing: Sealing) -> None:
    stores = sealing(interval=SOON, most_waiting=50_000)
    store = await stores.open()
    away = True

    tried = asyncio.Event()

    async def fail(_name: str, at: str) -> None:
        if away and at == "before":
            tried.set()
            raise UnavailableError("the bucket does not answer")

    assert stores.faulty_ost is not None
    assert store.sealer is not None
    stores.faulty_ost.fault = fail
    refused: StoreError | None = None
    await store.commit(put("first"))
    async with asyncio.timeout(WAIT):
        await tried.wait()
    committed = 1
    for number in range(100):
        try:
            await store.commit(put(str(number), number.to_bytes(2, "big") + _noise(number)))
            committed += 1
        except Unavailable as error:
            refused = error
            break
    assert committed > 10
    assert "wait for the object storage" in str(refused)
    assert "does not answer" in str(store.sealer.trouble)
    assert len((await view(store))[DOC]) == committed
    away = False
    await sealed(store)
    await store.commit(put("again"))
    assert store.failed is None


def _noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(2000)


# readers


async def test_a_reader_that_begins_late_or_falls_behind_reads_from_the_object_storage(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, keep=1)
    store = await stores.open()
    await write(store, 7)
    await seal(store)
    await write(store, 6, prefix="later ")
    await seal(store)
    await write(store, 2, prefix="last ")
    follower = await follow_store(stores.faulty, ost=stores.faulty_ost, number=stores.keys.store, interval=SOON)
    try:
        assert (follower.sequence, dict(await follower.scan(DOC))) == (16, (await view(store))[DOC])
        silent = asyncio.Event()

        async def mute(name: str, _at: str) -> None:
            if name in {"range", "event"}:
                await silent.wait()

        stores.faulty.fault = mute
        writer = await stores.open(etcd=stores.lab.etcd)
        await write(writer, 9, prefix="behind ")
        await seal(writer)
        silent.set()
        await follower.reached(writer.sequence, seconds=WAIT)
        assert dict(await follower.scan(DOC)) == (await view(writer))[DOC]
        assert follower.failed is None
    finally:
        await follower.close()
    with pytest.raises(BrokenLog, match="is missing"):
        await follow_store(stores.lab.etcd, number=stores.keys.store)


# etcd's own history


async def test_etcd_is_compacted_now_and_then_and_not_at_every_seal(sealing: Sealing) -> None:
    stores = sealing(interval=SOON, keep=0, compact_interval=0.05)
    compactions = 0

    async def count(name: str, at: str) -> None:
        nonlocal compactions
        compactions += (name, at) == ("compact", "after")

    stores.faulty.fault = count
    store = await stores.open()
    begun = (await stores.lab.etcd.range(stores.keys.head, stores.keys.sealed)).revision
    seals = 0
    async with asyncio.timeout(WAIT):
        while compactions < 2:
            await store.commit(put("a"))
            await sealed(store)
            seals += 1
    assert seals > 1
    with pytest.raises(CompactedError):
        async with aclosing(stores.lab.etcd.watch(stores.keys.wal(0), stores.keys.wal_end, revision=begun)) as events:
            await anext(events)
    assert store.failed is None
