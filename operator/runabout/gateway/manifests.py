"""Manifests that were read are kept for a while: a download asks for its parts a page at a time, and many ask at once.

What is kept is used as long as the object is the one that was read, which is one look at it, without its bytes. So a
cache that went, or came again under its key, is never answered from memory.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakValueDictionary

from runabout.control.archivemanifests import Manifest, decode_manifest
from runabout.ost import NotFoundError, ObjectInfo, ObjectStore

MOST_KEPT_PARTS = 400_000
"""Of 36 bytes each: 14 MB."""
MOST_KEPT = 2_000
"""Manifests."""


@dataclass(frozen=True, slots=True)
class _Kept:
    manifest: Manifest
    size: int
    modified: datetime


class Manifests:
    """Reads manifests, and keeps `most` of them with `most_parts` together; the one not needed for longest goes."""

    def __init__(self, ost: ObjectStore, *, most: int = MOST_KEPT, most_parts: int = MOST_KEPT_PARTS) -> None:
        self._ost = ost
        self._most = most
        self._most_parts = most_parts
        self._parts = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def read(self, key: str) -> Manifest | None:
        """Return the manifest under a key, None if there is none.

        Raises:
            DamagedManifestError. Errors of the object storage.
        """
        try:
            return decode_manifest(await self._ost.read(key), key=key)
        except NotFoundError:
            return None

    async def get(self, key: str) -> Manifest | None:
        """Return what `read` would return, from memory if it was read before; errors as there."""
        try:
            found = await self._ost.stat(key)
        except NotFoundError:
            self._forget(key)
            return None
        known = self._known(key, found)
        if known is not None:
            return known
        lock = self._reading.get(key)
        if lock is None:
            lock = self._reading[key] = asyncio.Lock()
        async with lock:
            known = self._known(key, found)  # somebody else has read it
            if known is not None:
                return known
            manifest = await self.read(key)
            self._forget(key)
            if manifest is not None:
                self._keep(key, _Kept(manifest, found.size, found.modified))
            return manifest

    def _known(self, key: str, found: ObjectInfo) -> Manifest | None:
        kept = self._kept.get(key)
        if kept is None or (kept.size, kept.modified) != (found.size, found.modified):
            return None
        self._kept.move_to_end(key)
        return kept.manifest

    def _keep(self, key: str, kept: _Kept) -> None:
        self._kept[key] = kept
        self._parts += len(kept.manifest.parts)
        while len(self._kept) > self._most or self._parts > self._most_parts:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._parts -= len(kept.manifest.parts)
