"""Deleting what a newer manifest has made superfluous.

What always holds: nothing is deleted that the newest manifest, or one that is kept, needs; nothing is deleted before
etcd says, after everything was listed, that the newest manifest is still the one that this writer made; and ages are
differences of the object storage's own times. Manifests go first, then data and index files, then segments: whoever
finds a manifest finds its files, unless it is being deleted at that moment, and a newer one is there then.
"""

from dataclasses import dataclass

from runabout.datamanager.errors import BrokenLog, Fenced
from runabout.datamanager.head import Keys, number_of
from runabout.datamanager.loading import Base, read_manifest
from runabout.datamanager.manifest import parse_index_name, parse_name
from runabout.etcd import Etcd
from runabout.ost import ObjectInfo, ObjectStore, iterate


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a manifest needs: its files, and the segments from `first` on; and the manifest before it."""

    files: frozenset[str]
    first: int
    previous: str | None


class Collector:
    """Deletes for one writer; see `CheckpointPolicy` for what is kept."""

    def __init__(
        self,
        etcd: Etcd,
        ost: ObjectStore,
        keys: Keys,
        *,
        epoch: int,
        owner: bytes,
        keep: int,
        keep_seconds: float,
        orphan_seconds: float,
    ) -> None:
        self._etcd = etcd
        self._ost = ost
        self._keys = keys
        self._epoch = epoch
        self._owner = owner
        self._keep = keep
        self._keep_seconds = keep_seconds
        self._orphan_seconds = orphan_seconds
        self._known: dict[str, _Needs] = {}

    async def collect(self, newest: Base) -> None:
        """Delete what is superfluous now that `newest`, which this writer made, is the newest manifest.

        Raises:
            Fenced: it is not, or another writer has the store. BrokenLog: a manifest that is kept is damaged. Errors of
                etcd and of the object storage.
        """
        keys = self._keys
        manifests = [each async for each in iterate(self._ost, keys.manifests)]
        data = [each async for each in iterate(self._ost, keys.data)]
        indexed = [each async for each in iterate(self._ost, keys.index)]
        segments = [each async for each in iterate(self._ost, keys.segments)]
        # When the newest manifest was written, by the clock that wrote all other times; never later than now.
        now = next((each for each in manifests if each.key == keys.manifests + newest.pointer.name), None)
        if now is None:
            raise BrokenLog(f"the object {keys.manifests}{newest.pointer.name} is missing")
        kept, useless = await self._sort(newest, manifests, now)
        await self._check(newest)
        for each in useless:
            await self._ost.delete(each.key)
        files = frozenset[str]().union(*(each.files for each in kept))
        for each in data:
            name = parse_name(each.key.rpartition("/")[2])
            if name is not None and each.key not in files and self._orphaned(each, name.epoch, now):
                await self._ost.delete(each.key)
        for each in indexed:
            epoch = parse_index_name(each.key.removeprefix(keys.index))
            if epoch is not None and each.key not in files and self._orphaned(each, epoch, now):
                await self._ost.delete(each.key)
        first = min(each.first for each in kept)
        for each in segments:
            number = number_of(each.key, keys.segments)
            if number is not None and number < first and _age(each, now) > self._keep_seconds:
                await self._ost.delete(each.key)

    async def _sort(
        self, newest: Base, manifests: list[ObjectInfo], now: ObjectInfo
    ) -> tuple[list[_Needs], list[ObjectInfo]]:
        """Return what the manifests that stay need, and those that go."""
        there = {each.key.removeprefix(self._keys.manifests): each for each in manifests}
        kept: dict[str, _Needs] = {}
        at: str | None = newest.pointer.name
        while at in there and (len(kept) <= self._keep or _age(there[at], now) <= self._keep_seconds):
            kept[at] = await self._needs(at)
            at = kept[at].previous
        useless: list[ObjectInfo] = []
        for text, info in there.items():
            name = parse_name(text)
            if name is None or text in kept:
                continue
            if name.covers <= newest.manifest.covers and self._orphaned(info, name.epoch, now):
                useless.append(info)
            else:
                kept[text] = await self._needs(text)
        self._known = kept
        return list(kept.values()), useless

    async def _needs(self, name: str) -> _Needs:
        if name in self._known:
            return self._known[name]
        manifest = (await read_manifest(self._ost, self._keys, name)).manifest
        previous = None if manifest.previous is None else manifest.previous.name
        return _Needs(frozenset(manifest.objects), manifest.sealed.first, previous)

    def _orphaned(self, info: ObjectInfo, epoch: int, now: ObjectInfo) -> bool:
        """Return whether an object that nobody names was written long enough ago, and not by a later writer."""
        return epoch <= self._epoch and _age(info, now) > self._orphan_seconds

    async def _check(self, newest: Base) -> None:
        page = await self._etcd.range(self._keys.manifest, self._keys.owner + b"\x00")
        found = {item.key: item.value for item in page.items}
        if found.get(self._keys.owner) != self._owner:
            raise Fenced("the store was opened by another writer, or etcd was wiped or set back")
        if found.get(self._keys.manifest) != newest.pointer.encode():
            raise Fenced(f"{self._keys.manifest.decode()} names another manifest than the one of this writer")


def _age(info: ObjectInfo, now: ObjectInfo) -> float:
    return (now.modified - info.modified).total_seconds()
