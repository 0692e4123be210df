"""A store as files: the documents of one sequence, and nothing where it failed."""

import asyncio
import errno
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from lab.checkpoints import checkpoint, checkpointer, write
from lab.damage import CHANGES, EAGER, scene
from lab.etcds import MemoryLab
from lab.exports import NOW, empty, exported, imported
from lab.stores import DOC, Stores, View, put, view
from runabout.datamanager import Delete, StoreError, Transaction
from runabout.datamanager.exportformat import DESCRIPTION, SUMS, ExportError, read_export
from runabout.datamanager.exporting import export_store
from runabout.datamanager.progress import Step
from runabout.datamanager.snapshot import Snapshot, read_wherever, with_snapshot
from runabout.ost import MemoryObjectStore


async def test_a_store_in_etcd_alone_is_exported_too(tmp_path: Path) -> None:
    async with MemoryLab() as lab, Stores(lab, 0) as stores:
        store = await stores.open()
        await write(store, 3)
        export = await export_store(lab.etcd, MemoryObjectStore(), stores.keys, tmp_path / "e", made_at=NOW)
        assert (export.documents, export.sequence) == ({DOC: 3}, 3)


@pytest.mark.parametrize("every", [1, 2, 3])
async def test_an_export_is_of_one_sequence_while_a_writer_seals_and_makes_checkpoints(
    tmp_path: Path, every: int
) -> None:
    async with scene(checkpoints=EAGER) as it:
        store = await it.stores.open(etcd=it.stores.lab.etcd)
        views: dict[int, View] = {}
        busy, turns = False, 0

        async def move(_name: str, at: str) -> None:
            nonlocal busy, turns
            if busy or at != "before" or turns > 15:
                return
            busy, turns = True, turns + 1
            await store.commit(put(f"turn {turns}"))
            views[store.sequence] = await view(store)
            if turns % every == 0:
                await checkpoint(store)
                await checkpointer(store).collect()
            busy = False

        views[store.sequence] = await view(store)
        assert it.stores.faulty_ost is not None
        it.stores.faulty.fault = it.stores.faulty_ost.fault = move
        export = await export_store(it.stores.faulty, it.stores.faulty_ost, it.stores.keys, tmp_path / "e", made_at=NOW)
        assert turns > 5
        async with MemoryLab() as lab, empty(lab) as other:
            await imported(other, tmp_path / "e")
            assert await view(await other.open()) == views[export.sequence]


async def test_the_log_is_read_up_to_a_batch_in_the_middle_of_a_segment() -> None:
    async with scene() as it:
        end = it.second.sealed
        found = [
            batch.sequence
            async for batch in read_wherever(
                it.stores.lab.etcd, it.ost, it.stores.keys, after=end.last, chain=end.chain, sequence=15
            )
        ]
        assert found == [14, 15]


async def test_changes_that_go_to_disk_make_the_same_documents(tmp_path: Path) -> None:
    async with scene() as it:
        store = await it.stores.open()
        for key in ("a 0001", "b 0004", "0", "e", "a 0001"):
            await store.commit(put(key, b"again"))
        await store.commit(Transaction((Delete(DOC, "b 0000"), Delete(DOC, "e"))))

        async def use(snapshot: Snapshot) -> tuple[View, dict[str, int]]:
            found = {
                kind: {key: body async for rows in snapshot.rows(kind) for key, body in rows} for kind in snapshot.types
            }
            return found, {kind: await snapshot.count(kind) for kind in snapshot.types}

        documents, counts = await with_snapshot(
            it.stores.lab.etcd, it.ost, it.stores.keys, scratch=tmp_path, use=use, most=1
        )
        assert documents == await view(store)
        assert counts == {kind: len(each) for kind, each in documents.items()}


async def test_an_export_goes_round_what_is_damaged_if_something_says_the_same(tmp_path: Path) -> None:
    async with scene() as it:
        assert it.second.previous is not None
        await it.change(it.second.files[-2].object, CHANGES["flipped"])  # read only once it has begun to write
        export = await exported(it.stores, tmp_path / "e")
        assert export.documents == {kind: len(documents) for kind, documents in it.documents.items()}
        assert not (tmp_path / "e" / ".changes").exists()


async def test_what_etcd_has_lost_is_exported_from_the_object_storage(tmp_path: Path) -> None:
    async with scene() as it:
        await it.stores.wipe()
        export = await exported(it.stores, tmp_path / "e")
        assert export.sequence == 16
        kept = {key for key in it.documents[DOC] if not key.startswith("d ")}
        async with MemoryLab() as lab, empty(lab) as other:
            await imported(other, tmp_path / "e")
            assert (await view(await other.open()))[DOC].keys() == kept


# the folder


async def test_the_folder_is_as_documented_and_sha256sum_can_check_it(tmp_path: Path) -> None:
    async with scene() as it:
        steps: list[Step] = []
        folder = tmp_path / "new" / "folder"
        export = await export_store(
            it.stores.lab.etcd, it.ost, it.stores.keys, folder, made_at=NOW, progress=steps.append
        )
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {DESCRIPTION, SUMS, "documents/doc/000000.parquet", "documents/note/000000.parquet"}
    description = json.loads((folder / DESCRIPTION).read_text())
    assert {key: description[key] for key in ("format", "version", "sequence", "madeAt", "numbers", "documents")} == {
        "format": "runabout-export",
        "version": 1,
        "sequence": 18,
        "madeAt": NOW,
        "numbers": {"note": 2},
        "documents": {"doc": 15, "note": 2},
    }
    for file in description["files"]:
        data = (folder / file["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["size"], file["sha256"])
    command = ("sha256sum", "--check", "--strict", SUMS)
    await asyncio.to_thread(subprocess.run, command, cwd=folder, check=True, capture_output=True, timeout=90)
    assert read_export(folder) == export
    assert {step.what for step in steps} >= {"reading the log", "writing"}


async def test_a_folder_that_is_not_empty_or_no_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    async with scene() as it:
        with pytest.raises(ExportError, match="is not empty: name an empty folder"):
            await exported(it.stores, tmp_path / "full")
        with pytest.raises(ExportError, match="is no folder"):
            await exported(it.stores, tmp_path / "file")
        with pytest.raises(ExportError, match="cannot be used: Not a directory"):
            await exported(it.stores, tmp_path / "file" / "below")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


async def test_a_full_disk_is_said_in_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    def full(step: Step) -> None:
        if step.what == "writing":
            raise OSError(errno.ENOSPC, "No space left on device")

    async with scene() as it:
        with pytest.raises(ExportError, match=f"{tmp_path}/e cannot be written: No space left on device"):
            await export_store(it.stores.lab.etcd, it.ost, it.stores.keys, tmp_path / "e", made_at=NOW, progress=full)
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("made", [False, True], ids=["was there", "was made"])
async def test_what_fails_leaves_the_folder_as_it_was(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "e"
    if not made:
        folder.mkdir()
    async with scene() as it:
        await it.change(it.stores.keys.segment(14), CHANGES["missing"])
        with pytest.raises(StoreError, match="batch 14 of the log is not whole in etcd, and in no segment"):
            await exported(it.stores, folder)
    assert folder.exists() == (not made)
    assert made or not list(folder.iterdir())
