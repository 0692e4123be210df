"""A cache of one kind of object, kept by list and watch.

What always holds: after `synced`, the cache is what the API server showed at some moment not long ago; a re-list
replaces it whole, so deletions that happened during a gap are seen. Events that repeat or come late change nothing.
However the server answers, the requests per minute are bounded.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence

import orjson
import structlog

from runabout.kube.errors import GoneError, KubeError, UnavailableError, kube_error
from runabout.kube.objects import JsonObject, Resource, key_of, metadata, text
from runabout.kube.session import Session

log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""Namespace and name."""
OnChange = Callable[[JsonObject | None, JsonObject | None], None]
"""Called with the object before and after; None: not there."""

WATCH_SECONDS = 290
"""The API server ends a watch after this long."""
QUIET_SECONDS = 90.0
"""Longest silence: with bookmarks the API server speaks about once a minute."""
RELIST_SECONDS = 900.0
"""After this long the next watch begins with a list: so an event that a server lost in silence is made up for."""
LASTED_SECONDS = 5.0
"""What ends a watch that has lasted as long is not taken for a server in trouble."""
PAGE = 500
BACKOFF = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds until a broken list or watch begins again, with jitter; the last one repeats; a longer Retry-After wins."""
MAX_PATIENCE = 60.0
"""Seconds; a server that asks for more patience than this is asked again all the same."""
MAX_LINE = 16 * 1024 * 1024
"""Bytes of one watch event; an object is never larger than the API server's own limit of a few MiB."""


class Informer:
    """Keeps what `trim` leaves of each object; `on_change` is called for every change and must be cheap."""

    def __init__(
        self,
        session: Session,
        resource: Resource,
        *,
        selector: str = "",
        trim: Callable[[JsonObject], JsonObject] = lambda item: item,
        on_change: OnChange = lambda _before, _after: None,
        quiet_seconds: float = QUIET_SECONDS,
        relist_seconds: float = RELIST_SECONDS,
        backoff: Sequence[float] = BACKOFF,
    ) -> None:
        self._session = session
        self._resource = resource
        self._selector = selector
        self._trim = trim
        self._on_change = on_change
        self._quiet_seconds = quiet_seconds
        self._relist_seconds = relist_seconds
        self._backoff = backoff
        self._items: dict[Key, JsonObject] = {}
        self.synced = asyncio.Event()
        self.heard = time.monotonic()
        """when the API server last said something; seconds of the monotonic clock"""

    def __len__(self) -> int:
        return len(self._items)

    def get(self, namespace: str, name: str) -> JsonObject | None:
        """Return an object as last seen."""
        return self._items.get((namespace, name))

    def items(self) -> Iterator[JsonObject]:
        """Return all objects, a snapshot."""
        return iter(tuple(self._items.values()))

    async def run(self) -> None:
        """List and watch until cancelled."""
        clock = time.monotonic
        version, failures, listed = "", 0, 0.0
        while True:
            begun: float | None = None
            trouble: KubeError | None = None
            news = False
            try:
                if not version or clock() - listed >= self._relist_seconds:
                    version = await self._list()
                    listed = clock()
                    self.synced.set()
                begun = clock()
                reached = await self._watch(version)
                version, news = reached, reached != version
            except KubeError as error:
                version, trouble = "", error
            # A busy API server ends the watches that it cannot serve fast enough, every second or so: whoever waits
            # then is blind while there is most to see. There are no more such ends than there are events.
            if news or (begun is not None and clock() - begun >= LASTED_SECONDS):
                failures = 0
            delay = _delay(self._backoff, failures, trouble)
            failures += 1
            if delay:
                words = str(trouble or "it ended at once")
                log.info("watch broke off", resource=self._resource.plural, error=words, again_in=delay)
                await asyncio.sleep(delay * random.uniform(1.0, 1.5))  # noqa: S311 - jitter, not a secret

    async def _list(self) -> str:
        seen: set[Key] = set()
        token = ""
        first_version = ""
        while True:
            items, version, token = await self._session.list(
                self._resource, selector=self._selector, limit=PAGE, token=token
            )
            first_version = first_version or version
            for item in items:
                seen.add(key_of(item))
                self._put(item)
            if not token:
                break
        for key in [key for key in self._items if key not in seen]:
            self._remove(key)
        self.heard = time.monotonic()
        return first_version

    async def _watch(self, version: str) -> str:
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        if self._selector:
            query["labelSelector"] = self._selector
        async with self._session.stream(self._resource.path(), query, quiet_seconds=self._quiet_seconds) as stream:
            buffer = b""
            async for piece in stream:
                buffer += piece
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    if line:
                        version = self._event(line, version)
                self.heard = time.monotonic()
                if len(buffer) > MAX_LINE:
                    raise UnavailableError(f"a watch event of {self._resource.plural} is over {MAX_LINE} bytes")
        return version

    def _event(self, line: bytes, version: str) -> str:
        """Take one event of a watch that has come to `version`; return to which one it has come now.

        Raises:
            GoneError: the watch cannot go on from its version.
            UnavailableError: the server sent what is no event.
        """
        try:
            event = orjson.loads(line)
            kind, item = event["type"], event["object"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise UnavailableError(f"a watch sent what is no event: {line[:200]!r}") from error
        if not isinstance(item, dict):
            raise UnavailableError(f"a watch sent an event without an object: {line[:200]!r}")
        if kind == "ERROR":
            code = item.get("code")
            raise kube_error(code if isinstance(code, int) else 500, text(item, "message"), text(item, "reason"), None)
        reached = text(metadata(item), "resourceVersion")
        if _number(reached) and _number(reached) <= _number(version):
            return version  # a repetition: what it says of an object that is gone by now must not bring it back
        if kind != "BOOKMARK" and not text(metadata(item), "name"):
            raise UnavailableError(f"a watch sent an object without a name: {line[:200]!r}")
        if kind == "DELETED":
            self._remove(key_of(item), uid=text(metadata(item), "uid"))
        elif kind in ("ADDED", "MODIFIED"):
            self._put(item)
        return reached or version

    def _put(self, item: JsonObject) -> None:
        key = key_of(item)
        before, after = self._items.get(key), self._trim(item)
        self._items[key] = after
        if before != after:
            self._on_change(before, after)

    def _remove(self, key: Key, *, uid: str = "") -> None:
        before = self._items.get(key)
        if before is None or (uid and text(metadata(before), "uid") not in ("", uid)):
            return
        del self._items[key]
        self._on_change(before, None)


def _number(version: str) -> int:
    """Return a resource version as a number, 0 if it is none."""
    return int(version) if version.isdecimal() else 0


def _delay(backoff: Sequence[float], failures: int, trouble: KubeError | None) -> float:
    """Return the seconds before the next list or watch; one that ended or expired may be begun again at once, once."""
    asked = trouble.retry_after or 0.0 if trouble is not None else 0.0
    if trouble is None or isinstance(trouble, GoneError):
        failures -= 1
    own = backoff[min(failures, len(backoff) - 1)] if failures >= 0 else 0.0
    return max(own, min(asked, MAX_PATIENCE))
