"""Chunks that nobody waits for any more fill a log that was lost, and go; all others are left alone."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fixtures.logs import Collecting, Container, Reading, collecting
from fixtures.states import NOW, created, finished, running, task_spec, with_task
from models.container_log import toolbox_log
from runabout.control.chunksweep import AGAIN_SECONDS, MOST_LOGS, YOUNG_MS, ChunkSweep
from runabout.control.ledger import Change, Ledger
from runabout.control.logchunks import attempt_chunks, chunk_key
from runabout.control.logs import LogGoneError, LogJob, log_key
from runabout.control.runrows import run_index
from runabout.datamanager import open_store
from runabout.engine.state import State
from runabout.etcd.memory import MemoryEtcd
from runabout.executors.names import PodKey, pod_name
from runabout.ost import MemoryObjectStore, OstError, UnavailableError
from runabout.records import Attempt, IdGenerator, Reason, Result, RunId, Status

pytestmark = pytest.mark.looptime
IDS = IdGenerator(store=0)
GONE = (Reading(stop=0, ends=LogGoneError("the pod is gone")),)
LOST = Attempt(1, "p", "linux", Reason.POD_LOST, "pod p is not there")
STEPS = [{"name": "compile", "run": "make"}, {"name": "test", "run": "make test"}]


@dataclass
class Scene:
    """A sweep over one store; `hands` are the attempts that passes take care of."""

    ledger: Ledger
    work: Collecting
    source: Container
    hands: set[PodKey] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sweep = ChunkSweep(
            ledger=self.ledger,
            ost=self.work.ost,
            logs=self.work.collector,
            in_hand=self.hands.__contains__,
            now=lambda: NOW,
        )

    async def add(self, state: State) -> RunId:
        await self.ledger.commit(Change(state.run, [*state.tasks.values()], [], state.config))
        return state.run.id

    async def lost(self, *, run: RunId | None = None, container: str = "main") -> RunId:
        """Add a run whose task is in its second attempt; the first one left chunks, and no log."""
        task = task_spec("build", steps=STEPS, containers=[{"name": container, "image": "busybox"}])
        state = running(created(task, run=run or IDS.next(NOW)))
        run = await self.add(
            with_task(
                state, "build", status=Status.RUNNING, attempt=2, executor="linux", attempts=(LOST,), stored=False
            )
        )
        await self.upload(run, {-1: b"toolbox\n", 0: b"one\n"})
        return run

    async def upload(self, run: RunId, outputs: dict[int, bytes], *, attempt: int = 1) -> None:
        for step, data in outputs.items():
            key = chunk_key(run, "build", attempt, step, 0, hashlib.sha256(data).hexdigest())
            await self.work.ost.write(key, data)

    async def chunks(self, run: RunId, attempt: int = 1) -> int:
        return len(await attempt_chunks(self.work.ost, run, "build", attempt))

    async def logs(self, run: RunId, attempt: int = 1) -> dict[int, bytes]:
        """Return what is stored of an attempt once nobody stores anything any more."""
        async with asyncio.timeout(3600):
            while self.work.collector.holds(pod_name(PodKey(run, "build", attempt))):  # noqa: ASYNC110 -- unasked
                await asyncio.sleep(1)
        keys = {log_key(run, "build", attempt, step): step for step in range(-1, 2)}
        found = [item.key for item in await self.work.ost.list(f"logs/{run}/build/{attempt}/") if item.key in keys]
        return {keys[key]: await self.work.ost.read(key) for key in found}


@asynccontextmanager
async def scene(*readings: Reading, ost: MemoryObjectStore | None = None) -> AsyncIterator[Scene]:
    """Set it up; pods' logs are read as `readings` say, and are gone without any."""
    source = Container(b"", readings or GONE)
    store = await open_store(MemoryEtcd(), index=run_index(Path()))
    try:
        async with collecting(source, ost, uploads=True) as work:
            yield Scene(Ledger(store), work, source)
    finally:
        await store.close()


async def test_a_log_that_was_lost_is_stored_from_its_chunks_with_the_reason_and_they_go() -> None:
    async with scene() as here:
        run = await here.lost()
        assert await here.sweep.walk()
        why = b"PodLost: the pod is gone"
        assert await here.logs(run) == {
            -1: b"toolbox\n[runabout: the bytes of the setup from byte 8 on, if any, are missing: %s]\n" % why,
            0: b"one\n[runabout: step compile did not end: %s]\n" % why,
        }
        assert await here.sweep.walk()
        assert await here.chunks(run) == 0


async def test_a_pod_that_is_still_there_is_asked_for_the_log_of_its_container_whatever_that_is_called() -> None:
    async with scene(Reading()) as here:
        here.source.text, here.source.name = toolbox_log([b"one\n", b"two\n"]), "builder"
        run = await here.lost(container="builder")
        assert await here.sweep.walk()
        assert await here.logs(run) == {-1: b"toolbox\n", 0: b"one\n", 1: b"two\n"}


async def test_chunks_of_a_log_that_is_stored_go_and_it_stays_as_it_is() -> None:
    async with scene() as here:
        run = await here.lost()
        await here.work.ost.write(log_key(run, "build", 1, -1), b"setup\n")
        await here.work.ost.write(log_key(run, "build", 1, 0), b"whole\n")
        assert await here.sweep.walk()
        assert await here.chunks(run) == 0
        assert await here.logs(run) == {-1: b"setup\n", 0: b"whole\n"}


async def test_what_an_earlier_process_had_stored_of_a_lost_log_stays() -> None:
    async with scene() as here:
        run = await here.lost()
        await here.work.ost.write(log_key(run, "build", 1, -1), b"setup\n")
        assert await here.sweep.walk()
        found = await here.logs(run)
        assert (found[-1], found[0][:4]) == (b"setup\n", b"one\n")


@pytest.mark.parametrize("over", [True, False])
async def test_the_last_attempt_is_looked_at_once_its_task_has_ended(over: bool) -> None:
    async with scene() as here:
        state = created(task_spec("build", steps=STEPS), run=IDS.next(NOW))
        ended = {"status": Status.FAILED, "reason": Reason.EVICTED} if over else {"status": Status.RUNNING}
        state = with_task(state, "build", attempt=1, stored=False, executor=None if over else "linux", **ended)
        run = await here.add(finished(state, Result.FAILED) if over else running(state))
        await here.upload(run, {0: b"one\n"})
        await here.upload(run, {0: b"none\n"}, attempt=2)  # of an attempt that nobody knows
        assert await here.sweep.walk()
        assert (b"Evicted" in (await here.logs(run)).get(0, b"")) == over
        assert await here.sweep.walk()
        assert (await here.chunks(run), await here.chunks(run, 2)) == (0 if over else 1, 1)


async def test_what_passes_take_care_of_is_left_to_them_and_what_is_being_collected_too() -> None:
    async with scene(Reading(ends="stays open")) as here:
        held, followed = await here.lost(), await here.lost()
        here.hands.add(PodKey(held, "build", 1))
        pod = pod_name(PodKey(followed, "build", 1))
        here.work.collector.follow(LogJob(followed, "build", 1, "ci", pod, "main", ("compile", "test")))
        assert await here.sweep.walk()
        here.work.collector.forget(pod)
        assert [await here.chunks(run) for run in (held, followed)] == [2, 2]
        assert not [item for item in await here.work.ost.list("logs/") if "/chunks/" not in item.key]


async def test_a_log_that_waits_for_the_storage_is_not_begun_again() -> None:
    away = [True]

    def fault(operation: str, key: str, _done: bool) -> OstError | None:
        return UnavailableError("no route") if away and operation == "write" and "/chunks/" not in key else None

    async with scene(ost=MemoryObjectStore(fault=fault)) as here:
        run = await here.lost()
        assert await here.sweep.walk()
        assert await here.sweep.walk()
        assert len(here.source.requests) == 1
        away.clear()
        assert (await here.logs(run))[0].startswith(b"one\n")


async def test_old_runs_are_left_to_retention_and_so_are_those_without_a_record_or_logs() -> None:
    async with scene() as here:
        old = await here.lost(run=IdGenerator(store=0).next(NOW - YOUNG_MS - 1))
        unknown, removed = IDS.next(NOW), await here.lost()
        await here.upload(unknown, {0: b"one\n"})
        await here.ledger.remove_logs(removed)
        assert await here.sweep.walk()
        assert [await here.chunks(run) for run in (old, unknown, removed)] == [2, 1, 2]


async def test_so_many_logs_are_stored_by_one_walk_and_the_next_one_does_the_others() -> None:
    async with scene() as here:
        runs = [await here.lost() for _ in range(MOST_LOGS + 1)]
        assert not await here.sweep.walk()
        for run in runs[:-1]:
            assert await here.logs(run)
        assert await here.chunks(runs[-1]) == 2
        assert await here.sweep.walk()
        assert await here.logs(runs[-1])


async def test_a_storage_that_is_away_ends_a_walk_and_not_the_sweep() -> None:
    away = [UnavailableError("no route")]
    fault = lambda operation, _key, _done: away.pop() if away and operation == "list" else None  # noqa: E731
    async with scene(ost=MemoryObjectStore(fault=fault)) as here:
        run = await here.lost()
        working = asyncio.create_task(here.sweep.run())
        await asyncio.sleep(3 * AGAIN_SECONDS)
        assert (await here.logs(run))[0].startswith(b"one\n")
        working.cancel()
