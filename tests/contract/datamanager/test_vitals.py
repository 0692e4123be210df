"""How a store is doing, as it says itself: in numbers when it is asked, and by calls as things happen."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lab.checkpoints import checkpoint
from lab.etcds import MemoryLab
from lab.indexed import gone, record, source
from lab.stores import DOC, put
from runabout.datamanager import CacheUse, CheckpointPolicy, Recovery, SealPolicy, Transaction, open_store, vitals
from runabout.datamanager.progress import Step
from runabout.datamanager.space import MIB, SpacePolicy
from runabout.etcd import MemberSpace, MemoryEtcd
from runabout.etcd import UnavailableError as EtcdUnavailableError
from runabout.ost import MemoryObjectStore, OstError, UnavailableError

NEVER = 3600.0
SOON = 0.01
WAIT = 30.0


@dataclass
class Told:
    """Keeps what it is told."""

    calls: list[tuple[object, ...]] = field(default_factory=list)

    def committed(self, *, transactions: int, size: int, seconds: float) -> None:
        self.calls.append(("committed", transactions, size > 0, seconds >= 0))

    def sealed(self, *, batches: int, size: int, seconds: float) -> None:
        self.calls.append(("sealed", batches, size > 0, seconds >= 0))

    def covered(self, *, covers: int, seconds: float) -> None:
        self.calls.append(("covered", covers, seconds >= 0))

    def failed(self, work: str, error: Exception) -> None:
        self.calls.append(("failed", work, str(error)))

    def recovers(self, recovery: Recovery) -> None:
        self.calls.append(("recovers", recovery.sequence))

    def opening(self, step: Step) -> None:
        pass

    def space_seen(self, space: MemberSpace, quota: int | None, words: str) -> None:
        self.calls.append(("space", space.member, quota, words))


async def test_what_waits_for_an_object_storage_that_is_away_is_counted_and_timed() -> None:
    away: list[OstError] = []
    ost, told = MemoryObjectStore(), Told()
    ost.fault = lambda operation, _key, done: away[0] if away and operation == "write" and not done else None
    async with MemoryLab() as lab:
        store = await open_store(lab.etcd, ost=ost, policy=SealPolicy(interval=SOON), observer=told)
        well = vitals(store)
        assert (well.unsealed, well.unsealed_bytes, well.lag_seconds, well.sealing_trouble) == (0, 0, 0, "")
        away.append(UnavailableError("the bucket does not answer"))
        for number in range(3):
            await store.commit(put(str(number)))
        async with asyncio.timeout(WAIT):
            while not vitals(store).sealing_fails_seconds:  # noqa: ASYNC110 - asked for, not told
                await asyncio.sleep(SOON)
        found = vitals(store)
        assert found.sequence - found.unsealed == 1, "the batch of the opening is sealed"
        assert found.unsealed_bytes > 100
        assert found.most_unsealed_bytes == 256 * MIB
        assert 0 < found.sealing_fails_seconds <= found.lag_seconds
        assert found.sealing_trouble == "the bucket does not answer"
        away.clear()
        async with asyncio.timeout(WAIT):
            while vitals(store).sealing_trouble:  # noqa: ASYNC110 - as above
                await asyncio.sleep(SOON)
        assert vitals(store).unsealed == vitals(store).unsealed_bytes == 0
        assert vitals(store).lag_seconds == vitals(store).sealing_fails_seconds == 0
        await store.close()
    assert ("failed", "seal", "the bucket does not answer") in told.calls
    assert ("sealed", 3, True, True) in told.calls


async def test_every_batch_segment_and_checkpoint_is_told_once() -> None:
    told = Told()
    async with MemoryLab() as lab:
        store = await open_store(
            lab.etcd,
            ost=MemoryObjectStore(),
            policy=SealPolicy(interval=NEVER),
            checkpoints=CheckpointPolicy(interval=NEVER),
            observer=told,
        )
        told.calls.clear()
        await asyncio.gather(store.commit(put("a")), store.commit(put("b")))
        assert told.calls == [("committed", 2, True, True)]
        assert store.sealer is not None
        assert store.checkpointer is not None
        await store.sealer.seal()
        await store.checkpointer.checkpoint()
        assert told.calls[1:] == [("sealed", 1, True, True), ("covered", 2, True)]
        assert (vitals(store).covers, vitals(store).uncovered_bytes) == (2, 0)
        await store.close()


async def test_what_is_in_memory_and_what_was_read_is_counted(tmp_path: Path) -> None:
    def index() -> tuple[int, int]:
        found = vitals(store).index
        return found.rows, found.changed

    async with MemoryLab() as lab:
        store = await open_store(
            lab.etcd,
            ost=MemoryObjectStore(),
            policy=SealPolicy(interval=NEVER),
            checkpoints=CheckpointPolicy(interval=NEVER, group=1000, file=1_000_000),
            index=source(tmp_path),
        )
        for place in range(1, 4):
            await store.commit(Transaction((record(place), put(str(place), b"x" * 1000).actions[0])))
        await store.commit(Transaction((gone(1),)))
        before = vitals(store)
        assert (before.changed, index()) == (6, (2, 3))
        assert before.changed_bytes > 3000
        assert before.groups == before.footers == CacheUse()
        assert (before.index.stored, before.index.mapped) == (0, 0)
        await checkpoint(store)
        covered = vitals(store)
        assert (covered.changed, covered.changed_bytes, index()) == (0, 0, (2, 0))
        assert covered.index.stored > 0
        assert covered.index.mapped > 2 * 8
        begun = covered.groups
        await store.get(DOC, "1")
        once = vitals(store).groups
        assert (once.hits, once.misses - begun.misses) == (begun.hits, 1)
        assert once.size > begun.size + 1000
        await asyncio.gather(store.get(DOC, "1"), store.get(DOC, "1"))
        assert vitals(store).groups == replace(once, hits=once.hits + 2)
        assert vitals(store).footers.misses > 0
        await asyncio.gather(store.get(DOC, "3"), store.get(DOC, "3"))
        shared = vitals(store).groups
        assert (shared.hits - once.hits, shared.misses - once.misses) == (3, 1), (
            "whoever waits for a read reads nothing"
        )
        await store.commit(Transaction((gone(2), record(5))))
        assert index() == (2, 2)
        await store.close()


async def test_space_is_told_at_every_look_and_a_member_that_is_silent_keeps_nobody_from_writing() -> None:
    etcd, told = MemoryEtcd(quota=100 * MIB), Told()

    async def silent(call: str, _when: str) -> None:
        if call == "space":
            raise EtcdUnavailableError("etcd: no connection")

    store = await open_store(etcd, members=etcd, space=SpacePolicy(interval=SOON), observer=told)
    async with asyncio.timeout(WAIT):
        while ("space", "memory", 100 * MIB, "") not in told.calls:  # noqa: ASYNC110 - told, and not to be waited for
            await asyncio.sleep(SOON)
    etcd.fault = silent
    await store.commit(put("a"))
    assert store.space is not None
    with pytest.raises(EtcdUnavailableError):
        await store.space.look()
    await store.commit(put("b"))
    await store.close()
