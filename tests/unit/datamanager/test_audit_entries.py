"""What a check finds in etcd, in other places, and while a writer goes on, and whether what it says is true."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.damage import CHANGES, EAGER, EVERYTHING, NOT_OPEN, NOTHING_LOST, Scene, check, is_true, only, scene
from lab.stores import Stores, put, view
from runabout.datamanager import StoreError
from runabout.datamanager.audit import audit_store
from runabout.datamanager.head import Head, Sealed, decode_head, decode_sealed
from runabout.datamanager.manifest import decode_pointer
from runabout.ost import MemoryObjectStore

Rewrite = Callable[[bytes], bytes]
POINTERS: dict[str, tuple[str, Rewrite, str]] = {
    "sealed: other bytes": (
        "sealed",
        lambda value: replace(decode_sealed(value, where=""), sha256=bytes(32)).encode(),
        "names other bytes than store/0/wal/000000000000000e has, which is whole",
    ),
    "sealed: no such segment": (
        "sealed",
        lambda value: replace(decode_sealed(value, where=""), first=15).encode(),
        "names store/0/wal/000000000000000f: no segment begins there",
    ),
    "sealed: beyond the end": (
        "sealed",
        lambda _: Sealed(17, 30, bytes(16), 100, bytes(32)).encode(),
        "says that 30 is sealed, the head says that 18 is the last one",
    ),
    "sealed: flipped": ("sealed", lambda value: CHANGES["flipped"](value) or b"", "is damaged"),
    "sealed: of a newer format": ("sealed", lambda _: b"RUNP\x02", "a format that this version cannot read"),
    "manifest: other bytes": (
        "manifest",
        lambda value: replace(decode_pointer(value, where=""), sha256=bytes(32)).encode(),
        "names other bytes than",
    ),
    "manifest: no such object": (
        "manifest",
        lambda value: replace(decode_pointer(value, where=""), id=bytes(16)).encode(),
        "is missing: store/0/manifest names it",
    ),
    "manifest: cut": ("manifest", lambda value: value[:-1], "damaged, or a format"),
    "owner: another": ("owner", lambda value: bytes(len(value)), "names another writer than the head does"),
    "head: cut": ("head", lambda value: value[:-1], "has 47 bytes, a head has 48"),
    "head: another chain": (
        "head",
        lambda value: replace(decode_head(value, where=""), chain=bytes(16)).encode(),
        "has another chain than the log at sequence 18",
    ),
    "head: another life": (
        "head",
        lambda value: replace(decode_head(value, where=""), incarnation=bytes(16)).encode(),
        "is of another life of the store than store/0/meta",
    ),
    "meta: newer": ("meta", lambda _: b"runabout-store-9", "has the format 9, which this version cannot read"),
}


@pytest.mark.parametrize("name", POINTERS)
async def test_a_wrong_key_in_etcd_is_found_and_what_is_said_of_it_is_true(name: str, tmp_path: Path) -> None:
    key, rewrite, said = POINTERS[name]
    async with scene() as it:
        await it.change_entry(getattr(it.stores.keys, key), rewrite)
        found = (await check(it)).findings
        assert [each.what for each in found if said in each.what], found
        await is_true(it, found, tmp_path)


MISSING = {
    "sealed": ("is missing, and there are 4 segments", "it writes this key again"),
    "manifest": ("is missing, and there is store/0/manifest/", "it writes this key again"),
    "owner": ("is missing", "an opening writes this key"),
    "head": ("is missing, the other half of the store is there", "restore etcd"),
    "meta": ("is missing, the other half of the store is there", "restore etcd"),
}


@pytest.mark.parametrize("key", MISSING)
async def test_a_missing_key_in_etcd_is_found(key: str) -> None:
    async with scene() as it:
        await it.change_entry(getattr(it.stores.keys, key), CHANGES["missing"])
        found = await only(it)
        what, todo = MISSING[key]
        assert found.what.startswith(what)
        assert todo in found.todo


@pytest.mark.parametrize("name", ["sealed", "manifest"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_key_that_can_be_spared_is_said_to_be_and_the_advice_works(
    name: str, change: str, tmp_path: Path
) -> None:
    async with scene() as it:
        await it.change_entry(getattr(it.stores.keys, name), CHANGES[change])
        found = await only(it)
        assert NOTHING_LOST in found.means
        assert (NOT_OPEN in found.means) == (change != "missing")
        await is_true(it, (found,), tmp_path)


# the log in etcd


@pytest.mark.parametrize("change", ["missing", "flipped", "cut", "zeros"])
@pytest.mark.parametrize(("sequence", "lost"), [(17, True), (18, True), (15, False)])
async def test_damage_of_the_log_in_etcd_is_found_and_what_is_said_of_it_is_true(
    sequence: int, lost: bool, change: str, tmp_path: Path
) -> None:
    async with scene(keep=0 if lost else EVERYTHING) as it:
        key = await it.change_entry(it.stores.keys.wal(sequence), CHANGES[change])
        found = await only(it)
        assert found.where == key
        if lost:
            assert f"the transactions of sequence {sequence} are nowhere else" in found.means
            assert "its next start goes on from the object storage, which ends with sequence 16" in found.todo
        else:
            assert f"nothing is lost: the object storage has sequence {sequence}" in found.means or (
                "the checkpoint" in found.means
            )
        await is_true(it, (found,), tmp_path)


async def test_what_is_advised_when_etcd_has_lost_a_batch_brings_back_what_is_sealed() -> None:
    async with scene() as it:
        await it.change_entry(it.stores.keys.wal(17), CHANGES["flipped"])
        assert "delete all keys below store/0/ in etcd" in (await only(it)).todo
        await it.stores.wipe()
        again = await it.stores.open()
        assert [key for key in (await view(again))["doc"] if key.startswith("c ")] == ["c 0000", "c 0001", "c 0002"]


async def test_a_batch_beyond_the_head_and_one_in_another_s_place_are_found() -> None:
    async with scene() as it:
        keys = it.stores.keys
        entries = (await it.contents())[0]
        await it.stores.set_back({**entries, keys.wal(19): entries[keys.wal(18)]})
        assert (await only(it)).what == "is there, but the head says 18"
        await it.stores.set_back({**entries, keys.wal(17): entries[keys.wal(18)]})
        whats = [each.what for each in (await check(it)).findings]
        assert "holds the batch with sequence 18" in whats


async def test_an_etcd_that_was_wiped_or_set_back_is_said_to_be() -> None:
    async with scene() as it:
        entries = (await it.contents())[0]
        await it.stores.wipe()
        found = await only(it)
        assert found.what == "is missing: etcd has no store, the object storage ends with sequence 16"
        assert "What is sealed is kept, up to sequence 16" in found.means
        head = decode_head(entries[it.stores.keys.head], where="")
        await it.stores.set_back({**entries, it.stores.keys.head: Head(head.incarnation, 1, 12, bytes(16)).encode()})
        assert any(
            each.what == "says sequence 12, the object storage ends with 16" for each in (await check(it)).findings
        )


async def split(it: Scene, *, late: int = 1) -> None:
    """Have etcd, which was set back, continue another history than the object storage."""
    first = await it.stores.open()
    entries = (await it.contents())[0]
    second = await it.stores.open()
    await second.commit(put("sealed"))
    assert second.sealer is not None
    await second.sealer.seal()
    await second.close()
    await it.stores.set_back(entries)
    for number in range(late):
        await first.commit(put(f"of another history {number}"))
    await first.close()


async def test_a_log_that_continues_another_history_than_the_object_storage_is_found_and_set_right() -> None:
    async with scene(keep=EVERYTHING) as it:
        await split(it)
        found = (await check(it)).findings
        whats = {each.what for each in found}
        assert "does not continue the segment before it on the object storage: it is of another history" in whats or (
            "is not the batch with which a segment on the object storage ends: it is of another history" in whats
        )
        assert all("What is sealed is kept, up to sequence 21" in each.means for each in found)
        again = await it.stores.open()
        assert again.recovery is not None
        assert (await view(again))["doc"].keys() - it.documents["doc"].keys() == {"sealed"}
        report = await check(it)
        aside = "1 objects are in quarantine: batches that an opening refused; they are not in the store"
        assert (report.findings, report.notes) == ((), (aside,))


async def test_what_etcd_has_of_another_history_does_not_make_a_copy_of_ours_count_for_less() -> None:
    async with scene(keep=EVERYTHING) as it:
        await split(it, late=9)
        await it.change(it.second.files[0].object, CHANGES["flipped"])
        found = next(each for each in (await check(it)).findings if each.where == it.second.files[0].object)
        assert found.means == "nothing is lost: the log from its beginning says the same"


@pytest.mark.parametrize("change", ["emptied", "cut", "longer", "flipped", "zeros"])
async def test_what_was_put_aside_is_verified_too(change: str) -> None:
    async with scene(keep=EVERYTHING) as it:
        await split(it)
        await (await it.stores.open()).close()
        key = next(each.key for each in await it.ost.list() if "/quarantine/" in each.key)
        await it.change(key, CHANGES[change])
        found = await only(it)
        assert (found.where, found.todo) == (key, "nothing")


# other places


async def test_two_installations_are_told_from_damage() -> None:
    async with scene() as it, scene() as other:
        report = await audit_store(it.stores.lab.etcd, other.ost, it.stores.keys)
        assert [each.where for each in report.findings] == [it.stores.keys.identity]
        assert report.findings[0].todo == "correct RUNABOUT_ETCD_ENDPOINTS, RUNABOUT_STORE, or RUNABOUT_OST"
        await it.change(it.stores.keys.identity, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
        assert (await only(it)).what.endswith(", and so have other objects")


async def test_where_there_is_no_store_nothing_is_called_whole() -> None:
    async with scene(number=3) as it:
        with pytest.raises(StoreError, match="there is no store 0"):
            await audit_store(it.stores.lab.etcd, it.ost, replace(it.stores.keys, store=0))


async def test_a_store_that_is_in_etcd_alone_is_checked_too() -> None:
    async with scene() as it:
        alone = replace(it.stores.keys, store=7)
        async with Stores(it.stores.lab, 7) as stores:
            store = await stores.open()
            await store.commit(put("a"))
            await store.commit(put("b"))
            ost = MemoryObjectStore()
            assert (await audit_store(it.stores.lab.etcd, ost, alone)).batches == 2
            await it.stores.lab.etcd.delete(alone.wal(1))
            report = await audit_store(it.stores.lab.etcd, ost, alone)
            assert [each.where for each in report.findings] == ["store/7/wal/0000000000000001"]
            assert "nothing can be had" in report.findings[0].means


async def test_strange_objects_and_orphans_are_noted_and_are_no_damage() -> None:
    async with scene() as it:
        keys = it.stores.keys
        orphan = it.second.files[0].object.rpartition("-")[0] + "-" + "0" * 32 + ".parquet"
        for key in (orphan, keys.segments + "readme", f"{keys.prefix}notes/x"):
            await it.ost.write(key, b"x")
        report = await check(it)
        assert report.findings == ()
        assert len(report.notes) == 3


async def test_what_a_writer_moves_while_it_is_checked_is_no_damage() -> None:
    """The writer seals, makes a checkpoint, and collects all that is old, between any two calls of the check."""
    async with scene(checkpoints=EAGER) as it:
        store = await it.stores.open(etcd=it.stores.lab.etcd)
        assert store.sealer is not None
        assert store.checkpointer is not None
        ost = it.stores.faulty_ost
        assert ost is not None
        working, turns = False, 0

        async def move(_name: str, at: str) -> None:
            nonlocal working, turns
            if working or at != "before" or turns > 30:
                return
            working, turns = True, turns + 1
            await store.commit(put(f"e {turns}"))
            await store.sealer.seal()  # type: ignore[union-attr]
            await store.checkpointer.checkpoint()  # type: ignore[union-attr]
            await store.checkpointer.collect()  # type: ignore[union-attr]
            working = False

        ost.fault = move
        it.stores.faulty.fault = move
        report = await audit_store(it.stores.faulty, ost, it.stores.keys)
        assert turns > 10
        assert report.findings == ()
