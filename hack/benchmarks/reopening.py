"""Opening a store again: after many log entries without a checkpoint, and with many archived runs.

The store is opened by a process that is new: so the figures are those of an operator that has just started.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks import archived
from benchmarks.commits import KIND, SMALL, document
from benchmarks.figures import Figure
from benchmarks.index import ANONYMOUS_MIB, BYTES_PER_ROW, LIVE, OPEN_SECONDS, anonymous, asked, changes
from benchmarks.places import Place, clients, new_place
from lab.faulty_ost import FaultyOst
from runabout.control.ledger import RUN
from runabout.control.runrows import run_index
from runabout.control.tables import TABLES
from runabout.datamanager import Put, Store, Transaction, open_store
from runabout.datamanager.batch import PUT, Entry, decode_batch, encode_batch, next_chain
from runabout.datamanager.head import Head, Keys, Meta, Sealed, decode_head, decode_meta, decode_sealed
from runabout.datamanager.manifest import DataFile, decode_manifest
from runabout.datamanager.segment import decode_segment, encode_segment
from runabout.etcd import Put as EtcdPut
from runabout.ost import WHOLE, ByteRange, ObjectStore
from runabout.records import Run
from runabout.records.encoding import encode
from runabout.runindex import Archive

ENTRIES = 100_000
RUNS = 1_000_000
RECOVERY_SECONDS = {ENTRIES: 3.0}
IN_ETCD = 1000
"""Of the entries, the last ones: as many as are sealed a second later, and were not when the process died."""
IN_A_SEGMENT = 1000
AT_ONCE = 100
"""Puts in one call to etcd."""
READS = 1000
"""Records of runs here and there."""
RUNS_AT_ONCE = 500
"""Changed runs in a transaction."""
FULL_FILES = 100_000
"""Of so many runs or more, the ends of files do not count."""
WATCH_SECONDS = 0.02
_SEED = 5


class RecordingOst(FaultyOst):
    """Remembers which objects are read, with the number of bytes."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.sizes: dict[str, int] = {}

    async def read(self, key: str, range: ByteRange = WHOLE) -> bytes:  # noqa: A002 - the port's word
        """See `ObjectStore.read`."""
        data = await super().read(key, range)
        self.sizes[key] = self.sizes.get(key, 0) + len(data)
        return data


async def recovery(folder: Path, entries: int) -> list[Figure]:
    """Return how long an opening takes that has to read so many log entries."""
    async with new_place(folder) as place:
        await _build_log(place, entries)
        found = await _child("open", place, entries)
    return [
        Figure(
            f"recovery of {entries:,} log entries",
            found["seconds"],
            "s",
            RECOVERY_SECONDS.get(entries),
            beside=f"CPU {found['cpu']:.2f} s; decode loop {found['decode']:.2f} s",
        )
    ]


async def cold_open(folder: Path, runs: int) -> list[Figure]:
    """Return what an opening takes with so many archived runs, and what reads, questions and memory take then."""
    async with new_place(folder) as place:
        begin = time.perf_counter()
        await _child("runs", place, runs)
        built = time.perf_counter() - begin
        found = await _child("open", place, runs)
    of = f"store of {runs:,} runs"
    beside = (
        f"CPU {found['cpu']:.2f} s; decode of the {found['bytes'] / 1e6:,.1f} MB that it read {found['decode']:.2f} s; "
        f"{found['objects']:.0f} objects, made in {built:.0f} s"
    )
    bare = f"bare imports {found['bare']:.0f}, highest while opening {found['peak']:.0f}"
    reads = f"p99 {found['p99'] * 1000:.1f} ms; from what is kept {found['kept'] * 1000:.3f} ms"
    whole = BYTES_PER_ROW if runs >= FULL_FILES else None
    return [
        Figure(f"{of}, its index, a row", found["row"], "B", whole, beside=f"a record {found['record']:.0f} B"),
        Figure(f"{of}, cold open", found["seconds"], "s", OPEN_SECONDS.get(runs), beside=beside),
        Figure(f"{of}, anonymous memory", found["memory"], "MiB", ANONYMOUS_MIB, beside=bare),
        Figure(f"{of}, a record of any run, p50", found["p50"] * 1000, "ms", beside=reads),
        Figure(f"{of}, anonymous memory after {READS:,} records", found["read"], "MiB", ANONYMOUS_MIB),
        *(Figure(**each) for each in found["questions"]),
        Figure(f"{of}, the same after {LIVE:,} changes and all questions", found["after"], "MiB", ANONYMOUS_MIB),
    ]


async def _child(what: str, place: Place, number: int) -> dict[str, Any]:
    """Do something in a process of its own; return what it found."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.reopening", what, place.endpoint, str(place.objects), str(number)),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        answer, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"python -m benchmarks.reopening {what} failed; what it says stands above")
    found: dict[str, Any] = json.loads(answer)
    return found


async def _build_log(place: Place, entries: int) -> None:
    """Make a store whose last entries are in etcd, all others in segments, without a checkpoint."""
    keys = Keys(0)
    store = await open_store(place.etcd, ost=place.ost)
    await store.close()
    raw = {item.key: item.value for item in (await place.etcd.range(keys.head, keys.sealed + b"\x00")).items}
    meta, head = decode_meta(raw[keys.meta], where="meta"), decode_head(raw[keys.head], where="head")
    sealed = decode_sealed(raw[keys.sealed], where="sealed")
    values: list[bytes] = []
    puts: list[EtcdPut] = []
    for number in range(entries):
        batch = ((Entry(PUT, KIND, f"{number:08}", document(SMALL)),),)
        value = encode_batch(
            sequence=head.sequence + 1, previous=head.chain, batch_id=os.urandom(16), transactions=batch
        )
        head = Head(head.incarnation, head.epoch, head.sequence + 1, next_chain(head.chain, value))
        if number >= entries - IN_ETCD:
            puts.append(EtcdPut(keys.wal(head.sequence), value))
            continue
        values.append(value)
        if len(values) == IN_A_SEGMENT or number == entries - IN_ETCD - 1:
            sealed = await _store_segment(place, keys, meta, head, sealed, values)
            values.clear()
    puts += [EtcdPut(keys.head, head.encode()), EtcdPut(keys.sealed, sealed.encode())]
    for at in range(0, len(puts), AT_ONCE):
        await place.etcd.txn((), puts[at : at + AT_ONCE])


async def _store_segment(
    place: Place, keys: Keys, meta: Meta, head: Head, before: Sealed, values: list[bytes]
) -> Sealed:
    data = encode_segment(
        values,
        store_id=meta.store_id,
        first=before.last + 1,
        epoch=head.epoch,
        incarnation=head.incarnation,
        previous=before.chain,
        chain=head.chain,
    )
    await place.ost.write(keys.segment(before.last + 1), data, create_only=True)
    return Sealed(before.last + 1, head.sequence, head.chain, len(data), hashlib.sha256(data).digest())


# the processes


async def _build_runs(place: Place, runs: int) -> dict[str, Any]:
    """Make a store with so many runs, all of them archived."""
    await archived.build(place, runs, lambda text: print(text, file=sys.stderr, flush=True))
    return {}


async def _open(place: Place, _number: int) -> dict[str, Any]:
    """Open the store and say how long it took, then decode all that was read for it once more."""
    keys, ost = Keys(0), RecordingOst(place.ost)
    pointer = await place.etcd.get(keys.sealed)
    sealed = 0 if pointer is None else decode_sealed(pointer, where="sealed").last
    log = await place.etcd.range(keys.wal(sealed + 1), keys.wal_end)
    bare = anonymous()
    peaks: list[float] = []
    watching = asyncio.create_task(_watch(peaks))
    cpu, begin = time.process_time(), time.perf_counter()
    store = await _opened(place, ost)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    watching.cancel()
    memory = anonymous()
    if store.damage or store.recovery is not None:
        raise RuntimeError(f"the store that was made is not whole: {store.damage}, {store.recovery}")
    opened = dict(ost.sizes)
    index, manifest = store.documents.index, store.documents.manifest
    asking: list[dict[str, object]] = []
    times, kept, read = [0.0], 0.0, memory
    if index is not None and index.archive.rows:
        times, kept = await _read(store, index.archive)
        read = anonymous()
        await _change(store, index.archive)
        asking = asked(f"store of {index.archive.rows:,} runs", store.runs, index.archive)
    after = anonymous()
    await store.close()
    return {
        "seconds": seconds,
        "cpu": cpu,
        "decode": await _decoded(place, keys, opened, [(item.key, item.value) for item in log.items]),
        "objects": len(opened),
        "bytes": sum(opened.values()),
        "row": 0.0 if index is None or not index.archive.rows else index.archive.stored / index.archive.rows,
        "record": _record_bytes(() if manifest is None else manifest.of(RUN)),
        "bare": bare,
        "peak": max(peaks, default=memory),
        "memory": memory,
        "read": read,
        "after": after,
        "p50": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
        "kept": kept,
        "questions": asking,
    }


async def _watch(peaks: list[float]) -> None:
    while True:
        peaks.append(anonymous())
        await asyncio.sleep(WATCH_SECONDS)


def _record_bytes(files: Sequence[DataFile]) -> float:
    return sum(file.size for file in files) / max(1, sum(file.count for file in files))


async def _decoded(place: Place, keys: Keys, objects: Iterable[str], log: Iterable[tuple[bytes, bytes]]) -> float:
    """Return the seconds of decoding objects and batches, one after the other."""
    decoded = 0.0
    for key in objects:
        data = await place.ost.read(key)
        begin = time.perf_counter()
        _decode(keys, key, data)
        decoded += time.perf_counter() - begin
    begin = time.perf_counter()
    for where, value in log:
        decode_batch(value, where=where.decode())
    return decoded + time.perf_counter() - begin


async def _opened(place: Place, ost: ObjectStore) -> Store:
    """Open the store as an operator does."""
    scratch = place.objects.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return await open_store(place.etcd, ost=ost, tables=TABLES, index=run_index(scratch))


async def _read(store: Store, archive: Archive) -> tuple[list[float], float]:
    """Return the seconds of reads of any runs, sorted, and those of one that was just read."""
    source = np.random.default_rng(_SEED)
    times: list[float] = []
    last = 0.0
    for _ in range(READS):
        segment = archive.segments[int(source.integers(len(archive.segments)))]
        run = segment.row(int(source.integers(len(segment)))).id
        for again in (False, True):
            begin = time.perf_counter()
            if await store.get(RUN, run) is None:
                raise RuntimeError(f"run {run} has no record")
            last = time.perf_counter() - begin
            if not again:
                times.append(last)
    return sorted(times), last


async def _change(store: Store, archive: Archive) -> None:
    """Let runs change after the last checkpoint, as an operator commits them."""
    made: list[Put] = []
    for row in changes(archive):
        run = Run(row.id, row.namespace, "run", "", row.group, row.counter, row.phase, row.result)
        made.append(Put(RUN, row.id, encode(replace(run, started=row.start, ended=row.end))))
        if len(made) == RUNS_AT_ONCE:
            await store.commit(Transaction(tuple(made)))
            made.clear()
    await store.commit(Transaction(tuple(made)))


def _decode(keys: Keys, key: str, data: bytes) -> None:
    if key.startswith(keys.segments):
        for value, found in decode_segment(data, where=key).values:
            decode_batch(value, where=key, known=found)
    elif key.startswith(keys.manifests):
        decode_manifest(data, where=key)
    elif key.endswith(".parquet"):
        pq.read_table(BytesIO(data), use_threads=False)


async def _main(what: str, endpoint: str, objects: str, number: str) -> dict[str, Any]:
    async with clients(endpoint, Path(objects)) as place:
        work = {"runs": _build_runs, "open": _open}[what]
        return await work(place, int(number))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_main(*sys.argv[1:]))))
