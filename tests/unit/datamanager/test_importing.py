"""A store made of an export: the same documents, and nothing changed where something was refused."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.checkpoints import NEVER, SMALL, checkpoint, checkpointer, seal, write
from lab.damage import CHANGES, scene
from lab.etcds import MemoryLab
from lab.exports import contents, empty, exported, imported
from lab.stores import DOC, NOTE, Stores, note, put, view
from runabout.datamanager import Action, Append, Delete, Put, SealPolicy, Transaction, Unavailable
from runabout.datamanager.audit import audit_store
from runabout.datamanager.exportformat import DESCRIPTION, SUMS, ExportError
from runabout.datamanager.head import decode_meta
from runabout.datamanager.importing import OccupiedError
from runabout.datamanager.progress import Step
from runabout.etcd import Put as EtcdPut
from runabout.etcd import UnavailableError, UnknownOutcomeError
from runabout.ost import MemoryObjectStore, OstError
from runabout.ost import UnavailableError as OstUnavailableError

# from one store to another


KEYS = st.sampled_from(["", *"abcdefgh", "a/b", "é", "￿", "\U0010ffff"])
BODIES = st.binary(max_size=3)
ACTIONS: st.SearchStrategy[Action] = (
    st.builds(Put, st.just(DOC), KEYS, BODIES)
    | st.builds(Delete, st.just(DOC), KEYS)
    | st.builds(Append, st.just(NOTE), BODIES)
)
STEPS = st.lists(st.lists(ACTIONS, max_size=4) | st.sampled_from(["seal", "checkpoint"]), max_size=14)


@given(STEPS, st.sampled_from([0, 1000]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_store_is_the_same_after_an_export_and_an_import(
    tmp_path: Path, steps: list[list[Action] | str], keep: int
) -> None:
    async def play() -> None:
        folder = tmp_path / uuid.uuid4().hex
        policy = SealPolicy(interval=NEVER, keep=keep)
        async with MemoryLab() as lab, MemoryLab() as other_lab:
            stores = Stores(lab, 0, ost=MemoryObjectStore(), policy=policy, checkpoints=replace(SMALL, group=1))
            async with stores, empty(other_lab, number=5) as other:
                store = await stores.open()
                numbers = 0
                for step in steps:
                    if step == "seal":
                        await seal(store)
                    elif step == "checkpoint":
                        await checkpoint(store)
                    elif not isinstance(step, str):
                        await store.commit(Transaction(tuple(step)))
                        numbers += sum(isinstance(each, Append) for each in step)
                export = await exported(stores, folder)
                assert export.sequence == store.sequence
                made = await imported(other, folder)
                assert (await audit_store(lab.etcd, stores.ost or MemoryObjectStore(), stores.keys)).findings == ()
                assert other.ost is not None
                report = await audit_store(other_lab.etcd, other.ost, other.keys)
                assert (report.findings, report.notes) == ((), ())
                again = await other.open()
                assert (await view(again), again.recovery, again.damage) == (await view(store), None, ())
                assert again.sequence == made.sequence + 1 == store.sequence + 2
                assert (await again.commit(note(b"next"))).appended == (numbers + 1,)

    asyncio.run(play())


async def test_what_is_new_and_what_goes_on_in_the_imported_store(tmp_path: Path) -> None:
    async with scene() as it, MemoryLab() as lab, empty(lab, 4) as other:
        export = await exported(it.stores, tmp_path / "e")
        made = await imported(other, tmp_path / "e")
        old = decode_meta((await contents(it.stores))[0][it.stores.keys.meta], where="")
        new = decode_meta((await contents(other))[0][other.keys.meta], where="")
        assert (export.store_id, export.incarnation) == (old.store_id, old.incarnation)
        assert made.store_id == new.store_id != old.store_id
        assert new.incarnation != old.incarnation
        head = await other.head()
        assert (head.epoch, head.sequence, export.sequence) == (1, 19, 18)
        # The same log goes on: its next batch continues the last one of the exported store.
        store = await other.open()
        assert (await view(store), store.epoch, store.sequence) == (it.documents, 2, 20)
        # An older history and another one's checkpoint cannot be told apart by etcd's loss: it goes on from the import.
        await store.close()
        await other.wipe()
        assert await view(await other.open()) == it.documents


async def test_an_imported_store_is_checkpointed_and_collected_like_any_other(tmp_path: Path) -> None:
    async with scene() as it, MemoryLab() as lab, empty(lab) as other:
        await exported(it.stores, tmp_path / "e")
        await imported(other, tmp_path / "e")
        store = await other.open()
        await write(store, 4, prefix="later ")
        await checkpoint(store)
        await checkpointer(store).collect()
        seen = await view(store)
        await store.close()
        await other.wipe()
        assert await view(await other.open()) == seen
        assert other.ost is not None
        assert (await audit_store(lab.etcd, other.ost, other.keys)).findings == ()


async def test_an_import_says_how_far_it_is_with_checking_and_with_writing(tmp_path: Path) -> None:
    steps: list[Step] = []
    async with scene() as it, MemoryLab() as lab, empty(lab) as other:
        export = await exported(it.stores, tmp_path / "e")
        await imported(other, tmp_path / "e", progress=steps.append)
    sizes = [each.size for each in export.files]
    assert len(sizes) > 1
    assert steps == [
        Step(what, done, sum(sizes), "bytes")
        for what in ("checking the export", "writing data files")
        for done in accumulate(sizes)
    ]


# refusals


async def test_a_store_that_has_anything_is_refused_and_not_changed(tmp_path: Path) -> None:
    async with scene() as it, MemoryLab() as lab, empty(lab) as other:
        await exported(it.stores, tmp_path / "e")
        before = await contents(it.stores)
        with pytest.raises(OccupiedError, match=r"etcd has store/0/head: store 0 is not empty"):
            await imported(it.stores, tmp_path / "e")
        assert await contents(it.stores) == before
        await it.stores.wipe()
        with pytest.raises(OccupiedError, match=r"the object storage has store/0/data/.*: store 0 is not empty"):
            await imported(it.stores, tmp_path / "e")
        assert (await contents(it.stores))[1] == before[1]
        assert other.ost is not None
        await other.ost.write("logs/another", b"is no store")
        assert (await imported(other, tmp_path / "e")).sequence == 19


Rewrite = Callable[[Path], None]


def _with(name: str, change: str) -> Rewrite:
    def rewrite(folder: Path) -> None:
        data = CHANGES[change]((folder / name).read_bytes())
        (folder / name).unlink()
        if data is not None:
            (folder / name).write_bytes(data)

    return rewrite


def _described(**fields: object) -> Rewrite:
    """Return what writes a description with other values, and its right checksum."""

    def rewrite(folder: Path) -> None:
        body = orjson.loads((folder / DESCRIPTION).read_bytes()) | fields
        old = hashlib.sha256((folder / DESCRIPTION).read_bytes()).hexdigest()
        data = orjson.dumps(body)
        (folder / DESCRIPTION).write_bytes(data)
        sums = (folder / SUMS).read_text().replace(old, hashlib.sha256(data).hexdigest())
        (folder / SUMS).write_text(sums)

    return rewrite


FILE = "documents/doc/000000.parquet"
BAD: dict[str, Rewrite] = {
    **{f"{name} {change}": _with(name, change) for name in (FILE, DESCRIPTION, SUMS) for change in CHANGES},
    "a newer version": _described(version=2),
    "another format": _described(format="x"),
    "other counts": _described(documents={"doc": 1}),
    "no files": _described(files=[]),
    "a field is missing": _described(numbers=None),
}
SAID = {
    "a newer version": "has version 2 of the format; this program reads 1: use a newer one",
    f"{SUMS} missing": "is missing: this is no export, or one that did not come to its end or lost a file",
    f"{FILE} missing": "is missing",
    f"{FILE} flipped": "the export is damaged",
    f"{FILE} cut": "the export is damaged",
    f"{DESCRIPTION} flipped": "is damaged: its SHA-256 is not the one in SHA256SUMS",
    "other counts": "its counts do not fit its files",
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_export_is_refused_and_nothing_is_changed(name: str, tmp_path: Path) -> None:
    async with scene() as it, MemoryLab() as lab, empty(lab) as other:
        await exported(it.stores, tmp_path / "e")
        BAD[name](tmp_path / "e")
        with pytest.raises(ExportError, match=SAID.get(name)) as caught:
            await imported(other, tmp_path / "e")
        assert str(tmp_path) in str(caught.value)
        assert await contents(other) == ({}, {})


async def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    async with MemoryLab() as lab, empty(lab) as other:
        with pytest.raises(ExportError, match="is no folder: name one that `runabout data export` has written"):
            await imported(other, tmp_path / "e")


# faults


@pytest.mark.parametrize("at", ["before", "after"])
async def test_whatever_fails_before_the_import_is_complete_leaves_nothing(tmp_path: Path, at: str) -> None:
    """Each write fails once, before or after its effect, until the import goes through."""
    async with scene() as it:
        await exported(it.stores, tmp_path / "e")
    failed = 0
    while True:
        async with MemoryLab() as lab, empty(lab) as other:
            left = failed

            async def fail(name: str, when: str) -> None:
                nonlocal left
                if name == "ost write" and when == at:
                    left -= 1
                    if left == -1:
                        raise OstUnavailableError("away")

            assert other.faulty_ost is not None
            other.faulty_ost.fault = fail
            try:
                await imported(other, tmp_path / "e")
            except OstError:
                failed += 1
                assert await contents(other) == ({}, {})
            else:
                break
    assert failed == 7  # marker, epoch, two data files, segment, manifest, identity


async def test_an_import_that_was_killed_is_told_from_a_store_and_can_begin_again(tmp_path: Path) -> None:
    """The process dies before each write, so that nothing is undone."""
    async with scene() as it:
        await exported(it.stores, tmp_path / "e")
        documents = it.documents
    for number in range(1, 7):
        async with MemoryLab() as lab, empty(lab) as other:
            left = number

            async def die(_name: str, when: str) -> None:
                nonlocal left
                if when == "before" and _name == "ost write":
                    left -= 1
                if left < 0:
                    raise OstUnavailableError("the process is dead")

            assert other.faulty_ost is not None
            other.faulty_ost.fault = die
            with pytest.raises(OstError):
                await imported(other, tmp_path / "e")

            async def live(_name: str, _when: str) -> None:
                return

            other.faulty_ost.fault = live
            before = await contents(other)
            with pytest.raises(OccupiedError, match="did not come to its end: `runabout data import --restart`"):
                await imported(other, tmp_path / "e")
            assert await contents(other) == before
            await imported(other, tmp_path / "e", restart=True)
            assert await view(await other.open()) == documents
            assert other.ost is not None
            assert (await audit_store(lab.etcd, other.ost, other.keys)).notes == ()


async def test_restart_removes_no_store_and_nothing_that_no_import_has_left(tmp_path: Path) -> None:
    async with scene() as it, MemoryLab() as lab, empty(lab) as other:
        await exported(it.stores, tmp_path / "e")
        await it.stores.wipe()
        before = await contents(it.stores)
        with pytest.raises(OccupiedError):
            await imported(it.stores, tmp_path / "e", restart=True)
        assert await contents(it.stores) == before
        assert other.ost is not None
        await other.ost.write(other.keys.importing, b"x")
        await other.ost.write(f"{other.keys.prefix}quarantine/x", b"x")
        with pytest.raises(OccupiedError, match="which no import has left"):
            await imported(other, tmp_path / "e", restart=True)
        await other.ost.delete(f"{other.keys.prefix}quarantine/x")
        await other.ost.write(other.keys.identity, b"x")
        with pytest.raises(OccupiedError, match="start the operator, which goes on from there"):
            await imported(other, tmp_path / "e", restart=True)


@pytest.mark.parametrize("at", ["before", "after"])
async def test_etcd_is_told_once_and_a_lost_answer_is_asked_for_again(tmp_path: Path, at: str) -> None:
    async with scene() as it, MemoryLab() as lab, empty(lab) as other:
        await exported(it.stores, tmp_path / "e")
        failed = False

        async def lose(name: str, when: str) -> None:
            nonlocal failed
            if (name, when) == ("txn", at) and not failed:
                failed = True
                raise UnknownOutcomeError("no answer")

        other.faulty.fault = lose
        await imported(other, tmp_path / "e")
        assert failed
        assert await view(await other.open()) == it.documents


async def test_an_import_that_etcd_does_not_take_is_complete_all_the_same(tmp_path: Path) -> None:
    async with scene() as it, MemoryLab() as lab, empty(lab) as other:
        await exported(it.stores, tmp_path / "e")

        async def away(name: str, _when: str) -> None:
            if name == "txn":
                raise UnavailableError("nobody there")

        other.faulty.fault = away
        with pytest.raises(Unavailable, match="complete on the object storage, but etcd did not take it: nobody there"):
            await imported(other, tmp_path / "e")
        store = await other.open(etcd=lab.etcd)
        assert await view(store) == it.documents


async def test_a_store_that_appears_in_etcd_at_the_last_moment_is_left_alone(tmp_path: Path) -> None:
    """The one moment when somebody else's keys are seen by the comparison in the transaction alone."""
    async with scene() as it, MemoryLab() as lab, empty(lab) as other:
        await exported(it.stores, tmp_path / "e")
        foreign = (await contents(it.stores))[0][it.stores.keys.meta]

        async def appear(name: str, when: str) -> None:
            if (name, when) == ("txn", "before"):
                await lab.etcd.txn((), [EtcdPut(other.keys.meta, foreign)])

        other.faulty.fault = appear
        with pytest.raises(OccupiedError, match="somebody else has made store 0 in etcd meanwhile"):
            await imported(other, tmp_path / "e")
        assert await contents(other) == ({other.keys.meta: foreign}, {})


async def test_an_operator_that_starts_meanwhile_wins_and_the_import_leaves_nothing(tmp_path: Path) -> None:
    async with scene() as it, MemoryLab() as lab, empty(lab) as other:
        await exported(it.stores, tmp_path / "e")
        started = False

        async def start(name: str, when: str) -> None:
            nonlocal started
            if (name, when) == ("ost write", "before") and not started:
                started = True
                store = await other.open(etcd=lab.etcd)
                await store.commit(put("of the operator"))
                await store.close()

        assert other.faulty_ost is not None
        other.faulty_ost.fault = start
        with pytest.raises(OccupiedError, match="somebody else writes to store 0"):
            await imported(other, tmp_path / "e")
        assert (await view(await other.open(etcd=lab.etcd)))[DOC] == {"of the operator": b""}
