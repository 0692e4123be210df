"""Reading a store's history from the object storage: the newest manifest that holds, then the segments after it.

What always holds: a manifest counts only if its last segment stands in the log with the same bytes, and all of its data
files are there, with their sizes. So whichever is used, the documents are those of the log up to there. If the newest
one does not hold, the one before it and more segments say the same; what did not hold is reported. Without any the log
is read from its beginning. What is in data files is read, and checked, when it is asked for; if it does not hold then,
the history is loaded once more, without the manifests that name it. Nothing stands in for what a newer version wrote.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

from runabout.datamanager.datareader import DataReader
from runabout.datamanager.documents import Documents
from runabout.datamanager.errors import BrokenLog, Damaged
from runabout.datamanager.formats import MAGIC_SIZE, is_newer
from runabout.datamanager.head import NOTHING_SEALED, Keys, Sealed
from runabout.datamanager.indexed import Indexed, IndexSource
from runabout.datamanager.indexloading import load_index
from runabout.datamanager.manifest import (
    MAGIC,
    MAX_MANIFEST,
    Manifest,
    Pointer,
    decode_manifest,
    parse_name,
)
from runabout.datamanager.objects import Breather, batches, list_segments, read_object, read_segment, read_segments
from runabout.datamanager.progress import Progress, Step, silent
from runabout.ost import ByteRange, CorruptError, NotFoundError, ObjectStore, iterate


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
    ost: ObjectStore,
    keys: Keys,
    store_id: bytes,
    *,
    pointer: Pointer | None,
    index: IndexSource | None = None,
    reader: DataReader | None = None,
    without: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Loaded:
    """Return all that is on the object storage; `pointer` is the newest manifest that etcd knows of.

    `progress` is told of the log that is read, and of runs if their index has to be made again.

    With `index` the documents have their index. They are read by `reader`. If nothing is whole, a manifest is taken of
    which data files are missing: their documents cannot be read, all others can. With `without`, which says how objects
    are damaged, that is no choice, and none that names one of these.

    Raises:
        BrokenLog: something is missing or damaged of which there is no second copy. NewerFormat: a newer version wrote
            a manifest or segment. Errors of the object storage.
    """
    damage: list[str] = []
    names = [each async for each in _manifests(ost, keys)]
    # Of two that cover as much, the one that etcd names: the other may have been replaced because it did not hold.
    names.sort(key=lambda name: (name.rpartition("-")[0], pointer is not None and name == pointer.name), reverse=True)
    if pointer is not None and pointer.name > max(names, default=""):
        damage.append(f"the object {keys.manifests}{pointer.name} is missing")
    beginning = ""
    whole: list[tuple[str | None, bool]] = [*((name, True) for name in names), (None, True)]
    with_gaps: list[tuple[str | None, bool]] = [(name, False) for name in names] if without is None else []
    for name, complete in (*whole, *with_gaps):
        bad = (without or {}) if complete else None
        try:
            loaded = Loaded(documents=Documents(index, reader))
            if name is not None:
                loaded = await load_base(
                    ost, keys, name, store_id, pointer=pointer, index=index, reader=reader, bad=bad, progress=progress
                )
            await _load_segments(ost, keys, store_id, loaded, progress)
        except BrokenLog as error:
            if name is not None:
                damage.append(str(error))
            else:
                beginning = str(error)
        else:
            loaded.damage = tuple(dict.fromkeys((*damage, *loaded.damage)))
            return loaded
    # What was wrong with the manifests says more than that segments are gone, which they made unnecessary.
    raise BrokenLog("; ".join(dict.fromkeys((*damage, beginning))))


async def check_formats(ost: ObjectStore, keys: Keys, *, pointer: Pointer | None, sealed: Sealed | None) -> None:
    """Make sure that this version can read the newest manifest and the last segment; what is damaged is let pass.

    A newer version that wrote anything has written one of these: data files have the format of their manifest, and
    index files can be made again.

    Args:
        ost: Where they are.
        keys: Of the store.
        pointer: The newest manifest that etcd knows of.
        sealed: The last segment that etcd knows of.

    Raises:
        NewerFormat: it cannot. Errors of the object storage.
    """
    names = sorted([each async for each in _manifests(ost, keys)])[-1:]
    for name in dict.fromkeys([*names, *([] if pointer is None else [pointer.name])]):
        with suppress(NotFoundError, CorruptError, BrokenLog):
            # The whole manifest may be large, and is read later.
            if is_newer(await ost.read(keys.manifests + name, ByteRange(0, MAGIC_SIZE)), MAGIC):
                await read_manifest(ost, keys, name)
    known = 0 if sealed is None else sealed.first
    last = max(await list_segments(ost, keys, after=known), default=known)
    if last:
        with suppress(BrokenLog):
            await read_segment(ost, keys, last)


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
    reader: DataReader | None = None,
    bad: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Loaded:
    """Return what a manifest makes, after checking that it belongs to the log, and is what `pointer` says, if named.

    Its data files are not read. With `bad`, which says of objects how they are damaged, they have to be there, as large
    as they should be, and not among these.

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
    if bad is not None:
        await _check_files(ost, keys, manifest, bad)
    loaded = Loaded(manifest.sealed, Documents(index, reader), base)
    loaded.documents.install(manifest)
    if loaded.documents.index is not None:
        indexed, damage = await load_index(ost, loaded.documents.index.source, manifest, progress)
        loaded.base, loaded.damage = replace(base, indexed=indexed), tuple(damage)
        loaded.documents.index.install(indexed, covers=manifest.covers)
    return loaded


async def _check_files(ost: ObjectStore, keys: Keys, manifest: Manifest, bad: Mapping[str, str]) -> None:
    """Make sure that all data files of a manifest are there, as large as it says, and are not known to be damaged."""
    if not manifest.files:
        return
    there = {each.key: each.size async for each in iterate(ost, keys.data)}
    for file in manifest.files:
        size = there.get(file.object)
        if size is None:
            raise Damaged(file.object, f"the object {file.object} is missing")
        if size != file.size:
            raise Damaged(file.object, f"the object {file.object} has {size} bytes, its manifest says {file.size}")
        if file.object in bad:
            raise Damaged(file.object, bad[file.object])


async def _load_segments(ost: ObjectStore, keys: Keys, store_id: bytes, loaded: Loaded, progress: Progress) -> None:
    """Add the segments after the base."""
    end, breather = loaded.end, Breather()
    firsts = await list_segments(ost, keys, after=end.first)
    total = max(firsts, default=end.last) - end.last  # how many the last one has, nobody knows
    segments = read_segments(ost, keys, firsts, store_id=store_id, after=end.last, chain=end.chain)
    async with aclosing(segments):
        async for segment, sealed in segments:
            for batch in batches(segment, keys):
                loaded.documents.apply(batch)
                await breather.breathe()
            loaded.end = sealed
            loaded.segment_bytes += sealed.size
            done = sealed.last - end.last
            progress(Step("reading the log from the object storage", done, max(done, total), "batches"))
    await loaded.documents.complete()


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
