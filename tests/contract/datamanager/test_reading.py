"""Reading what a checkpoint covers: from its data files, a row group at a time, true of one moment whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from contract.datamanager.conftest import Sealing
from lab.checkpoints import NEVER, SMALL, checkpoint, checkpointer, manifest, remove_segments, seal, write
from lab.stores import DOC, NOTE, Stores, delete, note, put, view
from runabout.datamanager import Damaged, Put, ReadPolicy, Store, Transaction, Unreadable, follow_store
from runabout.datamanager.manifest import DataFile
from runabout.ost import DeniedError, OstError, UnavailableError

WAIT = 30.0
NOTHING = ReadPolicy(groups=1, footers=1)
"""Nothing that was read is kept."""
ONE_FILE = replace(SMALL, file=16 * 1024 * 1024, small=0, group=1_000)
"""Some row groups in a file."""


def reads_of(stores: Stores, prefix: str) -> list[tuple[str, int | None]]:
    """Return which objects with this prefix were read, with how many bytes were asked for."""
    assert stores.faulty_ost is not None
    return [(key, part.length) for key, part in stores.faulty_ost.reads if key.startswith(prefix)]


def forget_reads(stores: Stores) -> None:
    assert stores.faulty_ost is not None
    stores.faulty_ost.reads.clear()


class Gate:
    """Holds reads of the object storage back, once it is shut."""

    def __init__(self, stores: Stores) -> None:
        assert stores.faulty_ost is not None
        self.met, self._open = asyncio.Event(), asyncio.Event()
        self._ours: set[asyncio.Task[object] | None] = set()
        stores.faulty_ost.fault = self._wait

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Let everything pass that is done in here."""
        await self.met.wait()
        self._ours.add(asyncio.current_task())
        yield
        self._open.set()

    async def _wait(self, call: str, when: str) -> None:
        if (
            (call, when) == ("ost read", "before")
            and asyncio.current_task() not in self._ours
            and not self.met.is_set()
        ):
            self.met.set()
            await self._open.wait()


async def test_memory_has_nothing_that_a_checkpoint_covers_and_reads_are_the_same(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=SMALL, reads=NOTHING)
    store = await stores.open()
    await write(store, 20)
    await store.commit(note(b"one"))
    await store.commit(delete("0003"))
    seen = await view(store)
    assert store.documents.changed == 21
    await checkpoint(store)
    assert (store.documents.changed, store.documents.memory) == (0, 0)
    assert store.documents.reader is not None
    assert store.documents.reader.size == 0
    assert await view(store) == seen
    await store.commit(put("new"))
    await store.commit(delete("0004"))
    await store.commit(delete("0003"))
    assert store.documents.changed == 3
    assert [await store.get(DOC, key) for key in ("0003", "0004", "0005", "new")] == [None, None, b"5 " * 10, b""]
    assert await store.last_key(DOC) == "new"
    again = await stores.open()
    assert await view(again) == await view(store)
    assert again.documents.changed == 3


async def test_opening_reads_no_data_file_and_a_read_only_the_footer_and_one_row_group(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=ONE_FILE)
    store = await stores.open()
    await write(store, 100, size=40)
    (file,) = (await checkpoint(store)).files
    await store.close()
    forget_reads(stores)
    again = await stores.open()
    assert reads_of(stores, stores.keys.data) == []
    assert file.footer is not None
    assert await again.get(DOC, "0050") == b"50 " * 40
    assert await again.get(DOC, "0050 and more") is None
    found = reads_of(stores, stores.keys.data)
    assert [each for each, _ in found] == [file.object] * 2
    assert found[0][1] == file.footer.size + 1
    assert (found[1][1] or file.size) < file.size / 10
    assert await again.get(DOC, "nowhere at all") is None, "no file has such a key"
    assert len(reads_of(stores, stores.keys.data)) == 2


async def test_what_is_kept_is_bounded_and_however_many_ask_it_is_read_once(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=ONE_FILE, reads=ReadPolicy(groups=4_000, footers=100_000))
    store = await stores.open()
    await write(store, 100, size=40)
    await checkpoint(store)
    reader = store.documents.reader
    assert reader is not None
    forget_reads(stores)
    assert await asyncio.gather(*(store.get(DOC, "0050") for _ in range(20))) == [b"50 " * 40] * 20
    assert len(reads_of(stores, stores.keys.data)) == 2
    for number in range(100):
        assert await store.get(DOC, f"{number:04}") == b"%d " % number * 40
        assert reader.size <= 104_000
    assert await store.get(DOC, "0050") == b"50 " * 40
    assert len(reads_of(stores, stores.keys.data)) > 10, "it was not kept"


async def test_one_who_gives_up_takes_the_answer_from_nobody(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, reads=NOTHING)
    store = await stores.open()
    await write(store, 3)
    await checkpoint(store)
    gate = Gate(stores)
    hasty, patient = (asyncio.ensure_future(store.get(DOC, "0001")) for _ in range(2))
    async with asyncio.timeout(WAIT), gate.held():
        hasty.cancel()
    assert await patient == b"1 " * 10
    assert hasty.cancelled()


ERRORS: dict[str, OstError] = {"no answer": UnavailableError("500"), "refused": DeniedError("403")}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
async def test_without_the_object_storage_a_read_fails_with_what_and_where_and_commits_go_on(
    sealing: Sealing, error: OstError
) -> None:
    stores = sealing(interval=NEVER, reads=NOTHING)
    store = await stores.open()
    await write(store, 3)
    (file,) = (await checkpoint(store)).files
    assert stores.faulty_ost is not None

    async def fails(_call: str, _when: str) -> None:
        raise error

    stores.faulty_ost.fault, well = fails, stores.faulty_ost.fault
    for call in (store.get(DOC, "0001"), store.scan(DOC), store.scan_back(DOC, limit=1)):
        with pytest.raises(Unreadable, match=rf"of the type doc .*{file.object} now: {error}"):
            await call
    await store.commit(put("0001", b"new"))
    assert await store.get(DOC, "0001") == b"new"
    assert await store.get(DOC, "other") is None
    stores.faulty_ost.fault = well
    assert await store.get(DOC, "0002") == b"2 " * 10


# at one moment


async def test_a_read_says_what_was_true_when_it_began_whatever_is_committed_covered_and_collected(
    sealing: Sealing,
) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, small=0, orphan_seconds=-NEVER), reads=NOTHING)
    store = await stores.open()
    await write(store, 30)
    await checkpoint(store)
    await store.commit(put("0000", b"changed"))
    before, gate = await view(store), Gate(stores)
    scan = asyncio.ensure_future(store.scan(DOC))
    async with asyncio.timeout(WAIT), gate.held():
        await store.commit(Transaction(tuple(Put(DOC, f"{number:04}", b"later") for number in range(40))))
        await store.commit(delete("0002"))
        await checkpoint(store)
    assert dict(await scan) == before[DOC]


async def test_a_read_whose_objects_are_gone_meanwhile_is_made_again_with_the_newest(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, small=0, orphan_seconds=-NEVER), reads=NOTHING)
    store = await stores.open()
    await write(store, 30)
    old = (await checkpoint(store)).files
    gate = Gate(stores)
    scan, one = asyncio.ensure_future(store.scan(DOC)), asyncio.ensure_future(store.get(DOC, "0029"))
    async with asyncio.timeout(WAIT), gate.held():
        await store.commit(Transaction(tuple(Put(DOC, f"{number:04}", b"later") for number in range(30))))
        await checkpoint(store)
        await checkpointer(store).collect()
        assert stores.ost is not None
        there = {each.key for each in await stores.ost.list(stores.keys.data)}
        assert not there & {file.object for file in old}
    assert dict(await scan) == (await view(store))[DOC]
    assert await one in {b"29 " * 10, b"later"}
    assert store.damage == ()


async def test_a_delete_that_a_checkpoint_under_way_does_not_cover_hides_what_it_covers(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=SMALL, reads=NOTHING)
    store = await stores.open()
    await store.commit(put("a", b"1"))
    await seal(store)
    await store.commit(delete("a"))
    await checkpointer(store).checkpoint()
    assert [each.first for each in manifest(store).files] == ["a"]
    assert await store.get(DOC, "a") is None
    assert await store.last_key(DOC) is None
    assert await store.scan(DOC) == []
    assert (await checkpoint(store)).files == ()
    assert store.documents.changed == 0


# damage


async def _with_file(stores: Stores) -> tuple[Store, DataFile]:
    store = await stores.open()
    await write(store, 30, size=20)
    made = await checkpoint(store)
    return store, made.files[0]


async def test_what_is_damaged_is_taken_from_the_log_and_written_again(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, small=0), reads=NOTHING)
    store, file = await _with_file(stores)
    seen = await view(store)
    assert stores.ost is not None
    data = await stores.ost.read(file.object)
    await stores.ost.delete(file.object)
    await stores.ost.write(file.object, data[:10] + bytes([data[10] ^ 1]) + data[11:])
    assert await view(store) == seen
    assert file.object in store.damage[0]
    await store.commit(put("more"))
    made = await checkpoint(store)
    assert file.object not in made.objects
    again = await stores.open()
    assert (await view(again), again.damage) == (seen | {DOC: seen[DOC] | {"more": b""}}, ())


async def test_a_writer_that_was_replaced_takes_nothing_from_the_next_one(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, small=0, orphan_seconds=-NEVER), reads=NOTHING)
    old, _ = await _with_file(stores)
    new = await stores.open(etcd=stores.lab.etcd)
    await new.commit(Transaction(tuple(Put(DOC, f"{number:04}", b"of the next") for number in range(30))))
    await checkpoint(new)
    await checkpointer(new).collect()
    with pytest.raises(Damaged, match="is missing"):
        await old.get(DOC, "0001")


async def test_files_of_an_older_version_are_verified_as_a_whole_once_and_read_in_parts_then(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=ONE_FILE, reads=ReadPolicy(groups=1))
    store, file = await _with_file(stores)
    seen, made = await view(store), manifest(store)
    value = await stores.lab.etcd.get(stores.keys.manifest)
    await store.close()
    assert stores.ost is not None
    assert value is not None
    old = replace(made, files=tuple(replace(each, footer=None) for each in made.files)).encode()
    assert b"footers" not in old
    (name,) = [each.key for each in await stores.ost.list(stores.keys.manifests)]
    await stores.ost.delete(name)
    await stores.lab.etcd.delete(stores.keys.manifest, stores.keys.manifest + b"\x00")
    await stores.ost.write(name, old)
    await remove_segments(stores, before=made.sealed.first)
    forget_reads(stores)
    again = await stores.open()
    assert await view(again) == seen
    whole = [size for _, size in reads_of(stores, file.object) if size is not None and size > file.size]
    assert (len(whole), len(reads_of(stores, file.object)) > 2) == (1, True)
    assert again.damage == ()


# followers


async def test_a_follower_reads_from_data_files_and_leaves_to_newer_ones_what_they_cover(sealing: Sealing) -> None:
    stores = sealing(interval=NEVER, checkpoints=replace(SMALL, orphan_seconds=-NEVER), reads=NOTHING)
    store = await stores.open()
    await write(store, 20)
    await checkpoint(store)
    async with asyncio.timeout(WAIT):
        reader = await follow_store(
            stores.lab.etcd,
            ost=stores.ost,
            number=stores.keys.store,
            interval=0.01,
            reads=replace(NOTHING, recent=1),
        )
        assert await view(reader) == await view(store)
        await write(store, 10, prefix="more ")
        await store.commit(delete("0007"))
        await checkpoint(store)
        await checkpointer(store).collect()
        await reader.reached(store.sequence, seconds=WAIT)
        assert await view(reader) == await view(store)
        assert await reader.last_key(NOTE) is None
        await reader.close()
