"""Reading a store's history from the object storage: the newest manifest that holds, then the segments after it.

What always holds: a manifest counts only if its last segment stands in the log with the same bytes, and all of its data
files are whole. So whichever is used, the documents are those of the log up to there. If the newest one does not hold,
the one before it and more segments say the same; what did not hold is reported. Without any the log is read from its
beginning.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from runabout.datamanager.datafile import MAX_FILE, read_rows
from runabout.datamanager.documents import Documents
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.head import NOTHING_SEALED, Keys, Sealed
from runabout.datamanager.indexed import Indexed, IndexSource
from runabout.datamanager.indexloading import load_index
from runabout.datamanager.manifest import (
    MAX_MANIFEST,
    DataFile,
    Manifest,
    Pointer,
    decode_manifest,
    parse_name,
)
from runabout.datamanager.objects import Breather, batches, list_segments, read_object, read_segment, read_segments
from runabout.ost import ObjectStore, iterate

AHEAD = 4
"""Data files that are fetched at once: at most 64 MiB."""


@dataclass(frozen=True, slots=True)
class Base:
    """A manifest and what names it."""

    manifest: Manifest
    pointer: Pointer
    indexed: Indexed | None = None
    """What its index files hold, None if nobody asked for it."""


@dataclass(slots=True)
class Loaded:
    """The history on the object storage: its end, what it makes, and on which manifest that rests."""

    end: Sealed = NOTHING_SEALED
    documents: Documents = field(default_factory=Documents)
    base: Base | None = None
    segment_bytes: int = 0
    """Of the segments after the base."""
    damage: tuple[str, ...] = ()
    """What did not hold, and was replaced by what says the same."""


async def load_history(
    ost: ObjectStore, keys: Keys, store_id: bytes, *, pointer: Pointer | None, index: IndexSource | None = None
) -> Loaded:
    """Return all that is on the object storage; `pointer` is the newest manifest that etcd knows of.

    With `index` the documents have their index.

    Raises:
        BrokenLog: something is missing or damaged of which there is no second copy. Errors of the object storage.
    """
    damage: list[str] = []
    names = sorted([each async for each in _manifests(ost, keys)], reverse=True)
    if pointer is not None and pointer.name > max(names, default=""):
        damage.append(f"the object {keys.manifests}{pointer.name} is missing")
    for name in names:
        try:
            loaded = await load_base(ost, keys, name, store_id, pointer=pointer, index=index)
            await _load_segments(ost, keys, store_id, loaded)
        except BrokenLog as error:
            damage.append(str(error))
        else:
            loaded.damage = (*damage, *loaded.damage)
            return loaded
    loaded = Loaded(documents=Documents(index), damage=tuple(damage))
    try:
        await _load_segments(ost, keys, store_id, loaded)
    except BrokenLog as error:
        # What was wrong with the manifests says more than that segments are gone, which they made unnecessary.
        raise BrokenLog("; ".join([*damage, str(error)])) from error
    return loaded


async def _manifests(ost: ObjectStore, keys: Keys) -> AsyncIterator[str]:
    async for each in iterate(ost, keys.manifests):
        name = each.key.removeprefix(keys.manifests)
        if parse_name(name) is not None:
            yield name


async def load_base(
    ost: ObjectStore,
    keys: Keys,
    name: str,
    store_id: bytes,
    *,
    pointer: Pointer | None,
    index: IndexSource | None = None,
) -> Loaded:
    """Return what a manifest makes, after checking that it belongs to the log, and is what `pointer` says, if named.

    Raises:
        BrokenLog: it does not, or something of it is missing or damaged. Errors of the object storage.
    """
    base = await read_manifest(ost, keys, name)
    manifest, where = base.manifest, keys.manifests + name
    if pointer is not None and pointer.name == name and pointer != base.pointer:
        raise BrokenLog(f"the object {where} is not the one that etcd knows by this name")
    if manifest.store_id != store_id:
        raise BrokenLog(f"the object {where} is of another store, {manifest.store_id.hex()}")
    _, sealed = await read_segment(ost, keys, manifest.sealed.first)
    if sealed != manifest.sealed:
        raise BrokenLog(f"the object {where} ends with another segment than {keys.segment(sealed.first)}")
    loaded = Loaded(manifest.sealed, Documents(index), base)
    for kind, number in manifest.numbers.items():
        loaded.documents.set_number(kind, number)
    async with aclosing(read_files(ost, manifest.files)) as files:
        async for file, data in files:
            for rows in read_rows(data, file):  # whose bytes have been checked
                loaded.documents.load(file.type, rows)
                await asyncio.sleep(0)  # a file is up to half a second of work
    if loaded.documents.index is not None:
        indexed, damage = await load_index(ost, loaded.documents.index.source, manifest, loaded.documents)
        loaded.base, loaded.damage = replace(base, indexed=indexed), tuple(damage)
        loaded.documents.index.install(indexed, covers=manifest.covers)
    return loaded


async def _load_segments(ost: ObjectStore, keys: Keys, store_id: bytes, loaded: Loaded) -> None:
    """Add the segments after the base."""
    end, breather = loaded.end, Breather()
    firsts = await list_segments(ost, keys, after=end.first)
    segments = read_segments(ost, keys, firsts, store_id=store_id, after=end.last, chain=end.chain)
    async with aclosing(segments):
        async for segment, sealed in segments:
            for batch in batches(segment, keys):
                loaded.documents.apply(batch)
                await breather.breathe()
            loaded.end = sealed
            loaded.segment_bytes += sealed.size


async def read_manifest(ost: ObjectStore, keys: Keys, name: str) -> Base:
    """Return a manifest, read twice if the first time it is damaged.

    Raises:
        BrokenLog: it is damaged, or there is none. Errors of the object storage.
    """
    key = keys.manifests + name
    parsed = parse_name(name)

    def check(data: bytes) -> Base:
        manifest = decode_manifest(data, where=f"the object {key}")
        if parsed is None or (parsed.covers, parsed.epoch) != (manifest.covers, manifest.epoch):
            raise BrokenLog(f"the object {key} holds the manifest of another place")
        return Base(manifest, manifest.pointer(data, parsed.id))

    return await read_object(ost, key, MAX_MANIFEST, check)


async def read_files(
    ost: ObjectStore, files: Iterable[DataFile], *, ahead: int = AHEAD
) -> AsyncGenerator[tuple[DataFile, bytes], None]:
    """Return data files with their bytes, in order, of the size and SHA-256 that their manifest says.

    Raises:
        BrokenLog: one is missing or damaged. Errors of the object storage.
    """
    waiting = deque(files)
    fetching: deque[asyncio.Task[tuple[DataFile, bytes]]] = deque()
    try:
        while waiting or fetching:
            while waiting and len(fetching) < ahead:
                fetching.append(asyncio.create_task(_read_file(ost, waiting.popleft())))
            found = await fetching[0]
            fetching.popleft()
            yield found
    finally:
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)


async def _read_file(ost: ObjectStore, file: DataFile) -> tuple[DataFile, bytes]:
    def check(data: bytes) -> tuple[DataFile, bytes]:
        file.check(data)
        return file, data

    return await read_object(ost, file.object, MAX_FILE, check)
