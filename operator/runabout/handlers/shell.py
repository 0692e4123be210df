"""kopf as the shell: login, settings, and `on.event` handlers that feed a :class:`Sink`; in a thread of its own."""

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import kopf
import structlog
import uvloop

log = structlog.get_logger(__name__)

GROUP = "runabout.dev"
VERSION = "v1alpha1"

WATCH_SECONDS = 570
"""The API server ends a watch after this long, so that a connection that died silently is found."""
CONNECT_SECONDS = 10
PAGE = 500
"""Objects in one page of a listing."""
FAILURES = 8
"""In a row, after which the process had better begin anew."""
LASTED_SECONDS = 60.0
"""A watch that has lasted so long was none of the failures in a row."""
END_SECONDS = 2.0
"""Which kopf has to end when it is told to."""
HANGS_SECONDS = 15.0
"""After one of its parts has failed, kopf ends, or it never will: seen when a watch was refused while another one was
being connected again. It then watches nothing any more and says nothing.
"""
AGAIN_SECONDS = 0.1
"""Before a failed watch begins again; doubles with each failure in a row."""


class WatchError(Exception):
    """The watch of our own resources cannot be kept up; the message says why."""


class Sink(Protocol):
    """Takes what the watches show; both calls are cheap and never block."""

    def run_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        """A Run was added, changed or deleted."""
        ...

    def run_listed(self, body: Mapping[str, object]) -> None:
        """A Run was in a listing, which is in the order of names."""
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
    settings.process.ultimate_exiting_timeout = None  # kopf would kill the process ten minutes after it gave up
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
        if event["type"] is None:
            sink.run_listed(event["object"])
        else:
            sink.run_seen(event["object"], deleted=event["type"] == "DELETED")

    @kopf.on.event(GROUP, VERSION, "executors", registry=handlers)
    async def executor_event(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401 - kopf's signature
        sink.executor_seen(event["object"], deleted=event["type"] == "DELETED")

    return handlers


async def watch(sink: Sink, *, stop: asyncio.Event, connection: kopf.ConnectionInfo | None = None) -> None:
    """Watch Runs and Executors of the whole cluster until `stop` is set.

    kopf gives up when the API server refuses a watch, for instance with 410 because it forgot the version; then it is
    begun again, and lists what there is.

    Raises:
        WatchError: it was begun again several times, in vain; or the login fails for good.
    """
    logging.getLogger("kopf").setLevel(logging.WARNING)
    clock = asyncio.get_running_loop().time
    failures = 0
    while not stop.is_set():
        begun = clock()
        problem = await _watch_once(sink, stop=stop, connection=connection)
        if stop.is_set():
            return
        failures = 1 if clock() - begun >= LASTED_SECONDS else failures + 1
        words = str(problem) if problem is not None else "kopf has ended by itself"
        if failures > FAILURES or isinstance(problem, kopf.LoginError):
            raise WatchError(f"Runs and Executors cannot be watched: {words}") from problem
        log.warning("watch of Runs and Executors begins again", error=words)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), AGAIN_SECONDS * 2 ** (failures - 1))


async def _watch_once(
    sink: Sink, *, stop: asyncio.Event, connection: kopf.ConnectionInfo | None
) -> BaseException | None:
    """Let kopf watch until `stop` is set or it gives up; return why it did.

    kopf has a thread and an event loop of its own: when it ends, it cancels every task of its loop that is younger than
    itself, and takes the process's signals where it can.
    """
    loop = asyncio.get_running_loop()
    bridge = _Bridge(loop, sink)
    failing: asyncio.Future[None] = loop.create_future()
    alarm = _Alarm(loop, failing)
    logging.getLogger("kopf").addHandler(alarm)
    thread = _KopfThread(bridge, connection)
    stopping = asyncio.create_task(stop.wait())
    ended = asyncio.wrap_future(thread.ended)
    ends: set[asyncio.Future[Any]] = {stopping, ended}
    try:
        await asyncio.wait(ends | {failing}, return_when=asyncio.FIRST_COMPLETED)
        if failing.done():
            await asyncio.wait(ends, timeout=HANGS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        logging.getLogger("kopf").removeHandler(alarm)
        stopping.cancel()
        thread.stop()
        await asyncio.wait({ended}, timeout=END_SECONDS)
        bridge.close()
    if ended.done() and not ended.cancelled():
        return ended.result()
    return WatchError(f"kopf has failed and does not end: {alarm.words}") if failing.done() else None


class _Alarm(logging.Handler):
    """Hears from kopf's own log that one of its parts has failed: there is no other word of it until kopf has ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, failing: asyncio.Future[None]) -> None:
        super().__init__(logging.ERROR)
        self.words = ""
        self._loop = loop
        self._failing = failing

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of kopf's log, in whatever thread."""
        words = record.getMessage()
        if " has failed: " in words:
            self.words = words
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested any more
                self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if not self._failing.done():
            self._failing.set_result(None)


class _Bridge:
    """Carries what kopf sees from its thread to the loop of the sink."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: Sink) -> None:
        self._loop = loop
        self._sink = sink
        self._closed = False

    def close(self) -> None:
        """Let nothing through any more: a thread that hangs may come to itself long after another one took over."""
        self._closed = True

    def run_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        self._carry(functools.partial(self._sink.run_seen, body, deleted=deleted))

    def run_listed(self, body: Mapping[str, object]) -> None:
        self._carry(functools.partial(self._sink.run_listed, body))

    def executor_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        self._carry(functools.partial(self._sink.executor_seen, body, deleted=deleted))

    def _carry(self, call: Callable[[], None]) -> None:
        if not self._closed:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested any more
                self._loop.call_soon_threadsafe(call)


class _KopfThread:
    """kopf in a thread of its own; `ended` has its exception, or None."""

    def __init__(self, sink: Sink, connection: kopf.ConnectionInfo | None) -> None:
        self.ended: concurrent.futures.Future[BaseException | None] = concurrent.futures.Future()
        self._sink = sink
        self._connection = connection
        self._lock = threading.Lock()
        self._stopped = False
        self._stop: Callable[[], object] | None = None
        threading.Thread(target=self._live, name="kopf", daemon=True).start()

    def stop(self) -> None:
        """Have it end; safe from any thread, at any time."""
        with self._lock:
            self._stopped = True
            if self._stop is not None:
                with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
                    self._stop()

    def _live(self) -> None:
        try:
            uvloop.run(self._main())
        except BaseException as error:  # noqa: BLE001 - whatever ended it is for the other thread to judge
            self.ended.set_result(error)
        else:
            self.ended.set_result(None)

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        work = kopf.operator(
            registry=registry(self._sink, self._connection),
            settings=operator_settings(),
            standalone=True,
            clusterwide=True,
        )
        kopf_task = loop.create_task(work, name="kopf")
        with self._lock:  # not by kopf's stop flag: whatever waits for that holds up kopf's own end for 5 s
            self._stop = functools.partial(loop.call_soon_threadsafe, kopf_task.cancel)
            if self._stopped:
                kopf_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await kopf_task
