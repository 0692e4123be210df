"""Caches: archives with a name, which a group of runs in one namespace shares. A name is given once."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from runabout.control.archivekeys import cache_key, cache_parts, cache_upload
from runabout.control.archivemanifests import DamagedManifestError, Manifest
from runabout.executors.names import PodKey
from runabout.gateway.archives import Archives, Place
from runabout.gateway.errors import BadRequestError, NotFoundError
from runabout.ost import MAX_PAGE, ObjectInfo, ObjectStore
from runabout.ost import NotFoundError as NoObjectError

log = structlog.get_logger(__name__)

MOST_PAGES = 20
"""Of a listing, for one key: 20,000 caches that begin alike. Beyond them only those are compared."""
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
    """Finds caches and says where they go; groups are effective ones, which begin with the namespace."""

    def __init__(self, ost: ObjectStore, archives: Archives) -> None:
        self._ost = ost
        self._archives = archives

    def place(self, group: str, name: str, by: PodKey) -> Place:
        """Return where one attempt puts a cache.

        Raises:
            BadRequestError: no cache can have this key.
        """
        folder = cache_parts(group, cache_upload(by, name))
        return Place(_manifest(group, name), folder, name=name, persist=False)

    async def has(self, group: str, name: str) -> bool:
        """Whether there is a cache with exactly this key. Errors of the object storage; as `place`."""
        try:
            await self._ost.stat(_manifest(group, name))
        except NoObjectError:
            return False
        return True

    async def find(self, group: str, keys: Sequence[str]) -> Found | None:
        """Return the newest cache whose key begins with the first of `keys` for which there is one.

        Newest is by the object storage's clock; among those of one moment, by the clocks of those who wrote them. One
        that cannot be read is passed over. Errors of the object storage; as `place`.
        """
        for key in keys:
            for group_of_equals in _newest_first(await self._beginning_with(_manifest(group, key))):
                found = await self._latest(group_of_equals)
                if found is not None:
                    return found
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

    async def _beginning_with(self, prefix: str) -> list[ObjectInfo]:
        found: list[ObjectInfo] = []
        after = ""
        for _ in range(MOST_PAGES):
            page = await self._ost.list(prefix, start_after=after)
            found += page
            if len(page) < MAX_PAGE:
                return found
            after = page[-1].key
        log.warning("a key of a cache has more caches than are compared", prefix=prefix, compared=len(found))
        return found

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
