"""The index of runs that a store keeps: the same answers after openings, checkpoints, damage and losses of etcd."""

import asyncio
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contract.datamanager.conftest import Sealing
from lab.checkpoints import NEVER, SMALL, checkpoint, checkpointer, manifest, objects, remove_segments, seal
from lab.indexed import CONFIG, RUN, check, created, gone, labelled, record, run_id, source
from lab.stores import Stores, View, view
from runabout.datamanager import Action, BrokenLog, Put, Store, Transaction, Unknown, follow_store
from runabout.datamanager.manifest import decode_manifest
from runabout.records import Phase
from runabout.runindex import IndexRow, Query
from runabout.runindex.row import id_of

WAIT = 30.0
FEW = replace(SMALL, rows=4)
"""Index files of four runs."""


async def commit(store: Store, *actions: Action) -> None:
    await store.commit(Transaction(actions))


async def seen(store: Store) -> View:
    await store.indexed()
    return await view(store, (RUN, CONFIG))


async def fill(store: Store, first: int, count: int) -> None:
    for place in range(first, first + count):
        await commit(store, *created(place, group=place % 4, team="red" if place % 3 else "blue"))


def index_objects(store: Store) -> list[str]:
    found = manifest(store).index
    assert found is not None
    return [each.object for each in found.files]


async def test_a_store_answers_from_files_and_log_after_each_step(sealing: Sealing, tmp_path: Path) -> None:
    scratch = await asyncio.to_thread(tempfile.mkdtemp, dir=tmp_path)
    stores = sealing(interval=NEVER, keep=0, checkpoints=FEW, index=source(Path(scratch)))
    store = await stores.open()
    check(store.runs, await seen(store))
    await fill(store, 1, 10)
    check(store.runs, await seen(store))
    await checkpoint(store)
    check(store.runs, await seen(store))
    assert [each.info.rows for each in manifest(store).index.files] == [4, 4, 2]  # type: ignore[union-attr]  # one is
    assert store.changed_runs == 0
    await commit(store, record(2, phase=Phase.FINISHED), gone(5))
    await fill(store, 11, 3)
    check(store.runs, await seen(store))
    made = await checkpoint(store)
    await commit(store, record(3, group=2, phase=Phase.FINISHED))
    await seal(store)
    await commit(store, gone(1), labelled(4, "green"))
    check(store.runs, await seen(store))
    await remove_segments(stores, before=made.sealed.first)
    again = await stores.open()
    assert (again.damage, again.recovery, again.unreadable) == ((), None, frozenset())
    assert await seen(again) == await seen(store)
    check(again.runs, await seen(again))
    assert again.runs.get(run_id(4)) == store.runs.get(run_id(4))
    # Nothing of it is left in the scratch folder, however many openings there were.
    assert not await asyncio.to_thread(os.listdir, scratch)


async def test_a_store_without_object_storage_has_its_index_in_memory(stores: Stores, tmp_path: Path) -> None:
    indexed = Stores(stores.lab, stores.keys.store, index=source(tmp_path))
    async with indexed:
        store = await indexed.open()
        await fill(store, 1, 5)
        await commit(store, gone(2))
        again = await indexed.open()
        check(again.runs, await seen(again))
        assert again.runs.count() == 4


async def test_a_store_that_was_opened_without_an_index_says_so(sealing: Sealing) -> None:
    store = await sealing(interval=NEVER).open()
    with pytest.raises(LookupError, match="without an index"):
        _ = store.runs


async def test_only_the_file_is_made_again_into_whose_range_something_was_written(
    sealing: Sealing, tmp_path: Path
) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 16)
    await checkpoint(store)
    first = index_objects(store)
    await commit(store, record(6, phase=Phase.FINISHED))
    await checkpoint(store)
    second = index_objects(store)
    assert [one == other for one, other in zip(first, second, strict=True)] == [True, False, True, True]
    await commit(store, Put("doc", "of another type", b""))
    await checkpoint(store)
    assert index_objects(store) == second


async def test_files_hold_nothing_that_their_manifest_does_not_cover(sealing: Sealing, tmp_path: Path) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 3)
    await seal(store)
    kept = await seen(store)
    await commit(store, record(2, phase=Phase.FINISHED), gone(1))
    await fill(store, 4, 3)
    await checkpointer(store).checkpoint()
    check(store.runs, await seen(store))
    await store.close()
    await stores.wipe()
    again = await stores.open()
    assert await seen(again) == kept
    check(again.runs, kept)


async def test_a_reader_has_the_same_index(sealing: Sealing, tmp_path: Path) -> None:
    stores = sealing(interval=NEVER, keep=0, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 6)
    await checkpoint(store)
    async with asyncio.timeout(WAIT):
        reader = await follow_store(stores.lab.etcd, ost=stores.ost, number=stores.keys.store, index=source(tmp_path))
        await commit(store, record(2, phase=Phase.FINISHED), gone(3))
        await fill(store, 7, 2)
        await reader.reached(store.sequence, seconds=WAIT)
        check(reader.runs, await seen(store))
        await reader.close()


@pytest.mark.parametrize("damaged", [False, True])
async def test_a_reader_that_has_much_in_memory_takes_it_from_newer_files_if_they_are_whole(
    sealing: Sealing, tmp_path: Path, damaged: bool
) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 9)
    await checkpoint(store)
    async with asyncio.timeout(WAIT):
        reader = await follow_store(
            stores.lab.etcd,
            ost=stores.ost,
            number=stores.keys.store,
            index=source(tmp_path),
            interval=0.01,
            most_runs=4,
        )
        index = reader._documents.index
        assert index is not None
        await fill(store, 10, 5)
        await commit(store, record(1, phase=Phase.FINISHED), gone(2))
        await reader.reached(store.sequence, seconds=WAIT)
        assert index.changed == 7
        await seal(store)
        old = set(index_objects(store))

        async def damage_new_files(name: str, when: str) -> None:
            if damaged and (name, when) == ("txn", "before"):
                for key in await objects(stores, "index/"):
                    if f"store/{stores.keys.store}/{key}" not in old:
                        await _damage(stores, f"store/{stores.keys.store}/{key}", "cut")

        stores.faulty.fault = damage_new_files
        await checkpointer(store).checkpoint()
        async with reader._news:
            await reader._news.wait_for(lambda: reader._files_cover == store.sequence)
        assert index.changed == (7 if damaged else 0)
        check(reader.runs, await seen(store))
        await commit(store, record(3, phase=Phase.FINISHED), gone(4))
        await reader.reached(store.sequence, seconds=WAIT)
        check(reader.runs, await seen(store))
        await reader.close()


async def test_a_record_that_cannot_be_read_is_in_no_answer_and_counted(sealing: Sealing, tmp_path: Path) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 3)
    await checkpoint(store)
    await commit(store, Put(RUN, run_id(2), b"{"), Put(RUN, run_id(9), b"{}"), Put(RUN, "no run's id", b"{}"))
    assert (store.unreadable, store.runs.count()) == (frozenset({run_id(2), run_id(9)}), 2)
    await checkpoint(store)
    check(store.runs, await seen(store))
    again = await stores.open()
    check(again.runs, await seen(again))
    await commit(again, record(2))
    await checkpoint(again)
    check(again.runs, await seen(again))
    assert again.runs.get(run_id(2)) is not None


async def test_labels_are_found_wherever_they_stand(sealing: Sealing, tmp_path: Path) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await commit(store, labelled(1, "red"), labelled(5, "red"), labelled(7, "blue"))
    await commit(store, record(5))
    await checkpoint(store)
    # Of 1 the labels are in a data file and nowhere else; of 5 in an index file; of 2 there are none.
    await commit(store, record(1), record(2), record(5, phase=Phase.FINISHED))
    check(store.runs, await seen(store))
    await checkpoint(store)
    check(store.runs, await seen(store))
    await commit(store, gone(1, CONFIG), labelled(2, "red"))
    check(store.runs, await seen(store))
    await checkpoint(store)
    check(store.runs, await seen(store))
    again = await stores.open()
    check(again.runs, await seen(again))


# what was written without it, or with another one


async def test_a_store_whose_manifest_has_no_index_is_indexed_when_it_is_opened(
    sealing: Sealing, tmp_path: Path
) -> None:
    stores = sealing(interval=NEVER, keep=0, checkpoints=FEW)
    store = await stores.open()
    await fill(store, 1, 9)
    made = await checkpoint(store)
    assert made.index is None
    await commit(store, gone(3))
    indexing = sealing(number=stores.keys.store, interval=NEVER, keep=0, checkpoints=FEW, index=source(tmp_path))
    again = await indexing.open()
    assert again.damage == ()
    check(again.runs, await seen(again))
    await checkpoint(again)
    check(again.runs, await seen(again))
    assert len(index_objects(again)) > 1
    third = await indexing.open()
    check(third.runs, await seen(third))
    # Whoever keeps no index names none: a stale one would be worse.
    without = await stores.open()
    await commit(without, gone(4))
    assert (await checkpoint(without)).index is None
    last = await indexing.open()
    check(last.runs, await seen(last))


async def test_a_label_that_is_indexed_later_is_found_on_all_runs(sealing: Sealing, tmp_path: Path) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path, labels=()))
    store = await stores.open()
    await fill(store, 1, 9)
    await checkpoint(store)
    labelling = sealing(number=stores.keys.store, interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    again = await labelling.open()
    assert again.damage == ()
    check(again.runs, await seen(again))
    await checkpoint(again)
    assert again.runs.count(Query(labels={"team": "blue"})) == 3
    # And one that is no longer indexed is left out.
    last = await stores.open()
    check(last.runs, await seen(last), labels=())
    await commit(last, gone(1))
    await checkpoint(last)
    check(last.runs, await seen(last), labels=())


# damage


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "empty": lambda _: b"",
    "cut": lambda data: data[:-1],
    "changed": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
}


async def _damage(stores: Stores, key: str, name: str) -> None:
    assert stores.ost is not None
    data = DAMAGES[name](await stores.ost.read(key))
    await stores.ost.delete(key)
    if data is not None:
        await stores.ost.write(key, data)


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damaged_index_file_is_made_again_from_the_documents_and_reported(
    sealing: Sealing, tmp_path: Path, name: str
) -> None:
    stores = sealing(interval=NEVER, keep=0, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 12)
    made = await checkpoint(store)
    await commit(store, record(6, phase=Phase.FINISHED), gone(7))
    await remove_segments(stores, before=made.sealed.first)
    key = index_objects(store)[1]
    await _damage(stores, key, name)
    again = await stores.open()
    assert len(again.damage) == 1
    assert key in again.damage[0]
    check(again.runs, await seen(again))
    async with asyncio.timeout(WAIT):
        reader = await follow_store(stores.lab.etcd, ost=stores.ost, number=stores.keys.store, index=source(tmp_path))
        check(reader.runs, await seen(store))
        await reader.close()
    await checkpoint(again)
    assert key not in index_objects(again)
    third = await stores.open()
    assert third.damage == ()
    check(third.runs, await seen(store))


async def test_a_damaged_index_file_that_nothing_touches_is_replaced_by_the_next_checkpoint_that_is_due_at_once(
    sealing: Sealing, tmp_path: Path
) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 12)
    await checkpoint(store)
    before = index_objects(store)
    await _damage(stores, before[0], "changed")
    again = await stores.open()
    made = checkpointer(again)
    async with asyncio.timeout(WAIT), made.changed:
        await made.changed.wait_for(lambda: made.covers == again.sequence)
    after = index_objects(again)
    assert (after[0] in before, after[1:] == before[1:]) == (False, True)
    check((await stores.open()).runs, await seen(store))


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_file_that_is_damaged_after_the_opening_is_made_again_by_the_checkpoint_that_needs_it(
    sealing: Sealing, tmp_path: Path, name: str
) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 12)
    await checkpoint(store)
    key = index_objects(store)[1]
    await _damage(stores, key, name)
    await commit(store, record(6, phase=Phase.FINISHED), gone(7))
    await checkpoint(store)
    assert len(store.damage) == 1
    assert key in store.damage[0]
    again = await stores.open()
    assert again.damage == ()
    check(again.runs, await seen(store))


async def test_a_file_that_is_damaged_on_its_way_only_is_read_again(sealing: Sealing, tmp_path: Path) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 4)
    await checkpoint(store)
    key = index_objects(store)[0]
    assert stores.ost is not None
    whole = await stores.ost.read(key)
    await _damage(stores, key, "changed")

    async def mend(name: str, when: str) -> None:
        reads.append((name, when))
        if (name, when) == ("ost read", "before") and len(reads) > 1 and stores.ost is not None:
            await stores.ost.write(key, whole)

    reads: list[tuple[str, str]] = []
    assert stores.faulty_ost is not None
    stores.faulty_ost.fault = mend
    again = await stores.open()
    assert again.damage == ()
    check(again.runs, await seen(again))


async def test_a_scratch_folder_that_takes_nothing_is_said_and_stops_no_commit(
    sealing: Sealing, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(scratch))
    store = await stores.open()
    scratch.rmdir()
    await fill(store, 1, 4)
    with pytest.raises(Exception, match=str(scratch)):
        await checkpoint(store)
    await fill(store, 5, 1)
    check(store.runs, await seen(store))
    scratch.mkdir()
    await checkpoint(store)
    check(store.runs, await seen(store))


# collecting


async def test_superseded_index_files_go_and_needed_ones_stay(sealing: Sealing, tmp_path: Path) -> None:
    policy = replace(FEW, keep=2, orphan_seconds=-NEVER)
    stores = sealing(interval=NEVER, checkpoints=policy, index=source(tmp_path))
    store = await stores.open()
    assert stores.ost is not None
    made = []
    for part in range(5):
        await fill(store, part * 3 + 1, 3)
        await commit(store, record(1, phase=Phase.FINISHED, group=part % 4))
        made.append(await checkpoint(store))
    old = f"{stores.keys.index}{run_id(1)}-3-{'0' * 8}-{0:016x}-{'0' * 32}.parquet"
    later = f"{stores.keys.index}{run_id(1)}-3-{'0' * 8}-{99:016x}-{'0' * 32}.parquet"
    foreign = f"{stores.keys.index}notes.txt"
    for key in (old, later, foreign):
        await stores.ost.write(key, b"x")
    before = set(await objects(stores, "index/"))
    await checkpointer(store).collect()
    base = f"store/{stores.keys.store}/"
    named = {each.object for manifest_ in made[2:] for each in manifest_.index.files}  # type: ignore[union-attr]
    left = {base + key for key in await objects(stores, "index/")}
    assert left == named | {later, foreign}
    assert len(before) > len(left)
    again = await stores.open()
    assert again.damage == ()
    check(again.runs, await seen(store))


# memory


async def test_a_checkpoint_is_due_when_many_runs_have_changed(sealing: Sealing, tmp_path: Path) -> None:
    stores = sealing(interval=0.01, checkpoints=replace(FEW, runs=20), index=source(tmp_path))
    store = await stores.open()
    made = checkpointer(store)
    await fill(store, 1, 19)
    await store.sealer.seal()  # type: ignore[union-attr]  # there is one
    assert made.covers == 0
    async with asyncio.timeout(WAIT), made.changed:
        await fill(store, 20, 5)
        await made.changed.wait_for(lambda: made.covers > 19)
    check(store.runs, await seen(store))


async def test_an_older_program_reads_a_manifest_with_an_index(sealing: Sealing, tmp_path: Path) -> None:
    stores = sealing(interval=NEVER, checkpoints=FEW, index=source(tmp_path))
    store = await stores.open()
    await fill(store, 1, 5)
    made = await checkpoint(store)
    assert decode_manifest(made.encode(), where="m") == made
    assert made.index is not None
    assert {each.object for each in made.index.files} < set(made.objects)
    assert [each.info.first for each in made.index.files] == [id_of(1 << 23), id_of(5 << 23)]
    # What it knows of a store is the same with and without the index.
    without = replace(made, index=None)
    assert decode_manifest(without.encode(), where="m") == without


async def test_a_source_that_fails_in_another_way_than_agreed_stops_the_writer_and_leaves_nobody_waiting(
    sealing: Sealing, tmp_path: Path
) -> None:
    def fail(_key: str, _body: bytes) -> IndexRow:
        raise KeyError("a mistake")

    stores = sealing(interval=NEVER, index=replace(source(tmp_path), row=fail))
    store = await stores.open()
    async with asyncio.timeout(WAIT):
        with pytest.raises(Unknown):
            await commit(store, record(1))
        with pytest.raises(BrokenLog, match="a mistake"):
            await commit(store, record(2))
