"""What a store has, counted without opening it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runabout.datamanager.head import Keys
from runabout.datamanager.log import PAGE
from runabout.datamanager.progress import Progress, silent
from runabout.datamanager.snapshot import Snapshot, with_snapshot
from runabout.etcd import Etcd
from runabout.ost import ObjectStore, iterate

KINDS: Mapping[str, str] = {"wal": "segments", "data": "data files", "manifest": "manifests", "index": "index files"}
"""What objects are called, by the first element of their key below the store; others by that element itself."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Objects or entries, and their bytes."""

    count: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """A store at one moment; objects were listed a little later."""

    store: int
    store_id: bytes
    incarnation: bytes | None
    """None: etcd has nothing."""
    epoch: int
    sequence: int
    sealed: int
    covers: int
    objects: Mapping[str, Amount]
    """By kind."""
    waiting: Amount
    """Entries that are in etcd alone, up to `sequence`."""
    documents: Mapping[str, int]
    """How many of each type."""


async def take_inventory(
    etcd: Etcd, ost: ObjectStore, keys: Keys, *, scratch: Path, progress: Progress = silent
) -> Inventory:
    """Return what the store has.

    Raises:
        BrokenLog: there is no store, or what it has cannot be told without what is damaged. Unavailable, OSError,
            errors of etcd and of the object storage.
    """

    async def count(snapshot: Snapshot) -> tuple[Snapshot, dict[str, int]]:
        return snapshot, {kind: await snapshot.count(kind) for kind in snapshot.types}

    snapshot, documents = await with_snapshot(etcd, ost, keys, scratch=scratch, use=count, progress=progress)
    sealed, newest = snapshot.state.pointer, snapshot.state.manifest
    end = snapshot.head.sequence if snapshot.wiped else 0 if sealed is None else sealed.last
    base = 0 if snapshot.base is None else snapshot.base.manifest.covers
    return Inventory(
        store=keys.store,
        store_id=snapshot.meta.store_id,
        incarnation=None if snapshot.wiped else snapshot.meta.incarnation,
        epoch=snapshot.head.epoch,
        sequence=snapshot.head.sequence,
        sealed=end,
        covers=base if newest is None else newest.covers,
        objects=await _objects(ost, keys),
        waiting=await _waiting(etcd, keys, after=end, until=snapshot.head.sequence),
        documents=documents,
    )


async def _objects(ost: ObjectStore, keys: Keys) -> dict[str, Amount]:
    counts, sizes = Counter[str](), Counter[str]()
    async for each in iterate(ost, keys.prefix):
        element = each.key.removeprefix(keys.prefix).partition("/")[0]
        kind = KINDS.get(element, element)
        counts[kind] += 1
        sizes[kind] += each.size
    return {kind: Amount(counts[kind], sizes[kind]) for kind in sorted(counts)}


async def _waiting(etcd: Etcd, keys: Keys, *, after: int, until: int) -> Amount:
    count = size = 0
    start = keys.wal(after + 1)
    while after < until:
        page = await etcd.range(start, keys.wal(until + 1), limit=PAGE)
        count += len(page.items)
        size += sum(len(item.value) for item in page.items)
        if not page.more:
            break
        start = page.items[-1].key + b"\x00"
    return Amount(count, size)
