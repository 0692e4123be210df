"""What tests of checkpoints do with stores: write, seal, cover, and look at what is left of it."""

from lab.stores import Stores, put
from runabout.datamanager import Checkpointer, CheckpointPolicy, Store
from runabout.datamanager.manifest import Manifest, decode_pointer
from runabout.datamanager.objects import list_segments
from runabout.ost import iterate

NEVER = 3600.0
SMALL = CheckpointPolicy(interval=NEVER, file=10_000, small=2_000, group=1_000, keep=0, keep_seconds=-NEVER)
"""Files of one row group, and nothing is kept that need not be."""


async def write(store: Store, count: int, *, prefix: str = "", size: int = 10) -> None:
    for number in range(count):
        await store.commit(put(f"{prefix}{number:04}", b"%d " % number * size))


def checkpointer(store: Store) -> Checkpointer:
    assert store.checkpointer is not None
    return store.checkpointer


def manifest(store: Store) -> Manifest:
    found = checkpointer(store).manifest
    assert found is not None
    return found


async def seal(store: Store) -> None:
    assert store.sealer is not None
    await store.sealer.seal()


async def checkpoint(store: Store) -> Manifest:
    """Seal and cover all that is committed."""
    await seal(store)
    await checkpointer(store).checkpoint()
    return manifest(store)


async def objects(stores: Stores, prefix: str = "") -> list[str]:
    assert stores.ost is not None
    base = f"store/{stores.keys.store}/"
    return [each.key.removeprefix(base) async for each in iterate(stores.ost, base + prefix)]


async def covered(stores: Stores) -> int:
    """Return what etcd says is covered."""
    value = await stores.lab.etcd.get(stores.keys.manifest)
    return 0 if value is None else decode_pointer(value, where="manifest").covers


async def remove_segments(stores: Stores, *, before: int) -> None:
    """Remove the segments that begin before a sequence."""
    assert stores.ost is not None
    for first in await list_segments(stores.ost, stores.keys):
        if first < before:
            await stores.ost.delete(stores.keys.segment(first))
