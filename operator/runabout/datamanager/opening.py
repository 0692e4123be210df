"""Opening a store for writing: fencing every earlier writer, finding out what is true, and going on from there.

What always holds: nothing is changed before etcd and the object storage are known to belong together, and to have
nothing of a newer version at their ends; nothing but the epoch, before the latter is seen again behind the fence; every
opening has an epoch that no other one ever had, also if etcd goes back in time; and whatever is refused is kept and
reported.
"""

import secrets
from contextlib import aclosing, suppress
from dataclasses import dataclass

from runabout.datamanager.batch import decode_batch, link
from runabout.datamanager.datareader import DataReader
from runabout.datamanager.documents import Documents
from runabout.datamanager.errors import BrokenLog, Unavailable
from runabout.datamanager.formats import refuse_newer_store
from runabout.datamanager.head import (
    FORMAT,
    Head,
    Keys,
    Meta,
    Sealed,
    decode_head,
    decode_meta,
    decode_sealed,
    owner_value,
)
from runabout.datamanager.indexed import IndexSource
from runabout.datamanager.loading import Base, Loaded, check_formats, load_history
from runabout.datamanager.log import read_values
from runabout.datamanager.manifest import Pointer, decode_pointer
from runabout.datamanager.objects import last_epoch, was_opened
from runabout.datamanager.observing import NOBODY, Observer
from runabout.datamanager.progress import Step
from runabout.datamanager.quarantine import put_aside
from runabout.datamanager.recovery import Case, Recovery, judge
from runabout.etcd import Compare, Etcd, KeyRange, Put
from runabout.ost import AlreadyExistsError, NotFoundError, ObjectStore

TRIES = 100
"""How often an opening begins again because others write at the same moment."""
ID_SIZE = 16
TOLD_EVERY = 100
"""Batches that are read between two words about it."""


@dataclass(frozen=True, slots=True)
class Life:
    """A store that is in etcd."""

    meta: Meta
    head: Head


@dataclass(frozen=True, slots=True)
class State:
    """What etcd says of a store at one moment."""

    life: Life | None
    pointer: Sealed | None
    manifest: Pointer | None
    raw: dict[bytes, bytes]

    def unchanged(self, *keys: bytes) -> list[Compare]:
        """Return the condition that these keys are as they were."""
        return [Compare(key, self.raw.get(key)) for key in keys]


@dataclass(slots=True)
class Opened:
    """A store whose earlier writers are fenced, with everything that is committed."""

    meta: Meta
    head: Head
    documents: Documents
    sealed: Sealed
    pointer: bytes | None
    """The value of the sealed key."""
    waiting: int = 0
    """Bytes of batches that are in etcd alone."""
    recovery: Recovery | None = None
    base: Base | None = None
    """The manifest on which the documents rest."""
    manifest: bytes | None = None
    """The value of the manifest key."""
    segment_bytes: int = 0
    """Of the segments after the base."""
    damage: tuple[str, ...] = ()
    """What on the object storage did not hold, and was replaced by what says the same."""


async def open_log(
    etcd: Etcd,
    ost: ObjectStore | None,
    keys: Keys,
    index: IndexSource | None = None,
    reader: DataReader | None = None,
    observer: Observer = NOBODY,
) -> Opened:
    """Take a store over; create it if there is none. With `index` the documents have their index.

    With an object storage they are read by `reader`.

    Raises:
        BrokenLog: it cannot be continued. NewerFormat: a newer version wrote it. Unavailable: others keep opening it.
            Errors of etcd and the object storage.
    """
    for _ in range(TRIES):
        opened = await (
            _open_alone(etcd, keys, index, observer)
            if ost is None
            else _open_with(etcd, ost, keys, index, reader, observer)
        )
        if opened is not None:
            return opened
    raise Unavailable(f"another writer keeps opening store {keys.store}: tried {TRIES} times")


async def read_state(etcd: Etcd, keys: Keys) -> State:
    """Return what etcd says of a store.

    Raises:
        BrokenLog: it says two things, or is of another format. NewerFormat: a newer version wrote it. Errors of etcd.
    """
    # All at one moment: between two reads another writer may create the store.
    page = await etcd.range(keys.head, keys.sealed + b"\x00")
    raw = {item.key: item.value for item in page.items}
    meta, head, pointer = raw.get(keys.meta), raw.get(keys.head), raw.get(keys.sealed)
    if (meta is None) != (head is None):
        missing = keys.meta if meta is None else keys.head
        raise BrokenLog(f"{missing.decode()} is missing, the other half of the store is there")
    found = None
    if meta is not None and head is not None:
        found = Life(decode_meta(meta, where=keys.meta.decode()), decode_head(head, where=keys.head.decode()))
        if found.meta.incarnation != found.head.incarnation:
            raise BrokenLog(f"{keys.meta.decode()} and {keys.head.decode()} are of two lives of the store")
    sealed = None if pointer is None else decode_sealed(pointer, where=keys.sealed.decode())
    manifest = raw.get(keys.manifest)
    newest = None if manifest is None else decode_pointer(manifest, where=keys.manifest.decode())
    return State(found, sealed, newest, raw)


async def _check_last_batch(etcd: Etcd, keys: Keys, life: Life) -> None:
    """Make sure that this version can read the end of the log, if etcd has it; what is damaged is let pass.

    Raises:
        NewerFormat: it cannot. Errors of etcd.
    """
    key = keys.wal(life.head.sequence)
    value = await etcd.get(key)
    if value is not None:
        with suppress(BrokenLog):
            link(value, where=key.decode())


# without an object storage


async def _open_alone(etcd: Etcd, keys: Keys, index: IndexSource | None, observer: Observer) -> Opened | None:
    nothing = Loaded(documents=Documents(index))
    state = await read_state(etcd, keys)
    if state.pointer is not None:
        raise BrokenLog(
            f"the log of store {keys.store} is on an object storage up to sequence {state.pointer.last}: "
            "open it with that one"
        )
    if state.life is None:
        return await _create(etcd, keys, state, secrets.token_bytes(ID_SIZE), epoch=1, loaded=nothing)
    await _check_last_batch(etcd, keys, state.life)
    fenced = await _fence(etcd, keys, state, state.life, epoch=state.life.head.epoch + 1)
    return None if fenced is None else await _replay(etcd, keys, fenced, state, nothing, observer)


# with one


async def _open_with(
    etcd: Etcd, ost: ObjectStore, keys: Keys, index: IndexSource | None, reader: DataReader | None, observer: Observer
) -> Opened | None:
    state = await read_state(etcd, keys)
    await check_formats(ost, keys, pointer=state.manifest, sealed=state.pointer)
    if state.life is not None:
        await _check_last_batch(etcd, keys, state.life)
    store_id = await _identify(ost, keys, state)
    if store_id is None:
        return None
    epoch, known = await _reserve_epoch(ost, keys, after=0 if state.life is None else state.life.head.epoch)
    if state.life is None:
        try:
            loaded = await load_history(
                ost, keys, store_id, pointer=state.manifest, index=index, reader=reader, progress=observer.opening
            )
        except BrokenLog:
            if (await read_state(etcd, keys)).life is None:
                raise
            return None  # overtaken by one that has collected since what was listed here
        known = known and (loaded.end.last > 0 or await was_opened(ost, keys))
        recovery = None
        if judge(keys, head=None, known=known, end=loaded.end, pointer=None, following=None) is Case.WIPED:
            recovery = await _recovery(ost, keys, Case.WIPED, loaded, None)
            observer.recovers(recovery)
        return await _create(etcd, keys, state, store_id, epoch=epoch, loaded=loaded, recovery=recovery)
    fenced = await _fence_at_last(etcd, keys, state, epoch=epoch)
    # No batch is added from here on. Read again: the one who was fenced may have sealed some more.
    before, state = state, await read_state(etcd, keys)
    if fenced is None or state.life != fenced:
        return None
    await _look_again(ost, keys, state, before)
    try:
        return await _go_on(etcd, ost, keys, state, fenced, index, reader, observer)
    except BrokenLog:
        now = await read_state(etcd, keys)
        if (now.life, now.pointer) == (fenced, state.pointer):
            raise
        # Overtaken, or the one who was fenced sealed once more: what is missing was moved meanwhile.
        return None


async def _go_on(
    etcd: Etcd,
    ost: ObjectStore,
    keys: Keys,
    state: State,
    life: Life,
    index: IndexSource | None,
    reader: DataReader | None,
    observer: Observer,
) -> Opened | None:
    """Read both places, and set etcd right if need be."""
    loaded = await load_history(
        ost, keys, life.meta.store_id, pointer=state.manifest, index=index, reader=reader, progress=observer.opening
    )
    following = None
    if life.head.sequence > loaded.end.last:
        key = keys.wal(loaded.end.last + 1)
        value = await etcd.get(key)
        following = None if value is None else link(value, where=key.decode())
    case = judge(keys, head=life.head, known=True, end=loaded.end, pointer=state.pointer, following=following)
    if case is Case.NORMAL:
        return await _replay(etcd, keys, life, state, loaded, observer)
    return await _set_right(etcd, ost, keys, state, life, loaded, observer)


async def _look_again(ost: ObjectStore, keys: Keys, state: State, before: State) -> None:
    """Make sure that nothing is of a newer format after the fence either: whoever was fenced may be a newer version.

    What has not changed was looked at before it, and batches and segments are read after this anyway.

    Raises:
        NewerFormat: a newer version wrote `state`, or the identity. Errors of the object storage.
    """
    if (state.manifest, state.pointer) != (before.manifest, before.pointer):
        await check_formats(ost, keys, pointer=state.manifest, sealed=state.pointer)
    with suppress(NotFoundError):
        refuse_newer_store(await ost.read(keys.identity), FORMAT, where=f"the object {keys.identity}")


async def _identify(ost: ObjectStore, keys: Keys, state: State) -> bytes | None:
    """Return the store's id, after making sure that both places have the same; None if somebody else was quicker.

    Raises:
        BrokenLog: they do not belong together. NewerFormat: a newer version made the object storage's.
    """
    where = keys.identity
    try:
        data = await ost.read(where)
    except NotFoundError:
        if state.pointer is not None:
            raise BrokenLog(
                f"the object storage does not know this store ({where} is missing), but etcd says that the log up to "
                f"sequence {state.pointer.last} is there: it is another one, or it was emptied"
            ) from None
        store_id = secrets.token_bytes(ID_SIZE) if state.life is None else state.life.meta.store_id
        try:
            await ost.write(where, FORMAT + store_id, persist=True, create_only=True)
        except AlreadyExistsError:
            return None
        return store_id
    refuse_newer_store(data, FORMAT, where=f"the object {where}")
    if not data.startswith(FORMAT) or len(data) != len(FORMAT) + ID_SIZE:
        raise BrokenLog(f"the object {where} says {data[:32]!r}: damaged, or a format that this version cannot read")
    store_id = data[len(FORMAT) :]
    if state.life is not None and state.life.meta.store_id != store_id:
        raise BrokenLog(
            f"etcd has the store {state.life.meta.store_id.hex()}, the object storage {store_id.hex()}: "
            "one of them belongs to another installation"
        )
    return store_id


async def _reserve_epoch(ost: ObjectStore, keys: Keys, *, after: int) -> tuple[int, bool]:
    """Return an epoch that nobody else has or will have, and whether there was one before."""
    highest = await last_epoch(ost, keys, after=after)
    epoch = highest + 1
    while True:
        try:
            await ost.write(keys.epoch(epoch), b"", persist=True, create_only=True)
        except AlreadyExistsError:
            epoch += 1
        else:
            return epoch, highest > 0


# changing etcd


async def _fence(etcd: Etcd, keys: Keys, state: State, life: Life, *, epoch: int) -> Life | None:
    """Write a head with our epoch, unless anything changed; from here on every older writer fails its next compare."""
    head = Head(life.head.incarnation, epoch, life.head.sequence, life.head.chain)
    puts = [Put(keys.head, head.encode()), Put(keys.owner, owner_value(head))]
    if state.raw[keys.meta] != life.meta.encode():  # the format before
        puts.append(Put(keys.meta, life.meta.encode()))
    # An equal head that is found there is another's, who opened the store at the same moment: never ours.
    result = await etcd.txn(state.unchanged(keys.meta, keys.head), puts)
    return Life(life.meta, head) if result.succeeded else None


async def _fence_at_last(etcd: Etcd, keys: Keys, state: State, *, epoch: int) -> Life | None:
    """Fence a writer that goes on committing meanwhile; None if somebody with a higher epoch was quicker."""
    for _ in range(TRIES):
        if state.life is None or state.life.head.epoch >= epoch:
            return None
        fenced = await _fence(etcd, keys, state, state.life, epoch=epoch)
        if fenced is not None:
            return fenced
        state = await read_state(etcd, keys)
    return None


async def _create(
    etcd: Etcd,
    keys: Keys,
    state: State,
    store_id: bytes,
    *,
    epoch: int,
    loaded: Loaded,
    recovery: Recovery | None = None,
) -> Opened | None:
    """Begin a life of a store: its first one, or one that goes on from the object storage's history."""
    meta = Meta(store_id, epoch, secrets.token_bytes(16))
    head = Head(meta.incarnation, epoch, loaded.end.last, loaded.end.chain)
    pointer = loaded.end.encode() if loaded.end.last else None
    manifest = None if loaded.base is None else loaded.base.pointer.encode()
    puts = [
        Put(keys.meta, meta.encode()),
        Put(keys.head, head.encode()),
        Put(keys.owner, owner_value(head)),
        *([] if pointer is None else [Put(keys.sealed, pointer)]),
        *([] if manifest is None else [Put(keys.manifest, manifest)]),
    ]
    deletes = [KeyRange(keys.wal(0), keys.wal_end)]
    if manifest is None:
        deletes.append(KeyRange(keys.manifest, keys.manifest + b"\x00"))
    result = await etcd.txn(state.unchanged(keys.meta, keys.head, keys.sealed, keys.manifest), puts, deletes=deletes)
    if not result.succeeded:
        return None
    return _opened(Life(meta, head), loaded, pointer=pointer, manifest=manifest, recovery=recovery)


async def _replay(etcd: Etcd, keys: Keys, life: Life, state: State, loaded: Loaded, observer: Observer) -> Opened:
    """Take what etcd has beyond the object storage."""
    opened = _opened(life, loaded, pointer=state.raw.get(keys.sealed), manifest=state.raw.get(keys.manifest))
    log = read_values(etcd, keys, after=loaded.end.last, chain=loaded.end.chain, head=life.head)
    async with aclosing(log):
        async for value, found in log:
            opened.documents.apply(decode_batch(value, where=keys.wal(found.sequence).decode(), known=found))
            opened.waiting += len(value)
            done, total = found.sequence - loaded.end.last, life.head.sequence - loaded.end.last
            if done % TOLD_EVERY == 0 or done == total:
                observer.opening(Step("reading the log from etcd", done, total, "batches"))
    await opened.documents.complete()
    return opened


def _opened(
    life: Life, loaded: Loaded, *, pointer: bytes | None, manifest: bytes | None, recovery: Recovery | None = None
) -> Opened:
    return Opened(
        life.meta,
        life.head,
        loaded.documents,
        loaded.end,
        pointer,
        recovery=recovery,
        base=loaded.base,
        manifest=manifest,
        segment_bytes=loaded.segment_bytes,
        damage=loaded.damage,
    )


# recovery


async def _set_right(
    etcd: Etcd, ost: ObjectStore, keys: Keys, state: State, life: Life, loaded: Loaded, observer: Observer
) -> Opened | None:
    """Go on from the object storage's history; what etcd has besides goes to quarantine first."""
    refused = await put_aside(etcd, ost, keys, life.meta, life.head)
    recovery = await _recovery(ost, keys, Case.SET_BACK, loaded, life.head, refused)
    observer.recovers(recovery)
    return await _create(etcd, keys, state, life.meta.store_id, epoch=life.head.epoch, loaded=loaded, recovery=recovery)


async def _recovery(
    ost: ObjectStore,
    keys: Keys,
    case: Case,
    loaded: Loaded,
    head: Head | None,
    refused: list[tuple[int, int, str]] | None = None,
) -> Recovery:
    at = (await ost.stat(keys.segment(loaded.end.first))).modified if loaded.end.last else None
    parts = refused or []
    span = (parts[0][0], parts[-1][1]) if parts else None
    return Recovery(case, loaded.end.last, at, head, span, tuple(key for _, _, key in parts))
