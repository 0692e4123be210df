"""Commits: one writer and many, small and large documents, beside what etcd and encoding alone can do."""

import asyncio
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.places import new_place
from benchmarks.rawetcd import RawEtcd
from benchmarks.replaced import Replaced
from benchmarks.shares import Shares
from runabout.datamanager import Conflict, Put, Store, Transaction, open_store
from runabout.datamanager.batch import NO_CHAIN, PUT, Entry, encode_batch, next_chain

WRITERS = 64
SMALL, LARGE = 200, 16 * 1024
"""Bytes of a document."""
SLICES = 3
"""What is compared takes turns, so that what else the machine does meets both."""
DOCUMENTS = 1000
"""Different ones; writers write them in turn, each beginning with another one."""
KEYS = 100
"""of each writer"""
STEP = 37
"""From the first document of a writer to that of the next."""
KIND = "document"
FILE_BYTES = 64 * 1024 * 1024
"""As large as a file of etcd's log."""


@dataclass
class Load:
    """What writers did: seconds of each transaction, seconds in all, attempts that found a conflict."""

    times: list[float] = field(default_factory=list)
    seconds: float = 0.0
    conflicts: int = 0

    @property
    def rate(self) -> float:
        """Transactions a second; if there was none at all, as if there had been one."""
        return max(1, len(self.times)) / self.seconds

    def milliseconds(self, percent: float) -> float:
        """Return a percentile of the transactions' times."""
        return float(np.percentile(self.times, percent)) * 1000

    async def run(self, attempt: Callable[[int, int], Awaitable[bool]], *, writers: int, seconds: float) -> None:
        """Let writers make attempts for so long; an attempt says whether it wrote."""
        begin = time.perf_counter()

        async def write(writer: int) -> None:
            number = 0
            while (start := time.perf_counter()) < begin + seconds:
                if await attempt(writer, number):
                    self.times.append(time.perf_counter() - start)
                else:
                    self.conflicts += 1
                number += 1

        async with asyncio.TaskGroup() as group:
            for writer in range(writers):
                group.create_task(write(writer))
        self.seconds += time.perf_counter() - begin


@dataclass
class Compared:
    """A store's load, and what stands beside it."""

    store: Load = field(default_factory=Load)
    puts: Load = field(default_factory=Load)
    encoding: Load = field(default_factory=Load)
    syncs: Load = field(default_factory=Load)
    """Writes of a batch's size to a file, each with its fdatasync: the disk without etcd."""
    shares: Shares = field(default_factory=Shares)
    replaced: Load = field(default_factory=Load)
    batches: int = 0
    batch_bytes: int = 0
    objects: int = 0

    @property
    def each(self) -> float:
        """Transactions in a batch."""
        return len(self.store.times) / self.batches if self.batches else 0.0

    @property
    def objects_per_thousand(self) -> float:
        """Objects for 1,000 transactions."""
        return 1000 * self.objects / max(1, len(self.store.times))


def document(size: int) -> bytes:
    """Return a document of so many bytes; half of it is noise, so that it compresses about as well as JSON does."""
    frame = len(json.dumps({"text": ""}))
    digits = max(0, size - frame)
    return json.dumps({"text": secrets.token_hex(digits // 2 + 1)[:digits]}).encode()


async def measure(folder: Path, seconds: float, say: Callable[[str], None]) -> list[Figure]:
    """Return the figures of all loads; each load, and each that stands beside it, takes so many seconds."""
    say("one writer …")
    lone = await _compared(folder / "lone", writers=1, size=SMALL, seconds=seconds)
    say(f"{WRITERS} writers …")
    many = await _compared(folder / "many", writers=WRITERS, size=SMALL, seconds=seconds)
    say(f"{WRITERS} writers of {LARGE // 1024} KB …")
    large = await _compared(folder / "large", writers=WRITERS, size=LARGE, seconds=seconds, encoding=True)
    return [*_lone(lone), *_many(many), *_replaced(lone, many), *_large(large)]


def _lone(found: Compared) -> list[Figure]:
    store, puts = found.store, found.puts
    name = f"lone writer, {SMALL} B"
    return [
        Figure(name, store.rate, "tx/s", beside=f"raw puts, one in flight: {puts.rate:,.0f} /s"),
        Figure(f"{name}, of the raw puts' rate", store.rate / puts.rate, "", 0.65, at_least=True),
        Figure(
            f"{name}, p50, of a raw put's",
            store.milliseconds(50) / puts.milliseconds(50),
            "",
            1.5,
            beside=f"{store.milliseconds(50):.2f} ms beside {puts.milliseconds(50):.2f} ms",
        ),
        Figure(f"{name}, objects per 1,000 transactions", found.objects_per_thousand, "", 2.0),
        _answers(name, found),
    ]


def _many(found: Compared) -> list[Figure]:
    store = found.store
    name = f"{WRITERS} writers, {SMALL} B"
    return [
        Figure(name, store.rate, "tx/s", 15_000, at_least=True, beside=_limit(found)),
        Figure(f"{name}, p99", store.milliseconds(99), "ms", 10.0, beside=f"p50 {store.milliseconds(50):.2f}"),
        Figure(f"{name}, objects per 1,000 transactions", found.objects_per_thousand, "", 2.0),
        Figure(f"{name}, conflicts between unrelated groups", store.conflicts, "", 0.0),
        _answers(name, found),
    ]


def _replaced(lone: Compared, many: Compared) -> list[Figure]:
    old = many.replaced
    lost = 100 * old.conflicts / max(1, old.conflicts + len(old.times))
    return [
        Figure(
            "lone writer, of the replaced design's rate",
            lone.store.rate / lone.replaced.rate,
            "",
            10.0,
            at_least=True,
            beside=f"replay of its calls: {lone.replaced.rate:,.1f} tx/s",
        ),
        Figure(
            f"{WRITERS} writers, of the replaced design's rate",
            many.store.rate / old.rate,
            "",
            100.0,
            at_least=True,
            beside=f"replay of its calls: {old.rate:,.1f} tx/s, {lost:.0f} % of attempts conflict",
        ),
    ]


def _large(found: Compared) -> list[Figure]:
    store, each = found.store, found.each
    name = f"{WRITERS} writers, {LARGE // 1024} KB"
    alone = (
        f"{_limit(found)}; a file on the same disk, written and synced like them: {found.syncs.rate * each:,.0f} tx/s; "
        f"encode and compress alone: {found.encoding.rate:,.0f} tx/s"
    )
    return [
        Figure(name, store.rate, "tx/s", 5_000, at_least=True, beside=alone),
        Figure(f"{name}, of the puts' rate", store.rate / max(1e-9, found.puts.rate * each), ""),
        Figure(f"{name}, p99", store.milliseconds(99), "ms", beside=f"p50 {store.milliseconds(50):.2f}"),
        _answers(name, found),
    ]


def _answers(name: str, found: Compared) -> Figure:
    """Say where the time went."""
    return Figure(f"{name}, time in etcd's answers", 100 * found.shares.answers, "%", beside=found.shares.text())


def _limit(found: Compared) -> str:
    """Say what etcd alone takes in batches as large as the store's."""
    size = found.batch_bytes / max(1, found.batches)
    return f"puts of {size:,.0f} B, {found.each:.0f} transactions in each: {found.puts.rate * found.each:,.0f} tx/s"


async def _compared(folder: Path, *, writers: int, size: int, seconds: float, encoding: bool = False) -> Compared:
    """Measure a store, and in turn with it raw puts of its batches, and the replaced design or `encoding` alone."""
    found = Compared()
    async with new_place(folder) as place, RawEtcd(place.endpoint) as raw:
        store = await open_store(place.etcd, ost=place.ost, observer=found.shares)
        assert store.sealer is not None  # noqa: S101 - the store was opened with an object storage
        replaced = Replaced(raw, place.ost)
        bodies = [document(size) for _ in range(DOCUMENTS)]
        try:
            for _ in range(SLICES):
                before, sealed = place.calls.counts["ost write"], store.sealer.sealed_bytes
                with found.shares.watch(place):
                    await _store_slice(found, store, bodies, writers=writers, seconds=seconds / SLICES)
                await store.sealer.seal()
                found.batch_bytes += store.sealer.sealed_bytes - sealed
                found.objects += place.calls.counts["ost write"] - before
                value = secrets.token_bytes(found.batch_bytes // max(1, found.batches) if writers > 1 else size)
                await found.puts.run(_putting(raw, value), writers=1, seconds=seconds / SLICES)
                if encoding:
                    _encode_slice(found, bodies, seconds / SLICES)
                    await _sync_slice(found.syncs, folder / "file", value, seconds / SLICES)
                else:
                    await found.replaced.run(_replacing(replaced, bodies), writers=writers, seconds=seconds / SLICES)
        finally:
            await store.close()
    return found


async def _store_slice(found: Compared, store: Store, bodies: list[bytes], *, writers: int, seconds: float) -> None:
    """Let writers commit, each in a group of its own."""

    async def commit(writer: int, number: int) -> bool:
        put = Put(KIND, f"{writer}/{number % KEYS}", bodies[(writer * STEP + number) % DOCUMENTS])
        try:
            await store.commit(Transaction((put,), frozenset({f"/bench/{writer}"}), store.sequence))
        except Conflict:
            return False
        return True

    sequence = store.sequence
    await found.store.run(commit, writers=writers, seconds=seconds)
    found.batches += store.sequence - sequence


def _encode_slice(found: Compared, bodies: list[bytes], seconds: float) -> None:
    """Do the computing of commits: batches of as many transactions as the store's had, encoded and chained."""
    each = max(1, round(found.each))
    transactions = tuple((Entry(PUT, KIND, f"{at}", bodies[at % DOCUMENTS]),) for at in range(each))
    begin = start = time.perf_counter()
    while start < begin + seconds:
        value = encode_batch(sequence=1, previous=NO_CHAIN, batch_id=bytes(16), transactions=transactions)
        next_chain(NO_CHAIN, value)
        now = time.perf_counter()
        found.encoding.times += [(now - start) / each] * each
        start = now
    found.encoding.seconds += start - begin


async def _sync_slice(syncs: Load, path: Path, value: bytes, seconds: float) -> None:
    """Write values to a file that has its room already, as etcd does to its log, one after the other."""
    with path.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, FILE_BYTES)
        os.fsync(file.fileno())

        async def write(_writer: int, _number: int) -> bool:
            if file.tell() + len(value) > FILE_BYTES:
                file.seek(0)
            file.write(value)
            os.fdatasync(file.fileno())
            return True

        await syncs.run(write, writers=1, seconds=seconds)


def _putting(raw: RawEtcd, value: bytes) -> Callable[[int, int], Awaitable[bool]]:
    async def put(_writer: int, number: int) -> bool:
        return bool(await raw.put(b"bench/%d" % (number % KEYS), value))

    return put


def _replacing(replaced: Replaced, bodies: list[bytes]) -> Callable[[int, int], Awaitable[bool]]:
    async def commit(writer: int, number: int) -> bool:
        return await replaced.commit(f"{writer}", bodies[number % DOCUMENTS])

    return commit
