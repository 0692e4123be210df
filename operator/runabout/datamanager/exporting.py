"""Writing all documents of a store into a folder, while whoever writes the store goes on.

What always holds: the documents are those of one sequence; the folder counts as an export only when everything in it
is written and synced; what fails leaves the folder as empty as it was.
"""

import asyncio
import os
import shutil
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

from runabout.datamanager.datafile import DataWriter, Written
from runabout.datamanager.exportformat import DESCRIPTION, DOCUMENTS, SUMS, Export, ExportError, name_of
from runabout.datamanager.head import Keys
from runabout.datamanager.manifest import DataFile
from runabout.datamanager.progress import Progress, Step, silent
from runabout.datamanager.snapshot import Snapshot, with_snapshot
from runabout.datamanager.tables import NO_TABLES, PLAIN, Tables
from runabout.etcd import Etcd
from runabout.ost import ObjectStore

SCRATCH = ".changes"


async def export_store(
    etcd: Etcd,
    ost: ObjectStore,
    keys: Keys,
    folder: Path,
    *,
    made_at: str,
    tables: Tables = NO_TABLES,
    progress: Progress = silent,
) -> Export:
    """Write the documents as they are now into a folder, which is made if there is none.

    Args:
        etcd: Where the log's end is.
        ost: Where the rest is.
        keys: Which store.
        folder: Empty, or not there.
        made_at: The time now, as text.
        tables: Columns of the data files, by type of document.
        progress: Told how many documents are written.

    Raises:
        ExportError: the folder is not empty, or cannot be written. BrokenLog: there is no store, or a part of it is
            lost. Unavailable, errors of etcd and of the object storage.
    """
    try:
        made = await asyncio.to_thread(_prepare, folder)
    except OSError as error:
        raise ExportError(f"{folder} cannot be used: {error.strerror or error}") from error
    writing = _Writing(folder, keys, made_at, tables, progress)
    try:
        export = await with_snapshot(etcd, ost, keys, scratch=folder / SCRATCH, use=writing.write, progress=progress)
        await asyncio.to_thread(_finish, folder, export)
    except BaseException as error:
        await asyncio.to_thread(_clear, folder, made=made)
        if isinstance(error, OSError):
            raise ExportError(f"{folder} cannot be written: {error.strerror or error}") from error
        raise
    return export


class _Writing:
    """One export; `write` may be called again when a checkpoint does not hold."""

    def __init__(self, folder: Path, keys: Keys, made_at: str, tables: Tables, progress: Progress) -> None:
        self._folder = folder
        self._keys = keys
        self._made_at = made_at
        self._tables = tables
        self._progress = progress
        self._files: list[DataFile] = []
        self._count = 0

    async def write(self, snapshot: Snapshot) -> Export:
        self._files.clear()
        self._count = 0
        await asyncio.to_thread(shutil.rmtree, self._folder / DOCUMENTS, ignore_errors=True)
        for kind in snapshot.types:
            await self._write_type(snapshot, kind)
        meta, head = snapshot.meta, snapshot.head
        return Export(
            meta.store_id,
            self._keys.store,
            meta.incarnation,
            head.epoch,
            head.sequence,
            head.chain,
            self._made_at,
            snapshot.numbers,
            tuple(self._files),
        )

    async def _write_type(self, snapshot: Snapshot, kind: str) -> None:
        writer = DataWriter(self._tables.get(kind, PLAIN))
        number = 0
        async with aclosing(snapshot.rows(kind)) as pieces:
            async for rows in pieces:
                for key, body in rows:
                    self._count += 1
                    full = writer.add(key, body)
                    if full is not None:
                        await self._store(kind, number, full)
                        number += 1
                self._progress(Step("writing", self._count, 0, "documents"))
                await asyncio.sleep(0)
        for rest in writer.close():
            await self._store(kind, number, rest)
            number += 1

    async def _store(self, kind: str, number: int, written: Written) -> None:
        file = replace(written.described(name_of(kind, number), kind), footer=None)  # an export does not say it
        await asyncio.to_thread(_write, self._folder / file.object, written.data)
        self._files.append(file)


def _prepare(folder: Path) -> bool:
    """Make sure that the folder is there and empty; return whether it was made."""
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is no folder: name an empty one, or one that is not there")
    if folder.is_dir() and next(folder.iterdir(), None) is not None:
        raise ExportError(f"{folder} is not empty: name an empty folder, or one that is not there")
    made = not folder.exists()
    (folder / SCRATCH).mkdir(parents=True)
    return made


def _finish(folder: Path, export: Export) -> None:
    shutil.rmtree(folder / SCRATCH)
    description = export.encode()
    _write(folder / DESCRIPTION, description)
    _write(folder / SUMS, export.sums(description))
    for each in {path.parent for path in folder.rglob("*")} | {folder.parent}:
        _sync(each)


def _clear(folder: Path, *, made: bool) -> None:
    for name in (SUMS, DESCRIPTION):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    for name in (DOCUMENTS, SCRATCH):
        shutil.rmtree(folder / name, ignore_errors=True)
    if made:
        with suppress(OSError):
            folder.rmdir()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
