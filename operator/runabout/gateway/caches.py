"""Caches: archives with a name, which a group of runs in one namespace shares. A name is given once."""

import base64
import binascii
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from runabout.control.archivekeys import cache_key, cache_parts, cache_upload
from runabout.control.archivemanifests import DamagedManifestError, Manifest
from runabout.executors.names import PodKey
from runabout.gateway.archives import Archives, Place
from runabout.gateway.errors import BadRequestError, NotFoundError
from runabout.gateway.turns import Turns
from runabout.ost import MAX_PAGE, ObjectInfo, ObjectStore

log = structlog.get_logger(__name__)

MOST_PAGES = 40
"""Of listings, for all keys of a request: 40,000 caches. What would come after them is not looked at."""
MOST_READ = 100
"""Manifests that are read for a request, where the newest ones are of one moment or cannot be read."""
AT_ONCE = 8
"""Requests that are searched for at once."""
LONGEST_KEY = 1024
"""Characters that are looked at at all."""
_ID = "."


@dataclass(frozen=True, slots=True)
class Found:
    """A cache that was found; `id` names this one and no later one of its key. `created`: ms since 1970."""

    key: str
    id: str
    manifest: Manifest
    created: int


class Caches:
    """Finds caches and says where they go; groups are effective ones, which begin with the namespace.

    `page` is how many objects one listing has.
    """

    def __init__(self, ost: ObjectStore, archives: Archives, *, page: int = MAX_PAGE) -> None:
        self._page = page
        self._ost = ost
        self._archives = archives
        self._turns = Turns("searches for caches", at_once=AT_ONCE)

    def place(self, group: str, name: str, by: PodKey) -> Place:
        """Return where one attempt puts a cache.

        Raises:
            BadRequestError: no cache can have this key.
        """
        folder = cache_parts(group, cache_upload(by, name))
        return Place(_manifest(group, name), folder, name=name, persist=False)

    async def has(self, group: str, name: str) -> bool:
        """Whether there is a cache with exactly this key that can be read. Errors of the object storage; as `place`."""
        try:
            return await self._archives.manifest(_manifest(group, name)) is not None
        except DamagedManifestError as error:
            log.warning("a cache cannot be read", error=str(error))
            return False

    async def find(self, group: str, keys: Sequence[str], *, source: str) -> Found | None:
        """Return the newest cache whose key begins with the first of `keys` for which there is one.

        Newest is by the object storage's clock; among those of one moment, by the clocks of those who wrote them. One
        that cannot be read is passed over. `source` is who asks: they take turns.

        Raises:
            TooManyError. Errors of the object storage; as `place`, for any of the keys.
        """
        prefixes = [_manifest(group, key) for key in keys]
        left = MOST_READ
        async with self._turns.turn(source), aclosing(self._beginning_with(prefixes)) as listings:
            async for listing in listings:
                for equals in _newest_first(listing):
                    found = await self._latest(equals[:left])
                    left -= len(equals)
                    if found is not None:
                        return found
                    if left <= 0:
                        log.warning("too many caches cannot be read", prefix=prefixes[0], read=MOST_READ)
                        return None
        return None

    async def by_id(self, group: str, id: str) -> Manifest:  # noqa: A002 - the protocol's word
        """Return the manifest of a cache that was found.

        Raises:
            NotFoundError: it has gone since, or belongs to another group. Errors of the object storage.
        """
        name, upload = _parse_id(id)
        manifest = await self._archives.manifest(_manifest(group, name))
        if manifest is None or manifest.folder != cache_parts(group, upload):
            raise NotFoundError("this cache is not there any more: look for one again")
        return manifest

    def parts_of(self, group: str, id: str) -> str:  # noqa: A002 - as above
        """Return what the keys of a found cache's parts begin with.

        Raises:
            NotFoundError: this is no id.
        """
        return cache_parts(group, _parse_id(id)[1])

    async def _beginning_with(self, prefixes: Sequence[str]) -> AsyncGenerator[list[ObjectInfo]]:
        """Yield the objects of each prefix.

        Most groups have few caches, and one page of what all prefixes begin with has those of every one of them.
        """
        first = await self._ost.list(os.path.commonprefix(prefixes), limit=self._page)  # noqa: RUF071 - of characters it is
        is_all, last, pages = len(first) < self._page, first[-1].key if first else "", MOST_PAGES - 1
        for prefix in prefixes:
            found = [item for item in first if item.key.startswith(prefix)]
            after = last if last.startswith(prefix) else ""
            ended = is_all or (last > prefix and not after)
            while not ended and pages > 0:
                page = await self._ost.list(prefix, start_after=after, limit=self._page)
                pages -= 1
                found += page
                ended, after = len(page) < self._page, page[-1].key if page else ""
            if not ended:
                log.warning("a group has more caches than are compared", prefix=prefix, compared=len(found))
            yield found

    async def _latest(self, equals: Sequence[ObjectInfo]) -> Found | None:
        found: list[Found] = []
        for item in equals:
            try:
                manifest = await self._archives.manifest(item.key)
            except DamagedManifestError as error:
                log.warning("a cache cannot be read", error=str(error))
                continue
            if manifest is not None:
                created = int(item.modified.timestamp() * 1000)
                found.append(Found(manifest.name, _id(manifest), manifest, created))
        return max(found, key=lambda each: (each.manifest.created, each.key), default=None)


def _newest_first(items: Sequence[ObjectInfo]) -> list[list[ObjectInfo]]:
    """Return objects by the time of their last change, those of one moment together."""
    groups: list[list[ObjectInfo]] = []
    for item in sorted(items, key=lambda each: each.modified, reverse=True):
        if groups and groups[-1][0].modified == item.modified:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _manifest(group: str, key: str) -> str:
    if len(key) > LONGEST_KEY:
        raise BadRequestError(f"a cache's key has at most {LONGEST_KEY} characters, not {len(key)}")
    try:
        return cache_key(group, key)
    except (ValueError, UnicodeEncodeError) as error:
        raise BadRequestError(str(error)) from error


def _id(manifest: Manifest) -> str:
    name = base64.urlsafe_b64encode(manifest.name.encode()).decode().rstrip("=")
    return f"{manifest.folder.rsplit('/', 1)[-1]}{_ID}{name}"


def _parse_id(id: str) -> tuple[str, str]:  # noqa: A002 - as above
    """Return key and upload."""
    upload, _, written = id.partition(_ID)
    try:
        name = base64.urlsafe_b64decode(written + "=" * (-len(written) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise NotFoundError("this is no id of a cache") from error
    if not upload.isalnum() or not upload.isascii():
        raise NotFoundError("this is no id of a cache")
    return name, upload
