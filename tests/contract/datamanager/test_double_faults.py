"""Two faults in one life of a store, the second in whatever goes on after the first: nothing acknowledged is lost.

What goes on is the process itself, the next one if it died, or another one while it is paused. There are too many pairs
for each run of the tests: some are drawn by a seed that is printed, RUNABOUT_SEED replays them. With
RUNABOUT_EXPLORE=1 all pairs of a recovery are tried, and more of a whole life's.
"""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType

import pytest

from contract.datamanager.test_loss_sweep import STATES, recovers
from lab.ledger import Ledger, Process, Reports
from lab.lives import check_lost, live, new_stores, virtual
from lab.stores import Stores
from lab.trouble import KINDS, Trouble, kill
from runabout.datamanager import Committed, Fenced, StorageFailed, Unavailable, Unknown

EXPLORE = bool(os.environ.get("RUNABOUT_EXPLORE"))
LIVES, RECOVERIES = (2_000, 0) if EXPLORE else (120, 200)
NEAR = 40
"""Calls after the first fault among which half of the second ones are."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The call that meets the first fault, and which one after it meets the second."""

    at: int
    kind: str
    then: int
    then_kind: str
    state: str = ""
    """In which etcd is before, empty: there is no store."""


def _random() -> random.Random:
    seed = int(os.environ.get("RUNABOUT_SEED", str(time.time_ns() % 1_000_000)))
    print(f"RUNABOUT_SEED={seed}")  # noqa: T201 - shown when the test fails
    return random.Random(seed)


async def _whole_life(stores: Stores, ledger: Ledger, name: str) -> None:
    for part in ("a", "b"):
        await live(stores, ledger, f"{name} {part}")


async def _meet(stores: Stores, ledger: Ledger, process: Process, name: str, troubles: list[Trouble]) -> None:
    """Run a process with the first of some troubles, and with the others whatever goes on after it."""
    if not troubles:
        await process(stores, ledger, name)
        return
    trouble, *others = troubles
    stores.meet(trouble)
    running = asyncio.ensure_future(process(stores, ledger, name))
    while others and not trouble.stops:
        await _either(running, trouble)
        if running.done():
            break
        trouble, *others = others  # of the same process, from here on
        stores.meet(trouble)
    await _either(running, trouble)
    if trouble.met.is_set() and trouble.kind.startswith("crashes"):
        await kill(running, stores)
        await _meet(stores.beside(), ledger, process, f"{name}, again", others)
    elif trouble.met.is_set() and trouble.kind.startswith("is paused"):
        await _meet(stores.beside(), ledger, process, f"{name}'s other", others)
        trouble.go_on.set()
        await asyncio.wait((running,))
    await asyncio.wait((running,))
    if not running.cancelled():
        assert isinstance(running.exception(), Fenced | NoneType)


async def _either(running: asyncio.Future[None], trouble: Trouble) -> None:
    met = asyncio.ensure_future(trouble.met.wait())
    await asyncio.wait((running, met), return_when=asyncio.FIRST_COMPLETED)
    met.cancel()


async def _try(pair: Pair) -> tuple[int, bool]:
    """Try a pair; return how many calls there were after the first fault, and whether both faults were met."""
    first, second = Trouble(pair.at, pair.kind), Trouble(pair.then, pair.then_kind)
    async with new_stores(None) as stores:
        ledger, reports = Ledger(), Reports()
        stores.observer = reports
        if pair.state:
            await STATES[pair.state](stores, ledger)
            await stores.crash()
        await _meet(stores, ledger, recovers if pair.state else _whole_life, "one", [first, second])
        others = [told for told in ledger.told.values() if not isinstance(told, Committed)]
        assert all(isinstance(told, Fenced | StorageFailed | Unavailable | Unknown) for told in others), others
        await check_lost(stores, ledger, reports)
    return len(second.names), first.met.is_set() and second.met.is_set()


async def _calls(state: str) -> int:
    """Return how many calls there are without a fault."""
    counter = Trouble(0, "fails")
    async with new_stores(None) as stores:
        ledger = Ledger()
        if state:
            await STATES[state](stores, ledger)
            await stores.crash()
        stores.meet(counter)
        await (recovers if state else _whole_life)(stores, ledger, "one")
    return len(counter.names)


async def _check(pairs: Iterator[Pair]) -> int:
    both = 0
    for pair in pairs:
        try:
            both += (await _try(pair))[1]
        except BaseException:
            print(f"failed with {pair}")  # noqa: T201 - shown when the test fails
            raise
    return both


@virtual
@pytest.mark.timeout(7200 if EXPLORE else 600)
async def test_after_two_faults_in_a_life_nothing_acknowledged_is_lost() -> None:
    chance, calls = _random(), await _calls("")

    def pairs() -> Iterator[Pair]:
        for _ in range(LIVES):
            at = chance.randint(1, calls)
            left = NEAR if chance.random() < 1 / 2 else max(1, calls - at)
            yield Pair(at, chance.choice(KINDS), chance.randint(1, left), chance.choice(KINDS))

    assert await _check(pairs()) > LIVES / 3


@virtual
@pytest.mark.timeout(7200 if EXPLORE else 600)
async def test_after_two_faults_in_a_recovery_nothing_acknowledged_is_lost() -> None:
    chance = _random()
    calls = {state: await _calls(state) for state in STATES}

    def all_pairs() -> Iterator[Pair]:
        for state, count in calls.items():
            for at in range(1, count + 1):
                for kind in KINDS:
                    for then in range(1, count + 1):
                        for then_kind in KINDS:
                            yield Pair(at, kind, then, then_kind, state)

    def some() -> Iterator[Pair]:
        for _ in range(RECOVERIES):
            state = chance.choice(tuple(STATES))
            at = chance.randint(1, calls[state])
            then = chance.randint(1, calls[state])
            yield Pair(at, chance.choice(KINDS), then, chance.choice(KINDS), state)

    assert await _check(all_pairs() if EXPLORE else some()) > RECOVERIES / 4
