"""Replicas take turns: one holds the Lease and works, the others stand by.

The Lease decides who works, the store decides who may write: whoever opens it fences every writer before. So a holder
that cannot reach the API server goes on, and nothing is ever written twice. Other machines' clocks are not trusted: a
Lease has expired when it has not changed for its duration while we looked.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from runabout.kube.errors import AlreadyExistsError, ConflictError, KubeError, NotFoundError
from runabout.kube.objects import LEASES, JsonObject, metadata, text
from runabout.kube.session import Session

log = structlog.get_logger(__name__)

DURATION_SECONDS: Final = 8
"""Without renewal for so long, a standby takes over: so a lost replica is replaced within ten seconds."""
RENEW_SECONDS: Final = 2.0
RELEASE_SECONDS: Final = 1.0
"""For letting go; an API server that takes longer lets the Lease expire."""
LOOK_SECONDS: Final = 1.0
"""How often a standby looks: after an orderly end of the holder, work goes on within this time."""


class LeaseLostError(Exception):
    """Another replica works now; this process has to end and stand by."""


class Lease:
    """One Lease and what this replica knows of it. `now` gives milliseconds since 1970, `clock` monotonic seconds."""

    def __init__(
        self,
        session: Session,
        *,
        namespace: str,
        name: str,
        holder: str,
        now: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._now = now
        self._clock = clock
        self._seen = ""  # resource version
        self._seen_at = 0.0

    async def acquire(self, stop: asyncio.Event) -> bool:
        """Wait until this replica holds the Lease; False if `stop` was set first."""
        said = ""
        while not stop.is_set():
            try:
                holder = await self._try()
            except KubeError as error:
                log.warning("Lease not read, will be tried again", lease=self._name, error=str(error))
            else:
                if holder == self._holder:
                    log.info("holds the Lease", lease=self._name, holder=holder)
                    return True
                if holder != said:
                    said = holder
                    log.info("stands by for the Lease", lease=self._name, holder=holder)
            try:
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue
        return False

    async def keep(self) -> None:
        """Renew for ever.

        Raises:
            LeaseLostError: another replica holds it.
        """
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                holder = await self._try()
            except KubeError as error:
                log.warning("Lease not renewed, will be tried again", lease=self._name, error=str(error))
                continue
            if holder != self._holder:
                raise LeaseLostError(f"the Lease {self._namespace}/{self._name} is held by {holder} now")

    async def release(self) -> None:
        """Let go, so that a standby need not wait for the Lease to expire; best effort."""
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                found = await self._session.get(LEASES, self._name, namespace=self._namespace)
                if text(_spec(found), "holderIdentity") == self._holder:
                    given_up = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._time()}
                    await self._write(found, given_up)
        except (KubeError, TimeoutError) as error:
            log.info("Lease not released: a standby waits until it expires", lease=self._name, error=str(error))

    async def _try(self) -> str:
        """Take or renew the Lease if that is our right; return who holds it now."""
        try:
            found = await self._session.get(LEASES, self._name, namespace=self._namespace)
        except NotFoundError:
            body = {"metadata": {"name": self._name}, "spec": self._claim()}
            try:
                await self._session.create(LEASES, _typed(body), namespace=self._namespace)
            except AlreadyExistsError:
                return ""  # another was faster: the next look says who
            return self._holder
        spec = _spec(found)
        holder = text(spec, "holderIdentity")
        if holder not in {"", self._holder} and not self._expired(found):
            return holder
        changes = self._claim() if holder != self._holder else {"renewTime": self._time()}
        try:
            await self._write(found, changes)
        except ConflictError:  # written since, perhaps by our own request whose answer was lost
            found = await self._session.get(LEASES, self._name, namespace=self._namespace)
            return text(_spec(found), "holderIdentity")
        return self._holder

    def _expired(self, found: JsonObject) -> bool:
        version = text(metadata(found), "resourceVersion")
        if version != self._seen:
            self._seen, self._seen_at = version, self._clock()
            return False
        seconds = _spec(found).get("leaseDurationSeconds")
        duration = seconds if isinstance(seconds, int) else DURATION_SECONDS
        return self._clock() - self._seen_at > duration

    async def _write(self, found: JsonObject, changes: JsonObject) -> None:
        body = {"metadata": {"resourceVersion": text(metadata(found), "resourceVersion")}, "spec": changes}
        await self._session.patch(LEASES, self._name, body, namespace=self._namespace)

    def _claim(self) -> JsonObject:
        time = self._time()
        return {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": time,
            "renewTime": time,
        }

    def _time(self) -> str:
        return datetime.fromtimestamp(self._now() / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _spec(found: JsonObject) -> JsonObject:
    spec = found.get("spec")
    return spec if isinstance(spec, dict) else {}


def _typed(body: JsonObject) -> JsonObject:
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, **body}
