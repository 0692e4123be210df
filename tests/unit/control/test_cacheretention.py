"""Caches go by age and number, each group by itself, with their parts, and so do parts that no cache names."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from runabout.control.archivekeys import cache_key, cache_parts, part_name
from runabout.control.archivemanifests import Manifest, Part, encode_manifest
from runabout.control.cacheretention import DAY, CacheRetention
from runabout.control.metrics import Metrics
from runabout.control.retention import Rule
from runabout.ost import MemoryObjectStore, iterate

SHA = "a" * 64
NOW = int(datetime(2026, 1, 31, tzinfo=UTC).timestamp() * 1000)


@dataclass
class Scene:
    """Caches that were written some days ago, by the storage's clock."""

    days_ago: float = 0
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.ost = MemoryObjectStore(now=lambda: datetime.fromtimestamp((NOW - self.days_ago * DAY) / 1000, UTC))

    async def add(self, group: str, key: str, *, days: float, manifest: bool = True, parts: int = 2) -> None:
        self.days_ago = days
        upload = f"upload{key}"
        folder = cache_parts(group, upload)
        for number in range(parts):
            await self.ost.write(f"{folder}/{part_name(number, SHA)}", b"part")
        if manifest:
            made = Manifest(folder, (Part(size=4, sha256=SHA),) * parts, 1, 1, name=key)
            await self.ost.write(cache_key(group, key), encode_manifest(made))

    async def walk(self, *rules: Rule, days: int = 0, most: int = 0) -> dict[str, int]:
        """Return how many objects of each key are left."""
        await CacheRetention(
            ost=self.ost, metrics=self.metrics, rules=rules, days=days, most=most, now=lambda: NOW
        ).walk()
        left: dict[str, int] = {}
        async for item in iterate(self.ost, "caches/"):
            name = item.key.rsplit("/keys/", 1)[-1] if "/keys/" in item.key else item.key.split("/parts/upload")[1]
            name = name.split("/")[0]
            left[name] = left.get(name, 0) + 1
        return left


async def test_nothing_goes_without_limits() -> None:
    scene = Scene()
    await scene.add("/ci/project/web", "a", days=1000)
    assert await scene.walk() == {"a": 3}


async def test_old_caches_go_with_their_parts() -> None:
    scene = Scene()
    for key, days in (("old", 30.5), ("young", 29.5)):
        await scene.add("/ci/project/web", key, days=days)
    assert await scene.walk(days=30) == {"young": 3}
    assert scene.metrics.registry.get_sample_value("runabout_removed_total", {"what": "cache"}) == 1


async def test_of_each_group_the_newest_are_kept() -> None:
    scene = Scene()
    groups = {
        "/ci/project/web": "w",
        "/ci/project/web/branch/x": "b",
        "/ci/project/web!": "x",
        "/other/project/web": "o",
    }
    for group, letter in groups.items():
        for age in (3, 1, 2):
            await scene.add(group, f"{letter}{age}", days=age)
    assert await scene.walk(most=2) == {f"{letter}{age}": 3 for letter in groups.values() for age in (1, 2)}


@pytest.mark.parametrize(("days", "left"), [(0.9, {"lost": 2, "a": 3}), (1.1, {"a": 3})])
async def test_parts_that_no_cache_names_go_after_a_day(days: float, left: dict[str, int]) -> None:
    scene = Scene()
    await scene.add("/ci/project/web", "a", days=20)
    await scene.add("/ci/project/web", "lost", days=days, manifest=False)
    assert await scene.walk() == left


async def test_a_cache_that_cannot_be_read_goes_by_the_same_rules() -> None:
    scene = Scene()
    scene.days_ago = 10
    await scene.ost.write(cache_key("/ci/project/web", "bad"), b"no manifest")
    assert await scene.walk(days=20) == {"bad": 1}
    assert await scene.walk(days=9) == {}


LONG = f"/ci/{'x' * 300}"
RULED: dict[str, tuple[list[Rule], set[str]]] = {
    "no rule": ([], {"w5", "w1", "b5", "b1", "x5", "x1", "l5", "l1"}),
    "a rule that says nothing of caches": (
        [Rule(group="/ci", days=1)],
        {"w5", "w1", "b5", "b1", "x5", "x1", "l5", "l1"},
    ),
    "by age, below a group": ([Rule(group="/ci/project/web", cacheDays=3)], {"w1", "b1", "x5", "x1", "l5", "l1"}),
    "by number, below a group": ([Rule(group="/ci/project/web", caches=1)], {"w1", "b1", "x5", "x1", "l5", "l1"}),
    "the longest counts": (
        [Rule(group="/ci", cacheDays=3), Rule(group="/ci/project/web/branch", cacheDays=6)],
        {"w1", "b5", "b1", "x1", "l1"},
    ),
    "one that says it counts before a longer one that does not": (
        [Rule(group="/ci", cacheDays=3), Rule(group="/ci/project/web", days=1000)],
        {"w1", "b1", "x1", "l1"},
    ),
    "each limit by itself": (
        [Rule(group="/", cacheDays=6), Rule(group="/ci/project/web", caches=1)],
        {"w1", "b1", "x5", "x1", "l5", "l1"},
    ),
    "for ever, whatever the setting says": (
        [Rule(group="/ci/project/web", cacheDays=0, caches=0)],
        {"w9", "w5", "w1", "b9", "b5", "b1", "x5", "x1", "l5", "l1"},
    ),
    "a group with a name too long for a key, by its namespace": (
        [Rule(group="/ci", cacheDays=3), Rule(group=LONG, cacheDays=0)],
        {"w1", "b1", "x1", "l1"},
    ),
}


@pytest.mark.parametrize(("rules", "left"), RULED.values(), ids=RULED)
async def test_a_rule_of_a_group_is_of_all_below_it_and_counts_before_the_setting(
    rules: list[Rule], left: set[str]
) -> None:
    scene = Scene()
    groups = {"w": "/ci/project/web", "b": "/ci/project/web/branch/x", "x": "/ci/project/web!", "l": LONG}
    for letter, group in groups.items():
        for age in (9, 5, 1):
            await scene.add(group, f"{letter}{age}", days=age)
    assert set(await scene.walk(*rules, days=7, most=3)) == left
