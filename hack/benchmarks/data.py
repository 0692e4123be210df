"""The datamanager: commits, openings, an idle store, and the time without a writer; each beside its limit."""

import asyncio
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import commits, reopening, takeover
from benchmarks.figures import Figure
from benchmarks.places import new_place
from runabout.control.lease import DURATION_SECONDS
from runabout.datamanager import Put, Transaction, open_store
from runabout.datamanager.head import Keys
from runabout.etcd import connect

IDLE_WRITES = 0.5
"""a second"""


@dataclass(frozen=True)
class Sizes:
    """How much of each; the defaults take about three minutes."""

    seconds: float = 6.0
    """of each load, and of each that stands beside it"""
    entries: int = reopening.ENTRIES
    runs: tuple[int, ...] = (reopening.RUNS,)
    """archived runs, of a store for each"""
    idle: float = 15.0
    """seconds"""
    kills: int = 3


def measure(sizes: Sizes, say: Callable[[str], None]) -> list[Figure]:
    """Return every figure; what was started and stored for it is gone afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with tempfile.TemporaryDirectory(prefix="runabout-bench-") as name:
            return asyncio.run(_measure(Path(name), sizes, say))
    finally:
        signal.signal(signal.SIGTERM, before)  # which a loop that is closed leaves at what it is without anybody


async def _measure(folder: Path, sizes: Sizes, say: Callable[[str], None]) -> list[Figure]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this is one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    figures = await commits.measure(folder, sizes.seconds, say)
    say(f"recovery of {sizes.entries:,} log entries …")
    figures += await reopening.recovery(folder / "recovery", sizes.entries)
    for runs in sizes.runs:
        say(f"a store of {runs:,} runs …")
        figures += await reopening.cold_open(folder / f"runs-{runs}", runs)
    say(f"an idle store, {sizes.idle:g} s …")
    figures += await idle(folder / "idle", sizes.idle)
    say(f"{sizes.kills} writers killed, {sizes.kills} ended …")
    figures += await takeover.measure(folder / "takeover", sizes.kills, lease_seconds=DURATION_SECONDS)
    return figures


async def idle(folder: Path, seconds: float) -> list[Figure]:
    """Return what a store does to etcd and the object storage while nobody commits."""
    async with new_place(folder) as place:
        store = await open_store(place.etcd, ost=place.ost)
        try:
            await store.commit(Transaction((Put(commits.KIND, "a", b"last"),)))
            assert store.sealer is not None  # noqa: S101 - it was opened with an object storage
            await store.sealer.seal()
            before, revision = place.calls.counts.copy(), await _revision(place.endpoint)
            await asyncio.sleep(seconds)
            made, written = place.calls.counts - before, await _revision(place.endpoint) - revision
        finally:
            await store.close()
    stored = sum(count for call, count in made.items() if call.startswith("ost"))
    reads = (made.total() - stored) / seconds
    return [
        Figure("idle store, etcd writes", written / seconds, "/s", IDLE_WRITES, beside=f"calls to etcd {reads:.1f} /s"),
        Figure(f"idle store, calls to the object storage in {seconds:g} s", stored, "", 0.0),
    ]


async def _revision(endpoint: str) -> int:
    """Return how often anything in an etcd was changed, as the server counts."""
    client = connect(endpoint)
    try:
        return (await client.range(Keys(0).head, Keys(0).head + b"\x00")).revision
    finally:
        await client.close()
