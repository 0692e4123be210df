"""Retention of caches: those of a group that are too old, or more than enough, go, and parts that no cache names.

How old and how many says the rule of the longest group that says it, or the setting for all that no rule is of.
All caches are walked, a group at a time, now and then. A cache is old by the time of its writing, since nobody writes
down when one was read: a pipeline that still needs it saves another one under the next key. The manifest goes first, so
that nobody finds a cache whose parts are going; a restore that has begun may have to do without, which is no error. An
upload that no manifest names for a day is what a task left that did not get to its end.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from runabout.control.archivekeys import cache_group, parse_cache_object
from runabout.control.archivemanifests import DamagedManifestError, decode_manifest
from runabout.control.metrics import Metrics
from runabout.control.retention import Rule
from runabout.ost import NotFoundError, ObjectInfo, ObjectStore, OstError, iterate

log = structlog.get_logger(__name__)

REST_SECONDS = 3600.0
"""Between two walks."""
AGAIN_SECONDS = 60.0
"""After one that failed."""
HOUR = 3_600_000
DAY = 24 * HOUR
"""Milliseconds."""


@dataclass(slots=True)
class _Group:
    """The caches of one group, as they were listed."""

    place: str
    manifests: list[ObjectInfo] = field(default_factory=list)
    uploads: dict[str, list[ObjectInfo]] = field(default_factory=dict)


class CacheRetention:
    """Keeps caches of a group for `days`, and the newest `most` of them, or as `rules` say; 0 is without a limit.

    `now` is milliseconds since 1970, by a clock that should agree with the object storage's to the minute.
    """

    def __init__(
        self,
        *,
        ost: ObjectStore,
        metrics: Metrics,
        rules: Sequence[Rule],
        days: int,
        most: int,
        now: Callable[[], int],
    ) -> None:
        self._ost = ost
        self._metrics = metrics
        self._rules = sorted(rules, key=lambda rule: len(rule.group), reverse=True)
        self._days = days
        self._most = most
        self._now = now
        self._named: dict[str, str] = {}
        """Manifest's key → its upload: manifests never change, so each is read once."""

    async def run(self) -> None:
        """Work until cancelled; what fails is tried again."""
        while True:
            try:
                await self.walk()
            except OstError as error:
                log.info("retention of caches waits", error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                await asyncio.sleep(REST_SECONDS)

    async def walk(self) -> None:
        """Look at all caches once. Errors of the object storage."""
        group: _Group | None = None
        async for item in iterate(self._ost, "caches/"):
            parsed = parse_cache_object(item.key)
            if parsed is None:
                continue
            place, kind, rest = parsed
            if group is None or group.place != place:
                if group is not None:
                    await self._judge(group)
                group = _Group(place)
            if kind == "keys":
                group.manifests.append(item)
            else:
                group.uploads.setdefault(rest.partition("/")[0], []).append(item)
        if group is not None:
            await self._judge(group)

    async def _judge(self, group: _Group) -> None:
        days, most = self._limits(cache_group(group.place))
        newest_first = sorted(group.manifests, key=lambda item: (item.modified, item.key), reverse=True)
        enough = newest_first[:most] if most else newest_first
        kept = [item for item in enough if not days or self._age(item) <= days * DAY]
        kept_keys = {item.key for item in kept}
        for item in newest_first:
            if item.key not in kept_keys:
                await self._remove(item, group)
        named = {await self._upload(item) for item in kept}
        for upload, parts in group.uploads.items():
            if upload not in named and self._age(max(parts, key=lambda part: part.modified)) > DAY:
                await self._delete(parts)

    def _limits(self, group: str) -> tuple[int, int]:
        """Return for how many days caches of a group are kept, and how many."""
        rules = [rule for rule in self._rules if rule.covers(group)]
        days = next((rule.cache_days for rule in rules if rule.cache_days is not None), self._days)
        return days, next((rule.caches for rule in rules if rule.caches is not None), self._most)

    def _age(self, item: ObjectInfo) -> int:
        return self._now() - int(item.modified.timestamp() * 1000)

    async def _remove(self, item: ObjectInfo, group: _Group) -> None:
        upload = await self._upload(item)
        await self._ost.delete(item.key)
        await self._delete(group.uploads.pop(upload, ()))
        self._named.pop(item.key, None)
        self._metrics.removed.labels(what="cache").inc()
        log.info("cache removed by retention", key=item.key)

    async def _delete(self, parts: Iterable[ObjectInfo]) -> None:
        for part in parts:
            await self._ost.delete(part.key)

    async def _upload(self, item: ObjectInfo) -> str:
        """Return whose parts a manifest names; none if it cannot be read, or is gone."""
        known = self._named.get(item.key)
        if known is None:
            try:
                manifest = decode_manifest(await self._ost.read(item.key), key=item.key)
            except NotFoundError:
                return ""
            except DamagedManifestError as error:
                log.warning("a cache cannot be read", error=str(error))
                return ""
            known = self._named[item.key] = manifest.folder.rsplit("/", 1)[-1]
        return known
