"""When pods are looked at: one that appears at once, all of them now and then; in virtual time."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from fixtures.states import created, running, task_spec, with_task
from runabout.control.ledger import Change, Ledger
from runabout.control.metrics import Metrics
from runabout.control.strays import SWEEP_SECONDS, Strays
from runabout.datamanager import open_store
from runabout.etcd.memory import MemoryEtcd
from runabout.executors.driver import Done, PodRef, Removal, Unavailable
from runabout.executors.names import PodKey, labels, pod_name
from runabout.kube.objects import JsonObject
from runabout.records import RunId, Status


class Cluster:
    """Pods, with how often all of them were looked at, and when each was removed."""

    def __init__(self) -> None:
        self.pods: dict[str, JsonObject] = {}
        self.looks = 0
        self.removed: dict[str, float] = {}
        self.away = False
        self._changed = asyncio.Event()

    def put(self, run: RunId, attempt: int) -> JsonObject:
        key = PodKey(run, "build", attempt)
        name = pod_name(key)
        pod = {"metadata": {"name": name, "namespace": "ci", "uid": name, "labels": labels(key, run_name="web-118")}}
        self.pods[name] = pod
        return pod

    def all(self) -> Iterator[JsonObject]:
        self.looks += 1
        self._changed.set()
        return iter(tuple(self.pods.values()))

    async def remove(self, pod: PodRef) -> Removal:
        await asyncio.sleep(0)
        if self.away:
            return Unavailable("away")
        assert pod.name not in self.removed
        self.removed[pod.name] = asyncio.get_running_loop().time()
        del self.pods[pod.name]
        self._changed.set()
        return Done()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(3600):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


@pytest.mark.looptime
async def test_strays_that_appear_are_removed_at_once_and_all_pods_are_looked_at_once_in_a_while() -> None:
    store = await open_store(MemoryEtcd())
    state = running(created(task_spec("build")))
    state = with_task(state, "build", status=Status.RUNNING, attempt=90, executor="linux", pod="p")
    ledger, cluster = Ledger(store), Cluster()
    await ledger.commit(Change(state.run, tuple(state.tasks.values()), (), state.config))
    strays = Strays(pods=cluster.all, in_hand=lambda _key: False, ledger=ledger, driver=cluster, metrics=Metrics())
    cluster.put(state.run.id, 1)
    strays.appeared(cluster.put(state.run.id, 2))
    clock = asyncio.get_running_loop().time
    start = clock()
    work = asyncio.create_task(strays.run())
    await cluster.until(lambda: len(cluster.removed) == 2)
    for attempt in range(3, 20):
        strays.appeared(cluster.put(state.run.id, attempt))
        await cluster.until(lambda: not cluster.pods)
    strays.appeared(cluster.put(state.run.id, 90))
    assert clock() - start < 1
    assert (len(cluster.removed), cluster.looks) == (19, 1)

    cluster.away = True
    strays.appeared(cluster.put(state.run.id, 20))
    await cluster.until(lambda: cluster.looks == 2)
    assert clock() - start == pytest.approx(SWEEP_SECONDS, abs=0.1)
    cluster.away = False
    await cluster.until(lambda: len(cluster.removed) == 20)
    assert clock() - start <= 2 * SWEEP_SECONDS + 0.1
    assert len(cluster.pods) == 1
    work.cancel()
    await store.close()
