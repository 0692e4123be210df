"""etcd loses its data, or goes back in time: what was sealed is there, what was not is reported, nothing is silent."""

import asyncio
import contextlib

import pytest

from contract.datamanager.conftest import Sealing
from lab.stores import DOC, Stores, put, view
from runabout.datamanager import Case, Fenced, Recovery, Store, StoreError, Unavailable, follow_store
from runabout.datamanager.batch import decode_batch
from runabout.datamanager.head import decode_head, decode_meta
from runabout.datamanager.objects import last_epoch, list_segments
from runabout.datamanager.segment import decode_segment, encode_segment
from runabout.etcd import UnknownOutcomeError
from runabout.ost import UnavailableError, iterate

NEVER = 3600.0
WAIT = 30.0


async def write(store: Store, count: int, *, prefix: str = "") -> None:
    for number in range(count):
        await store.commit(put(f"{prefix}{number}", b"body of %d" % number))


async def seal(store: Store) -> None:
    assert store.sealer is not None
    await store.sealer.seal()


async def objects(stores: Stores, prefix: str) -> list[str]:
    assert stores.ost is not None
    return [each.key async for each in iterate(stores.ost, f"store/{stores.keys.store}/{prefix}")]


def reported(store: Store) -> Recovery:
    assert store.recovery is not None
    return store.recovery


async def test_after_etcd_was_wiped_all_that_was_sealed_is_back_and_the_end_of_it_is_reported(
    sealing: Sealing,
) -> None:
    stores = sealing(interval=NEVER, keep=2)
    store = await stores.open()
    await write(store, 6)
    await seal(store)
    kept = view(store)
    before = await stores.head()
    await store.commit(put("not sealed"))
    await store.close()
    await stores.wipe()
    again = await stores.open()
    assert view(again) == kept
    found = reported(again)
    assert (found.case, found.sequence, found.head, found.refused) == (Case.WIPED, 7, None, None)
    assert found.sealed_at is not None
    after = await stores.head()
    assert after.incarnation != before.incarnation
    assert (after.sequence, again.epoch) == (8, before.epoch + 1)
    assert (await again.commit(put("new"))).sequence == 9
    await seal(again)
    third = await stores.open()
    assert third.recovery is None
    assert view(third)[DOC] == kept[DOC] | {"new": b""}


async def test_etcd_that_was_wiped_before_anything_was_sealed_is_reported_too(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    assert store.recovery is None
    await write(store, 2)
    await store.close()
    await stores.wipe()
    again = await stores.open()
    assert (reported(again).case, reported(again).sequence, view(again)[DOC]) == (Case.WIPED, 1, {})
    assert again.epoch == 2


@pytest.mark.parametrize("sealed_then", [0, 3])
async def test_after_etcd_was_set_back_nothing_that_was_sealed_is_lost(sealing: Sealing, sealed_then: int) -> None:
    stores = sealing(interval=NEVER, keep=1)
    store = await stores.open()
    await write(store, 3)
    if sealed_then:
        await seal(store)
    snapshot = await stores.snapshot()
    await write(store, 3, prefix="later ")
    await seal(store)
    kept = view(store)
    await store.commit(put("not sealed"))
    await store.close()
    await stores.set_back(snapshot)
    again = await stores.open()
    assert view(again) == kept
    found = reported(again)
    assert (found.case, found.sequence, found.refused, found.quarantine) == (Case.SET_BACK, 7, None, ())
    assert found.head is not None
    assert found.head.sequence == 4
    assert "sequence 4, the object storage goes up to sequence 7" in str(found)
    assert again.epoch == 2
    await again.commit(put("new"))
    await seal(again)
    third = await stores.open()
    assert third.recovery is None
    assert view(third)[DOC] == kept[DOC] | {"new": b""}


@pytest.mark.parametrize("more", [1, 4, 9], ids=["shorter", "as long", "longer"])
async def test_what_a_writer_added_to_an_etcd_that_was_set_back_is_put_aside_and_reported(
    sealing: Sealing, more: int
) -> None:
    stores = sealing(interval=NEVER, keep=2)
    first = await stores.open()
    await write(first, 4)
    await seal(first)
    snapshot = await stores.snapshot()
    second = await stores.open()
    await write(second, 3, prefix="second ")
    await seal(second)
    kept = view(second)
    await stores.set_back(snapshot)
    # The first writer finds its own head again, and cannot know better.
    await write(first, more, prefix="first ")
    again = await stores.open()
    assert view(again) == kept
    found = reported(again)
    assert (found.case, found.sequence, found.refused) == (Case.SET_BACK, 9, (6, 5 + more))
    assert await objects(stores, "quarantine/") == list(found.quarantine)
    assert stores.ost is not None
    aside = decode_segment(await stores.ost.read(found.quarantine[0]), where="aside")
    refused = [decode_batch(value, where="aside").transactions[0][0].key for value, _ in aside.values]
    assert refused == [f"first {number}" for number in range(more)]
    with pytest.raises(Fenced):
        await first.commit(put("x"))
    with pytest.raises(Fenced):
        await seal(first)
    await again.commit(put("new"))
    await seal(again)
    assert (await stores.open()).recovery is None


@pytest.mark.parametrize("loss", ["wiped", "set back"])
async def test_a_segment_that_a_writer_of_a_lost_life_stores_late_takes_nothing_from_what_was_acknowledged_since(
    sealing: Sealing, loss: str
) -> None:
    stores = sealing(interval=NEVER)
    first = await stores.open()
    snapshot = await stores.snapshot()
    await first.commit(put("lost"))
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def pause(name: str, at: str) -> None:
        if (name, at) == ("ost write", "before"):
            paused.set()
            await go_on.wait()

    assert stores.faulty_ost is not None
    stores.faulty_ost.fault = pause
    late = asyncio.ensure_future(seal(first))
    await paused.wait()
    await (stores.wipe() if loss == "wiped" else stores.set_back(snapshot))
    second = await stores.open(etcd=stores.lab.etcd)
    await second.commit(put("acknowledged"))
    go_on.set()
    with pytest.raises(Fenced):
        await late
    await seal(second)
    third = await stores.open(etcd=stores.lab.etcd)
    assert third.recovery is None
    assert view(third)[DOC] == {"acknowledged": b""}


async def test_an_opening_begins_again_when_a_writer_of_a_lost_life_was_quicker_at_the_next_segment(
    sealing: Sealing,
) -> None:
    stores = sealing(interval=NEVER)
    first = await stores.open()
    snapshot = await stores.snapshot()
    await first.commit(put("kept"))
    value = (await stores.snapshot())[stores.keys.wal(2)]
    head, meta = await stores.head(), decode_meta(snapshot[stores.keys.meta], where="meta")
    await stores.set_back(snapshot)
    late = encode_segment(
        [value],
        store_id=meta.store_id,
        first=2,
        epoch=1,
        incarnation=meta.incarnation,
        previous=decode_head(snapshot[stores.keys.head], where="head").chain,
        chain=head.chain,
    )
    stored = False

    async def overtake(name: str, at: str) -> None:
        nonlocal stored
        if (name, at) == ("ost write", "before") and not stored and await stores.lab.etcd.get(stores.keys.wal(2)):
            stored = True
            assert stores.ost is not None
            await stores.ost.write(stores.keys.segment(2), late, create_only=True)

    assert stores.faulty_ost is not None
    stores.faulty_ost.fault = overtake
    second = await stores.open()
    assert stored
    assert view(second)[DOC] == {"kept": b""}
    assert reported(second).case is Case.SET_BACK


async def test_an_epoch_is_never_given_twice_however_far_etcd_goes_back(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    await stores.open()
    snapshot = await stores.snapshot()
    epochs = [1]
    for number in range(4):
        await (stores.set_back(snapshot) if number % 2 else stores.wipe())
        epochs.append((await stores.open()).epoch)
    assert epochs == [1, 2, 3, 4, 5]
    assert stores.ost is not None
    assert await last_epoch(stores.ost, stores.keys, after=0) == 5


async def test_of_many_that_open_at_once_all_have_their_own_epoch_and_the_highest_can_write(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    async with asyncio.timeout(WAIT):
        found = await asyncio.gather(*(stores.open() for _ in range(4)), return_exceptions=True)
    opened = [store for store in found if isinstance(store, Store)]
    assert all(isinstance(each, Store | Fenced) for each in found)
    epochs = [store.epoch for store in opened]
    assert len(set(epochs)) == len(opened)

    async def works(store: Store) -> bool:
        try:
            await store.commit(put(str(store.epoch)))
        except Fenced:
            return False
        return True

    working = [store.epoch for store in opened if await works(store)]
    assert len(working) == 1
    assert working == [max(epochs)]


async def test_a_store_is_taken_over_from_a_writer_that_commits_all_the_time(sealing: Sealing) -> None:
    stores = sealing(interval=0.01, keep=5)
    busy = await stores.open()
    stop = asyncio.Event()

    async def work() -> int:
        number = 0
        while not stop.is_set():
            try:
                await busy.commit(put(str(number % 100)))
            except StoreError:
                return number
            number += 1
        return number

    working = asyncio.ensure_future(work())
    async with asyncio.timeout(WAIT):
        while busy.sequence < 20:
            await busy.commit(put("a"))
        second = await stores.open(etcd=stores.lab.etcd)
        stop.set()
        acknowledged = await working
    assert acknowledged > 0
    assert (second.recovery, second.sequence >= busy.sequence) == (None, True)
    await second.commit(put("b"))


async def test_what_a_replaced_writer_moves_while_the_next_one_opens_is_not_missing(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, keep=0)
    first = await stores.open()
    await write(first, 3)
    paused, go_on, listed = asyncio.Event(), asyncio.Event(), False
    late = asyncio.ensure_future(seal(first))

    async def trouble(name: str, at: str) -> None:
        nonlocal listed
        if asyncio.current_task() is late and (name, at) == ("ost write", "before"):
            paused.set()
            await go_on.wait()
        elif (name, at) == ("ost list", "after") and not listed and (await stores.head()).epoch == 2:
            # The writer is fenced and the segments are listed: now one more comes, and its batches go from etcd.
            listed = True
            go_on.set()
            await late

    assert stores.faulty_ost is not None
    stores.faulty_ost.fault = trouble
    await paused.wait()
    async with asyncio.timeout(WAIT):
        second = await stores.open()
    assert listed
    assert second.recovery is None
    assert len(view(second)[DOC]) == 3


async def test_a_reader_stops_when_a_new_life_begins_and_a_new_one_sees_it(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await write(store, 3)
    await seal(store)
    follower = await follow_store(stores.faulty, ost=stores.ost, number=stores.keys.store, interval=0.02)
    try:
        await store.close()
        await stores.wipe()
        again = await stores.open()
        async with asyncio.timeout(WAIT):
            failed = await follower.broken()
        assert "another incarnation" in str(failed) or "is not in etcd" in str(failed)
        assert len(dict(follower.scan(DOC))) == 3
    finally:
        await follower.close()
    other = await follow_store(stores.faulty, ost=stores.ost, number=stores.keys.store, interval=0.02)
    await again.commit(put("new"))
    await other.reached(again.sequence, seconds=WAIT)
    await other.close()


# every call of a recovery


async def _set_back_and_continued(stores: Stores) -> Store:
    first = await stores.open(etcd=stores.lab.etcd)
    await write(first, 2)
    await seal(first)
    snapshot = await stores.snapshot()
    second = await stores.open(etcd=stores.lab.etcd)
    await write(second, 2, prefix="second ")
    await seal(second)
    await stores.set_back(snapshot)
    await write(first, 4, prefix="first ")
    return second


async def _wiped(stores: Stores) -> Store:
    store = await stores.open(etcd=stores.lab.etcd)
    await write(store, 4)
    await seal(store)
    await stores.wipe()
    return store


@pytest.mark.parametrize("sealing", ["memory", "etcd and a directory"], indirect=True)
@pytest.mark.parametrize("what", ["wiped", "set back"])
@pytest.mark.parametrize("kind", ["fails", "loses its answer", "is overtaken"])
async def test_a_recovery_that_is_cut_off_at_any_call_is_made_by_the_next_opening(
    sealing: Sealing, what: str, kind: str
) -> None:
    at = 0
    while True:
        at += 1
        async with asyncio.timeout(WAIT), sealing(interval=NEVER) as stores:
            truth = await (_wiped if what == "wiped" else _set_back_and_continued)(stores)
            calls, met = 0, False
            chosen: asyncio.Task[object] | None = None

            async def trouble(name: str, when: str, at: int = at, stores: Stores = stores) -> None:
                nonlocal calls, met, chosen
                calls += when == "before"
                if calls == at and when == "before":
                    chosen = asyncio.current_task()  # segments are read several at a time
                wanted = "after" if kind == "loses its answer" else "before"
                if met or when != wanted or asyncio.current_task() is not chosen:
                    return
                met = True
                if kind == "is overtaken":
                    await stores.open(etcd=stores.lab.etcd)
                elif name.startswith("ost"):
                    raise UnavailableError("no answer")
                else:
                    raise UnknownOutcomeError("no answer")

            assert stores.faulty_ost is not None
            stores.faulty.fault = stores.faulty_ost.fault = trouble
            with contextlib.suppress(Unavailable, Fenced):
                await stores.open()
            stores.faulty.fault = stores.faulty_ost.fault = _fine
            again = await stores.open()
            assert view(again) == view(truth)
            await again.commit(put("new"))
            await seal(again)
            assert (await stores.open()).recovery is None
            assert stores.ost is not None
            assert len(await list_segments(stores.ost, stores.keys)) >= 2
            if what == "set back":
                kept = await objects(stores, "quarantine/")
                assert kept
            if not met:
                assert at > 8
                return


async def _fine(_name: str, _when: str) -> None:
    return
