"""The kopf operator as one coroutine: login, settings, and `on.event` handlers that feed a :class:`Sink`."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import kopf

GROUP = "runabout.dev"
VERSION = "v1alpha1"

WATCH_SECONDS = 570
"""The API server ends a watch after this long, so that a connection that died silently is found."""
CONNECT_SECONDS = 10
PAGE = 500
"""Objects in one page of a listing."""


class Sink(Protocol):
    """Takes what the watches show; both calls are cheap and never block."""

    def run_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        """A Run was listed, added, changed or deleted."""
        ...

    def executor_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        """An Executor was listed, added, changed or deleted."""
        ...


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no last-seen state: reconciliation is level-triggered."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ANN401, ARG002 - kopf's signature
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 - kopf's signature
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress: there are no handlers that could be half done."""

    def fetch(self, *, key: Any, body: kopf.Body) -> Any:  # noqa: ANN401, ARG002 - kopf's signature
        return None

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:  # noqa: ANN401 - kopf's signature
        """Store nothing."""

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:  # noqa: ANN401 - kopf's signature
        """Have nothing to remove."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: Any) -> None:  # noqa: ANN401 - kopf's signature
        """Touch nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def operator_settings() -> kopf.OperatorSettings:
    """Return kopf's settings for a shell that only watches."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 1.0
    settings.networking.request_timeout = 60
    return settings


def registry(sink: Sink, connection: kopf.ConnectionInfo | None = None) -> kopf.OperatorRegistry:
    """Return kopf's handlers, bound to `sink`; `connection` replaces kopf's own login (for tests)."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 - kopf's signature
        if connection is not None:
            return connection
        return kopf.login_via_client(**kwargs)

    @kopf.on.event(GROUP, VERSION, "runs", registry=handlers)
    async def run_event(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401 - kopf's signature
        sink.run_seen(event["object"], deleted=event["type"] == "DELETED")

    @kopf.on.event(GROUP, VERSION, "executors", registry=handlers)
    async def executor_event(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401 - kopf's signature
        sink.executor_seen(event["object"], deleted=event["type"] == "DELETED")

    return handlers


async def watch(
    sink: Sink,
    *,
    stop: asyncio.Event,
    started: Callable[[], None] = lambda: None,
    connection: kopf.ConnectionInfo | None = None,
) -> None:
    """Watch Runs and Executors of the whole cluster until `stop` is set.

    `started` is called when kopf has taken over the process's signals; it may take them back.

    Raises:
        kopf's own errors, when the login fails for good or a resource is not served.
    """
    logging.getLogger("kopf").setLevel(logging.WARNING)
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_after(ready, started))
        await kopf.operator(
            registry=registry(sink, connection),
            settings=operator_settings(),
            standalone=True,
            clusterwide=True,
            stop_flag=stop,
            ready_flag=ready,
        )
        waiting.cancel()


async def _after(event: asyncio.Event, then: Callable[[], None]) -> None:
    await event.wait()
    then()
