"""Where the data part measures: a real etcd of its own, with its fsyncs, and a directory for the objects."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from fixtures.etcd_server import EtcdServer
from lab.faulty_etcd import FaultyEtcd
from lab.faulty_ost import FaultyOst
from runabout.etcd import connect
from runabout.ost import OstSettings, open_ost

QUOTA = 8 * 1024**3
"""Bytes that etcd may take: nobody compacts it while it is measured."""


@dataclass
class Calls:
    """Counts the calls to etcd and to the object storage, by name."""

    counts: Counter[str] = field(default_factory=Counter)

    async def __call__(self, call: str, when: str) -> None:
        """Take note of a call."""
        self.counts[call] += when == "before"


@dataclass(frozen=True)
class Place:
    """Both services, new and empty, and clients that count."""

    endpoint: str
    objects: Path
    etcd: FaultyEtcd
    ost: FaultyOst
    calls: Calls
    server: int = 0
    """The process of etcd; 0: another one started it."""


@asynccontextmanager
async def new_place(folder: Path) -> AsyncIterator[Place]:
    """Yield a place in a folder that does not exist yet; etcd is gone afterwards."""
    with EtcdServer(folder / "etcd", options=[f"--quota-backend-bytes={QUOTA}"]) as server:
        async with clients(server.endpoint, folder / "objects") as place:
            yield replace(place, server=server.pid)


@asynccontextmanager
async def clients(endpoint: str, objects: Path) -> AsyncIterator[Place]:
    """Yield a place that is there, for one more process."""
    etcd = connect(endpoint)
    try:
        ost = await open_ost(OstSettings(f"file://{objects}"))
        try:
            calls = Calls()
            place = Place(endpoint, objects, FaultyEtcd(etcd), FaultyOst(ost), calls)
            place.etcd.fault = place.ost.fault = calls
            yield place
        finally:
            await ost.close()
    finally:
        await etcd.close()
