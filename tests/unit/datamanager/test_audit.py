"""What a check of a store finds, and whether what it says of it is true."""

import struct
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path

import google_crc32c
import pytest

from lab.damage import CHANGES, EVERYTHING, NOT_OPEN, Scene, check, is_true, only, scene
from runabout.datamanager.audit import audit_store
from runabout.datamanager.batch import encode_batch, next_chain
from runabout.datamanager.manifest import decode_pointer
from runabout.datamanager.progress import Step
from runabout.datamanager.segment import decode_segment, encode_segment

OBJECTS: dict[str, Callable[[Scene], str]] = {
    "identity": lambda it: it.stores.keys.identity,
    "first segment": lambda it: it.stores.keys.segment(2),
    "segment of the checkpoint": lambda it: it.stores.keys.segment(9),
    "last segment": lambda it: it.stores.keys.segment(14),
    "old manifest": lambda it: it.stores.keys.manifests + _name(it),
    "old data file": lambda it: it.first.files[0].object,
    "new data file": lambda it: it.second.files[-2].object,
}


def _name(it: Scene) -> str:
    assert it.second.previous is not None
    return it.second.previous.name


@pytest.mark.parametrize("keep", [0, EVERYTHING])
async def test_a_store_that_is_whole_has_no_damage_and_is_left_as_it_is(keep: int) -> None:
    async with scene(keep=keep) as it:
        before = await it.contents()
        report = await check(it)
        assert (report.findings, report.notes, report.sequence) == ((), (), 18)
        kinds = (1, 1, 4, 2, len({*it.first.files, *it.second.files}))  # identity, epoch, segments, manifests, files
        assert report.objects == sum(kinds)
        assert report.batches == 16 + (18 if keep else 2)
        assert await it.contents() == before


async def test_a_check_says_how_far_it_is_with_the_objects_and_with_the_log() -> None:
    steps: list[Step] = []
    async with scene() as it:
        await audit_store(it.stores.lab.etcd, it.ost, it.stores.keys, progress=steps.append)
        keys = it.stores.keys
        sizes = [
            each.size
            for each in await it.ost.list(keys.prefix)
            if each.key.startswith((keys.manifests, keys.segments, keys.data))
        ]
        objects = [each for each in steps if each.what == "checking objects"]
        assert {(each.total, each.unit) for each in objects} == {(sum(sizes), "bytes")}
        done = [0, *(each.done for each in objects)]
        assert sorted(after - before for before, after in pairwise(done) if after != before) == sorted(sizes)
        assert [each for each in steps if each not in objects] == [Step("checking the log in etcd", 2, 2, "batches")]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("keep", [0, EVERYTHING], ids=["sealed batches left etcd", "etcd has all batches"])
@pytest.mark.parametrize("part", OBJECTS)
async def test_any_damage_of_any_object_is_found_and_what_is_said_of_it_is_true(
    part: str, keep: int, change: str, tmp_path: Path
) -> None:
    async with scene(keep=keep) as it:
        key = await it.change(OBJECTS[part](it), CHANGES[change])
        before = await it.contents()
        found = await only(it)
        assert found.where == key
        assert found.what.startswith(
            "is missing" if change == "missing" else ("is damaged", "says", "has ", "is of the store", "ends with")
        )
        assert await it.contents() == before
        await is_true(it, (found,), tmp_path)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_damaged_newest_manifest_is_replaced_by_the_one_before_it(change: str, tmp_path: Path) -> None:
    async with scene() as it:
        pointer = decode_pointer((await it.contents())[0][it.stores.keys.manifest], where="")
        await it.change(it.stores.keys.manifests + pointer.name, CHANGES[change])
        found = await only(it)
        assert _name(it) in found.means
        assert found.todo == "restart the operator: its next checkpoint takes its place"
        await is_true(it, (found,), tmp_path)


SAID: dict[tuple[str, int], tuple[str, str]] = {
    ("first segment", 0): (
        "nothing is lost: the checkpoint store/0/manifest/",
        "nothing: the operator removes it when no checkpoint needs it any more",
    ),
    ("segment of the checkpoint", 0): (
        "has what sequences 9 to 13 did; the store cannot be opened as it is",
        "or: `runabout data export` does not need it: export the store, and import that into an empty one",
    ),
    ("last segment", 0): (
        "of sequences 14 to 16 are nowhere else; without them the documents can be had as of sequence 13;",
        "put the object back from a backup or from an older version in the bucket; without one, what is left is",
    ),
    ("last segment", EVERYTHING): (
        "nothing is lost: etcd still has sequences 14 to 16; the store cannot be opened as it is",
        "export the store, and import that into an empty one",
    ),
    ("old manifest", 0): (
        "and the log after it say the same",
        "nothing: an opening has one checkpoint less to fall back on",
    ),
    ("old data file", 0): (
        "nothing is lost: the log from its beginning says the same",
        "restart the operator: its next checkpoint takes its place",
    ),
    ("new data file", 0): (
        "and the log after it say the same",
        "restart the operator: its next checkpoint takes its place",
    ),
    ("identity", 0): ("nobody can say whether etcd and the object storage belong together", "RUNABOUT_OST"),
}


@pytest.mark.parametrize(("part", "keep"), SAID)
async def test_damage_is_said_with_what_it_means_and_what_to_do(part: str, keep: int) -> None:
    async with scene(keep=keep) as it:
        await it.change(OBJECTS[part](it), CHANGES["missing"])
        found = await only(it)
        means, todo = SAID[part, keep]
        assert means in found.means
        assert todo in found.todo


async def test_documents_that_are_nowhere_else_are_named(tmp_path: Path) -> None:
    async with scene() as it:
        file = next(each for each in it.second.files if each in it.first.files)
        await it.change(it.stores.keys.segment(2), CHANGES["flipped"])
        await it.change(file.object, CHANGES["flipped"])
        findings = (await check(it)).findings
        assert len(findings) == 2
        lost = next(each for each in findings if each.where == file.object)
        assert f"{file.count} documents of the type {file.type}, {file.first} to {file.last}," in lost.means
        assert "which an operator that runs then reads" in lost.todo
        await is_true(it, findings, tmp_path)


PAIRS = [pair for pair in combinations([*OBJECTS, "batch"], 2) if "identity" not in pair]


@pytest.mark.parametrize("change", ["missing", "flipped"])
@pytest.mark.parametrize("keep", [0, EVERYTHING], ids=["sealed batches left etcd", "etcd has all batches"])
@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
async def test_what_is_said_of_two_damages_together_is_true(
    pair: tuple[str, str], keep: int, change: str, tmp_path: Path
) -> None:
    async with scene(keep=keep) as it:
        for part in pair:
            if part == "batch":
                await it.change_entry(it.stores.keys.wal(17), CHANGES[change])
            else:
                await it.change(OBJECTS[part](it), CHANGES[change])
        findings = (await check(it)).findings
        assert findings
        await is_true(it, findings, tmp_path)


async def test_a_segment_of_a_newer_format_asks_for_a_newer_version() -> None:
    async with scene() as it:

        def newer(data: bytes) -> bytes:
            body = b"RUNS\x02" + data[5:-4]
            return body + struct.pack(">I", google_crc32c.value(body))

        await it.change(it.stores.keys.segment(14), newer)
        found = await only(it)
        assert found.todo.startswith("use a newer version if one wrote it; otherwise put the object back")
        assert NOT_OPEN in found.means


# chains


async def test_a_hole_in_the_log_is_named_with_its_sequences(tmp_path: Path) -> None:
    async with scene() as it:
        await it.ost.delete(it.stores.keys.segment(9))
        found = await only(it)
        assert found.where == it.stores.keys.segment(9)
        assert found.what == f"is missing: the next one is {it.stores.keys.segment(14)}"
        await is_true(it, (found,), tmp_path)


async def test_the_last_segment_is_missed_because_of_the_key_that_names_it() -> None:
    async with scene() as it:
        await it.ost.delete(it.stores.keys.segment(14))
        found = await only(it)
        assert found.what == "is missing: the log is said to be sealed up to sequence 16"


async def test_a_segment_of_another_store_or_history_is_told_from_ours() -> None:
    async with scene() as it, scene() as other:
        theirs = await other.ost.read(other.stores.keys.segment(9))
        await it.change(it.stores.keys.segment(9), lambda _: theirs)
        found = await only(it)
        assert found.what.startswith("is of another store, ")


async def test_a_segment_of_another_history_of_the_same_store_is_found(tmp_path: Path) -> None:
    async with scene() as it:

        def rewritten(data: bytes) -> bytes:
            old = decode_segment(data, where="")
            values, chain = [], bytes(16)
            for sequence in range(old.first, old.last + 1):
                value = encode_batch(sequence=sequence, previous=chain, batch_id=bytes(16), transactions=())
                values.append(value)
                chain = next_chain(chain, value)
            return encode_segment(
                values,
                store_id=old.store_id,
                first=old.first,
                epoch=old.epoch,
                incarnation=old.incarnation,
                previous=bytes(16),
                chain=chain,
            )

        await it.change(it.stores.keys.segment(14), rewritten)
        found = (await check(it)).findings
        assert found[0].what == "does not continue the one before it: it is of another history"
        await is_true(it, found, tmp_path)


async def test_an_epoch_s_marker_that_is_gone_or_has_bytes_is_found() -> None:
    async with scene() as it:
        again = await it.stores.open()
        await again.close()
        third = await it.stores.open()
        await third.close()
        keys = it.stores.keys
        await it.ost.delete(keys.epoch(2))
        assert (await only(it)).what == f"is missing: the next one is {keys.epoch(3)}"
        await it.ost.write(keys.epoch(2), b"x")
        assert (await only(it)).what == "has 1 bytes; a marker has none"
        await it.ost.write(keys.epoch(2), b"")
        await it.ost.delete(keys.epoch(3))
        found = await only(it)
        assert (found.where, "may be given to a second writer" in found.means) == (keys.epoch(3), True)
