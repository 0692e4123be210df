"""Making a store of an export: a new one, that goes on where the exported one was.

What always holds: nothing is written before the export is known to be whole and the place to be empty; until the
store's identity is written, nobody takes what is there for a store; from then on it is complete on the object storage,
and an opening would go on from there even if etcd never heard of it.

The store id and the incarnation are new. The sequence, the chain of the log and the numbers of appends go on: the first
batch of the new store is the one after the last one of the exported store, and it is empty.
"""

import asyncio
import hashlib
import secrets
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from runabout.datamanager.batch import encode_batch, next_chain
from runabout.datamanager.errors import BROKEN_OR_NEWER, StoreError, Unavailable
from runabout.datamanager.exportformat import Export, check_data, read_data, read_export
from runabout.datamanager.head import FORMAT, Head, Keys, Meta, Sealed, decode_meta, owner_value
from runabout.datamanager.manifest import DataFile, Manifest, data_name
from runabout.datamanager.opening import ID_SIZE
from runabout.datamanager.progress import Progress, Step, silent
from runabout.datamanager.rowgroups import described_footer
from runabout.datamanager.segment import encode_segment
from runabout.etcd import Compare, Etcd, EtcdError, Put, RetryableEtcdError
from runabout.ost import AlreadyExistsError, ObjectStore, OstError, iterate

EPOCH = 1
"""Of the import itself: it is the store's first opening."""
TRIES = 5


class OccupiedError(StoreError):
    """There is a store already where one was to be made, or something else."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A store that was made."""

    export: Export
    store_id: bytes
    sequence: int


async def import_store(
    etcd: Etcd,
    ost: ObjectStore,
    keys: Keys,
    folder: Path,
    *,
    restart: bool = False,
    progress: Progress = silent,
) -> Imported:
    """Make a store of an export.

    Args:
        etcd: Where the log's end will be; it has nothing of this store.
        ost: Where the rest will be; the same.
        keys: Which store; need not be the number it was exported from.
        folder: The export.
        restart: Remove first what an import has left that did not come to its end.
        progress: Told how much is checked, then written.

    Raises:
        ExportError: the export is damaged, not whole, or of a newer format. OccupiedError: the place is not empty. In
            both cases nothing was changed.
        Unavailable: everything is on the object storage, but etcd did not say that it knows.
        Errors of etcd and of the object storage: what was written is removed again, as far as that is possible.
    """
    export = await asyncio.to_thread(read_export, folder)
    done, total = 0, sum(each.size for each in export.files)
    for file in export.files:
        await asyncio.to_thread(check_data, folder, file)
        done += file.size
        progress(Step("checking the export", done, total, "bytes"))
    await _refuse_in_etcd(etcd, keys)
    await ost.probe()
    await _refuse_in_ost(ost, keys, restart=restart)
    making = _Making(etcd, ost, keys, export, folder, progress)
    try:
        return await making.make()
    except AlreadyExistsError as error:
        await making.undo()
        raise OccupiedError(f"somebody else writes to store {keys.store} at this moment: {error}") from error
    except BaseException:
        if not making.complete:
            await making.undo()
        raise


async def _refuse_in_etcd(etcd: Etcd, keys: Keys) -> None:
    page = await etcd.range(*keys.everything, limit=1)
    if page.items:
        raise OccupiedError(
            f"etcd has {page.items[0].key.decode(errors='replace')}: store {keys.store} is not empty; import into "
            "another one (RUNABOUT_STORE), or into another etcd"
        )


async def _refuse_in_ost(ost: ObjectStore, keys: Keys, *, restart: bool) -> None:
    found = [each.key async for each in iterate(ost, keys.prefix)]
    if not found:
        return
    if keys.importing not in found:
        raise OccupiedError(
            f"the object storage has {found[0]}: store {keys.store} is not empty; import into another one "
            "(RUNABOUT_STORE), or into another object storage"
        )
    if keys.identity in found:
        raise OccupiedError(
            f"an earlier import into store {keys.store} is complete on the object storage: start the operator, which "
            "goes on from there"
        )
    if not restart:
        raise OccupiedError(
            f"an earlier import into store {keys.store} did not come to its end: `runabout data import --restart` "
            f"removes the {len(found)} objects below {keys.prefix} that it left, and begins again"
        )
    ours = (keys.data, keys.manifests, keys.segments, keys.epoch(EPOCH))
    for key in found:
        if key != keys.importing and not key.startswith(ours):
            raise OccupiedError(
                f"the object storage has {key}, which no import has left: see what it is, and remove it"
            )
    for key in found:
        if key != keys.importing:
            await ost.delete(key)
    await ost.delete(keys.importing)


class _Making:
    """One import."""

    def __init__(
        self, etcd: Etcd, ost: ObjectStore, keys: Keys, export: Export, folder: Path, progress: Progress
    ) -> None:
        self._etcd = etcd
        self._ost = ost
        self._keys = keys
        self._export = export
        self._folder = folder
        self._progress = progress
        self._written: list[str] = []
        self._meta = Meta(secrets.token_bytes(ID_SIZE), EPOCH, secrets.token_bytes(ID_SIZE))
        self.complete = False
        """Whether the object storage has everything: from then on nothing is undone."""

    async def make(self) -> Imported:
        keys, export, meta = self._keys, self._export, self._meta
        sequence = export.sequence + 1
        await self._create(keys.importing, meta.store_id.hex().encode())
        await self._create(keys.epoch(EPOCH), b"")
        files = await self._copy(sequence)
        batch = encode_batch(
            sequence=sequence, previous=export.chain, batch_id=secrets.token_bytes(16), transactions=((),)
        )
        head = Head(meta.incarnation, EPOCH, sequence, next_chain(export.chain, batch))
        segment = encode_segment(
            (batch,),
            store_id=meta.store_id,
            first=sequence,
            epoch=EPOCH,
            incarnation=meta.incarnation,
            previous=export.chain,
            chain=head.chain,
        )
        await self._create(keys.segment(sequence), segment)
        sealed = Sealed(sequence, sequence, head.chain, len(segment), hashlib.sha256(segment).digest())
        manifest = Manifest(meta.store_id, EPOCH, meta.incarnation, sealed, dict(export.numbers), files)
        data = manifest.encode()
        pointer = manifest.pointer(data, uuid.uuid4().bytes)
        await self._create(keys.manifests + pointer.name, data)
        await self._create(keys.identity, FORMAT + meta.store_id)
        self.complete = True
        puts = (
            Put(keys.meta, meta.encode()),
            Put(keys.head, head.encode()),
            Put(keys.owner, owner_value(head)),
            Put(keys.sealed, sealed.encode()),
            Put(keys.manifest, pointer.encode()),
        )
        await self._tell(puts)
        with suppress(OstError):  # it means nothing beside an identity
            await self._ost.delete(keys.importing)
        return Imported(export, meta.store_id, sequence)

    async def undo(self) -> None:
        """Remove what was written, the last first, as far as the object storage lets us."""
        with suppress(OstError):
            for key in reversed(self._written):
                await self._ost.delete(key)

    async def _create(self, key: str, data: bytes) -> None:
        self._written.append(key)
        try:
            await self._ost.write(key, data, size=len(data), persist=True, create_only=True)
        except AlreadyExistsError:
            self._written.remove(key)  # another's
            raise

    async def _copy(self, covers: int) -> tuple[DataFile, ...]:
        found: list[DataFile] = []
        done, total = 0, sum(each.size for each in self._export.files)
        for file in self._export.files:
            data = await asyncio.to_thread(read_data, self._folder, file)
            key = self._keys.data + data_name(file.type, covers=covers, epoch=EPOCH)
            await self._create(key, data)
            found.append(replace(file, object=key, footer=described_footer(data)))
            done += file.size
            self._progress(Step("writing data files", done, total, "bytes"))
        return tuple(found)

    async def _tell(self, puts: tuple[Put, ...]) -> None:
        """Write etcd's keys, unless there are any.

        Raises:
            Unavailable: nobody knows whether they are written. OccupiedError: somebody else has made a store there.
        """
        keys, said = self._keys, ""
        compares = [Compare(each.key, None) for each in puts]
        for _ in range(TRIES):
            try:
                result = await self._etcd.txn(compares, puts, otherwise=[keys.meta])
            except RetryableEtcdError as error:
                said = str(error)
                continue
            except EtcdError as error:
                said = str(error)
                break
            if result.succeeded or self._is_ours(result.values[0]):
                return
            self.complete = False
            await self.undo()
            raise OccupiedError(f"somebody else has made store {keys.store} in etcd meanwhile")
        raise Unavailable(
            f"store {keys.store} is complete on the object storage, but etcd did not take it: {said}. Start the "
            "operator once etcd answers: it goes on from the object storage"
        )

    def _is_ours(self, value: bytes | None) -> bool:
        """Return whether etcd has this store: an earlier attempt wrote it, or an operator that has opened it."""
        if value is None:
            return False
        try:
            return decode_meta(value, where=self._keys.meta.decode()).store_id == self._meta.store_id
        except BROKEN_OR_NEWER:
            return False
