"""Manifests in memory: each is read once, only as long as it is the one that is stored, and not too many are kept."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest

from runabout.control.archivemanifests import DamagedManifestError, Manifest, Part, Parts, encode_manifest
from runabout.gateway.manifests import Manifests
from runabout.ost import MemoryObjectStore, OstError, UnavailableError


class Room:
    """A storage whose reads are counted, with a clock that moves a second with each write."""

    def __init__(self, **limits: int) -> None:
        self.read: Counter[str] = Counter()
        self.away = False
        self._now = 0
        self.ost = MemoryObjectStore(now=self._time, fault=self._fault)
        self.manifests = Manifests(self.ost, **limits)

    def _time(self) -> datetime:
        self._now += 1
        return datetime.fromtimestamp(self._now, UTC)

    def _fault(self, operation: str, key: str, _done: bool) -> OstError | None:
        if operation == "read":
            self.read[key] += 1
            if self.away:
                return UnavailableError("away")
        return None

    async def put(self, key: str, *, folder: str = "folder", parts: int = 1) -> None:
        rows = Parts([1] * parts, bytes(32 * parts))
        await self.ost.write(key, encode_manifest(Manifest(folder, rows, 1, 1)))

    async def folder(self, key: str) -> str | None:
        found = await self.manifests.get(key)
        return None if found is None else found.folder


async def test_a_manifest_is_read_once_however_often_and_however_many_at_once_need_it() -> None:
    room = Room()
    await room.put("a")
    assert await asyncio.gather(*(room.folder("a") for _ in range(50))) == ["folder"] * 50
    assert await room.folder("a") == "folder"
    assert room.read == {"a": 1}


async def test_what_went_or_came_again_is_not_answered_from_memory() -> None:
    room = Room()
    await room.put("a", folder="old")
    assert await room.folder("a") == "old"
    await room.ost.delete("a")
    assert await room.folder("a") is None
    await room.put("a", folder="new")
    assert await room.folder("a") == "new"
    await room.put("a", folder="newer")
    assert await room.folder("a") == "newer"


async def test_only_so_many_are_kept_and_those_that_are_needed_stay() -> None:
    room = Room(most=2)
    for key in ("a", "b", "c"):
        await room.put(key)
    for key in ("a", "b", "a", "c", "a"):
        await room.folder(key)
    assert room.read == {"a": 1, "b": 1, "c": 1}
    await room.folder("b")
    assert room.read["b"] == 2


async def test_what_is_kept_is_bounded_by_its_parts_too() -> None:
    room = Room(most_parts=10)
    for key, parts in (("a", 4), ("b", 6), ("c", 1), ("large", 11)):
        await room.put(key, parts=parts)
    for key in ("a", "b", "a", "b"):
        await room.folder(key)
    assert room.read == {"a": 1, "b": 1}
    for key in ("c", "b", "a", "large", "large", "c"):
        await room.folder(key)
    assert room.read == {"a": 2, "b": 1, "c": 2, "large": 2}, "one that is too large for it is not kept"


async def test_what_cannot_be_read_is_not_kept() -> None:
    room = Room()
    await room.put("a")
    room.away = True
    with pytest.raises(UnavailableError):
        await room.folder("a")
    room.away = False
    assert await room.folder("a") == "folder"
    await room.ost.write("b", b"no manifest")
    for _ in range(2):
        with pytest.raises(DamagedManifestError):
            await room.folder("b")
    assert Part(size=1, sha256="0" * 64) == Parts([1], bytes(32))[0]
