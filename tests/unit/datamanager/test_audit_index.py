"""What a check says of index files, and that it is true: an opening makes again what does not hold."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.checkpoints import NEVER, SMALL, checkpoint
from lab.damage import CHANGES, Change
from lab.etcds import MemoryLab
from lab.indexed import CONFIG, LABELS, RUN, created, gone, record, source
from lab.indexed import check as check_runs
from lab.stores import Stores, view
from runabout.datamanager import IndexSource, SealPolicy, Transaction
from runabout.datamanager.audit import Finding, Report, audit_store
from runabout.datamanager.manifest import Manifest
from runabout.ost import MemoryObjectStore, ObjectStore
from runabout.records import Phase
from runabout.runindex import IndexRow

OLD, NEW = "an old file", "a new file"


@dataclass(slots=True)
class Scene:
    """A store with two checkpoints, each with several index files of three rows; its writer is closed."""

    stores: Stores
    first: Manifest
    second: Manifest
    source: IndexSource

    @property
    def ost(self) -> ObjectStore:
        assert self.stores.ost is not None
        return self.stores.ost

    def objects(self, manifest: Manifest) -> list[str]:
        assert manifest.index is not None
        return [file.object for file in manifest.index.files]

    def file(self, which: str) -> str:
        """Return an index file that the newest manifest does not name any more, or that it alone names."""
        first, second = self.objects(self.first), self.objects(self.second)
        return min(set(first) - set(second) if which == OLD else set(second) - set(first))

    async def change(self, key: str, change: Change) -> None:
        data = change(await self.ost.read(key))
        await self.ost.delete(key)
        if data is not None:
            await self.ost.write(key, data)

    async def check(self, index: IndexSource | None = None) -> Report:
        return await audit_store(self.stores.lab.etcd, self.ost, self.stores.keys, index=index or self.source)

    async def only(self, index: IndexSource | None = None) -> Finding:
        findings = (await self.check(index)).findings
        assert len(findings) == 1, findings
        return findings[0]


@asynccontextmanager
async def scene(scratch: Path, *, written_as: IndexSource | None = None) -> AsyncIterator[Scene]:
    """Make one; the index is written as `written_as` reads records, and checked as they are."""
    policy = replace(SMALL, rows=3, small=0, keep=3, keep_seconds=NEVER)
    async with MemoryLab() as lab:
        stores = Stores(
            lab,
            0,
            ost=MemoryObjectStore(),
            policy=SealPolicy(interval=NEVER, keep=0),
            checkpoints=policy,
            index=written_as or source(scratch),
        )
        async with stores:
            store = await stores.open()
            for place in range(1, 12):
                await store.commit(Transaction(created(place, group=place % 4, team=("red", "blue")[place % 2])))
            first = await checkpoint(store)
            await store.commit(Transaction((record(5, phase=Phase.FINISHED), gone(7), *created(20))))
            second = await checkpoint(store)
            await store.commit(Transaction(created(21)))  # beyond the index files, and no damage
            await store.close()
            yield Scene(stores, first, second, source(scratch, labels=()))


async def test_whole_index_files_are_counted_and_compared_and_nothing_is_said_of_them(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        report = await it.check()
        assert (report.findings, report.notes) == ((), ())
        files = {*it.objects(it.first), *it.objects(it.second)}
        assert len(files) > len(it.objects(it.second)) > 3
        without = await audit_store(it.stores.lab.etcd, it.ost, it.stores.keys)
        assert without.notes == ("the rows of the index were not compared with the documents",)
        assert without.objects == report.objects
        for key in files:
            await it.ost.delete(key)
        assert (await it.check()).objects == report.objects - len(files)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("which", [OLD, NEW])
async def test_a_damaged_index_file_is_found_and_made_again_by_the_next_opening(
    tmp_path: Path, which: str, change: str
) -> None:
    async with scene(tmp_path) as it:
        key = it.file(which)
        await it.change(key, CHANGES[change])
        found = await it.only()
        assert found.where == key
        assert found.what.startswith("is missing" if change == "missing" else "is damaged")
        assert found.means == "nothing is lost: the documents say the same"
        if which == OLD:
            assert found.todo == "nothing: it goes with its checkpoint, which is an old one"
            return
        assert found.todo == "restart the operator: it makes this part of the index again from the documents"
        again = await it.stores.open()
        check_runs(again.runs, view(again, (RUN, CONFIG)))
        await checkpoint(again)
        assert [each.where for each in (await it.check()).findings] == [key]  # the manifest before still names it


async def test_index_files_that_no_manifest_names_or_that_are_not_ours_are_a_note(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        key = it.file(NEW)
        stem, _, _ = key.removesuffix(".parquet").rpartition("-")
        await it.ost.write(f"{stem}-{'0' * 32}.parquet", b"orphan")
        await it.ost.write(f"{it.stores.keys.index}mine", b"")
        report = await it.check()
        assert report.findings == ()
        assert any("1 index files (6 bytes) belong to no manifest" in note for note in report.notes)
        assert any("names that are not ours, such as store/0/index/mine" in note for note in report.notes)


def _with(change: Callable[[IndexRow], IndexRow | None], scratch: Path) -> IndexSource:
    """Return a source that is wrong about the run in the fifth place."""
    right = source(scratch)

    def row(key: str, body: bytes) -> IndexRow:
        found = right.row(key, body)
        changed = change(found) if found.id == record(5).key else found
        if changed is None:
            raise ValueError("not in the index")
        return changed

    return replace(right, row=row)


WRONG: Mapping[str, tuple[Callable[[IndexRow], IndexRow | None], str]] = {
    "another row": (lambda row: replace(row, group="/ci/project/z"), "has another row for the run"),
    "no row": (lambda _: None, "has no row for the run"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_rows_that_are_not_those_of_the_documents_are_found_and_the_advice_helps(
    tmp_path: Path, wrong: str
) -> None:
    change, said = WRONG[wrong]
    async with scene(tmp_path, written_as=_with(change, tmp_path)) as it:
        found = await it.only()
        assert found.where in it.objects(it.second)
        assert found.what.startswith(said)
        assert record(5).key in found.what
        assert "lists of runs are wrong" in found.means
        assert "delete the object" in found.todo
        await it.ost.delete(found.where)
        honest = Stores(
            it.stores.lab,
            0,
            ost=it.ost,
            policy=SealPolicy(interval=NEVER, keep=0),
            checkpoints=replace(SMALL, rows=3, small=0),
            index=source(tmp_path),
        )
        async with honest:
            again = await honest.open()
            check_runs(again.runs, view(again, (RUN, CONFIG)))


async def test_a_row_without_a_record_is_found(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        found = await it.only(_with(lambda _: None, tmp_path))
        assert (found.where in it.objects(it.second), found.what) == (
            True,
            f"has a row for the run {record(5).key}, which has no record",
        )


async def test_a_label_that_is_not_the_documents_is_found(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        blind = replace(source(tmp_path, labels=LABELS), read_labels=lambda _key, _body: {"team": "green"})
        findings = (await it.check(blind)).findings
        assert {each.where for each in findings} == set(it.objects(it.second))


async def test_a_run_outside_of_all_index_files_is_found(tmp_path: Path) -> None:
    right = source(tmp_path)

    def row(key: str, body: bytes) -> IndexRow:
        if key == record(20).key:
            raise ValueError("not in the index")
        return right.row(key, body)

    async with scene(tmp_path, written_as=replace(right, row=row)) as it:
        found = await it.only()
        assert found.where.startswith(it.stores.keys.manifests)
        assert found.what == f"names no index file for the run {record(20).key}, which has a record"
        assert "import that into an empty one" in found.todo
