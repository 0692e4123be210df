"""A store with any number of archived runs, written as its checkpoints would have left it, without committing them.

The files are made by the store's own writers, of columns: ten million runs in minutes, with a file of each kind in
memory. It is what is in any store: a manifest that ends with the last segment, the data files with the records, and the
index files with their rows.
"""

import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.places import Place
from benchmarks.records import record_rows
from benchmarks.synthetic import History
from runabout.control.ledger import RUN
from runabout.control.tables import TABLES
from runabout.datamanager import open_store
from runabout.datamanager.datafile import GroupWriter, Written, group_bytes
from runabout.datamanager.head import Keys, decode_head, decode_meta, decode_sealed
from runabout.datamanager.manifest import DataFile, IndexFile, IndexFiles, Manifest, data_name, index_name
from runabout.etcd import Compare
from runabout.etcd import Put as EtcdPut
from runabout.runindex.columns import Columns
from runabout.runindex.files import write_file

SAY_SECONDS = 5.0
_SEED = 5


async def build(place: Place, runs: int, say: Callable[[str], None]) -> None:
    """Make a new store in an empty place whose manifest has so many runs."""
    store = await open_store(place.etcd, ost=place.ost)
    await store.close()
    keys = Keys(0)
    raw = {item.key: item.value for item in (await place.etcd.range(keys.head, keys.sealed + b"\x00")).items}
    meta, head = decode_meta(raw[keys.meta], where="meta"), decode_head(raw[keys.head], where="head")
    sealed = decode_sealed(raw[keys.sealed], where="sealed")
    files = _Files(place, keys, epoch=head.epoch, covers=sealed.last)
    begin = said = time.monotonic()
    source, done = np.random.default_rng(_SEED), 0
    for columns in History().columns(runs):
        await files.add_index(columns)
        await files.add_records(record_rows(columns, files.records.schema, source))
        done += len(columns)
        if (now := time.monotonic()) - said >= SAY_SECONDS:
            said = now
            say(f"  {done:,} of {runs:,} runs written, {now - begin:.0f} s")
    await files.close()
    manifest = Manifest(
        meta.store_id,
        head.epoch,
        meta.incarnation,
        sealed,
        files=tuple(files.data),
        index=IndexFiles(files=tuple(files.index), unreadable=frozenset()),
    )
    data = manifest.encode()
    pointer = manifest.pointer(data, uuid.uuid4().bytes)
    await place.ost.write(keys.manifests + pointer.name, data, size=len(data), persist=True, create_only=True)
    put = EtcdPut(keys.manifest, pointer.encode())
    result = await place.etcd.txn((Compare(keys.manifest, None),), (put,))
    if not result.succeeded:
        raise RuntimeError("the store that is being made has a manifest already")


class _Files:
    """The files of one manifest, stored as they get full."""

    def __init__(self, place: Place, keys: Keys, *, epoch: int, covers: int) -> None:
        self.data: list[DataFile] = []
        self.index: list[IndexFile] = []
        self.records = GroupWriter(TABLES[RUN])
        self._place = place
        self._keys = keys
        self._epoch = epoch
        self._covers = covers

    async def add_index(self, columns: Columns) -> None:
        file = write_file(columns)
        key = self._keys.index + index_name(file.info, epoch=self._epoch, id=uuid.uuid4().bytes)
        await self._store(key, file.body)
        self.index.append(IndexFile(key, file.info))

    async def add_records(self, rows: Any) -> None:  # noqa: ANN401  # pyarrow has no types
        """Write rows in groups as large as a checkpoint makes them."""
        each = max(1, len(rows) * group_bytes(TABLES[RUN]) // rows.nbytes)
        for at in range(0, len(rows), each):
            group = rows.slice(at, each)
            await self._add(self.records.add(group, rows.nbytes * len(group) // len(rows)))

    async def close(self) -> None:
        await self._add(self.records.close())

    async def _add(self, written: Written | None) -> None:
        if written is None:
            return
        key = self._keys.data + data_name(RUN, covers=self._covers, epoch=self._epoch)
        file = written.described(key, RUN)
        await self._store(file.object, written.data)
        self.data.append(file)

    async def _store(self, key: str, data: bytes) -> None:
        await self._place.ost.write(key, data, size=len(data), persist=True, create_only=True)
