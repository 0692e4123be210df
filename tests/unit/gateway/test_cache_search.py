"""Searching for a cache: what is found, and that no request asks more of the object storage than it may."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.control.archivekeys import cache_key, cache_parts
from runabout.control.archivemanifests import Manifest, Part, encode_manifest
from runabout.gateway.archives import Archives
from runabout.gateway.caches import AT_ONCE, MOST_PAGES, MOST_READ, Caches
from runabout.gateway.errors import BadRequestError, TooManyError
from runabout.gateway.turns import WAITING
from runabout.ost import MAX_PAGE, MemoryObjectStore, ObjectInfo, OstError

GROUP = "/team/project/web"


class SlowStore(MemoryObjectStore):
    """Lists nothing before it may; `most` is how many wait for that at once."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.waiting = self.most = 0

    async def list(self, prefix: str = "", *, start_after: str = "", limit: int = MAX_PAGE) -> list[ObjectInfo]:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.gate.wait()
        self.waiting -= 1
        return await super().list(prefix, start_after=start_after, limit=limit)


class Shelf:
    """Caches in memory; `asked` is how often the storage was asked for what. Time stands still unless it is moved."""

    def __init__(self, *, page: int = MAX_PAGE) -> None:
        self.asked: Counter[str] = Counter()
        self.now = 1_000_000
        self.ost = MemoryObjectStore(now=lambda: datetime.fromtimestamp(self.now, UTC), fault=self._count)
        self.caches = Caches(self.ost, Archives(self.ost, now=lambda: self.now), page=page)

    def _count(self, operation: str, _key: str, done: bool) -> OstError | None:
        self.asked[operation] += not done
        return None

    async def add(self, *keys: str, created: int = 0) -> None:
        for key in keys:
            folder = cache_parts(GROUP, f"upload{key.encode().hex()}")
            made = Manifest(folder, (Part(size=1, sha256="0" * 64),), 1, 1, created=created, name=key)
            await self.ost.write(cache_key(GROUP, key), encode_manifest(made))

    async def add_damaged(self, *keys: str) -> None:
        for key in keys:
            await self.ost.write(cache_key(GROUP, key), b"no manifest")

    async def find(self, *keys: str) -> str | None:
        self.asked.clear()
        found = await self.caches.find(GROUP, keys, source="pod")
        return None if found is None else found.key


async def test_a_small_group_is_listed_once_however_many_keys_are_asked_for() -> None:
    shelf = Shelf()
    await shelf.add("go-1", "npm-1")
    assert await shelf.find(*(f"none-{number}" for number in range(31)), "npm-") == "npm-1"
    assert shelf.asked == {"list": 1, "stat": 1, "read": 1}
    assert await shelf.find(*(f"none-{number}" for number in range(32))) is None
    assert shelf.asked == {"list": 1}


async def test_a_large_group_is_listed_key_by_key_and_not_beyond_the_first_that_has_any() -> None:
    shelf = Shelf()
    await shelf.add(*(f"b-{number:04d}" for number in range(1500)))
    shelf.now += 1
    await shelf.add("b-0007-newer", "z")
    assert await shelf.find("a", "z", "b-") == "z"
    assert shelf.asked == {"list": 2, "stat": 1, "read": 1}, "that there is no `a` stands in the first page"
    assert await shelf.find("c-", "b-") == "b-0007-newer"
    assert shelf.asked == {"list": 3, "stat": 1, "read": 1}


async def test_a_request_lists_only_so_many_pages_whatever_it_asks_for() -> None:
    shelf = Shelf(page=10)
    await shelf.add(*(f"k{number:03d}" for number in range(10 * MOST_PAGES)))
    shelf.now += 1
    await shelf.add("k-first", "kz-last")
    assert await shelf.find("k") == "k-first"
    assert shelf.asked["list"] == MOST_PAGES
    assert await shelf.find(*(f"z{number}" for number in range(31)), "k") == "k-first"
    assert shelf.asked["list"] == MOST_PAGES


async def test_a_request_reads_only_so_many_manifests_that_cannot_be_read() -> None:
    shelf = Shelf()
    await shelf.add("k")
    for number in range(5):
        shelf.now += 1
        await shelf.add_damaged(*(f"k-{number}-{each}" for each in range(30)))
    assert await shelf.find("k", "k-", "k") is None
    assert shelf.asked == {"list": 1, "stat": MOST_READ, "read": MOST_READ}


async def test_among_those_of_one_moment_their_writers_clock_decides() -> None:
    shelf = Shelf()
    await shelf.add("k-1", created=5)
    await shelf.add("k-2", created=7)
    await shelf.add("k-3", created=6)
    assert await shelf.find("k") == "k-2"


async def test_a_key_that_cannot_be_is_refused_wherever_it_stands() -> None:
    shelf = Shelf()
    await shelf.add("k")
    with pytest.raises(BadRequestError):
        await shelf.find("k", "a\nb")
    assert shelf.asked == {}


async def test_searches_wait_for_their_turns_and_a_flood_of_them_is_refused() -> None:
    ost = SlowStore()
    searched = Caches(ost, Archives(ost, now=lambda: 0))
    flood = [asyncio.create_task(searched.find(GROUP, ("k",), source="flood")) for _ in range(WAITING + 50)]
    await asyncio.sleep(0)
    other = asyncio.create_task(searched.find(GROUP, ("k",), source="other"))
    await asyncio.sleep(0)
    ost.gate.set()
    assert await other is None
    answers = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(each, TooManyError) for each in answers) == 50 - AT_ONCE + 1
    assert ost.most == AT_ONCE


@given(
    stored=st.lists(st.text("ab/%", min_size=1, max_size=4), max_size=12),
    keys=st.lists(st.text("ab/%", min_size=1, max_size=3), min_size=1, max_size=5),
    page=st.integers(1, 6),
)
def test_what_is_found_is_the_newest_of_the_first_key_however_long_the_pages_are(
    stored: list[str], keys: list[str], page: int
) -> None:
    async def play() -> None:
        shelf = Shelf(page=page)
        times = {}
        for key in stored:
            shelf.now += 1
            times[key] = shelf.now
            await shelf.add(key)
        expected = None
        for key in keys:
            matching = [name for name in times if name.startswith(key)]
            if matching:
                expected = max(matching, key=lambda name: times[name])
                break
        assert await shelf.find(*keys) == expected

    asyncio.run(play())
