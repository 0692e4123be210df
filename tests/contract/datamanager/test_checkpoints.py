"""Checkpoints: a store opens from one as from the whole log, also after etcd was lost or something was damaged."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from contract.datamanager.conftest import Sealing
from lab.checkpoints import (
    NEVER,
    SMALL,
    checkpoint,
    checkpointer,
    covered,
    manifest,
    objects,
    remove_segments,
    seal,
    write,
)
from lab.stores import DOC, NOTE, Stores, delete, note, put, view
from runabout.datamanager import BrokenLog, Case, CheckpointPolicy, Damaged, Delete, Store, Transaction, follow_store

WAIT = 30.0


async def test_a_store_opens_from_its_checkpoint_and_reads_no_segment_before_it(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, keep=0)
    store = await stores.open()
    for part in range(5):
        await write(store, 4, prefix=f"{part} ")
        await seal(store)
    await store.commit(delete("0 0000"))
    made = await checkpoint(store)
    await write(store, 3, prefix="sealed later ")
    await seal(store)
    await write(store, 3, prefix="not sealed ")
    seen = await view(store)
    assert (made.covers, await covered(stores)) == (22, 22)
    await remove_segments(stores, before=made.sealed.first)
    again = await stores.open()
    assert (await view(again), again.damage, again.recovery) == (seen, (), None)
    assert checkpointer(again).covers == 22


async def test_numbers_of_appends_go_on_over_a_checkpoint_also_if_all_were_deleted(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, keep=0)
    store = await stores.open()
    for _ in range(3):
        await store.commit(note(b"x"))
    made = await checkpoint(store)
    assert (dict(made.numbers), [each.count for each in made.files]) == ({NOTE: 3}, [3])
    await store.commit(Transaction(tuple(Delete(NOTE, f"{number:016x}") for number in (1, 2, 3))))
    made = await checkpoint(store)
    await store.commit(put("of another type"))
    await checkpoint(store)
    await remove_segments(stores, before=made.sealed.first)
    again = await stores.open()
    assert (await view(again))[NOTE] == {}
    assert (await again.commit(note(b"y"))).appended == (4,)


async def test_a_reader_begins_with_the_checkpoint_and_follows(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, keep=0)
    store = await stores.open()
    await write(store, 5)
    made = await checkpoint(store)
    await write(store, 5, prefix="later ")
    await seal(store)
    await remove_segments(stores, before=made.sealed.first)
    async with asyncio.timeout(WAIT):
        reader = await follow_store(stores.lab.etcd, ost=stores.ost, number=stores.keys.store)
        last = await store.commit(put("last"))
        await reader.reached(last.sequence, seconds=WAIT)
        assert dict(await reader.scan(DOC)) == (await view(store))[DOC]
        await reader.close()


async def test_only_the_file_is_made_again_into_whose_range_something_was_written(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, small=0))
    store = await stores.open()
    await write(store, 40, size=100)
    first = await checkpoint(store)
    touched = [each for each in first.files if each.first <= "0010" <= each.last]
    assert (len(touched), len(first.files) > 5) == (1, True)
    await store.commit(put("0010", b"new"))
    await store.commit(put("0010 and a half", b"x"))
    await store.commit(note(b"another type"))
    second = await checkpoint(store)
    assert [each for each in first.files if each not in second.files] == touched
    assert second.previous is not None
    assert second.previous.covers == first.covers
    ranges = [(each.first, each.last) for each in second.of(DOC)]
    assert all(one[1] < other[0] for one, other in itertools.pairwise(ranges))
    assert await view(await stores.open()) == await view(store)


async def test_small_files_become_one(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    for part in range(4):
        await write(store, 3, prefix=f"{part} ")
        made = await checkpoint(store)
    assert [(each.first, each.last, each.count) for each in made.files] == [("0 0000", "3 0002", 12)]


async def test_more_than_one_checkpoint_takes_is_covered_in_steps(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, most_changes=500))
    store = await stores.open()
    for part in range(8):
        await write(store, 5, size=50, prefix=f"{part} ")
        await seal(store)
    made = await checkpoint(store)
    assert made.covers == store.sequence
    assert len(await objects(stores, "manifest/")) > 2
    assert await view(await stores.open()) == await view(store)


# when


async def test_a_checkpoint_is_made_when_enough_was_sealed(sealing: Sealing) -> None:
    policy = CheckpointPolicy(interval=NEVER, target=1_000)
    stores = sealing(interval=0.01, checkpoints=policy)
    store = await stores.open()
    made = checkpointer(store)
    async with asyncio.timeout(WAIT), made.changed:
        await write(store, 20)
        await made.changed.wait_for(lambda: made.covers > 1)
    assert (await covered(stores), made.trouble) == (made.covers, None)


async def test_a_checkpoint_is_made_after_a_while_and_none_while_nothing_is_written(sealing: Sealing) -> None:
    stores = sealing(interval=0.01, checkpoints=CheckpointPolicy(interval=0.05, collect_interval=0.0))
    store = await stores.open()
    made = checkpointer(store)
    async with asyncio.timeout(WAIT), made.changed:
        await store.commit(put("a"))
        await made.changed.wait_for(lambda: made.covers == 2)
    before = stores.faulty.calls
    assert stores.faulty_ost is not None
    calls = (-1, -1)
    async with asyncio.timeout(WAIT):  # the collection after it may still be under way
        while calls != (calls := (stores.faulty.calls, stores.faulty_ost.calls)):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3), made.changed:
                    await made.changed.wait()
    assert calls[0] - before <= 1


# losses of etcd


async def test_a_store_whose_etcd_was_wiped_goes_on_from_its_checkpoint(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, keep=0)
    store = await stores.open()
    await write(store, 5)
    made = await checkpoint(store)
    await write(store, 2, prefix="later ")
    await seal(store)
    kept = await view(store)
    await store.commit(put("not sealed"))
    await store.close()
    await remove_segments(stores, before=made.sealed.first)
    await stores.wipe()
    again = await stores.open()
    assert again.recovery is not None
    assert (again.recovery.case, again.recovery.sequence, await view(again)) == (Case.WIPED, 8, kept)
    assert await covered(stores) == made.covers
    await again.commit(put("new"))
    newer = await checkpoint(again)
    assert newer.covers > made.covers
    assert (await view(await stores.open()))[DOC] == kept[DOC] | {"new": b""}


@pytest.mark.parametrize("gone", [False, True], ids=["segments are there", "segments are gone"])
async def test_an_etcd_that_was_set_back_behind_a_checkpoint_is_set_right(sealing: Sealing, gone: bool) -> None:
    stores = sealing(interval=NEVER, keep=1000)
    store = await stores.open()
    await write(store, 3)
    await checkpoint(store)
    snapshot = await stores.snapshot()
    await write(store, 3, prefix="later ")
    made = await checkpoint(store)
    kept = await view(store)
    await store.close()
    await stores.set_back(snapshot)
    if gone:
        await remove_segments(stores, before=made.sealed.first)
    again = await stores.open()
    assert again.recovery is not None
    assert (again.recovery.case, await view(again), await covered(stores)) == (Case.SET_BACK, kept, made.covers)
    # What cannot be compared is kept.
    assert again.recovery.refused == ((1, 4) if gone else None)
    assert await view(await stores.open()) == kept


async def test_batches_of_another_history_are_told_from_those_before_the_log_begins(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, keep=1000)
    first = await stores.open()
    await write(first, 3)
    made = await checkpoint(first)
    snapshot = await stores.snapshot()
    second = await stores.open()
    await write(second, 2, prefix="second ")
    await seal(second)
    kept = await view(second)
    await stores.set_back(snapshot)
    await write(first, 4, prefix="first ")
    await remove_segments(stores, before=made.sealed.first)
    again = await stores.open()
    assert again.recovery is not None
    # 1 is gone from the segments, but 4, which is there, continues it.
    assert (again.recovery.refused, await view(again)) == ((5, 8), kept)


# damage


Damage = Callable[[bytes], bytes | None]
DAMAGES: dict[str, Damage] = {
    "missing": lambda _: None,
    "empty": lambda _: b"",
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"x",
    "changed": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "zeros": lambda data: bytes(len(data)),
}


async def _damaged(stores: Stores, key: str, damage: Damage) -> None:
    assert stores.ost is not None
    data = damage(await stores.ost.read(key))
    await stores.ost.delete(key)
    if data is not None:
        await stores.ost.write(key, data)


async def _checkpointed_twice(stores: Stores) -> Store:
    store = await stores.open()
    await write(store, 5)
    await checkpoint(store)
    await write(store, 5, prefix="later ")
    await checkpoint(store)
    await store.commit(put("after"))
    return store


@pytest.mark.parametrize("kind", ["manifest", "data file"])
@pytest.mark.parametrize("name", DAMAGES)
async def test_in_place_of_what_is_damaged_the_log_says_the_same_and_it_is_reported(
    sealing: Sealing, name: str, kind: str
) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, small=0))
    store = await _checkpointed_twice(stores)
    newest = (await objects(stores, "manifest/"))[-1]
    key = f"store/{stores.keys.store}/{newest}" if kind == "manifest" else manifest(store).files[-1].object
    seen = await view(store)
    await store.close()
    await _damaged(stores, key, DAMAGES[name])
    again = await stores.open()
    assert await view(again) == seen
    assert key in again.damage[0]
    async with asyncio.timeout(WAIT):
        reader = await follow_store(stores.lab.etcd, ost=stores.ost, number=stores.keys.store)
        assert dict(await reader.scan(DOC)) == seen[DOC]
        await reader.close()
    # The next checkpoint stands on what held, and covers more than the damaged one.
    before = await covered(stores)
    await again.commit(put("new"))
    await checkpoint(again)
    assert await covered(stores) > before
    third = await stores.open()
    assert (await view(third), third.damage) == (seen | {DOC: seen[DOC] | {"new": b""}}, ())


async def test_covers_does_not_go_back_while_a_damaged_manifest_is_replaced(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    for part in range(3):
        await write(store, 3, prefix=f"{part} ")
        await seal(store)
    before = (await checkpoint(store)).covers
    newest = (await objects(stores, "manifest/"))[-1]
    await _damaged(stores, f"store/{stores.keys.store}/{newest}", DAMAGES["changed"])
    in_steps = sealing(number=stores.keys.store, interval=NEVER, checkpoints=replace(SMALL, most_changes=1))
    again = await in_steps.open()
    seen: list[int] = []

    async def look(name: str, at: str) -> None:
        if (name, at) == ("txn", "after"):
            seen.append(await covered(in_steps))

    in_steps.faulty.fault = look
    await checkpoint(again)
    assert min(seen) >= before
    assert seen[-1] == again.sequence


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_manifest_without_a_second_copy_is_named_and_the_store_is_not_opened(
    sealing: Sealing, name: str
) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await write(store, 5)
    made = await checkpoint(store)
    await remove_segments(stores, before=made.sealed.first)
    only = (await objects(stores, "manifest/"))[0]
    key = f"store/{stores.keys.store}/{only}"
    await _damaged(stores, key, DAMAGES[name])
    with pytest.raises(BrokenLog, match=key):
        await stores.open()
    with pytest.raises(BrokenLog, match=key):
        await follow_store(stores.lab.etcd, ost=stores.ost, number=stores.keys.store)


@pytest.mark.parametrize("name", DAMAGES)
async def test_documents_without_a_second_copy_are_an_error_that_names_their_object_and_all_others_are_read(
    sealing: Sealing, name: str
) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, small=0))
    store = await stores.open()
    await write(store, 5)
    await checkpoint(store)
    await write(store, 5, prefix="later ")
    made = await checkpoint(store)
    await remove_segments(stores, before=made.sealed.first)
    key = made.files[0].object
    kept = await stores.lab.etcd.get(stores.keys.manifest), await stores.ost.read(key) if stores.ost else b""
    await store.close()
    await _damaged(stores, key, DAMAGES[name])
    again = await stores.open()
    for _ in range(2):
        with pytest.raises(Damaged, match=key):
            await again.get(DOC, "0003")
        with pytest.raises(Damaged, match=key):
            await again.scan(DOC, limit=3)
    assert [each for each, _ in await again.scan(DOC, prefix="later ")] == [f"later {at:04}" for at in range(5)]
    assert await again.get(DOC, "between") is None
    await again.commit(put("0003", b"new"))
    assert await again.get(DOC, "0003") == b"new"
    assert stores.ost is not None
    if name != "missing":
        await stores.ost.delete(key)
    await stores.ost.write(key, kept[1])
    assert await again.get(DOC, "0002") == b"2 " * 10


async def test_a_damaged_file_stops_the_checkpoint_but_no_commit(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await write(store, 5)
    made = await checkpoint(store)
    await _damaged(stores, made.files[0].object, DAMAGES["changed"])
    await store.commit(put("0003", b"new"))
    with pytest.raises(BrokenLog, match=made.files[0].object):
        await checkpoint(store)
    await store.commit(put("more"))
    assert await covered(stores) == made.covers


async def test_a_manifest_of_another_history_is_not_believed(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER)
    store = await stores.open()
    await write(store, 5)
    made = await checkpoint(store)
    await store.close()
    assert stores.ost is not None
    forged = replace(made, sealed=replace(made.sealed, chain=bytes(16)), files=())
    name = f"{made.covers:016x}-{9:016x}-{bytes(16).hex()}"
    await stores.ost.write(stores.keys.manifests + name, replace(forged, epoch=9).encode())
    again = await stores.open()
    assert await view(again) == await view(store)
    assert name in again.damage[0]
