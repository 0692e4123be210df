"""A store with something of everything, and what can happen to each part of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.checkpoints import NEVER, SMALL, checkpoint, seal, write
from lab.etcds import MemoryLab
from lab.stores import Stores, View, note, view
from runabout.datamanager import BrokenLog, CheckpointPolicy, Damaged, NewerFormat, SealPolicy, Store
from runabout.datamanager.audit import Finding, Report, audit_store
from runabout.datamanager.manifest import Manifest
from runabout.datamanager.snapshot import Snapshot, with_snapshot
from runabout.etcd import Put
from runabout.ost import MemoryObjectStore, ObjectStore

Change = Callable[[bytes], bytes | None]
"""Makes other bytes of an object's bytes; None: it is gone."""


EAGER = replace(SMALL, small=0, keep=1, keep_seconds=-NEVER, orphan_seconds=-NEVER)
"""One checkpoint before the newest is kept, and nothing else."""
EVERYTHING = 1000
"""Batches that etcd keeps: all of them."""
NOTHING_LOST = "nothing is lost"
NOT_OPEN = "cannot be opened"
NOT_READ = "not all of it can be read"

CHANGES: dict[str, Change] = {
    "missing": lambda _: None,
    "emptied": lambda _: b"",
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"x",
    "flipped": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "zeros": lambda data: bytes(len(data)),
}


@dataclass(slots=True)
class Scene:
    """Two checkpoints, a segment after them, and batches that are in etcd alone; all writers are closed.

    Sequences: 1 opening, 2 to 8 first checkpoint, 9 to 13 second one, 14 to 16 sealed, 17 and 18 in etcd.
    """

    stores: Stores
    first: Manifest
    second: Manifest
    documents: View

    @property
    def ost(self) -> ObjectStore:
        assert self.stores.ost is not None
        return self.stores.ost

    async def change(self, key: str, change: Change) -> str:
        """Change an object; return its key."""
        data = change(await self.ost.read(key))
        await self.ost.delete(key)
        if data is not None:
            await self.ost.write(key, data)
        return key

    async def change_entry(self, key: bytes, change: Change) -> str:
        """Change a key of etcd; return it."""
        value = await self.stores.lab.etcd.get(key)
        assert value is not None
        data = change(value)
        if data is None:
            await self.stores.lab.etcd.delete(key)
        else:
            await self.stores.lab.etcd.txn((), [Put(key, data)])
        return key.decode()

    async def contents(self) -> tuple[dict[bytes, bytes], dict[str, bytes]]:
        """Return all that is in etcd and on the object storage."""
        objects = {each.key: await self.ost.read(each.key) for each in await self.ost.list()}
        return await self.stores.snapshot(), objects


@asynccontextmanager
async def scene(*, keep: int = 0, number: int = 0, checkpoints: CheckpointPolicy | None = None) -> AsyncIterator[Scene]:
    """Make a store in memory; `keep` sealed batches stay in etcd."""
    policy = SealPolicy(interval=NEVER, keep=keep)
    chosen = checkpoints or replace(SMALL, small=0, keep=3, keep_seconds=NEVER)
    async with MemoryLab() as lab:
        stores = Stores(lab, number, ost=MemoryObjectStore(), policy=policy, checkpoints=chosen)
        async with stores:
            store = await stores.open()
            await write(store, 5, prefix="a ", size=100)
            await store.commit(note(b"one"))
            await store.commit(note(b"two"))
            first = await checkpoint(store)
            await write(store, 5, prefix="b ", size=100)
            second = await checkpoint(store)
            yield await _finished(stores, store, first, second)


async def _finished(stores: Stores, store: Store, first: Manifest, second: Manifest) -> Scene:
    await write(store, 3, prefix="c ")
    await seal(store)
    await write(store, 2, prefix="d ")
    documents = await view(store)
    await store.close()
    return Scene(stores, first, second, documents)


async def check(it: Scene) -> Report:
    return await audit_store(it.stores.lab.etcd, it.ost, it.stores.keys)


async def only(it: Scene) -> Finding:
    """Return the one damage there is."""
    report = await check(it)
    assert len(report.findings) == 1, report.findings
    return report.findings[0]


async def taken(it: Scene, scratch: Path) -> View:
    """Return the documents without opening the store."""

    async def use(snapshot: Snapshot) -> View:
        return {
            kind: {key: body async for rows in snapshot.rows(kind) for key, body in rows} for kind in snapshot.types
        }

    return await with_snapshot(it.stores.lab.etcd, it.ost, it.stores.keys, scratch=scratch, use=use)


async def is_true(it: Scene, findings: tuple[Finding, ...], scratch: Path) -> None:
    """Compare what is said of damage with what happens, and take the advice to delete a key."""
    for each in findings:
        if "delete the key" in each.todo:
            with pytest.raises((BrokenLog, NewerFormat)):
                await it.stores.open()
            assert f"delete the key {each.where} in etcd" in each.todo
            await it.stores.lab.etcd.delete(each.where.encode())
            findings = (await check(it)).findings
    lost = [each for each in findings if NOTHING_LOST not in each.means]
    if lost:
        with pytest.raises((BrokenLog, NewerFormat)):
            await taken(it, scratch)
    else:
        assert await taken(it, scratch) == it.documents
    if any(NOT_OPEN in each.means for each in findings):
        with pytest.raises((BrokenLog, NewerFormat)):
            await it.stores.open()
    elif any(NOT_READ in each.means for each in findings):
        with pytest.raises(Damaged):
            await view(await it.stores.open())
    else:
        assert await view(await it.stores.open()) == it.documents
    if any("delete all keys below" in each.todo for each in findings):
        await it.stores.wipe()
        assert (await view(await it.stores.open()))["doc"].items() <= it.documents["doc"].items()
