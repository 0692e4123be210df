"""Real processes that write a store on a real etcd and a real object storage: killed, stopped, two at once, and robbed.

What they were told is kept outside of them, see `fixtures/writer_process.py`.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract.datamanager.conftest import BUCKET
from fixtures.etcd_server import EtcdServer
from fixtures.follower_process import FollowerProcess
from fixtures.s3_server import S3Server
from fixtures.writer_process import DOC, NOTE, WriterProcess
from lab.etcds import GrpcLab
from lab.ledger import sealed_names
from lab.pointers import check_pointers
from lab.stores import Stores, view
from runabout.datamanager import Case, Durability, SealPolicy
from runabout.ost import OstSettings, open_ost

ROUNDS = int(os.environ.get("RUNABOUT_ROUNDS", "4"))
NEVER = 3600.0
SOME = 30
"""Acknowledged transactions after which a process is sure to be in the middle of its work."""


@dataclass(slots=True)
class Place:
    """An etcd of its own and an object storage, and what all processes there have asked for and were told."""

    server: EtcdServer
    stores: Stores
    settings: dict[str, object]
    chance: random.Random
    processes: list[WriterProcess] = field(default_factory=list)

    def writer(self, durability: Durability = Durability.ETCD) -> WriterProcess:
        made = WriterProcess(
            etcd=self.server.endpoint,
            ost=self.settings,
            store=self.stores.keys.store,
            name=f"process {len(self.processes)}",
            durability=durability,
        )
        self.processes.append(made)
        return made

    def follower(self) -> FollowerProcess:
        return FollowerProcess(etcd=self.server.endpoint, ost=self.settings, store=self.stores.keys.store)

    async def some(self, writer: WriterProcess) -> None:
        """Return at a random moment of a writer's work."""
        wanted = len(writer.told) + self.chance.randint(SOME, 3 * SOME)
        await writer.until(lambda it: len(it.told) >= wanted)

    async def check(self, *, excused: set[str] | None = None) -> None:
        """Compare what was told with what the next opening finds; `excused` may be lost."""
        await check_pointers(self.stores)
        store = await self.stores.open()
        assert store.recovery is None
        seen = await view(store)
        happened = [body.decode() for body in seen[NOTE].values()]
        assert [text for text, count in Counter(happened).items() if count > 1] == []
        lost = set()
        for each in self.processes:
            for text, number in each.told.items():
                if happened[number - 1 : number] != [text]:
                    lost.add(text)
            refused = {text for text, error in each.failed.items() if error != "Unknown"}
            assert refused.isdisjoint(happened)
        assert lost <= (excused or set()), f"{sorted(lost)[:5]} were acknowledged"
        assert set(happened) <= {text for each in self.processes for text in each.asked}
        last: dict[str, bytes] = {}
        for text in happened:
            last[f"{int(text.rpartition(' ')[2]) % 50}"] = text.encode() * 9
        assert seen[DOC] == last
        await store.close()


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("RUNABOUT_SEED", str(time.time_ns() % 1_000_000)))
    print(f"RUNABOUT_SEED={seed}")  # noqa: T201 - shown when the test fails
    return random.Random(seed)


@pytest.fixture(params=["a directory", "a bucket"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, chance: random.Random, store_numbers: Iterator[int]
) -> AsyncIterator[Place]:
    number = next(store_numbers)
    if request.param == "a bucket":
        bucket = await asyncio.to_thread(request.getfixturevalue, "versitygw")
        assert isinstance(bucket, S3Server)
        settings = bucket.settings(BUCKET, f"processes-{number}")
    else:
        settings = OstSettings(f"file://{tmp_path}/ost")
    async with AsyncExitStack() as stack:
        server = EtcdServer(tmp_path / "etcd", fsync=False)
        await asyncio.to_thread(server.start)
        stack.push_async_callback(asyncio.to_thread, server.kill)
        lab = await stack.enter_async_context(GrpcLab(server.endpoint))
        ost = await open_ost(settings)
        stack.push_async_callback(ost.close)
        stores = await stack.enter_async_context(Stores(lab, number, ost=ost, policy=SealPolicy(interval=NEVER)))
        fields = ("url", "s3_endpoint", "s3_region", "s3_path_style")
        yield Place(server, stores, {name: getattr(settings, name) for name in fields}, chance)


@pytest.mark.timeout(300)
async def test_a_writer_that_is_killed_at_any_moment_loses_nothing_it_was_told(place: Place) -> None:
    for _ in range(ROUNDS):
        async with place.writer() as writer:
            await place.some(writer)
        assert writer.reported == []
    await place.check()


@pytest.mark.timeout(300)
async def test_three_readers_beside_a_writer_that_is_killed_reach_every_sequence_it_was_told(place: Place) -> None:
    readers = [place.follower() for _ in range(3)]
    async with AsyncExitStack() as stack:
        for turn in range(ROUNDS):
            async with place.writer() as writer:
                await writer.until(lambda it: it.opened)
                if turn == 0:
                    for each in readers:
                        await stack.enter_async_context(each)
                await place.some(writer)
            last = writer.sequence
            for each in readers:
                await each.until(lambda it, last=last: it.reached >= last or it.ended != "")  # type: ignore[misc]  # mypy infers no lambda with a default
                assert each.ended == ""
                told = {number: text for writer in place.processes for text, number in writer.told.items()}
                assert {number: each.notes.get(number) for number in told} == told
    assert all(each.steps == sorted(each.steps) for each in readers)
    await place.check()


@pytest.mark.timeout(300)
async def test_a_writer_that_is_stopped_while_another_one_works_ends_and_changes_nothing(place: Place) -> None:
    async with place.writer() as first:
        await place.some(first)
        first.send(signal.SIGSTOP)
        async with place.writer() as second:
            await place.some(second)
            await place.some(second)  # long enough for seals, checkpoints and collections
            first.send(signal.SIGCONT)
            await first.until(lambda it: it.ended != "")
            await place.some(second)
            assert second.ended == ""
        assert first.ended == "Fenced"
        # What had been answered already when it was stopped may have been told after it; nothing that came later.
        assert max(first.told.values()) < min(second.told.values())
        assert set(first.failed.values()) <= {"Fenced", "Unavailable", "Unknown"}
    await place.check()


@pytest.mark.timeout(300)
async def test_of_two_writers_that_begin_at_once_one_goes_on(place: Place) -> None:
    async with place.writer() as one, place.writer() as other:
        while not (one.ended or other.ended):
            _, waiting = await asyncio.wait(
                [asyncio.ensure_future(each.until(lambda it: it.ended != "")) for each in (one, other)],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in waiting:
                task.cancel()
        loser, winner = (one, other) if one.ended else (other, one)
        await place.some(winner)
        assert (loser.ended, winner.ended) == ("Fenced", "")
    await place.check()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("durability", Durability)
async def test_after_a_kill_and_the_loss_of_etcd_s_data_only_what_may_be_is_lost(
    place: Place, durability: Durability
) -> None:
    """What was asked for in the last second may be, if that is how the store was opened, and the opening says so."""
    excused: set[str] = set()
    for _ in range(2):
        async with place.writer(durability) as writer:
            await place.some(writer)
        before = {text for each in place.processes for text in each.asked}
        sealed = await sealed_names(place.stores, place.server.folder)
        if durability is Durability.ETCD:
            excused |= before - sealed
        await asyncio.to_thread(place.server.kill)
        place.server.wipe()
        await asyncio.to_thread(place.server.start)
    async with place.writer(durability) as last:
        await place.some(last)
    assert all(each.reported and "etcd was wiped" in each.reported[0] for each in place.processes[1:])
    await place.check(excused=excused)


@pytest.mark.timeout(300)
async def test_a_writer_under_which_etcd_is_set_back_stops_and_the_next_one_says_so(place: Place) -> None:
    async with place.writer(Durability.OBJECT) as writer:
        await place.some(writer)
        backup = await place.stores.snapshot()
        await place.some(writer)
        await place.stores.set_back(backup)
        await writer.until(lambda it: it.ended != "")
        assert writer.ended in {"Fenced", "SplitHistory", "BrokenLog", "MissingBatch"}
    async with place.writer(Durability.OBJECT) as after:
        await place.some(after)
    assert len(after.reported) == 1
    assert f"etcd was {Case.SET_BACK.value}" in after.reported[0]
    await place.check()
