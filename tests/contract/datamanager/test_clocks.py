"""Clocks have no say: neither the process's nor that of the object storage changes what is true or what is in order."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lab.checkpoints import NEVER, SMALL, checkpoint, checkpointer, seal, write
from lab.etcds import MemoryLab
from lab.pointers import check_pointers
from lab.stores import Stores, view
from runabout.datamanager import SealPolicy
from runabout.ost import MemoryObjectStore

YEAR = timedelta(days=365)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLOCKS = {
    "right": [timedelta(0)],
    "a year ahead": [YEAR],
    "a year behind": [-YEAR],
    "a year ahead, then a year behind": [YEAR, -YEAR],
    "backwards, a day each time": [-timedelta(days=day) for day in range(30)],
    "jumping": [timedelta(days=day) for day in (0, 400, -400, 3, -1, 90, -900)],
}


def clock(offsets: list[timedelta]) -> Iterator[datetime]:
    for number, offset in enumerate(itertools.cycle(offsets)):
        yield NOW + timedelta(seconds=number) + offset


@pytest.mark.parametrize("offsets", CLOCKS.values(), ids=CLOCKS)
async def test_whatever_the_object_storages_clock_says_nothing_is_lost_and_the_order_is_the_logs(
    offsets: list[timedelta], monkeypatch: pytest.MonkeyPatch, store_numbers: Iterator[int]
) -> None:
    """Ages are all that its clock decides: what is superfluous anyhow goes earlier or later."""
    times = clock(offsets)
    monkeypatch.setattr(time, "time", never)
    ost = MemoryObjectStore(now=lambda: next(times))
    checkpoints = replace(SMALL, keep_seconds=24 * 3600, orphan_seconds=3600)
    async with (
        MemoryLab() as lab,
        Stores(lab, next(store_numbers), ost=ost, policy=SealPolicy(interval=NEVER), checkpoints=checkpoints) as stores,
    ):
        expected: dict[str, bytes] = {}
        for life in range(4):
            store = await stores.open()
            assert dict((await view(store))["doc"]) == expected
            for part in range(4):
                await write(store, 3, prefix=f"{life} {part} ", size=50)
                await seal(store)
                await checkpoint(store)
                await checkpointer(store).collect()
                await check_pointers(stores)
            expected = dict((await view(store))["doc"])
            assert len(expected) == 12 * (life + 1)
        await stores.wipe()
        assert dict((await view(await stores.open()))["doc"]) == expected


def never() -> float:
    raise AssertionError("the data layer asked what time it is")
