"""The operator's process: settings, logging, signals, and the kopf shell around the control plane."""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from typing import Any

import orjson
import structlog
import uvloop
from structlog.typing import Processor

from runabout.control.context import merge_names
from runabout.control.etcdaccess import EtcdSettingsError, connect_etcd
from runabout.control.lease import LeaseLostError
from runabout.control.metrics import Metrics
from runabout.control.operator import Operator
from runabout.control.settings import Settings, ost_settings
from runabout.control.variables import read_settings
from runabout.datamanager import Refused, StoreError
from runabout.handlers.shell import WatchError, watch
from runabout.kube.connection import NoClusterError, connect
from runabout.ost import ObjectStore, ObservedStore, OstError, Waits, open_ost

EXIT_SETTINGS = 2
EXIT_STORE = 3
EXIT_LEASE = 4
EXIT_WATCH = 5
_ENDS: tuple[tuple[type[Exception], int, str], ...] = (
    (StoreError, EXIT_STORE, "store cannot be written"),
    (LeaseLostError, EXIT_LEASE, "another replica works now"),
    (WatchError, EXIT_WATCH, "Runs and Executors cannot be seen"),
)
"""What ends a process that has begun; the next one can go on."""
GARBAGE = 50_000
"""New containers between two looks for reference cycles. With Python's 700, a thousand live runs are looked at again
and again for garbage that they do not leave.
"""
NESTING = 25_000
"""Levels of Python's recursion: an API server stores objects that are nested 10,000 levels deep, and kopf's watch would
end at the first one that cannot be parsed. What is that deep becomes a setup error of its own run.
"""


class NoScratchError(Exception):
    """The folder in which logs wait to be stored cannot be had."""


def operator() -> None:
    """Run the operator; its settings come from the environment (RUNABOUT_…)."""
    sys.exit(run_operator())


def run_operator() -> int:
    """Run until SIGTERM or SIGINT; return the process's exit code."""
    settings = read_settings(os.environ)
    if isinstance(settings, list):
        sys.stderr.writelines(f"{sentence}\n" for sentence in settings)
        return EXIT_SETTINGS
    configure_logging(settings)
    sys.setrecursionlimit(NESTING)
    gc.freeze()  # modules stay
    gc.set_threshold(GARBAGE, 20, 20)
    code = 0
    try:
        uvloop.run(_main(settings))
    except* (NoClusterError, OstError, NoScratchError, EtcdSettingsError, Refused) as group:
        code = EXIT_SETTINGS
        for problem in _leaves(group):
            sys.stderr.write(f"{problem}\n")
    except* (StoreError, LeaseLostError, WatchError) as group:
        for problem in _leaves(group):
            code, words = next((code, words) for kind, code, words in _ENDS if isinstance(problem, kind))
            structlog.get_logger(__name__).error(words, error=str(problem))
    return code


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connection = connect()
    await connect_etcd(settings).close()  # its settings are refused before anything begins
    metrics = Metrics()
    ost = await _open_ost(settings, stop)
    if ost is None:
        return
    try:
        settings.scratch_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NoScratchError(f"RUNABOUT_SCRATCH_DIR: {error}") from error
    operator = Operator(
        settings,
        connection=connection,
        ost=ObservedStore(ost, metrics.store, clock=time.monotonic),
        watch=lambda news, ending: watch(news, stop=ending),
        metrics=metrics,
    )
    try:
        await operator.run(stop)
    finally:
        await ost.close()


async def _open_ost(settings: Settings, stop: asyncio.Event) -> ObjectStore | None:
    """Return the object storage, None if `stop` was set while it was waited for; raises what `open_ost` does."""
    opening = asyncio.create_task(open_ost(ost_settings(settings), waits=Waits(_wait)))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        return opening.result() if opening.done() else None
    finally:
        opening.cancel()
        stopping.cancel()


def _wait(what: str) -> None:
    structlog.get_logger(__name__).warning("the object storage is waited for", what=what)


def configure_logging(settings: Settings) -> None:
    """Send every line, also those of libraries, to standard output as one JSON object (or as text for people)."""
    level = getattr(logging, settings.log_level.upper())
    shared: list[Processor] = [
        merge_names,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    as_json = structlog.processors.JSONRenderer(serializer=_line)
    renderer = as_json if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def _line(event: object, **options: Any) -> str:  # noqa: ANN401 - those of json.dumps
    try:
        return orjson.dumps(event, default=options["default"]).decode()
    except orjson.JSONEncodeError:  # numbers beyond 64 bits, half characters, keys that are no text
        return json.dumps(event, **options)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
