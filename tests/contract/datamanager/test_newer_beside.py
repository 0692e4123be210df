"""A newer program that writes while an older one opens the store, between its look at the formats and its fence."""

from collections.abc import Awaitable, Callable

import pytest

from contract.datamanager.test_bad_input import NEWER, newest_manifest, publish, sealed_again
from lab.damage import Scene, scene
from runabout.datamanager import NewerFormat

FENCE = 2
"""Which transaction of an opening it is; the first one asks whether it may write at all."""


async def write_newer(it: Scene, what: str) -> None:
    find, newer = NEWER[what]
    place = find(it.stores.keys)
    if isinstance(place, bytes):
        await it.change_entry(place, newer)
    elif what == "newest manifest":
        where = await newest_manifest(it)
        await publish(it.stores, where, sealed_again(await it.ost.read(where)))
    else:
        await it.change(place, newer)


class Beside:
    """Does something before one call of an opening, counted from 1, if that is not behind its fence."""

    def __init__(self, number: int, act: Callable[[], Awaitable[None]]) -> None:
        self.done = False
        self._number = number
        self._act = act
        self._calls = 0
        self._transactions = 0

    async def fault(self, call: str, when: str) -> None:
        if when == "after" or self._transactions == FENCE:
            return
        self._calls += 1
        self._transactions += call == "txn"
        if self._calls == self._number:
            self.done = True
            await self._act()


@pytest.mark.parametrize("what", NEWER)
async def test_what_a_newer_program_writes_before_our_fence_is_never_gone_on_from(what: str) -> None:
    """Whichever call of an opening it comes before: nothing but the epoch is ours then."""
    for number in range(1, 100):
        async with scene() as it:
            beside = Beside(number, lambda it=it: write_newer(it, what))  # type: ignore[misc]  # mypy infers no lambda with a default
            entries, objects = await it.contents()
            it.stores.meet(beside.fault)
            if not await refused(it):
                assert not beside.done
                assert number > FENCE
                return
            now, there = await it.contents()
            keys = it.stores.keys
            assert {key for key in now if now[key] != entries.get(key)} <= {keys.head, keys.owner, *changed(it, what)}
            assert {key for key in there if key not in objects} <= {keys.epoch(2)}
            assert now.keys() == entries.keys()
            assert objects.keys() <= there.keys()


def changed(it: Scene, what: str) -> set[bytes]:
    """Return the keys of etcd that the newer program has written."""
    if what == "newest manifest":
        return {it.stores.keys.manifest}
    place = NEWER[what][0](it.stores.keys)
    return {place} if isinstance(place, bytes) else set()


async def refused(it: Scene) -> bool:
    try:
        await it.stores.open()
    except NewerFormat:
        return True
    return False
