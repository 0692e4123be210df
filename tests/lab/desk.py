"""The parts of a replica on a played API server and stores in memory, one pass at a time, by hand.

Nothing here watches: a Run is shown when it is created or changed, and its passes are what `work` does. There is no
executor, so no task starts. Another process on the same stores is another desk; what was in memory is gone then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fixtures.fake_kube import FakeKube
from lab.kube_suite import until
from runabout.control.ledger import Ledger
from runabout.control.metrics import Metrics
from runabout.control.objects import Uid
from runabout.control.parts import Parts, compose, now_ms
from runabout.control.runrows import run_index
from runabout.control.settings import Settings
from runabout.datamanager import Store, open_store
from runabout.engine.state import State
from runabout.etcd import Etcd
from runabout.kube.connection import Connection
from runabout.kube.session import Session
from runabout.ost import ObjectStore
from runabout.records import Run

Obj = dict[str, Any]
MOST_PASSES = 200
"""More than any of these tests needs."""


class Desk:
    """One process; `fake` outlives it, as the stores do."""

    def __init__(self, fake: FakeKube, store: Store, ost: ObjectStore, parts: Parts) -> None:
        self.fake, self.store, self.ost, self.parts = fake, store, ost, parts
        self.ledger = Ledger(store)

    async def create(self, name: str, *, namespace: str = "ci", **spec: object) -> None:
        """Create a Run, which the operator sees at once; it has not worked on it yet."""
        metadata = {"name": name, "namespace": namespace, "generation": 1}
        await self.fake.put("runs", {"apiVersion": "runabout.dev/v1alpha1", "metadata": metadata, "spec": spec})
        self.show(name, namespace=namespace)

    async def change(self, name: str, **spec: object) -> None:
        """Change fields of a Run's spec, as a user does."""
        body = self.body(name)
        body["spec"].update(spec)
        body["metadata"]["generation"] += 1
        await self.fake.put("runs", body)
        self.show(name)

    def show(self, name: str, *, namespace: str = "ci") -> None:
        """Let the operator see a Run as it is."""
        self.parts.news.run_seen(self.body(name, namespace=namespace), deleted=False)

    def body(self, name: str, *, namespace: str = "ci") -> Obj:
        place = {"name": name, "namespace": namespace}
        [found] = [item for item in self.fake.items("runs") if place.items() <= item["metadata"].items()]
        return found

    async def work(self, *names: str) -> None:
        """Do passes, over all Runs there are or in the order of these names, until they change nothing more."""
        for _ in range(MOST_PASSES):
            before = (self.store.sequence, dict(self.fake.requests))
            for uid in [Uid(self.body(name)["metadata"]["uid"]) for name in names] or self.parts.objects.uids():
                await self.parts.reconciler.reconcile(uid)
            if before == (self.store.sequence, dict(self.fake.requests)):
                return
        raise AssertionError("passes change something again and again")

    async def wait_until(self, time: int) -> None:
        """Wait for a time in milliseconds since 1970."""
        await until(lambda: now_ms() >= time)

    async def run(self, name: str) -> Run:
        """Return the record of a Run."""
        return (await self.state(name)).run

    async def state(self, name: str, *, namespace: str = "ci") -> State:
        seen = self.parts.objects.get(Uid(self.body(name, namespace=namespace)["metadata"]["uid"]))
        assert seen is not None
        run = await self.ledger.run_of(seen.uid, submitted=seen.created)
        found = await self.ledger.state(run) if run is not None else None
        assert found is not None, f"{name} has no record"
        return found


@asynccontextmanager
async def desk(fake: FakeKube, scratch: Path, *, etcd: Etcd, ost: ObjectStore) -> AsyncIterator[Desk]:
    """Open a store and work on it; it sees all Runs there are and takes live runs from the store."""
    connection = Connection(server=fake.url, ssl=False, authorize=dict)
    async with Session(connection) as session:
        store = await open_store(etcd, index=run_index(scratch))
        await asyncio.sleep(0)  # its own work has begun before anything fails
        try:
            settings = Settings(scratch_dir=scratch)
            parts = compose(settings, session=session, store=store, ost=ost, metrics=Metrics())
            for item in fake.items("runs"):
                parts.news.run_seen(item, deleted=False)
            await parts.reconciler.restore()
            parts.reconciler.claim()
            yield Desk(fake, store, ost, parts)
        finally:
            await store.halt()  # as a crash; what was acknowledged is there
