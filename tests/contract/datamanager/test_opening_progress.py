"""An opening that reads much says how far it is."""

from pathlib import Path

import pytest

from lab.checkpoints import SMALL, checkpoint, seal, write
from lab.etcds import MemoryLab
from lab.indexed import created, source
from lab.stores import Stores
from runabout.datamanager import SealPolicy, Transaction, indexloading, opening
from runabout.datamanager.observing import Nobody
from runabout.datamanager.progress import Step
from runabout.ost import MemoryObjectStore

NEVER = 3600.0
FROM_OBJECTS, FROM_ETCD, AGAIN = (
    "reading the log from the object storage",
    "reading the log from etcd",
    "making the index again",
)


class Told(Nobody):
    """Keeps what it is told of openings."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def opening(self, step: Step) -> None:
        self.steps.append(step)

    def of(self, what: str) -> list[Step]:
        return [step for step in self.steps if step.what == what]


def grows(steps: list[Step], *, until: int) -> bool:
    done = [step.done for step in steps]
    return done == sorted(set(done)) and done[-1] == until and all(step.done <= step.total for step in steps)


async def test_an_opening_that_reads_the_log_says_how_far_it_is_in_both_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "TOLD_EVERY", 2)
    async with (
        MemoryLab() as lab,
        Stores(lab, 0, ost=MemoryObjectStore(), policy=SealPolicy(interval=NEVER, keep=0)) as stores,
    ):
        store = await stores.open()
        for _ in range(4):
            await write(store, 5)
            await seal(store)
        sealed = store.sequence
        await write(store, 7)
        await store.close()
        stores.observer = told = Told()
        await stores.open()
    objects, entries = told.of(FROM_OBJECTS), told.of(FROM_ETCD)
    assert len(objects) == 5  # with the opening's own
    assert grows(objects, until=sealed)
    assert len(entries) == 4
    assert grows(entries, until=7)
    assert {step.total for step in entries} == {7}


async def test_an_opening_that_makes_the_index_again_says_how_many_runs_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexloading, "TOLD_EVERY", 2)
    async with (
        MemoryLab() as lab,
        Stores(lab, 0, ost=MemoryObjectStore(), checkpoints=SMALL, index=source(tmp_path)) as stores,
    ):
        store = await stores.open()
        for number in range(7):
            await store.commit(Transaction(created(number)))
        made = await checkpoint(store)
        await store.close()
        assert made.index is not None
        assert stores.ost is not None
        for file in made.index.files:
            await stores.ost.delete(file.object)
        stores.observer = told = Told()
        await stores.open()
    assert [(step.done, step.total) for step in told.of(AGAIN)] == [(2, 0), (4, 0), (6, 0)]
