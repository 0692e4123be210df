"""All documents of a store as they are at one sequence, read without opening it: whoever writes it goes on.

What always holds: the documents are those of the log up to the head that was read first. They come from a checkpoint
and the log after it, wherever the log is; that both are of one history is shown by the chain, which ends in the
head's. Memory is bounded by a data file and a run of changes.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from runabout.datamanager.batch import NO_CHAIN, Batch, decode_batch
from runabout.datamanager.datafile import read_rows
from runabout.datamanager.datafiles import read_files
from runabout.datamanager.errors import BrokenLog, MissingBatch, Unavailable
from runabout.datamanager.formats import refuse_newer_store
from runabout.datamanager.head import FORMAT, NOTHING_SEALED, Head, Keys, Meta
from runabout.datamanager.loading import Base, read_manifest
from runabout.datamanager.log import PAGE
from runabout.datamanager.manifest import DataFile, parse_name
from runabout.datamanager.objects import Breather, batches, last_epoch, list_segments, read_segment
from runabout.datamanager.opening import ID_SIZE, State, read_state
from runabout.datamanager.progress import Progress, Step, silent
from runabout.datamanager.spill import MOST, Change, Spill
from runabout.etcd import Etcd
from runabout.ost import NotFoundError, ObjectStore, iterate

T = TypeVar("T")
Row = tuple[str, bytes]
"""A document's key and bytes."""
TRIES = 5
"""How often it is begun again because a running writer moved what was about to be read."""
ROWS = 1000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The documents after the batch `head.sequence`."""

    state: State
    """What etcd said."""
    ost: ObjectStore | None
    """None if it does not know the store."""
    meta: Meta
    head: Head
    base: Base | None
    changes: Spill

    @property
    def wiped(self) -> bool:
        """Whether etcd has nothing: these are the documents of the object storage, up to its end."""
        return self.state.life is None

    @property
    def numbers(self) -> dict[str, int]:
        """The last number that was given to an append of each type."""
        return {**({} if self.base is None else self.base.manifest.numbers), **self.changes.numbers}

    @property
    def types(self) -> list[str]:
        """The types of which there are, or were, documents; sorted."""
        return sorted({each.type for each in self._files()} | self.changes.types)

    async def rows(self, kind: str) -> AsyncGenerator[Iterator[Row], None]:
        """Return the documents of a type in the order of their keys, in pieces; each is taken to its end at once.

        Raises:
            BrokenLog: a data file is missing or damaged. Errors of the object storage.
        """
        changes = _Changes(self.changes.changes(kind))
        files = [each for each in self._files() if each.type == kind]
        if self.ost is not None:
            async with aclosing(read_files(self.ost, files, ahead=1)) as found:
                async for file, data in found:
                    for rows in read_rows(data, file):
                        yield _merged(rows, changes)
        while changes.next_key is not None:
            yield islice(changes.before(None), ROWS)

    async def count(self, kind: str) -> int:
        """Return how many documents of a type there are; only data files are read in whose range something changed.

        Raises:
            BrokenLog, errors of the object storage.
        """
        changes, total = _Changes(self.changes.changes(kind)), 0
        for file in self._files():
            if file.type != kind:
                continue
            total += sum(1 for _ in changes.before(file.first))
            if self.ost is None or changes.next_key is None or changes.next_key > file.last:
                total += file.count
                continue
            async with aclosing(read_files(self.ost, (file,))) as found:
                async for _, data in found:
                    for rows in read_rows(data, file):
                        total += sum(1 for _ in _merged(rows, changes))
        return total + sum(1 for _ in changes.before(None))

    def _files(self) -> tuple[DataFile, ...]:
        return () if self.base is None else self.base.manifest.files


class _Changes:
    """Changes in the order of their keys, taken from the front."""

    def __init__(self, items: Iterator[Change]) -> None:
        self._items = items
        self._next = next(items, None)

    @property
    def next_key(self) -> str | None:
        return None if self._next is None else self._next[0]

    def take(self) -> bytes | None:
        """Take one; return its document, None if it is deleted."""
        found, self._next = self._next, next(self._items, None)
        return None if found is None else found[1]

    def before(self, key: str | None) -> Iterator[Row]:
        """Take what comes before a key (None: all) and return the documents among it."""
        while self._next is not None and (key is None or self._next[0] < key):
            name, body = self._next
            self.take()
            if body is not None:
                yield name, body


def _merged(rows: list[Row], changes: _Changes) -> Iterator[Row]:
    """Return documents of a file with what comes before or instead of them."""
    for key, body in rows:
        yield from changes.before(key)
        now = changes.take() if changes.next_key == key else body
        if now is not None:
            yield key, now


async def with_snapshot(
    etcd: Etcd,
    ost: ObjectStore | None,
    keys: Keys,
    *,
    scratch: Path,
    use: Callable[[Snapshot], Awaitable[T]],
    progress: Progress = silent,
    most: int = MOST,
) -> T:
    """Return what `use` returns for the documents as they are now.

    Whatever does not hold is replaced by what says the same: an older checkpoint and more of the log. So `use` may be
    called again, after it has raised BrokenLog.

    Args:
        etcd: Where the log's end is.
        ost: Where the rest is; None or one that does not know the store: all of the log is in etcd.
        keys: Which store.
        scratch: A folder, in which files are made meanwhile.
        use: Works with the snapshot, which is good until it returns.
        progress: Told of the log that is read.
        most: Bytes of changes in memory; more go to `scratch`.

    Raises:
        BrokenLog: there is no store, or something is missing or damaged that nothing else says. Unavailable: a running
            writer moved it away again and again. OSError: of `scratch`. Errors of etcd and of the object storage.
    """
    for _ in range(TRIES):
        state = await read_state(etcd, keys)
        here, meta, head = await _find(ost, keys, state)
        trouble: list[str] = []
        for name in [*(await _names(here, keys, head.sequence)), None]:
            try:
                base = None if here is None or name is None else await read_manifest(here, keys, name)
                with TemporaryDirectory(dir=scratch, prefix="changes-") as folder:
                    spill = Spill(Path(folder), most=most)
                    await _read_changes(etcd, here, keys, meta, head, base, spill, progress)
                    return await use(Snapshot(state, here, meta, head, base, spill))
            except BrokenLog as error:
                trouble.append(str(error))
        now = await read_state(etcd, keys)
        if (now.life is None, now.pointer, now.manifest) == (state.life is None, state.pointer, state.manifest):
            raise BrokenLog("; ".join(dict.fromkeys(trouble)))
    raise Unavailable(f"what was to be read of store {keys.store} was moved away each time: tried {TRIES} times")


async def read_identity(ost: ObjectStore, keys: Keys) -> bytes | None:
    """Return the store's id as the object storage has it, None if it does not know the store.

    Raises:
        BrokenLog: it is damaged. NewerFormat: a newer version made it. Errors of the object storage.
    """
    try:
        data = await ost.read(keys.identity)
    except NotFoundError:
        return None
    refuse_newer_store(data, FORMAT, where=f"the object {keys.identity}")
    if not data.startswith(FORMAT) or len(data) != len(FORMAT) + ID_SIZE:
        raise BrokenLog(
            f"the object {keys.identity} says {data[:32]!r}: damaged, or a format that this version cannot read"
        )
    return data[len(FORMAT) :]


async def _find(ost: ObjectStore | None, keys: Keys, state: State) -> tuple[ObjectStore | None, Meta, Head]:
    """Return the object storage if the store is there, and what is true of it; changes nothing.

    Raises:
        BrokenLog: there is no store, or etcd and the object storage do not belong together.
    """
    store_id = None if ost is None else await read_identity(ost, keys)
    if state.life is None:
        if ost is None or store_id is None:
            raise BrokenLog(f"there is no store {keys.store}: neither in etcd nor on the object storage")
        return ost, Meta(store_id, 0, bytes(ID_SIZE)), await _end(ost, keys)
    meta, head = state.life.meta, state.life.head
    if store_id is None and state.pointer is not None:
        raise BrokenLog(
            f"the object storage does not know this store ({keys.identity} is missing), but etcd says that the log up "
            f"to sequence {state.pointer.last} is there: it is another one, or it was emptied"
        )
    if store_id is not None and store_id != meta.store_id:
        raise BrokenLog(
            f"etcd has the store {meta.store_id.hex()}, the object storage {store_id.hex()}: one of them belongs to "
            "another installation"
        )
    return (ost if store_id is not None else None), meta, head


async def _end(ost: ObjectStore, keys: Keys) -> Head:
    """Return a head for the end of what is on the object storage."""
    firsts = await list_segments(ost, keys)
    end = NOTHING_SEALED
    if firsts:
        _, end = await read_segment(ost, keys, firsts[-1])
    return Head(bytes(ID_SIZE), await last_epoch(ost, keys, after=0), end.last, end.chain)


async def _names(ost: ObjectStore | None, keys: Keys, sequence: int) -> list[str]:
    """Return the checkpoints up to a sequence, the newest first."""
    if ost is None:
        return []
    found: list[str] = []
    async for each in iterate(ost, keys.manifests):
        text = each.key.removeprefix(keys.manifests)
        name = parse_name(text)
        if name is not None and name.covers <= sequence:
            found.append(text)
    return sorted(found, reverse=True)


async def _read_changes(
    etcd: Etcd,
    ost: ObjectStore | None,
    keys: Keys,
    meta: Meta,
    head: Head,
    base: Base | None,
    spill: Spill,
    progress: Progress,
) -> None:
    """Take what the log after a checkpoint changes; its chain has to end in the head's."""
    after, chain = 0, NO_CHAIN
    if base is not None:
        if base.manifest.store_id != meta.store_id:
            raise BrokenLog(f"the object {keys.manifests}{base.pointer.name} is of another store")
        after, chain = base.manifest.covers, base.manifest.sealed.chain
    breather, begin = Breather(), after
    log = read_wherever(etcd, ost, keys, after=after, chain=chain, sequence=head.sequence)
    async with aclosing(log):
        async for batch in log:
            spill.apply(batch)
            chain = batch.chain
            progress(Step("reading the log", batch.sequence - begin, head.sequence - begin, "batches"))
            await breather.breathe()
    if chain != head.chain:
        raise BrokenLog(
            f"the log ends with another chain than {keys.head.decode()} says at sequence {head.sequence}: etcd or the "
            "object storage was set back; start the operator once, which sets it right"
        )


async def read_wherever(
    etcd: Etcd, ost: ObjectStore | None, keys: Keys, *, after: int, chain: bytes, sequence: int
) -> AsyncGenerator[Batch, None]:
    """Return the batches after one, whose chain is `chain`, up to `sequence`: each from where it is whole.

    Raises:
        BrokenLog: one is nowhere, or of another history. Errors of etcd and of the object storage.
    """
    while after < sequence:
        begun = after
        trouble = ""
        try:
            for batch in await _from_etcd(etcd, keys, after, sequence):
                _check_next(batch, after, chain, keys.wal(batch.sequence).decode())
                yield batch
                after, chain = batch.sequence, batch.chain
        except BrokenLog as error:
            trouble = f": {error}"
        if after == begun and ost is not None:
            async for batch in _from_segment(ost, keys, after):
                if batch.sequence > sequence:
                    return
                _check_next(batch, after, chain, f"a segment in {keys.segments}")
                yield batch
                after, chain = batch.sequence, batch.chain
        if after == begun:
            raise MissingBatch(f"batch {after + 1} of the log is not whole in etcd, and in no segment{trouble}")


async def _from_etcd(etcd: Etcd, keys: Keys, after: int, sequence: int) -> list[Batch]:
    """Return the batches that follow in etcd without a gap, as many as are read at once.

    Raises:
        BrokenLog: the first one is damaged.
    """
    page = await etcd.range(keys.wal(after + 1), keys.wal(sequence + 1), limit=PAGE)
    found: list[Batch] = []
    for item in page.items:
        if item.key != keys.wal(after + 1 + len(found)):
            break
        try:
            found.append(decode_batch(item.value, where=item.key.decode()))
        except BrokenLog:
            if not found:
                raise
            break
    return found


async def _from_segment(ost: ObjectStore, keys: Keys, after: int) -> AsyncGenerator[Batch, None]:
    """Return the batches after a sequence of the segment in which they are; none if there is no such segment."""
    nearest = await ost.list(keys.segments, start_after=keys.segment(after), limit=1)
    first: int | None = after + 1
    if not nearest or nearest[0].key != keys.segment(after + 1):
        first = max((each for each in await list_segments(ost, keys) if each <= after), default=None)
    if first is not None:
        segment, _ = await read_segment(ost, keys, first)
        for batch in batches(segment, keys, after=after):
            yield batch


def _check_next(batch: Batch, after: int, chain: bytes, where: str) -> None:
    if batch.sequence != after + 1 or batch.previous != chain:
        raise BrokenLog(f"batch {batch.sequence} in {where} does not continue the log: it is of another history")
