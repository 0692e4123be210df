"""What stays in memory of a run that is over, for as long as its Run exists: next to nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fixtures.fake_kube import FakeKube
from fixtures.states import NOW
from runabout.control.ledger import COUNTER, Change, Ledger
from runabout.control.metrics import Metrics
from runabout.control.objects import RunObjects, Uid, run_object
from runabout.control.opener import Opener
from runabout.control.parts import Parts, compose
from runabout.control.restarts import Restarts
from runabout.control.runrows import run_index
from runabout.control.settings import Settings
from runabout.datamanager import Put, Transaction, open_store
from runabout.etcd.memory import MemoryEtcd
from runabout.kube.connection import Connection
from runabout.kube.session import Session
from runabout.ost.memory import MemoryObjectStore
from runabout.records import Counter
from runabout.records.encoding import encode

ROOT = "/ci/project/web"
LARGE = "x" * 10_000
SPEC = {
    "group": "/project/web",
    "tasks": [],
    "ttlSecondsAfterFinished": 3600,
    "environment": [{"name": "A", "value": LARGE}],
}
SMALL = {"ttlSecondsAfterFinished": 3600}
UID = Uid("u1")


def body(version: int, spec: dict[str, Any] = SPEC, uid: str = UID) -> dict[str, Any]:
    metadata = {"uid": uid, "name": f"web-{uid}", "namespace": "ci", "generation": 1, "resourceVersion": str(version)}
    return {"apiVersion": "runabout.dev/v1alpha1", "kind": "Run", "metadata": metadata, "spec": spec}


@asynccontextmanager
async def parts(scratch: Path) -> AsyncIterator[Parts]:
    async with FakeKube() as fake, Session(Connection(server=fake.url, ssl=False, authorize=dict)) as session:
        await fake.put("namespaces", {"metadata": {"name": "ci"}})
        await fake.put("runs", body(1))
        store = await open_store(MemoryEtcd(), index=run_index(scratch))
        made = compose(
            Settings(scratch_dir=scratch), session=session, store=store, ost=MemoryObjectStore(), metrics=Metrics()
        )
        for item in fake.items("runs"):
            made.news.run_seen(item, deleted=False)
        yield made
        await store.close()


def spec_of(made: Parts) -> object:
    run = made.objects.get(UID)
    assert run is not None
    return run.spec


async def number(made: Parts, uid: str) -> int:
    ledger = Ledger(made.store)
    seen = made.objects.get(Uid(uid))
    assert seen is not None
    id_ = await ledger.run_of(seen.uid, submitted=seen.created)
    run = await ledger.run(id_) if id_ is not None else None
    assert run is not None
    return run.counter


async def test_of_a_run_that_is_over_only_what_a_pass_looks_at_is_kept_however_often_it_is_shown(
    tmp_path: Path,
) -> None:
    async with parts(tmp_path) as made:
        assert spec_of(made) == SPEC
        await made.reconciler.reconcile(UID)
        await made.reconciler.reconcile(UID)
        assert not made.reconciler.lives
        assert spec_of(made) == SMALL
        made.news.run_seen(body(1_000_000), deleted=False)
        assert spec_of(made) == SMALL


async def test_the_number_of_a_run_that_is_stored_is_left_to_the_store(tmp_path: Path) -> None:
    async with parts(tmp_path) as made:
        await made.reconciler.reconcile(UID)
        await made.store.commit(Transaction(actions=(Put(COUNTER, ROOT, encode(Counter(ROOT, 0))),)))
        made.news.run_seen(body(2, uid="u2"), deleted=False)
        await made.reconciler.reconcile(Uid("u2"))
        assert [await number(made, uid) for uid in ("u1", "u2")] == [1, 1]


async def test_numbers_are_unique_whichever_run_is_stored_first(tmp_path: Path) -> None:
    async with parts(tmp_path) as made:
        ledger = Ledger(made.store)
        opener = Opener(ledger=ledger, restarts=Restarts(ledger=ledger, objects=RunObjects()), store=0, now=lambda: NOW)
        found = []
        for uids in (("a", "b"), ("c",), ("d", "e")):
            lives = [await opener.create(run_object(body(1, uid=uid))) for uid in uids]
            for live in reversed(lives):
                counter = opener.counter(live.state.run.group)
                await ledger.commit(Change(live.state.run, config=live.state.config, counter=counter))
                opener.committed(live.state.run.group)
            found += [live.state.run.counter for live in lives]
        assert found == [1, 2, 3, 4, 5]
