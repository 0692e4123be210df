"""Exports and imports in tests."""

from pathlib import Path

from lab.checkpoints import NEVER, SMALL
from lab.etcds import Lab
from lab.stores import Stores
from runabout.datamanager import SealPolicy
from runabout.datamanager.exportformat import Export
from runabout.datamanager.exporting import export_store
from runabout.datamanager.importing import Imported, import_store
from runabout.datamanager.progress import Progress, silent
from runabout.ost import MemoryObjectStore

NOW = "2026-03-01T12:00:00Z"


async def exported(stores: Stores, folder: Path) -> Export:
    assert stores.ost is not None
    return await export_store(stores.lab.etcd, stores.ost, stores.keys, folder, made_at=NOW)


def empty(lab: Lab, number: int = 0) -> Stores:
    return Stores(lab, number, ost=MemoryObjectStore(), policy=SealPolicy(interval=NEVER), checkpoints=SMALL)


async def imported(stores: Stores, folder: Path, *, restart: bool = False, progress: Progress = silent) -> Imported:
    assert stores.faulty_ost is not None
    return await import_store(stores.faulty, stores.faulty_ost, stores.keys, folder, restart=restart, progress=progress)


async def contents(stores: Stores) -> tuple[dict[bytes, bytes], dict[str, bytes]]:
    assert stores.ost is not None
    return await stores.snapshot(), {each.key: await stores.ost.read(each.key) for each in await stores.ost.list()}
