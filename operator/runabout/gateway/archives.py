"""Archives as tasks see them: parts that are sent one by one, and a manifest that makes them one thing.

A manifest is written when all its parts are there, and only where there is none. So an archive is there as a whole or
not at all, and a saving step that is repeated finds what it has sent before.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import structlog

from runabout.control.archivekeys import manifest_key, parse_part_name, part_name
from runabout.control.archivemanifests import DamagedManifestError, Manifest, Part, Parts, encode_manifest
from runabout.gateway.errors import ConflictError, NotFoundError
from runabout.gateway.manifests import Manifests
from runabout.ost import AlreadyExistsError, ObjectStore, OstError, iterate
from runabout.ost import NotFoundError as NoObjectError

log = structlog.get_logger(__name__)

AT_ONCE = 16
"""Manifests read at once."""
MOST_NAMED = 1000
"""Missing parts that are named in one answer; the next one names others."""
T = TypeVar("T")
Outcome = Literal["stored", "same", "existing"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one archive goes: its manifest's key, and what its parts' keys begin with.

    `persist`: whether a loss of power may not take it.
    """

    manifest: str
    folder: str
    name: str = ""
    persist: bool = True

    def part(self, number: int, sha256: str) -> str:
        """Return the key of a part."""
        return f"{self.folder}/{part_name(number, sha256)}"


def workspace_place(place: str) -> Place:
    """Return where the archive of one step goes."""
    return Place(manifest_key(place), f"{place}/parts")


class Archives:
    """Writes and finds archives; `now` is milliseconds since 1970."""

    def __init__(self, ost: ObjectStore, *, now: Callable[[], int]) -> None:
        self._ost = ost
        self._now = now
        self._manifests = Manifests(ost)

    async def has_part(self, key: str, size: int) -> bool:
        """Whether a part of `size` bytes is stored. Errors of the object storage."""
        try:
            return (await self._ost.stat(key)).size == size
        except NoObjectError:
            return False

    async def finish(self, place: Place, parts: Sequence[Part], *, files: int, size: int) -> Outcome:
        """Make the stored parts an archive.

        Returns:
            "existing" where there is another one of that name, which stays. One that a loss of power has damaged does
            not, where it may do that: nobody could ever save or restore anything under that name again.

        Raises:
            ConflictError: parts are missing; it names them. Errors of the object storage.
        """
        made = Manifest(place.folder, Parts.of(parts), files, size, created=self._now(), name=place.name)
        found = await self._standing(place)
        if found is None:
            await self._demand(place, parts)
            try:
                await self._ost.write(place.manifest, encode_manifest(made), persist=place.persist, create_only=True)
            except AlreadyExistsError:
                found = await self._manifests.read(place.manifest)
            else:
                return "stored"
        if found is not None and found.folder != place.folder:
            await self._discard(place)
        return "same" if found is not None and made.same_archive(found) else "existing"

    async def manifest(self, key: str) -> Manifest | None:
        """Return the manifest under a key, None if there is none.

        Raises:
            DamagedManifestError. Errors of the object storage.
        """
        return await self._manifests.get(key)

    async def of_manifests(self, keys: Sequence[str], take: Callable[[Manifest], T]) -> list[T | None]:
        """Return what `take` makes of the manifests under keys; errors as for one.

        Only some are in memory at a time: a task can have thousands of ancestors, and an archive thousands of parts.
        """
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(key: str) -> T | None:
            async with turns:
                manifest = await self.manifest(key)
                return None if manifest is None else take(manifest)

        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(one(key)) for key in keys]
        return [task.result() for task in reading]

    async def _standing(self, place: Place) -> Manifest | None:
        """Return the manifest that is there; a damaged one that may be lost is removed."""
        try:
            return await self._manifests.read(place.manifest)
        except DamagedManifestError as error:
            if place.persist:
                raise
            log.warning("a cache that cannot be read makes room for another one", error=str(error))
            await self._ost.delete(place.manifest)
            return None

    async def _demand(self, place: Place, parts: Sequence[Part]) -> None:
        """Find out whether all parts are there.

        Raises:
            ConflictError
        """
        stored: dict[tuple[int, str], int] = {}
        async for item in iterate(self._ost, f"{place.folder}/"):
            name = parse_part_name(item.key.removeprefix(f"{place.folder}/"))
            if name is not None:
                stored[name] = item.size
        missing = [number for number, part in enumerate(parts) if stored.get((number, part.sha256)) != part.size]
        if missing:
            message = f"{len(missing)} of {len(parts)} parts are not stored"
            raise ConflictError(message, more={"missing": missing[:MOST_NAMED]})

    async def _discard(self, place: Place) -> None:
        """Remove parts that no manifest will name; what is left of them is removed by age."""
        try:
            async for item in iterate(self._ost, f"{place.folder}/"):
                await self._ost.delete(item.key)
        except OstError as error:
            log.info("parts of a cache that was there already are left", folder=place.folder, error=str(error))


def some_parts(manifest: Manifest, first: int, count: int) -> list[tuple[int, Part]]:
    """Return the numbers and parts of a manifest from `first` on, at most `count`.

    Raises:
        NotFoundError: it has no part `first`.
    """
    if first >= len(manifest.parts):
        raise NotFoundError(f"the archive has {len(manifest.parts)} parts, from 0 on, and no part {first}")
    return list(enumerate(manifest.parts[first : first + count], start=first))
